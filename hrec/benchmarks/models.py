"""How long an epoch of each model takes."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from hrec.benchmarks.timing import CPU, WARM_UP, described, epoch, in_own_process, rows_in, set_up, time_steps
from hrec.config import configs_in, load, read_json
from hrec.datasets import load_split
from hrec.datasets.batches import Draw
from hrec.datasets.recdata import TrainData
from hrec.models import MODELS, find_model
from hrec.pipeline.building import build_model
from hrec.pipeline.reports import table

STAND_IN = "planted-small"
"""The data in place of some that is not prepared."""


class Epoch(NamedTuple):
    """Steps and rows, of all kinds together; of those that were timed, seconds for a step and for a row."""

    steps: int
    rows: int
    for_step: float
    for_row: float


def bench_models(args: argparse.Namespace) -> None:
    """A table of models for each data set; each model in its own process."""
    configs = args.models or all_configs()
    for data in [prepared(name, configs[0]) for name in args.data]:
        settings = [f"data={data}", f"opt.batch_size={args.batch_size}", *args.set]
        train = load_split(load(configs[0], find_model, settings).run.data, None).train
        rows = [["model", "steps", "samples", "step ms", "samples/s", "epoch s", "peak MB"]]
        for config in configs:
            rows.append(row_of(config, settings, train, args))
            print(f"  {rows[-1][0]}: {rows[-1][5]} s an epoch", file=sys.stderr, flush=True)
        print(f"models: {described(train)}")
        print(f"{', '.join(settings[1:])}; an epoch as {args.steps} steps after {WARM_UP} others foretell it")
        print(f"{table(rows)}\n")


def all_configs() -> list[str]:
    """The name of a config for each model of the table of models."""
    named = {read_json(path)["model"]["name"]: name for name, path in configs_in().items() if "/" not in name}
    return [named[model] for model in MODELS]


def prepared(data: str, config: str) -> str:
    """The data's name, or where its files are not there that of STAND_IN, with a line that says so."""
    path = load(config, find_model, [f"data={data}"]).run.data.inter_feat_path
    if path is None or Path(path).is_file():
        return data
    print(f"models: no {path}; data/README.md has the command that prepares '{data}'. {STAND_IN} takes its place")
    return STAND_IN


def row_of(config: str, settings: Sequence[str], train: TrainData, args: argparse.Namespace) -> list[str]:
    """The model's row of the table; where it cannot have the data, that."""
    model = load(config, find_model, settings).model_class
    if lacks := model.needs.missing_from(train):
        return [f"{model.__name__} needs {lacks[0].split(';')[0]}", *["-"] * 6]
    try:
        made, memory = in_own_process(measure, config, settings, train, args)
    except ValueError as error:  # such as a catalogue too large for a model of all pairs of items
        print(f"  {error}", file=sys.stderr, flush=True)
        return [f"{model.__name__} refuses the data", *["-"] * 6]
    return [
        model.__name__,
        f"{made.steps:,}",
        f"{made.rows:,}",
        f"{1e3 * made.for_step:.1f}",
        f"{1 / made.for_row:,.0f}",
        f"{made.rows * made.for_row:.1f}",
        f"{memory:,.0f}",
    ]


def measure(config: str, settings: Sequence[str], train: TrainData, args: argparse.Namespace) -> Epoch:
    set_up(args)
    loaded = load(config, find_model, settings)
    model = build_model(loaded, train, CPU)
    *_, stage = model.stages(train)
    if stage.solve is not None:  # its epoch is one sweep over all rows
        began = time.perf_counter()
        stage.solve()
        seconds, rows = time.perf_counter() - began, len(train.interactions)
        return Epoch(1, rows, seconds, seconds / rows)
    opt = loaded.run.opt.for_stage(stage.group)
    batches = [rows_in(b) for b in epoch(stage, Draw(opt.batch_size, torch.Generator().manual_seed(0), CPU))]
    done = time_steps(model, train, opt, args.steps)
    seconds = sum(done.seconds)
    return Epoch(len(batches), sum(batches), seconds / args.steps, seconds / sum(done.rows))
