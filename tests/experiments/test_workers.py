"""Workers of a script end with it, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

SCRIPT = """
import signal, sys, time
sys.path[:0] = [{root!r}, {here!r}]
import task
from hrec.experiments.workers import workers

if __name__ == "__main__":
    # a shell that runs the tests in the background has Ctrl-C ignored
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with workers(1) as pool:
        pool.submit(task.long, {mark!r}).result()
"""
TASK = """
import os, pathlib, time
def long(mark):
    pathlib.Path(mark).write_text(str(os.getpid()))
    time.sleep(100)
"""


def alive(pid: int) -> bool:
    """Whether the process runs; one that has ended and waits to be asked for its status does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks at processes in /proc")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_workers_of_a_script_that_is_stopped_end(how: signal.Signals, tmp_path: Path):
    mark = tmp_path / "pid"
    (tmp_path / "task.py").write_text(TASK)
    paths = {"root": str(ROOT), "here": str(tmp_path), "mark": str(mark)}
    (tmp_path / "main.py").write_text(SCRIPT.format(**paths))
    script = subprocess.Popen([sys.executable, str(tmp_path / "main.py")], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (mark.exists() and mark.read_text()) and time.monotonic() < deadline:
        time.sleep(0.1)
    worker = int(mark.read_text())
    assert alive(worker) and os.getpgid(worker) == worker
    os.kill(script.pid, how)
    script.wait(timeout=30)
    while alive(worker) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not alive(worker)
