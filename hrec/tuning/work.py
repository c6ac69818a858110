"""Works off the trials of a study, in this process or in several side by side, until enough are done."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from optuna import Trial, TrialPruned
from optuna.trial import FrozenTrial, TrialState

from hrec.experiments.workers import workers
from hrec.memory import TooLargeError
from hrec.pipeline.stage_run import DivergedError, Interrupted
from hrec.tuning.study import PATIENCE, Study

LOOK = 2
"""Seconds between two looks at trials of other processes, when none is left to begin."""


class Here(Executor):
    """Does what it is handed at once, in this process."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def work_off(
    study: Study, wanted: int, jobs: int, do: Callable[[Trial], float], tell: Callable[[FrozenTrial], None]
) -> None:
    """Until ``wanted`` trials are done. ``do`` gives a trial's value, ``tell`` is called with each one that has ended.

    Whatever ``do`` raises but TrialPruned, DivergedError and TooLargeError, which are about the settings of one trial,
    ends the work.
    """
    running: dict[Future[float], Trial] = {}
    waiting = False
    with Here() if jobs == 1 else workers(jobs) as executor:
        while True:
            while len(running) < jobs and (trial := study.take(wanted)):
                running[executor.submit(do, trial)] = trial
            if running:
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    tell(_close(study, running.pop(future), future))
            elif len(study.done()) >= wanted:
                return
            else:
                if not waiting:
                    print(
                        f"waiting for trials of other processes; one that was killed counts as dead after {PATIENCE} s",
                        flush=True,
                    )
                waiting = True
                time.sleep(LOOK)


def _close(study: Study, trial: Trial, future: Future[float]) -> FrozenTrial:
    try:
        return study.close(trial, TrialState.COMPLETE, future.result())
    except TrialPruned:
        return study.close(trial, TrialState.PRUNED)
    except (DivergedError, TooLargeError) as error:
        return study.diverged(trial, str(error))
    except (Interrupted, BrokenProcessPool):
        raise  # the study queues the trial again
    except Exception:
        study.failed(trial)
        raise
