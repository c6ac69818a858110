"""Reproduce a table or a figure of a paper: see hrec/cli/reproduce.py."""

import sys

import _checkout  # noqa: F401

from hrec.cli.reproduce import main

if __name__ == "__main__":
    sys.exit(main())
