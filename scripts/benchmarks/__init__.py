"""What scripts/bench.py is made of: one module for each of its parts, and what they share."""
