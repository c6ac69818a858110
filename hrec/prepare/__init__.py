"""Public data sets turned into tables and settings that hrec reads: one file for each source."""

SOURCES = {
    "amazon": "hrec.prepare.amazon",
    "citeulike": "hrec.prepare.citeulike",
    "douban": "hrec.prepare.douban",
    "epinions": "hrec.prepare.epinions",
    "movielens": "hrec.prepare.movielens",
    "planted": "hrec.prepare.planted",
}
"""Name of a source -> its module, whose ``main(argv, prog)`` is ``hrec prepare NAME``."""
