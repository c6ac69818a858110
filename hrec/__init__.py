"""hrec: heterogeneous recommendation, items of several kinds for one set of users."""

__version__ = "0.1.0"
