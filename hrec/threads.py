"""How the threads of torch wait for each other, decided before torch is loaded.

By default they wait by spinning, which is fastest if each has its own core. If other work takes one of
these cores, all others spin until that thread gets its turn: an epoch took twice to ten times as long
(docs/log/speed.md). Then they should wait passively. How they wait changes no result; how many there are would.
"""

from __future__ import annotations

import os
import sys
import time
from functools import cache
from pathlib import Path

WAIT = "OMP_WAIT_POLICY"
SAID = (WAIT, "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "KMP_LIBRARY")
"""Environment variables with which users decide themselves."""

MOMENT = 0.2
"""Seconds over which the load is measured."""


@cache
def how_threads_wait() -> str:
    """Decide it at the first call; how threads wait and why, in words, or nothing if there is one thread or torch
    is loaded already. Variables that are set stay as they are."""
    said = [f"{name}={os.environ[name]}" for name in SAID if name in os.environ]
    cores = _cores()
    threads = _threads(cores)
    if threads == 1 or ("torch" in sys.modules and not said):
        return ""
    if said:
        return f"waiting as {', '.join(said)} says"
    busy = _busy()
    measured = f"{busy:.1f} of {cores:g} cores were busy at the start"
    if busy < 0.5 or threads <= cores - busy:
        return f"waiting by spinning: {measured}"
    os.environ[WAIT] = "PASSIVE"
    return f"waiting passively: {measured} ({WAIT}=ACTIVE before the command: by spinning)"


def _own_cores() -> set[int]:
    """Numbers of the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def _cores() -> float:
    """How many cores this process may use, by its affinity and by the quota of its container."""
    cores = float(len(_own_cores()))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return min(cores, int(quota) / int(period))
    except (OSError, ValueError):  # no such file, or "max": no quota
        return cores


def _threads(cores: float) -> int:
    """How many threads torch will start."""
    try:
        return max(1, int(os.environ["OMP_NUM_THREADS"].split(",")[0]))
    except (KeyError, ValueError):
        return max(1, round(cores), len(_own_cores()))


def _busy() -> float:
    """How many of the cores that this process may use are busy now; on systems that do not say, the load of the last
    minute."""
    try:
        before = _ticks()
        time.sleep(MOMENT)
        now = _ticks()
        return sum(_share_busy(before[core], now[core]) for core in _own_cores())
    except (OSError, ValueError, KeyError):
        return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0


def _ticks() -> dict[int, tuple[int, int]]:
    """Core -> (all ticks, idle ticks) since the machine began, of Linux."""
    out = {}
    for line in Path("/proc/stat").read_text().splitlines():
        name, *counts = line.split()
        if name.startswith("cpu") and name != "cpu":
            ticks = [int(count) for count in counts[:8]]
            out[int(name[3:])] = sum(ticks), ticks[3] + ticks[4]  # idle, and idle but for a disk
    return out


def _share_busy(before: tuple[int, int], now: tuple[int, int]) -> float:
    ticks, idle = now[0] - before[0], now[1] - before[1]
    return 1 - idle / ticks if ticks > 0 else 0.0
