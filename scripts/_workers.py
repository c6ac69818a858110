"""Processes that work side by side for a script: their share of the cores, and their end with the script's."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context, parent_process
from threading import Thread

import torch

from hrec.pipeline.devices import reuse_memory


def workers(count: int) -> ProcessPoolExecutor:
    """A pool of ``count`` fresh processes that share the processor's cores."""
    threads = max(1, (os.cpu_count() or 1) // count)
    return ProcessPoolExecutor(count, get_context("spawn"), _begin, (threads,))


def _begin(threads: int) -> None:
    torch.set_num_threads(threads)
    reuse_memory()
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # between two tasks Ctrl-C ends it without a traceback
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A script that is killed cannot stop its workers, which would train on unseen; what they saved can be resumed."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
