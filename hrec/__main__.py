"""``python -m hrec`` is the command ``hrec``."""

import sys

from hrec.cli.commands import main

if __name__ == "__main__":
    sys.exit(main())
