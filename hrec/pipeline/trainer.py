"""Trains the stages of a model in order. Knows no model, draws no rows, computes no metric."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

from hrec.datasets.recdata import TrainData
from hrec.models.base import BaseModel, Stage
from hrec.pipeline.checkpoints import NO_STATE, CheckpointError, Checkpoints, load_into
from hrec.pipeline.context import Position, TrainContext
from hrec.pipeline.devices import Processes
from hrec.pipeline.records import Progress
from hrec.pipeline.spread import Reached, share_out
from hrec.pipeline.stage_run import StageRun
from hrec.settings import OptSettings


class Trainer:
    """Runs ``model.stages(data)`` one after another.

    measure: validation metrics of the model as it is. Without ``checkpoints`` nothing is saved: there is no resume,
    and the model keeps the weights of the last epoch instead of the best.
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
        self.context = TrainContext(opt, seed, measure, checkpoints, progress or Progress(), processes or Processes())

    def fit(self, model: BaseModel, data: TrainData, state: dict[str, Any] | None = None) -> Position:
        """Train all stages and leave the best weights in the model; the position reached.

        state: what ``Checkpoints.load_last`` returned, to continue from. Raises Interrupted once the state is saved
        after Ctrl-C, DivergedError on a NaN loss, and CheckpointError.
        """
        position, n_stages, stage = self._begin(model, state), 0, Stage("")
        with _signals_set_stop(self.context):
            for shared, stages in groupby(enumerate(model.stages(data)), self._is_shared):
                run = partial(share_out, self) if shared else self.train
                position, n_stages, stage = run(model, stages, position, state)
        # the state after stages that processes shared is of the next stage, which may not exist
        if position.stage >= n_stages + stage.alone:
            raise self._no_state(f": the model has {n_stages} stages, and the state is of stage {position.stage + 1}")
        model.requires_grad_(True)
        model.eval()
        return position

    def _begin(self, model: BaseModel, state: dict[str, Any] | None) -> Position:
        """The position to start from, with the weights of ``state`` in the model."""
        checkpoints, saver = self.context.checkpoints, self.context.saver
        position = Position.of(state, self._source)
        saver.start(position, saved=state is not None)
        if state is None:
            saver.save(model, position)  # a run killed in its first epoch can be resumed too
        elif checkpoints:
            load_into(model, state["model"], checkpoints.last)
        return position

    def _is_shared(self, numbered: tuple[int, Stage]) -> str:
        """The group of a stage that is trained by one process of several; empty if they train it together."""
        return numbered[1].group if numbered[1].alone and self.context.processes.world > 1 else ""

    def train(
        self,
        model: BaseModel,
        stages: Iterable[tuple[int, Stage]],
        position: Position,
        state: dict[str, Any] | None,
    ) -> Reached:
        """Train those of the stages, each with its index, that are not before ``position``."""
        index, stage = -1, Stage("")
        for index, stage in stages:
            if index >= position.stage:
                position = self._train(model, stage, index, position, state)
        return Reached(position, index + 1, stage)

    def by_itself(self, checkpoints: Checkpoints | None, progress: Progress) -> Trainer:
        """A trainer of this process alone, with its own files."""
        context = self.context
        out = Trainer(context.opt, context.seed, context.measure, checkpoints, progress)
        out.context.saver.began = context.saver.began
        return out

    def _train(
        self, model: BaseModel, stage: Stage, index: int, position: Position, state: dict[str, Any] | None
    ) -> Position:
        """Train one stage from ``position`` on; the position after it."""
        if index > position.stage:
            # the best weights of the stage before are saved before this one writes its own
            position = Position(stage=index)
            self.context.saver.save(model, position)
        run = StageRun(self.context, model, stage, position)
        if state and index == state["position"]["stage"]:
            self._restore(run, state)
        run.finish()
        stage.then()
        return run.at

    def _restore(self, run: StageRun, state: dict[str, Any]) -> None:
        try:
            run.restore(state)
        except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise self._no_state(f" with these settings ({error!r})") from None

    def _no_state(self, why: str) -> CheckpointError:
        return CheckpointError(f"{self._source}: {NO_STATE}{why}. Start a new run")

    @property
    def _source(self) -> Path:
        return self.context.checkpoints.last if self.context.checkpoints else Path("last.pt")


@contextmanager
def _signals_set_stop(context: TrainContext) -> Iterator[None]:
    """The first Ctrl-C or SIGTERM sets ``context.stop``; the second one kills."""
    if context.processes.world > 1 or context.checkpoints is None:
        yield  # processes that stop at different steps would wait for each other for ever
        return
    handlers: dict[signal.Signals, Any] = {}

    def set_stop(number: int, frame: object) -> None:
        context.stop.set()
        _put_back(handlers)

    try:
        handlers |= {each: signal.signal(each, set_stop) for each in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # only the main thread may handle signals
        yield
        return
    try:
        yield
    finally:
        _put_back(handlers)


def _put_back(handlers: dict[signal.Signals, Any]) -> None:
    for each, handler in handlers.items():
        signal.signal(each, handler)
