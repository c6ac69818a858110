"""What the parts share: planted training rows, steps timed piece by piece, and work in its own process."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from multiprocessing import get_context
from typing import Any

import torch

from hrec.datasets import planted
from hrec.datasets.batches import Draw
from hrec.datasets.recdata import TrainData
from hrec.datasets.splitting import split
from hrec.models.base import BaseModel, Stage
from hrec.pipeline.devices import LARGE_PAGES, reuse_memory
from hrec.pipeline.optimizers import Optimizers
from hrec.pipeline.records import peak_memory_mb
from hrec.settings import RandomSplit, StageSettings

CPU = torch.device("cpu")
PIECES = ("drawing", "forward", "backward", "optimiser")
WARM_UP = 3
"""Steps that are done first and not timed."""


@dataclass
class Steps:
    """Seconds of each piece of each step, and the rows of its batch, of all kinds together."""

    pieces: dict[str, list[float]] = field(default_factory=lambda: {piece: [] for piece in PIECES})
    rows: list[int] = field(default_factory=list)

    @property
    def seconds(self) -> list[float]:
        """Of each step as a whole."""
        return [sum(step) for step in zip(*self.pieces.values(), strict=True)]


def time_steps(model: BaseModel, train: TrainData, settings: StageSettings, steps: int) -> Steps:
    """So many steps of the model's last stage after WARM_UP others, epoch after epoch if need be."""
    *_, stage = model.stages(train)
    assert stage.loss is not None
    optimizers = Optimizers(stage.params, settings)
    batches = endless(stage, settings.batch_size)
    out = Steps()
    model.train()
    for step in range(WARM_UP + steps):
        marks = [time.perf_counter()]
        batch = next(batches)
        marks.append(time.perf_counter())
        optimizers.zero_grad()
        loss = torch.stack(list(stage.loss(batch).values())).sum()
        marks.append(time.perf_counter())
        loss.backward()
        marks.append(time.perf_counter())
        optimizers.step()
        marks.append(time.perf_counter())
        if step >= WARM_UP:
            out.rows.append(rows_in(batch))
            for piece, began, ended in zip(PIECES, marks, marks[1:], strict=False):
                out.pieces[piece].append(ended - began)
    return out


def rows_in(batch: Any) -> int:
    """Rows of a batch, or of the batches of all kinds."""
    return sum(len(part) for part in batch.values()) if isinstance(batch, dict) else len(batch)


def endless(stage: Stage, batch_size: int) -> Iterator[Any]:
    """Batches of epoch after epoch."""
    draw = Draw(batch_size, torch.Generator().manual_seed(0), CPU)
    while True:
        yield from epoch(stage, draw)


def epoch(stage: Stage, draw: Draw) -> Iterator[Any]:
    """The batches of one epoch."""
    assert stage.sampler is not None
    return stage.sampler.epoch(draw)


def in_own_process(work: Callable[..., Any], *args: Any) -> tuple[Any, float]:
    """What ``work`` gives in its own process, and the peak memory of that process in MB."""
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        return process.submit(_with_memory, work, *args).result()


def _with_memory(work: Callable[..., Any], *args: Any) -> tuple[Any, float]:
    return work(*args), peak_memory_mb(CPU)["memory_mb"]


def set_up(args: argparse.Namespace, reuse: bool = True) -> None:
    """Threads and, by default memory as a run of hrec has them."""
    torch.set_num_threads(args.threads)
    if reuse:
        reuse_memory()
    else:
        os.environ.pop(LARGE_PAGES, None)  # inherited from the process that started this one


@cache
def training_part(size: str) -> TrainData:
    return split(planted.make(size).data, RandomSplit()).train


def described(train: TrainData) -> str:
    return f"{train.name}: {train.n_users:,} users, {train.n_items:,} items, {len(train.interactions):,} training rows"


def timed(work: Callable[[], Any]) -> float:
    """Seconds that it takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
