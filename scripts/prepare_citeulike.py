"""Prepare the data set: see hrec/prepare/citeulike.py."""

import sys

import _checkout  # noqa: F401

from hrec.prepare.citeulike import main

if __name__ == "__main__":
    sys.exit(main())
