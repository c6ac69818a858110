"""What the Trainer adds to the time of an epoch."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any
from unittest.mock import patch

from torch import Tensor

from hrec.benchmarks.timing import described, training_part
from hrec.datasets.batches import Draw
from hrec.datasets.recdata import TrainData
from hrec.datasets.samplers import PerKind
from hrec.models.hetero.duration import DURation
from hrec.pipeline.optimizers import Optimizers
from hrec.pipeline.stage_run import StageRun
from hrec.pipeline.trainer import Trainer
from hrec.settings import OptSettings


class Stopwatch:
    """Seconds spent inside the functions and iterators it was given."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            began = time.perf_counter()
            try:
                return function(*args, **named)
            finally:
                self.seconds += time.perf_counter() - began

        return call

    def drawn(self, items: Iterator[Any]) -> Iterator[Any]:
        draw, end = self.timed(next), object()
        while (item := draw(items, end)) is not end:
            yield item


def bench_trainer(args: argparse.Namespace) -> None:
    """The part of an epoch's time that is not drawing, loss, backward pass and optimiser."""
    train = training_part(args.size)
    opt = OptSettings(hyper_params={"lr": 0.001}, row_wise=True, epochs=1, early_stop=None, batch_size=args.batch_size)
    shares = []
    for _ in range(5):
        work, epoch = Stopwatch(), Stopwatch()

        class Steps(PerKind):
            def epoch(self, draw: Draw) -> Iterator[Any]:
                return work.drawn(islice(super().epoch(draw), args.steps))  # noqa: B023

        class Short(DURation):
            def sampler(self, data: TrainData) -> PerKind:
                return Steps(data)

            def loss(self, batch: Any) -> dict[str, Tensor]:
                return work.timed(super().loss)(batch)  # noqa: B023

        model = Short(DURation.Config(variant="paper"), train)
        with (
            patch.object(StageRun, "_descend", epoch.timed(StageRun._descend)),
            patch.object(Optimizers, "step", work.timed(Optimizers.step)),
            patch.object(Optimizers, "zero_grad", work.timed(Optimizers.zero_grad)),
            patch.object(Tensor, "backward", work.timed(Tensor.backward)),
        ):
            Trainer(opt, 0, lambda m: {}).fit(model, train)
        shares.append(1 - work.seconds / epoch.seconds)
    print(f"trainer: {described(train)}")
    print(f"{statistics.median(shares):.1%} of an epoch of {args.steps} steps is its own ", end="")
    print(f"(median of 5, {min(shares):.1%} to {max(shares):.1%})\n")
