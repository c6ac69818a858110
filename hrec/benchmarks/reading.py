"""How fast data is read."""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import torch

from hrec.benchmarks.timing import CPU, timed
from hrec.datasets import load_split, planted
from hrec.datasets.batches import Draw
from hrec.datasets.samplers import PerKind
from hrec.prepare.planted import write
from hrec.settings import DataSettings


def bench_reading(args: argparse.Namespace) -> None:
    """Seconds from CSV files to the first batch."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "csv"
        made = planted.make(args.size)
        writing = timed(lambda: write(made, out))
        settings = DataSettings.model_validate(json.loads((out / "data.json").read_text(encoding="utf-8")))

        def first_batch() -> None:
            train = load_split(settings, Path(folder) / "cache").train
            draw = Draw(args.batch_size, torch.Generator().manual_seed(0), CPU)
            next(iter(PerKind(train).epoch(draw)))

        cold, cached = timed(first_batch), timed(first_batch)
    print(f"reading: planted {args.size}, CSV written in {writing:.1f} s; ", end="")
    print(f"to the first batch {cold:.1f} s cold, {cached:.2f} s from the cache\n")
