"""``python -m hrec`` is the command ``hrec``."""

import sys

from hrec.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
