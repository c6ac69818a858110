"""Trains the stages of a model in order. Knows no model, draws no rows, computes no metric."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from hrec.datasets.recdata import TrainData
from hrec.models.base import BaseModel
from hrec.pipeline.checkpoints import NO_STATE, CheckpointError, Checkpoints, load_into
from hrec.pipeline.devices import Processes
from hrec.pipeline.records import Progress
from hrec.pipeline.stage_run import Position, StageRun
from hrec.settings import OptSettings


class Trainer:
    """Runs ``model.stages(data)`` one after another.

    measure: validation metrics of the model as it is now. ``checkpoints`` None trains without saving (no resume, and
    the weights of the last epoch instead of the best).
    """

    def __init__(
        self,
        opt: OptSettings,
        seed: int,
        measure: Callable[[BaseModel], dict[str, float]],
        checkpoints: Checkpoints | None = None,
        progress: Progress | None = None,
        processes: Processes | None = None,
    ) -> None:
        self.opt, self.seed, self.measure = opt, seed, measure
        self.checkpoints = checkpoints
        self.progress = progress or Progress()
        self.processes = processes or Processes()
        self.stop_asked = False
        self.saved: Position | None = None

    def fit(self, model: BaseModel, data: TrainData, state: dict[str, Any] | None = None) -> Position:
        """Train all stages, from ``state`` (``Checkpoints.load_last``) on if given; the best weights are left in place.

        Raises Interrupted once the state is saved after Ctrl-C, DivergedError on a NaN loss, CheckpointError.
        """
        source = self.checkpoints.last if self.checkpoints else Path("last.pt")
        position = Position.of(state, source)
        self.saved = replace(position) if state else None
        self.began = time.perf_counter() - position.seconds
        if state and self.checkpoints:
            load_into(model, state["model"], self.checkpoints.last)
        elif state is None:
            self.save(model, position)  # a run killed in its first epoch can be resumed too
        with self._listening():
            for number, stage in enumerate(model.stages(data)):
                if number < position.stage:
                    continue
                if number > position.stage:
                    # the best weights of the stage before are safe before this one writes its own
                    position = Position(stage=number)
                    self.save(model, position)
                settings = self.opt.for_stage(stage.group)
                run = StageRun(self, model, stage, settings, position)
                if state and number == state["position"]["stage"]:
                    try:
                        run.restore(state)
                    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
                        raise self._no_state(f" with these settings ({error!r})") from None
                run.finish()
                stage.then()
                position = run.at
        if state and state["position"]["stage"] > number:
            raise self._no_state(f": the model has {number + 1} stages, and it is of number {position.stage + 1}")
        for p in model.parameters():
            p.requires_grad_(True)
        model.eval()
        return position

    def save(self, model: BaseModel, position: Position, run: StageRun | None = None) -> None:
        """Write the state at this position, with what a running stage adds to it."""
        if self.checkpoints is None or not self.processes.is_main:
            return
        position.seconds = time.perf_counter() - self.began
        state = {"position": vars(position), "model": model.state_dict()}
        self.checkpoints.save_last(state | (run.state() if run else {}))
        self.saved = replace(position)

    def _no_state(self, why: str) -> CheckpointError:
        return CheckpointError(
            f"{self.checkpoints.last if self.checkpoints else 'last.pt'}: {NO_STATE}{why}. Start a new run"
        )

    def saved_at(self) -> str:
        """What the last checkpoint holds, for a message: ', the state after epoch 3 and 7 steps'."""
        if self.saved is None:
            return ""
        steps = f" and {self.saved.step} steps" if self.saved.step else ""
        return f", the state after epoch {self.saved.epoch}{steps} of stage {self.saved.stage + 1}"

    @contextmanager
    def _listening(self) -> Iterator[None]:
        """Turn the first Ctrl-C or SIGTERM into a flag that is looked at after each step; the second one kills."""
        if self.processes.world > 1 or self.checkpoints is None:
            yield  # processes that stop at different steps would wait for each other for ever
            return

        def ask(number: int, frame: object) -> None:
            self.stop_asked = True
            for each, handler in old.items():
                signal.signal(each, handler)

        try:
            old = {each: signal.signal(each, ask) for each in (signal.SIGINT, signal.SIGTERM)}
        except ValueError:  # not the main thread: no signal comes here
            yield
            return
        try:
            yield
        finally:
            for each, handler in old.items():
                signal.signal(each, handler)
