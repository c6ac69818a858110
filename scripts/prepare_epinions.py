"""Prepare the data set: see hrec/prepare/epinions.py."""

import sys

import _checkout  # noqa: F401

from hrec.prepare.epinions import main

if __name__ == "__main__":
    sys.exit(main())
