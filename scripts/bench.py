"""Where the time of a training step goes, against a literal reference, and how fast data is read.

    python scripts/bench.py                       everything, on planted 'douban' (several minutes)
    python scripts/bench.py --size small --steps 5 --parts step trainer

step     DURation with the published widths, batch 1,024 of each kind: drawing, forward, backward, optimiser, with the
         published dense Adam and with row-wise updates; then the same model whose histories are dense rows [B, n], as
         the published code multiplies them. Ratios are of medians within this one run; each variant has a process
         of its own.
trainer  what the Trainer adds: the part of an epoch that is not drawing, loss, backward pass and optimiser.
reading  CSV files to the first batch, cold and from the cache.

Timings are noisy on shared machines: compare the ratios, not the milliseconds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from unittest.mock import patch

import _checkout  # noqa: F401
import numpy as np
import torch
from torch import Tensor, nn

from hrec.datasets import load_split, planted
from hrec.datasets.batches import Draw
from hrec.datasets.recdata import RecData
from hrec.datasets.splitting import split
from hrec.models.base import BaseModel
from hrec.models.hetero.duration import DURation
from hrec.models.layers.histories import HistoryLinear
from hrec.pipeline.devices import reuse_memory
from hrec.pipeline.optimizers import Optimizers
from hrec.pipeline.records import peak_memory_mb, provenance, table
from hrec.pipeline.trainer import StageRun, Trainer
from hrec.settings import DataSettings, OptSettings, RandomSplit, StageSettings

CPU = torch.device("cpu")
PARTS = ("drawing", "forward", "backward", "optimiser")
PUBLISHED_ADAM = {"lr": 0.001, "weight_decay": 0.01}


class DenseHistory(nn.Module):
    """The literal reference: write out the rows of Y, [B, n], and multiply them."""

    def __init__(self, like: HistoryLinear) -> None:
        super().__init__()
        self.rows = like.rows
        self.weight = nn.Parameter(like.table.weight.detach().clone())
        self.width = like.width

    def forward(self, row: Tensor, leave_out: Tensor | None = None) -> Tensor:
        index, value = self.rows(row, row + 1)
        length = self.rows.offset[row + 1] - self.rows.offset[row]
        dense = torch.zeros(len(row), len(self.weight))
        dense[torch.repeat_interleave(torch.arange(len(row)), length), index] = value
        if leave_out is not None:
            dense[torch.arange(len(row)), leave_out] = 0
        return dense @ self.weight


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=planted.SIZES, default="douban")
    parser.add_argument("--steps", type=int, default=30, help="steps timed of each variant")
    parser.add_argument("--reference-steps", type=int, default=4)
    parser.add_argument("--batch-size", type=int, default=1024)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument(
        "--parts", nargs="+", choices=("step", "trainer", "reading"), default=["step", "trainer", "reading"]
    )
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    reuse_memory()
    about = provenance()
    print(f"commit {about['commit'][:12]}, torch {about['torch']}, {about['machine']}, {args.threads} threads")
    train = training_part(args.size)
    print(f"planted {args.size}: {train.n_users:,} users, {train.n_items:,} items, {len(train.interactions):,} rows")
    if "step" in args.parts:
        bench_step(args)
    if "trainer" in args.parts:
        bench_trainer(train, args)
    if "reading" in args.parts:
        bench_reading(args)


# --------------------------------------------------------------------------------------------- step


VARIANTS: dict[str, dict[str, Any]] = {
    "dense Adam": {"hyper_params": PUBLISHED_ADAM},
    "row-wise": {"hyper_params": {"lr": 0.001}, "row_wise": True},
    "reference": {"hyper_params": PUBLISHED_ADAM | {"fused": False}},
}


def bench_step(args: argparse.Namespace) -> None:
    """The table of parts, samples per second, memory and ratios; each variant in a process of its own."""
    rows = [["variant", *(f"{p} ms" for p in PARTS), "step ms", "samples/s", "peak MB", "times reference"]]
    totals = {}
    for name in VARIANTS:
        with ProcessPoolExecutor(1, get_context("spawn")) as process:
            parts, memory = process.submit(measure_variant, name, args).result()
        totals[name] = statistics.median(sum(t) for t in zip(*parts.values(), strict=True))
        samples = 3 * args.batch_size / totals[name]  # planted data has three kinds
        rows.append(
            [
                name,
                *(f"{1e3 * statistics.median(parts[p]):.1f}" for p in PARTS),
                f"{1e3 * totals[name]:.1f}",
                f"{samples:,.0f}",
                f"{memory:,.0f}",
            ]
        )
    for row in rows[1:]:
        row.append(f"{totals['reference'] / totals[row[0]]:.1f}")
    print(table(rows) + "\n")


def measure_variant(name: str, args: argparse.Namespace) -> tuple[dict[str, list[float]], float]:
    """Seconds of the parts of each step, and this process's peak memory in MB.

    The reference keeps the C library's own way with memory, as the published code does.
    """
    torch.set_num_threads(args.threads)
    literal = name == "reference"
    if not literal:
        reuse_memory()
    settings, steps = StageSettings(**VARIANTS[name]), args.reference_steps if literal else args.steps
    parts = time_steps(training_part(args.size), literal, settings, steps, args.batch_size)
    return parts, peak_memory_mb(CPU)["memory_mb"]


def training_part(size: str) -> RecData:
    return split(planted.make(size).data, RandomSplit()).train


def time_steps(
    train: RecData, literal: bool, settings: StageSettings, steps: int, batch_size: int
) -> dict[str, list[float]]:
    """Seconds of each part of each step, the first two steps left out."""
    model = build(train, literal)
    optimizers = Optimizers(model.parameters(), settings)
    batches = endless(train, batch_size)
    seconds: dict[str, list[float]] = {part: [] for part in PARTS}
    model.train()
    for _ in range(steps + 2):
        marks = [time.perf_counter()]
        batch = next(batches)
        marks.append(time.perf_counter())
        optimizers.zero_grad()
        loss = torch.stack(list(model.loss(batch).values())).sum()
        marks.append(time.perf_counter())
        loss.backward()
        marks.append(time.perf_counter())
        optimizers.step()
        marks.append(time.perf_counter())
        for part, spent in zip(PARTS, np.diff(marks), strict=True):
            seconds[part].append(float(spent))
    return {part: times[2:] for part, times in seconds.items()}


def build(train: RecData, literal: bool) -> BaseModel:
    """DURation as the paper has it; ``literal`` with dense rows for histories."""
    torch.manual_seed(0)
    model = DURation(DURation.Config(variant="paper"), train)
    if literal:
        model.users = DenseHistory(model.users)  # type: ignore[assignment]
        model.items = DenseHistory(model.items)  # type: ignore[assignment]
    return model


def endless(train: RecData, batch_size: int) -> Iterator[Any]:
    """Batches of epoch after epoch."""
    generator = torch.Generator().manual_seed(0)
    while True:
        yield from DURation.sample(train, Draw(batch_size, generator, CPU))


# ------------------------------------------------------------------------------------------ trainer


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


def bench_trainer(train: RecData, args: argparse.Namespace) -> None:
    """The part of an epoch's time that is not drawing, loss, backward pass and optimiser."""
    opt = OptSettings(hyper_params={"lr": 0.001}, row_wise=True, epochs=1, early_stop=None, batch_size=args.batch_size)
    shares = []
    for _ in range(5):
        work, epoch = Stopwatch(), Stopwatch()

        class Short(DURation):
            sample = staticmethod(lambda data, draw: work.drawn(islice(DURation.sample(data, draw), args.steps)))  # noqa: B023

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
    print(f"trainer: {statistics.median(shares):.1%} of an epoch of {args.steps} steps is its own ", end="")
    print(f"(median of 5, {min(shares):.1%} to {max(shares):.1%})\n")


def _timed(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


# ------------------------------------------------------------------------------------------ reading


def bench_reading(args: argparse.Namespace) -> None:
    """Seconds from CSV files to the first batch."""
    import make_planted

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "csv"
        made = planted.make(args.size)
        writing = _timed(lambda: make_planted.write(made, out))
        settings = DataSettings.model_validate(json.loads((out / "data.json").read_text(encoding="utf-8")))

        def first_batch() -> None:
            train = load_split(settings, Path(folder) / "cache").train
            next(iter(DURation.sample(train, Draw(args.batch_size, torch.Generator().manual_seed(0), CPU))))

        cold, cached = _timed(first_batch), _timed(first_batch)
    print(
        f"reading: CSV written in {writing:.1f} s; to the first batch {cold:.1f} s cold, {cached:.2f} s from the cache"
    )


if __name__ == "__main__":
    main()
