"""Prepare the data set: see hrec/prepare/amazon.py."""

import sys

import _checkout  # noqa: F401

from hrec.prepare.amazon import main

if __name__ == "__main__":
    sys.exit(main())
