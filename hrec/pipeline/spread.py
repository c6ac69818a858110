"""Stages that do not depend on each other, shared by the processes of torchrun.

Process r of w trains the stages r, r + w, ... of a group as if it were alone. Then each sends the weights that it has
trained to the others. So the weights are those of one process, bit for bit. Each process keeps its state and its log in
its own folder. A killed run goes on from there if as many processes resume it; if not, the group begins again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch.distributed as dist

from hrec.models.base import BaseModel, Stage
from hrec.pipeline.checkpoints import Checkpoints, load_into
from hrec.pipeline.context import Position, TrainContext
from hrec.pipeline.records import Progress, RunFolder
from hrec.pipeline.stage_run import watched_by

Numbered = tuple[int, Stage]
"""A stage with its number among all stages of the model."""
Start = tuple[Position, dict[str, Any] | None]
"""A position, and the state that it is of if there is one."""


class Reached(NamedTuple):
    """The position after some stages, how many stages there are up to the last of them, and that one."""

    position: Position
    n_stages: int
    stage: Stage


class StageTrainer(Protocol):
    """What trains the stages of one process: ``Trainer``."""

    context: TrainContext

    def train(
        self, model: BaseModel, stages: Iterable[Numbered], position: Position, state: dict[str, Any] | None
    ) -> Reached:
        """Train those of the stages that are not before ``position``."""
        ...

    def by_itself(self, checkpoints: Checkpoints | None, progress: Progress) -> StageTrainer:
        """A trainer of this process alone, with its own files."""
        ...


def share_out(
    trainer: StageTrainer,
    model: BaseModel,
    stages: Iterable[Numbered],
    position: Position,
    state: dict[str, Any] | None,
) -> Reached:
    """Train the stages from ``position`` on, each in one process; every process ends with the weights of all of them.

    What is saved meanwhile is the state before them, and each process's own.
    """
    context, every = trainer.context, list(stages)
    group, saver, (last_index, last) = context.processes, context.saver, every[-1]
    left = [(number, replace(s, params=list(s.params))) for number, s in every if number >= position.stage]
    if not left:
        return Reached(position, last_index + 1, last)
    if left[0][0] > position.stage:
        position, state = Position(stage=left[0][0]), None
        saver.save(model, position)
    folder = _own_folder(trainer)
    where = f"; the logs are {folder.parent}/process-*/log.txt" if folder else ""
    context.progress.say(f"{group.world} processes share {', '.join(s.name for _, s in left)}{where}")
    mine = left[group.rank :: group.world]
    with group.alone():
        rows = _train(trainer, model, mine, folder, (position, state)) if mine else []
    for index, (_, stage) in enumerate(left):
        for p in stage.params:
            dist.broadcast(p.data, src=index % group.world)
    for _, stage in left:
        stage.then()
    _report(trainer, model, left, group.collect(rows))
    return Reached(Position(last_index + 1, seconds=saver.seconds), last_index + 1, last)


def _own_folder(trainer: StageTrainer) -> Path | None:
    """What this process writes to while it trains alone; its name has how many there are, who share otherwise."""
    group = trainer.context.processes
    if trainer.context.checkpoints is None:
        return None
    folder = trainer.context.checkpoints.last.parent / f"process-{group.rank}-of-{group.world}"
    folder.mkdir(exist_ok=True)
    return folder


def _train(
    trainer: StageTrainer, model: BaseModel, mine: Sequence[Numbered], folder: Path | None, start: Start
) -> list[dict[str, Any]]:
    """Train these stages as one process does, from where the folder or ``start`` is in them; the rows of their log."""
    checkpoints = Checkpoints(folder) if folder else None
    log = RunFolder(folder, show=False) if folder else None
    numbers = [number for number, _ in mine]
    position, state = _start(model, numbers, checkpoints, start)
    if log:
        log.forget_after(numbers.index(position.stage), position.epoch)
    trainer.by_itself(checkpoints, log or Progress()).train(model, _without_then(mine), position, state)
    return log.rows() if log else []


def _start(model: BaseModel, numbers: Sequence[int], checkpoints: Checkpoints | None, start: Start) -> Start:
    """Where this process goes on: what it saved in these stages, else ``start``, else before the first of them."""
    if checkpoints and checkpoints.last.exists():
        state = checkpoints.load_last(model.device)
        position = Position.of(state, checkpoints.last)
        if position.stage in numbers:  # else it is of an earlier group
            load_into(model, state["model"], checkpoints.last)
            return position, state
    return start if start[0].stage in numbers else (Position(stage=numbers[0]), None)


def _without_then(stages: Sequence[Numbered]) -> list[Numbered]:
    """The stages without what follows them, which every process does once it has all weights."""
    return [(number, replace(stage, then=lambda: None)) for number, stage in stages]


def _report(trainer: StageTrainer, model: BaseModel, stages: Sequence[Numbered], rows: list[dict[str, Any]]) -> None:
    """Write what one process would have left: the rows of the log, the best weights and the state."""
    context, (last_number, last) = trainer.context, stages[-1]
    order = {stage.name: i for i, (_, stage) in enumerate(stages)}
    rows = sorted(rows, key=lambda row: (order[row["stage"]], row["epoch"]))
    for row in rows:
        context.progress.epoch(row)
    best = [row for row in rows if row["stage"] == last.name and row.get("best")]
    stop = context.opt.for_stage(last.group).early_stop
    if best and stop and context.checkpoints and context.processes.is_main:
        watched = watched_by(stop.metric, last.kind)
        note = {"stage": last.name, "epoch": str(best[-1]["epoch"]), watched: f"{best[-1][watched]:.6f}"}
        context.checkpoints.save_best(model, note)
    context.saver.save(model, Position(last_number + 1))
    context.processes.wait()  # the log and the checkpoints are there for all
