"""What scripts/reproduce.py is made of: many runs, their statistics, and the tables and figures of each paper."""
