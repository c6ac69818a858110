"""A search over settings: the space, the study on disk, one trial, and the report."""
