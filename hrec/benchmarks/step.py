"""Where the time of a training step of DURation goes, against a literal reference."""

from __future__ import annotations

import argparse
import statistics
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from hrec.benchmarks.timing import (
    PIECES,
    Steps,
    described,
    endless,
    in_own_process,
    set_up,
    time_steps,
    timed,
    training_part,
)
from hrec.datasets.recdata import TrainData
from hrec.models.base import BaseModel
from hrec.models.hetero.duration import DURation
from hrec.models.layers.histories import HistoryLinear
from hrec.pipeline.reports import table
from hrec.settings import StageSettings

PUBLISHED_ADAM = {"lr": 0.001, "weight_decay": 0.01}
VARIANTS: dict[str, dict[str, Any]] = {
    "dense Adam": {"hyper_params": PUBLISHED_ADAM},
    "row-wise": {"hyper_params": {"lr": 0.001}, "row_wise": True},
    "reference": {"hyper_params": PUBLISHED_ADAM | {"fused": False}},
}


class DenseHistory(nn.Module):
    """The literal reference: write out the rows of Y, [B, n], and multiply them."""

    def __init__(self, like: HistoryLinear) -> None:
        super().__init__()
        self.rows = like.rows
        self.weight = nn.Parameter(like.table.weight.detach().clone())
        self.width = like.width

    def forward(self, row: Tensor, leave_out: Tensor | None = None) -> Tensor:
        cells = self.rows(row)
        dense = torch.zeros(len(row), len(self.weight))
        dense[cells.owner, cells.column] = cells.value
        if leave_out is not None:
            dense[torch.arange(len(row)), leave_out] = 0
        return dense @ self.weight


def bench_step(args: argparse.Namespace) -> None:
    """The table of pieces, samples per second, memory and ratios; each variant in its own process."""
    train = training_part(args.size)
    rows = [["variant", *(f"{p} ms" for p in PIECES), "step ms", "samples/s", "peak MB", "times reference"]]
    totals = {}
    for name in VARIANTS:
        steps, memory = in_own_process(measure, name, train, args)
        totals[name] = statistics.median(steps.seconds)
        rows.append(
            [
                name,
                *(f"{1e3 * statistics.median(steps.pieces[p]):.1f}" for p in PIECES),
                f"{1e3 * totals[name]:.1f}",
                f"{statistics.median(steps.rows) / totals[name]:,.0f}",
                f"{memory:,.0f}",
            ]
        )
    for row in rows[1:]:
        row.append(f"{totals['reference'] / totals[row[0]]:.1f}")
    print(f"step: {described(train)}\n{table(rows)}")
    billions, floor = in_own_process(measure_products, train, args)[0]
    print(
        f"The matrix products of maps and towers, {billions:.2f} GFLOP a step, take {1e3 * floor:.1f} ms at the rate\n"
        f"of one large product: no variant can be more than {totals['reference'] / floor:.0f} times the reference\n"
    )


def measure_products(train: TrainData, args: argparse.Namespace) -> tuple[float, float]:
    """The matrix products of one step, in 1e9 floating-point operations, and their seconds at its best rate."""
    set_up(args)
    model = build(train, literal=False)
    *_, stage = model.stages(train)
    assert stage.loss is not None
    batch = next(endless(stage, args.batch_size))
    with FlopCounterMode(display=False) as counted:
        torch.stack(list(stage.loss(batch).values())).sum().backward()
    left, right = torch.randn(2048, 2048), torch.randn(2048, 2048)
    rate = 2 * 2048**3 / min(timed(lambda: left @ right) for _ in range(20))
    return counted.get_total_flops() / 1e9, counted.get_total_flops() / rate


def measure(name: str, train: TrainData, args: argparse.Namespace) -> Steps:
    """The steps of a variant. The reference keeps the C library's own way with memory, as the published code does."""
    literal = name == "reference"
    set_up(args, reuse=not literal)
    settings = StageSettings(**VARIANTS[name], batch_size=args.batch_size)
    return time_steps(build(train, literal), train, settings, args.reference_steps if literal else args.steps)


def build(train: TrainData, literal: bool) -> BaseModel:
    """DURation as the paper has it; ``literal`` with dense rows for histories."""
    torch.manual_seed(0)
    model = DURation(DURation.Config(variant="paper"), train)
    if literal:
        model.users = DenseHistory(model.users)  # type: ignore[assignment]
        model.items = DenseHistory(model.items)  # type: ignore[assignment]
    return model
