"""Hands a command line to the module that its first word names."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module

from hrec.threads import how_threads_wait

EXTRAS = {"optuna": "experiments", "sklearn": "experiments"}
"""Package -> the extra of hrec that brings it."""


def dispatch(argv: Sequence[str] | None, prog: str, about: str | None, what: str, modules: Mapping[str, str]) -> int:
    """The exit status of ``main(argv, prog)`` of the module that the first word names; no other one is imported.

    Without a word the help is printed.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(prog, description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(what, choices=list(modules), help=f"the options of each: {prog} {what.upper()} --help")
    if not words:
        parser.print_help()
        return 0
    chosen = getattr(parser.parse_args(words[:1]), what)
    how_threads_wait()  # torch reads the environment when it is loaded
    try:
        module = import_module(modules[chosen])
    except ModuleNotFoundError as error:
        if error.name not in EXTRAS:
            raise
        print(f"{prog} {chosen} needs {error.name}: pip install 'hrec[{EXTRAS[error.name]}]'", file=sys.stderr)
        return 2
    return int(module.main(words[1:], f"{prog} {chosen}"))
