"""Processes that work side by side for a script: their share of the cores, and their end with the script's."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import active_children, get_context, parent_process
from threading import Thread

import torch

from hrec.pipeline.devices import reuse_memory


@contextmanager
def workers(count: int) -> Iterator[ProcessPoolExecutor]:
    """A pool of ``count`` fresh processes that share the processor's cores.

    Ctrl-C reaches the script alone, which hands it on once: a run that goes on saves its state and ends, what waits is
    not begun.
    """
    threads = max(1, (os.cpu_count() or 1) // count)
    pool = ProcessPoolExecutor(count, get_context("spawn"), _begin, (threads,))
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in active_children():
            process.terminate()  # a run takes SIGTERM as it takes Ctrl-C
        raise
    finally:
        pool.shutdown()


def _begin(threads: int) -> None:
    os.setpgrp()  # its own group, or the terminal's Ctrl-C would come with the script's and be the second one
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # between two tasks it ends without a traceback
    torch.set_num_threads(threads)
    reuse_memory()
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A script that is killed cannot stop its workers, which would train on; what they saved can be resumed."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
