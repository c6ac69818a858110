"""The study on disk: which trials there are, who is at them, and the next one to do.

Kept in a journal file of Optuna, ``study.journal``: it is locked by a link beside it, which also holds on a network
file system, where the locks of SQLite are not to be relied on; and nothing has to be set up. Processes and machines
that see the folder work on one study.

Such a file does not tell a trial that is being trained from one whose process was killed. So each process touches a
file of its own in ``alive/`` as long as it lives, and every trial names that file.
"""

from __future__ import annotations

import os
import socket
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from typing import Literal, Self

import numpy as np
import optuna
from optuna import Trial
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner
from optuna.samplers import TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from optuna.trial import FrozenTrial, TrialState

from hrec.pipeline.records import commit
from sweeps.space import Space

BEAT = 10
"""Seconds between two signs of life."""
PATIENCE = 90
"""Seconds without one until a process is taken for dead; a network file system may hide a sign for a minute."""

optuna.logging.set_verbosity(optuna.logging.WARNING)


class Study:
    """A context: on leaving it, trials of this process that have not come to their end are given up."""

    def __init__(self, folder: Path, space: Space, mode: Literal["max", "min"], seed: int, pruner: BasePruner) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.space, self.seed = folder, space, seed
        self.alive = SignOfLife(folder / "alive")
        self.commit = commit()
        self.mine: dict[int, Trial] = {}
        self.optuna = optuna.create_study(
            storage=JournalStorage(JournalFileBackend(str(folder / "study.journal"))),
            study_name="sweep",
            direction=f"{mode}imize",
            pruner=pruner,
            load_if_exists=True,
        )

    def __enter__(self) -> Self:
        self.alive.start()
        return self

    def __exit__(self, *error: object) -> None:
        for trial in list(self.mine.values()):
            self.close(trial, TrialState.FAIL)
        self.alive.stop()

    def take(self, wanted: int) -> Trial | None:
        """The next trial, its parameters drawn, or None where ``wanted`` trials are done or being done."""
        with self._alone():
            self._give_up_the_dead()
            if len(self.counted()) >= wanted:
                return None
            trial = self.optuna.ask()
            trial.set_user_attr("process", self.alive.path.name)
        self.mine[trial.number] = trial
        trial.set_user_attr("commit", self.commit)
        self.optuna.sampler = _sampler(self.seed, trial.number)
        for name, parameter in self.space.items():
            parameter.suggest(trial, name)
        return trial

    def close(self, trial: Trial, state: TrialState, value: float | None = None) -> FrozenTrial:
        """Record how a trial of this process ended."""
        del self.mine[trial.number]
        # another process may have taken this one for dead, say while the machine slept; then that stands
        return self.optuna.tell(trial, value, state, skip_if_finished=True)

    def diverged(self, trial: Trial, why: str) -> FrozenTrial:
        """Record a failed trial that counts: its settings are at fault, not what happened to its process."""
        trial.set_user_attr("diverged", why)
        return self.close(trial, TrialState.FAIL)

    def trials(self, *states: TrialState) -> list[FrozenTrial]:
        return self.optuna.get_trials(deepcopy=False, states=states or None)

    def counted(self) -> list[FrozenTrial]:
        """The trials that count as tried: all but those that were stopped or killed."""
        return [t for t in self.trials() if t.state != TrialState.FAIL or "diverged" in t.user_attrs]

    def done(self) -> list[FrozenTrial]:
        """Those of them that have come to their end, in whatever process."""
        return [t for t in self.counted() if t.state.is_finished()]

    def best(self) -> FrozenTrial | None:
        return self.optuna.best_trial if self.trials(TrialState.COMPLETE) else None

    def _give_up_the_dead(self) -> None:
        for trial in self.trials(TrialState.RUNNING):
            process = trial.user_attrs.get("process")  # written under the lock: without it, the process died there
            if process is None or not self.alive.sees(process):
                self.optuna.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """No other process counts or takes trials meanwhile, so there are never more of them than wanted."""
        lock = JournalFileSymlinkLock(str(self.folder / "take"))
        lock.acquire()
        try:
            yield
        finally:
            with suppress(RuntimeError):  # it was held for so long that another process broke it
                lock.release()


class SignOfLife:
    """A file that a thread touches every BEAT seconds, and a look at those of other processes."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.path = folder / f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self.over = Event()

    def start(self) -> None:
        self.path.touch()
        Thread(target=self._beat, daemon=True).start()

    def stop(self) -> None:
        self.over.set()
        self.path.unlink(missing_ok=True)

    def sees(self, name: str) -> bool:
        """Whether the process of this file lives. Both times are the file system's: clocks of machines differ."""
        try:
            self.path.touch()
            return _touched(self.path) - _touched(self.path.with_name(name)) < PATIENCE
        except FileNotFoundError:
            return False

    def _beat(self) -> None:
        while not self.over.wait(BEAT):
            with suppress(OSError):
                os.utime(self.path)  # not touch: a file that stop() took away stays away


def _touched(path: Path) -> float:
    with path.open("rb") as file:  # opening it asks a network file system anew, which stat alone may not
        return os.fstat(file.fileno()).st_mtime


def _sampler(seed: int, number: int) -> TPESampler:
    """Seeded by trial: a study that is resumed or shared by processes would else draw its first trials again."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        # constant_liar: trials that run side by side are not all drawn at the same place
        return TPESampler(seed=int(np.random.SeedSequence([seed, number]).generate_state(1)[0]), constant_liar=True)
