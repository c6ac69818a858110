"""Write planted data as files: see hrec/prepare/planted.py."""

import sys

import _checkout  # noqa: F401

from hrec.prepare.planted import main

if __name__ == "__main__":
    sys.exit(main())
