"""Prepare the data set: see hrec/prepare/movielens.py."""

import sys

import _checkout  # noqa: F401

from hrec.prepare.movielens import main

if __name__ == "__main__":
    sys.exit(main())
