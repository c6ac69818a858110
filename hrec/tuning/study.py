"""The study on disk: which trials there are, who is at them, and the next one to do.

The study is a journal file of Optuna, ``study.journal``. Its lock is a link next to it, which also works on a network
file system, where the locks of SQLite are unreliable. Nothing has to be set up. Processes and machines that see the
folder work on one study.

The journal does not distinguish a running trial from one whose process was killed. So each process touches a
file in ``alive/`` as long as it lives, and every trial names that file.

A trial that was stopped or killed is queued again with its settings, so a search that was killed tries what it would
have tried.
"""

from __future__ import annotations

import os
import socket
import uuid
import warnings
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
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
from hrec.tuning.space import Space

BEAT = 10
"""Seconds between two signs of life."""
PATIENCE = 90
"""Seconds without one until a process is taken for dead; a network file system may hide a sign for a minute."""
TRIES = 3
"""How often settings are tried whose process is killed: they may need more memory than there is."""
DRAW, KILLED = "draw", "killed"
"""What a trial remembers: the place of its settings among all that were drawn, and how often they were killed."""

optuna.logging.set_verbosity(optuna.logging.WARNING)


class Study:
    """A context: on leaving it, trials of this process that have not come to their end are queued again."""

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

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        for trial in list(self.mine.values()):
            self._queue_again(self._now(trial.number), killed=kind is BrokenProcessPool)
            self.close(trial, TrialState.FAIL)
        self.alive.stop()

    def take(self, wanted: int) -> Trial | None:
        """The next trial, its parameters drawn or those of one that was killed, or None where ``wanted`` trials are
        done or being done."""
        with self._alone():
            self._give_up_the_dead()
            if len(self.counted()) >= wanted:
                return None
            drawn = [t.user_attrs.get(DRAW, t.number) for t in self.trials()]
            trial = self.optuna.ask()
            trial.set_user_attr("process", self.alive.path.name)
            if DRAW not in trial.user_attrs:
                trial.set_user_attr(DRAW, max(drawn, default=-1) + 1)
        self.mine[trial.number] = trial
        trial.set_user_attr("commit", self.commit)
        self.optuna.sampler = _sampler(self.seed, trial.user_attrs[DRAW])
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

    def failed(self, trial: Trial) -> FrozenTrial:
        """Record a trial that ended with an error: it does not count and is not tried again."""
        return self.close(trial, TrialState.FAIL)

    def trials(self, *states: TrialState) -> list[FrozenTrial]:
        return self.optuna.get_trials(deepcopy=False, states=states or None)

    def counted(self) -> list[FrozenTrial]:
        """The trials that count as tried: all but those that were stopped or killed, and those that wait."""
        tried = (TrialState.RUNNING, TrialState.COMPLETE, TrialState.PRUNED)
        return [t for t in self.trials() if t.state in tried or "diverged" in t.user_attrs]

    def done(self) -> list[FrozenTrial]:
        """Those of them that have come to their end, in whatever process."""
        return [t for t in self.counted() if t.state.is_finished()]

    def best(self) -> FrozenTrial | None:
        return self.optuna.best_trial if self.trials(TrialState.COMPLETE) else None

    def _give_up_the_dead(self) -> None:
        for trial in self.trials(TrialState.RUNNING):
            process = trial.user_attrs.get("process")  # written under the lock: without it, the process died there
            if process is None or not self.alive.sees(process):
                self._queue_again(trial, killed=True)
                self.optuna.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)

    def _queue_again(self, trial: FrozenTrial, killed: bool) -> None:
        """Let a trial that is not finished be tried once more with its settings, unless they were killed too often."""
        times = trial.user_attrs.get(KILLED, 0) + killed
        if trial.state.is_finished() or times >= TRIES:
            return
        remembered = {DRAW: trial.user_attrs.get(DRAW, trial.number), KILLED: times}
        self.optuna.enqueue_trial(trial.params, user_attrs=remembered)

    def _now(self, number: int) -> FrozenTrial:
        """What the journal says of a trial of this process; another process may have taken it for dead."""
        return next(t for t in self.trials() if t.number == number)

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
    with path.open("rb") as file:  # opening it makes a network file system check again, which stat alone may not
        return os.fstat(file.fileno()).st_mtime


def _sampler(seed: int, number: int) -> TPESampler:
    """Seeded by trial: a study that is resumed or shared by processes would else draw its first trials again."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        # constant_liar: trials that run side by side are not all drawn at the same place
        return TPESampler(seed=int(np.random.SeedSequence([seed, number]).generate_state(1)[0]), constant_liar=True)
