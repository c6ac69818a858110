"""Standard output and standard error, whatever they lead to: a terminal that is not UTF-8, a full disk, nothing."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import TextIO


def open_streams() -> None:
    """Make both streams safe to write: what their encoding lacks becomes an escape, and a closed one leads nowhere.

    To be called before any file is opened: the first one would take the number of a closed stream, and get its text.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def stdout_is_closed() -> bool:
    """Whether the command was started without standard output (``>&-``)."""
    return getattr(sys.stdout, "name", None) == os.devnull


def tell(line: str) -> None:
    """A line to standard error; where that cannot be written there is nobody to tell."""
    with suppress(OSError):
        print(line, file=sys.stderr, flush=True)


def unwritten(stream: TextIO, text: str = "") -> OSError | None:
    """Write what waits in ``stream`` and ``text``; gives the error where that cannot be done.

    The stream leads nowhere then, as Python would meet the error again at its own end.
    """
    try:
        print(end=text, file=stream, flush=True)
    except OSError as error:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
        return error
    return None
