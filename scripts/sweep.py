"""Search the settings of a model: see hrec/cli/sweep.py."""

import sys

import _checkout  # noqa: F401

from hrec.cli.sweep import main

if __name__ == "__main__":
    sys.exit(main())
