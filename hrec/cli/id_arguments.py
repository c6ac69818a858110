"""Ids on the command line: they may begin with a dash, as options do."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import NoReturn

DASHED = {"--user": None, "--item": None, "--kind": 1}
"""Options whose values may begin with one dash, and how many values each takes (None: all up to the next option)."""


def with_dashed_values(argv: Sequence[str]) -> list[str]:
    """The arguments, where argparse would take an id that begins with a dash for an option: --user -u1 x becomes
    --user=-u1 --user=x. What begins with two dashes is an option; such an id is given as --user=ID."""
    out, rest = list[str](), list(argv)
    while rest:
        word = rest.pop(0)
        stop = next((n for n, value in enumerate(rest) if value.startswith("--") or value == "-h"), len(rest))
        values = rest[: min(stop, DASHED[word] or stop)] if word in DASHED else []
        if any(value.startswith("-") for value in values):
            out += [f"{word}={value}" for value in values]
            del rest[: len(values)]
        else:
            out.append(word)
    return out


def id_argument(text: str) -> str:
    """The id on a command line, for argparse: its bytes as UTF-8, whatever the locale, because ids in files are so."""
    given = os.fsencode(text)
    try:
        return given.decode("utf-8")
    except UnicodeDecodeError as error:
        shown = given.decode("utf-8", "backslashreplace")
        raise argparse.ArgumentTypeError(
            f"'{shown}': not UTF-8 text (byte 0x{given[error.start]:02x}). Write the id as UTF-8, or name a file of "
            "ids with --users-from"
        ) from None


class Parser(argparse.ArgumentParser):
    """Says how an id that looks like an option is given."""

    def error(self, message: str) -> NoReturn:
        hint = ". An id that begins with two dashes is given as --user=ID"
        dashed = "unrecognized arguments: -" in message or "--user: expected" in message
        super().error(message + hint if dashed else message)
