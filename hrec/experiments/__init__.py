"""Many runs of one experiment: each run once, their statistics, tables and figures."""
