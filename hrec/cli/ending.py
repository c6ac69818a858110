"""How a command that trains many models ends: with one message and an exit status, not with a traceback."""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool

from hrec.config import ConfigError
from hrec.datasets.problems import DataError
from hrec.pipeline.checkpoints import CheckpointError
from hrec.pipeline.stage_run import Interrupted


def status_of(work: Callable[[], None]) -> int:
    """Of a command that trains many models: 0, 2 for what the user can correct, 130 for a stop; messages to stderr."""
    try:
        work()
    except (ConfigError, DataError) as error:
        print(error, file=sys.stderr)
    except CheckpointError as error:
        print(f"{str(error).rstrip('.')}. With another --out everything is made again", file=sys.stderr)
    except BrokenProcessPool:
        print("a process of --jobs was killed, perhaps for want of memory; the same command goes on", file=sys.stderr)
    except (Interrupted, KeyboardInterrupt):
        print("stopped; the same command goes on", file=sys.stderr)
        return 130
    else:
        return 0
    return 2
