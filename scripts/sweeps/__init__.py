"""What scripts/sweep.py is made of: the space that is searched, the study, one trial, and the report."""
