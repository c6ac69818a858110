"""Where the time of a training step goes, how long an epoch of each model takes, and how fast data is read.

    hrec bench                       step, trainer and reading, on planted 'douban' (several minutes)
    hrec bench --size small --steps 5 --parts step trainer
    hrec bench --parts models lists --data movielens planted-douban

step     DURation with the published widths, batch 1,024 of each kind: drawing, forward, backward, optimiser. It has
         the published dense Adam, then row-wise updates, then histories as dense rows [B, n], as the published code
         multiplies them. Ratios are of medians within this one run. Each variant has its own process.
trainer  what the Trainer adds: the part of an epoch that is not drawing, loss, backward pass and optimiser.
reading  CSV files to the first batch, cold and from the cache.
models   an epoch of each model with the settings of its config, estimated from the mean of some steps: seconds,
         samples per second (of all kinds together) and peak memory. Each model has its own process.
lists    An epoch of BPRMF against a textbook loop and a bare one. A sweep of WMF against that of the library implicit,
         if it is installed. Full ranking of 10,000 users over 300,000 items against the bare product and topk.
views    JRL with three views on made data of Beauty's size, 100 words a review, against a loop over the reviews of its
         Eq. 8 (a few are timed, the epoch is extrapolated). Words per second of PV-DBOW against gensim's Doc2Vec, if it
         is installed. Peak memory at two lengths of a review.

Timings are noisy on shared machines: compare the ratios, not the milliseconds.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import torch

from hrec.benchmarks.lists import bench_lists
from hrec.benchmarks.models import bench_models
from hrec.benchmarks.reading import bench_reading
from hrec.benchmarks.step import bench_step
from hrec.benchmarks.trainer import bench_trainer
from hrec.benchmarks.views import bench_views
from hrec.config import ConfigError
from hrec.datasets import planted
from hrec.datasets.problems import DataError
from hrec.pipeline.devices import reuse_memory
from hrec.pipeline.records import provenance

PARTS = {
    "step": bench_step,
    "trainer": bench_trainer,
    "reading": bench_reading,
    "models": bench_models,
    "lists": bench_lists,
    "views": bench_views,
}


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Run one command line; returns the exit status."""
    args = parser(prog).parse_args(argv)
    torch.set_num_threads(args.threads)
    reuse_memory()
    about = provenance()
    print(f"commit {about['commit'][:12]}, torch {about['torch']}, {about['machine']}, {args.threads} threads\n")
    try:
        for part in args.parts:
            PARTS[part](args)
    except (ConfigError, DataError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def parser(prog: str | None = None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=["step", "trainer", "reading"])
    parser.add_argument(
        "--size", choices=planted.SIZES, default="douban", help="of the planted data; not for models, lists and views"
    )
    parser.add_argument("--steps", type=int, default=30, help="steps timed of each variant or model")
    parser.add_argument("--reference-steps", type=int, default=4)
    parser.add_argument("--batch-size", type=int, default=1024)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    models = parser.add_argument_group("for the parts models and lists")
    models.add_argument("--models", nargs="+", default=[], help="configs by name; one of each model if left out")
    models.add_argument("--data", nargs="+", default=["movielens", "planted-douban"], help="names in configs/data/")
    models.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="settings, such as opt.row_wise=true")
    return parser
