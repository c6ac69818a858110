"""Train models with several seeds on one data set: see hrec/cli/seeds.py."""

import sys

import _checkout  # noqa: F401

from hrec.cli.seeds import main

if __name__ == "__main__":
    sys.exit(main())
