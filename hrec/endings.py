"""How a command ends: with an exit status and, where something is wrong, one message instead of a traceback."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from hrec.streams import open_streams, tell, unwritten


class Refusal(Exception):
    """Parent of every error that is no mistake of the program: its message names the place and says what to do."""

    same_in_all_processes = False
    """Whether under torchrun every process finds the same, so that one message is enough."""


class Stopped(Exception):
    """The user stopped the command; the message says how to go on."""


def status_of(work: Callable[[], None], afterwards: str = "") -> int:
    """The exit status of ``work``: 0, 1 where standard output cannot be written, 2 for errors, 130 for a stop.

    afterwards: what to do where standard output cannot be written. A full or closed standard error changes nothing.
    """
    open_streams()
    status, trouble = _status_of(work)
    trouble = trouble or unwritten(sys.stdout)
    if trouble and not (isinstance(trouble, BrokenPipeError) and not afterwards):  # hrec recommend ... | head
        tell(f"stopped: {_why(trouble)}{afterwards}")
    unwritten(sys.stderr)
    return status or int(trouble is not None)


def _status_of(work: Callable[[], None]) -> tuple[int, OSError | None]:
    """The status of ``work``, and the error where it could not write to standard output."""
    try:
        work()
    except Refusal as error:
        _tell_once(str(error), error.same_in_all_processes)
        return 2, None
    except (Stopped, KeyboardInterrupt) as stop:
        _tell_once(str(stop) or "stopped", True)
        return 130, None
    except SystemExit as end:  # argparse has said why
        return end.code if isinstance(end.code, int) else 0, None
    except OSError as error:
        if error.filename is not None:
            tell(f"{error.filename}: {error.strerror}")
            return 2, None
        trouble = unwritten(sys.stdout, "\n")  # tried once more, as an error without a file's name may be another's
        if trouble is None:
            raise
        return 1, trouble
    return 0, None


def _why(error: OSError) -> str:
    if isinstance(error, BrokenPipeError):
        return "nobody reads what it prints any more"
    return f"standard output cannot be written ({error.strerror})"


def _tell_once(line: str, same_in_all: bool) -> None:
    """Under torchrun the first process alone, or each with its number where processes may find different things."""
    rank = int(os.environ.get("RANK", "0")) if int(os.environ.get("WORLD_SIZE", "1")) > 1 else 0
    if not rank:
        tell(line)
    elif not same_in_all:
        tell(f"process {rank}: {line}")
