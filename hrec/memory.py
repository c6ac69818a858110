"""How much memory there is, so that what it cannot hold is refused before it is allocated."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from hrec.config import ConfigError


class TooLargeError(ConfigError):
    """A setting asks for more memory than there is."""


def require_memory(needed: int, setting: str, what: str, free: int | None = None) -> None:
    """Raises TooLargeError where ``needed`` bytes are more than ``free``; None: than the machine can give now."""
    free = free_memory() if free is None else free
    if needed > free:
        raise TooLargeError(
            f"{setting}: {what} would take {in_gb(needed)} of memory, and {in_gb(free)} are free; give a smaller value"
        )


def free_memory() -> int:
    """Bytes that this process can allocate; of a container with a limit, no more than that."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    with suppress(OSError, ValueError, IndexError):  # Linux alone says what is free
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        limits += [1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        with suppress(OSError, ValueError):  # no limit is written as a word
            limits.append(int(Path("/sys/fs/cgroup", name).read_text(encoding="ascii")))
    return min(limits)


def in_gb(size: int) -> str:
    """A size in bytes in words, to three digits."""
    return f"{size / 1e9:,.3g} GB" if size < 1e12 else f"{size // 10**9:,} GB" if size < 2**80 else "over 10^24 bytes"
