"""Prepare the data set: see hrec/prepare/douban.py."""

import sys

import _checkout  # noqa: F401

from hrec.prepare.douban import main

if __name__ == "__main__":
    sys.exit(main())
