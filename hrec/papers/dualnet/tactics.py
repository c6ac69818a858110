"""Dual mini-batches against the loss of all pairs, and the section "Unsuccessful tactics" of the DualNet paper."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from hrec.datasets.histories import positive_history
from hrec.datasets.recdata import TrainData
from hrec.experiments.lists import percent
from hrec.experiments.runs import Done, best_of, split_of, try_all
from hrec.papers.dualnet.published import BLOCKS, CLAIMS, LOGISTIC, SIDE, SKIPPING, TINY
from hrec.papers.dualnet.runs import Options, claim, recall
from hrec.pipeline.records import RunFolder

PLAIN = (
    "model.design=basic",
    "model.hide_block=false",
    "model.user_noise=0.5",
    "model.pretrain=false",
    "model.refine=false",
    "opt.scheduler=null",
    "opt.eval_step=4",
    "opt.epochs=100",
)
"""What all ways have: a design that a Gram matrix can sum, and noise in place of hidden blocks."""
SMALL = (f"opt.batch_size={SIDE}", f"model.block_items={SIDE}", "opt.eval_step=1", "opt.epochs=4")
GRAM = "all pairs by Gram matrices"
WAYS = {
    BLOCKS: (),
    GRAM: ("model.all_pairs=true",),
    LOGISTIC: ("model.loss=logistic",),
    TINY: SMALL,
    SKIPPING: (*SMALL, "model.skip_empty_blocks=0.5"),
}
TOGETHER = ((BLOCKS, GRAM), (LOGISTIC,), (TINY, SKIPPING))
"""Ways that run to one recall, so that their times can be compared."""
RATES = ("opt.hyper_params.lr=0.001", "opt.hyper_params.lr=0.003", "opt.hyper_params.lr=0.01")


def tactics(options: Options) -> None:
    """Dual mini-batches against the loss of all pairs, and the paper's "Unsuccessful tactics": recall, and the time
    that each needs to the recall that all of its group reach."""
    cuts = options.cuts(50, 100, 200)
    settings, rates = options.source.in_matrix, RATES[: options.trials]
    tried = {way: rates[:1] if way in (TINY, SKIPPING) else rates for way in WAYS}
    jobs = {
        (way, rate): options.job("DualNet+users", [recall(k) for k in cuts], *settings, *PLAIN, *WAYS[way], rate)
        for way, of_way in tried.items()
        for rate in of_way
    }
    train = split_of(next(iter(jobs.values())).load()).train
    done = dict(zip(jobs, try_all(list(jobs.values()), options.out, options.jobs), strict=True))
    watched = f"recall@{cuts[-1]}"
    of_way = {way: [done[way, rate] for rate in tried[way]] for way in WAYS}
    best = {way: best_of(some, some, [watched]) for way, some in of_way.items()}
    report = options.report("tactics")
    table = [
        [
            "",
            "lr",
            *(f"recall@{k}" for k in cuts),
            "epochs",
            "s an epoch",
            f"{watched} reached",
            "after epochs",
            "after s",
        ]
    ]
    for group in TOGETHER:
        target = 0.98 * min(best[way].result["valid"][watched] for way in group)
        table += [_row_of_way(way, best[way], cuts, target) for way in group]
    report.table(table)
    found = {way: {f"@{k}": [100 * run.result["test"][f"recall@{k}"]] for k in cuts} for way, run in best.items()}
    report.dots(found, "test recall in per cent")
    report.say(
        f"DualNet+users, basic design, seed 0; each way with the best of {len(rates)} learning rate(s) by validation "
        f"{watched}, the small blocks with the first alone. 's an epoch' is without evaluation where there are epochs "
        "without one; 'reached' is 98 % of the lower best of the ways that are compared, on the validation part, and "
        "'after' gives the epochs and the training time until then."
    )
    report.say(f"Of the blocks of {SIDE} users and {SIDE} items {100 * empty_share(train, SIDE):.1f} % hold no 1.")
    for k in cuts:
        for order in CLAIMS["tactics"]:
            claim(report, str(order), [best[order.better]], [best[order.worse]], k)
    report.close(list(done.values()))


def _row_of_way(way: str, run: Done, cuts: Sequence[int], target: float) -> list[str]:
    """A line of the table of tactics."""
    seconds, epochs, until = _time_to(run, f"recall@{cuts[-1]}", target)
    lr = json.loads((run.folder / "config.json").read_text(encoding="utf-8"))["opt"]["hyper_params"]["lr"]
    shown = [percent([run], recall(k)) for k in cuts]
    return [
        way,
        str(lr),
        *shown,
        str(epochs),
        f"{seconds:.2f}",
        f"{100 * target:.1f}",
        str(until),
        f"{until * seconds:.0f}",
    ]


def empty_share(train: TrainData, side: int) -> float:
    """Share of the blocks of ``side`` users by ``side`` items, both shuffled, in which nobody likes anything; only
    users and items with a like are walked."""
    positive, rng = positive_history(train), np.random.default_rng(0)
    owner = np.repeat(np.arange(len(positive)), np.diff(positive.offset))
    (users, row), (items, column) = (np.unique(a, return_inverse=True) for a in (owner, positive.index))
    wide, high = -(-len(items) // side), -(-len(users) // side)
    block = rng.permutation(len(users))[row] // side * wide + rng.permutation(len(items))[column] // side
    return 1 - len(np.unique(block)) / (wide * high)


def _time_to(run: Done, metric: str, target: float) -> tuple[float, int, int]:
    """(median seconds of an epoch without evaluation, epochs of the run, epochs until the metric was reached)."""
    rows = RunFolder(run.folder).rows()
    each = [(b["seconds"] - a["seconds"], metric in b) for a, b in pairwise(rows)]
    plain = [seconds for seconds, measured_too in each if not measured_too] or [seconds for seconds, _ in each]
    until = next(row["epoch"] for row in rows if row.get(metric, -1.0) >= target)
    return float(np.median(plain)), rows[-1]["epoch"], until
