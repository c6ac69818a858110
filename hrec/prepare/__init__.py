"""Public data sets turned into tables and settings that hrec reads: one file for each source."""

SOURCES = {
    "amazon": "hrec.prepare.amazon",
    "amazon2018": "hrec.prepare.amazon2018",
    "beauty": "hrec.prepare.beauty",
    "citeulike": "hrec.prepare.citeulike",
    "clothing": "hrec.prepare.clothing",
    "douban": "hrec.prepare.douban",
    "epinions": "hrec.prepare.epinions",
    "epinions5": "hrec.prepare.epinions5",
    "food-kitchen": "hrec.prepare.food_kitchen",
    "instruments": "hrec.prepare.instruments",
    "lastfm": "hrec.prepare.lastfm",
    "movielens": "hrec.prepare.movielens",
    "movielens-mm": "hrec.prepare.movielens_mm",
    "planted": "hrec.prepare.planted",
    "scientific": "hrec.prepare.scientific",
    "tiktok": "hrec.prepare.tiktok",
}
"""Name of a source -> its module, whose ``main(argv, prog)`` is ``hrec prepare NAME``."""

ENCODERS = {"images": "hrec.prepare.images", "text": "hrec.prepare.text"}
"""What is encoded into vectors -> its module, likewise."""
