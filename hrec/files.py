"""Files in folders that somebody else may have made: no link is followed in writing, and nothing waits for a pipe."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


def open_regular(path: Path) -> BinaryIO:
    """Open to read. Raises OSError, also for what is no regular file: reading a pipe would wait for ever."""
    return os.fdopen(_checked(path, os.open(path, os.O_RDONLY | os.O_NONBLOCK)), "rb")


def read_text(path: Path) -> str:
    """The text of a regular file, what is not UTF-8 in it replaced. Raises OSError."""
    with open_regular(path) as file:
        return file.read().decode("utf-8", errors="replace")


def append_text(path: Path, text: str) -> None:
    """Write behind what is there. Raises OSError, also for a symbolic link, a pipe or a device."""
    with os.fdopen(
        _open_own(path, os.O_WRONLY | os.O_APPEND), "a", encoding="utf-8", errors="backslashreplace"
    ) as file:
        file.write(text)


def make_new(path: Path) -> None:
    """An empty file; what stood under its name is unlinked, never written through. Raises OSError."""
    path.unlink(missing_ok=True)
    os.close(_open_own(path, os.O_WRONLY | os.O_EXCL))


def _open_own(path: Path, flags: int) -> int:
    """Open to write, or make. Raises OSError, also for a symbolic link, a pipe or a device."""
    try:
        handle = os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, "it is a symbolic link, which is not followed", str(path)) from None
        raise
    return _checked(path, handle)


def _checked(path: Path, handle: int) -> int:
    if stat.S_ISREG(os.fstat(handle).st_mode):
        return handle
    os.close(handle)
    raise OSError(errno.EINVAL, "it is no regular file", str(path))


class Locked(Exception):
    """Another process holds the lock; the message is a name for it."""


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Hold the lock file ``path`` to the end of the block; a process that is killed holds it no longer.

    Raises Locked where another process holds it, OSError where the file cannot be made. On file systems that know no
    locks nothing is locked.
    """
    handle = _take(path)
    try:
        os.truncate(handle, 0)
        os.write(handle, f"process {os.getpid()} on {socket.gethostname()}".encode())
        yield
    finally:
        path.unlink(missing_ok=True)  # while it is held, so that nobody can have taken it since
        os.close(handle)


def _take(path: Path) -> int:
    while True:
        handle = _open_own(path, os.O_RDWR)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(handle, 200).decode(errors="replace")
            os.close(handle)
            raise Locked(holder if re.fullmatch(r"process \d+ on [\w.-]+", holder) else "another process") from None
        except OSError:
            return handle
        if _is_still(path, handle):
            return handle
        os.close(handle)  # who held it has ended and unlinked it in between


def _is_still(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(path.lstat(), os.fstat(handle))
    except FileNotFoundError:
        return False
