"""Time steps, epochs, reading and ranking: see hrec/cli/bench.py."""

import sys

import _checkout  # noqa: F401

from hrec.cli.bench import main

if __name__ == "__main__":
    sys.exit(main())
