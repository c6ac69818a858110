"""``python -m hrec`` is the command ``hrec``."""

import sys


def main() -> int:
    """The command line of hrec/commands.py; Ctrl-C while torch is loaded, which takes seconds, ends it too."""
    try:
        from hrec.commands import main
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    return main()


if __name__ == "__main__":
    sys.exit(main())
