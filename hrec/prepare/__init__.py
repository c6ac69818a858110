"""Public data sets turned into tables and settings that hrec reads: one file for each source."""
