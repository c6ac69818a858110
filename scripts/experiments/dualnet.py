"""The tables of the DualNet paper (Xiong et al., 2017): recall of WMF, CDL and DualNet, in-matrix and out-matrix."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from experiments.options import CommonOptions
from experiments.report import Report
from experiments.runs import Done, Job, run_all, split_of
from experiments.statistics import compare, verdict
from hrec.config import ConfigError
from hrec.pipeline.records import RunFolder

CONFIGS = {
    "Popularity": "popularity",
    "ItemKNN": "itemknn",
    "EASE": "ease",
    "BPRMF": "bprmf",
    "WMF": "wmf",
    "CDL": "cdl",
    "DualNet": "dualnet",
    "DualNet+users": "dualnet",
}
"""DualNet+users: its item network reads who an item's users are, beside the content."""
READ_CONTENT = ("CDL", "DualNet")
"""What cannot do without columns of items."""
OF_TABLE_1, OF_TABLE_2 = ("WMF", "CDL", "DualNet"), ("CDL", "DualNet")
"""The models of the paper's tables."""
UNLABELLED = 'data.label={"negatives": 0}'
IN_MATRIX = (
    'data.split={"by": "in_matrix", "ratio": [3, 1, 1], "unknown_items": 0.1}',
    "ranking.items=known",
)
"""Section 5.1: known items alone, nine in ten."""
NOT_OF_VALIDATION = "ranking.mask_valid=true"
"""What a user has in validation is no candidate in test. The paper does not say; WMF meets its figures so (NOTES)."""
OUT_MATRIX = ('data.split={"by": "cold_items", "ratio": [8, 1, 1]}', "ranking.items=new_of_part")

NO_LEAK = "model.all_items=false"
"""The content of new items is not to be learnt from where they are what is predicted."""


@dataclass(frozen=True)
class Source:
    """A data set with its splits: name of the split -> settings."""

    splits: dict[str, tuple[str, ...]]
    out_matrix: tuple[str, ...]
    configs: dict[str, str] = field(default_factory=dict)
    """Model -> its config on this data, where it has one of its own."""
    text: str = ""
    """What the items' content is, where it is not the paper's."""
    smaller: int = 1
    """What the paper's cut-offs are divided by."""


def _source(name: str, smaller: int = 1) -> Source:
    data = (f"data={name}",)
    return Source({"in-matrix": (*data, *IN_MATRIX)}, (*data, *OUT_MATRIX), smaller=smaller)


def _citeulike(name: str, text: str, **more: tuple[str, ...]) -> Source:
    kept = (f"data={name}", UNLABELLED)
    own = {"CDL": "cdl-citeulike"} | dict.fromkeys(("DualNet", "DualNet+users"), "dualnet-citeulike")
    told = f"The content is a bag of words of {text}; the paper's is of titles and abstracts."
    return Source({**more, "CiteULike2": (*kept, *IN_MATRIX, NOT_OF_VALIDATION)}, (*kept, *OUT_MATRIX), own, told)


SOURCES = {
    "citeulike_a": _citeulike("citeulike", "titles and tags", CiteULike1=("data=citeulike-p10", UNLABELLED)),
    "citeulike_titles": _citeulike("citeulike-titles", "titles alone, as tags know of test rows (data/README.md)"),
    "epinions": _source("epinions"),
    "movielens_100k": _source("movielens"),
    "planted": _source("planted-small"),
    "tiny": _source("planted-tiny", smaller=10),
}

SETTINGS: dict[str, tuple[str, ...]] = {
    "Popularity": (),
    "ItemKNN": (),
    "EASE": (),
    "BPRMF": ("opt.batch_size=4096", "opt.epochs=200"),
    "WMF": ("opt.epochs=15",),
    "CDL": (),
    "DualNet": ("model.item_history=false",),
    "DualNet+users": ("model.item_history=true",),
}
"""What every run of a model gets, beside the trial."""

TRIALS: dict[str, list[tuple[str, ...]]] = {
    "ItemKNN": [("model.neighbours=100",), ("model.neighbours=300",)],
    "EASE": [("model.l2=100",), ("model.l2=300",)],
    "BPRMF": [("opt.hyper_params.lr=0.001",), ("opt.hyper_params.lr=0.003",)],
    "WMF": [
        ("model.embedding_size=300", "model.l_u=1.2", "model.l_v=1.2"),
        ("model.embedding_size=300", "model.l_u=0.8", "model.l_v=0.8"),
    ],
    "CDL": [("model.lambda_u=3", "model.lambda_v=0.3"), ()],
}
"""What is tried of each model on the validation part, with seed 0: the first ``--trials``. DualNet's settings were
chosen on CiteULike's validation part (NOTES.md)."""

PAPER_TABLE_1 = {
    ("CiteULike1", "WMF"): (22.14, 32.58, 43.65),
    ("CiteULike1", "CDL"): (25.02, 36.57, 48.32),
    ("CiteULike1", "DualNet"): (30.41, 41.71, 52.24),
    ("CiteULike2", "WMF"): (40.45, 50.28, 59.95),
    ("CiteULike2", "CDL"): (39.49, 52.02, 64.41),
    ("CiteULike2", "DualNet"): (41.26, 53.80, 65.21),
}
PAPER_TABLE_2 = {"CDL": (32.18, 43.90, 56.36), "DualNet": (47.51, 56.59, 66.36)}
PAPER_TABLE_3 = {
    "basic": (15.86, 38.86, 51.03),
    "multi_level": (16.89, 39.92, 51.26),
    "branching": (17.43, 40.31, 51.78),
}
PAPER_NOISE = {
    ("in-matrix", "without"): (None, 67.3),
    ("in-matrix", "with"): (None, 71.2),
    ("out-matrix", "without"): (38.6, None),
    ("out-matrix", "with"): (47.5, None),
}
"""Recall@50 and @300 in per cent."""


class Options(CommonOptions):
    """What the command line said, with the sources and runs of the DualNet paper."""

    prefix = "dualnet-"

    @property
    def source(self) -> Source:
        return SOURCES[self.data]

    def cuts(self, *published: int) -> tuple[int, ...]:
        """The paper's cut-offs, smaller where there are few items."""
        return tuple(max(1, k // self.source.smaller) for k in published)

    def job(self, model: str, cuts: Sequence[int], *overrides: str, seed: int = 0) -> Job:
        names = ", ".join(f'"recall@{k}"' for k in cuts)
        measured = (f"metrics=[{names}]", f"opt.early_stop.metric=recall@{cuts[-1]}")
        return Job(self.source.configs.get(model, CONFIGS[model]), (*SETTINGS[model], *measured, *overrides), seed)


# ------------------------------------------------------------------------------------ rows of every table


@dataclass(frozen=True)
class Row:
    """One line of a table: its labels, and the runs that it stands for but for trial and seed."""

    labels: tuple[str, ...]
    model: str
    overrides: tuple[str, ...]
    paper: tuple[float | None, ...] | None = None


def measured(options: Options, rows: Sequence[Row], cuts: Sequence[int]) -> list[list[Done]]:
    """For each row its runs, one for each seed, with the best of its model's trials."""
    trials = [TRIALS.get(row.model, [()])[: options.trials] or [()] for row in rows]
    tried = {
        (i, trial): options.job(row.model, cuts, *row.overrides, *trial)
        for i, (row, some) in enumerate(zip(rows, trials, strict=True))
        if len(some) > 1
        for trial in some
    }
    done = dict(zip(tried, run_all(list(tried.values()), options.out, options.jobs), strict=True))
    watched = f"recall@{cuts[-1]}"
    best = [
        some[0] if len(some) == 1 else max(some, key=lambda trial, i=i: done[i, trial].result["valid"][watched])
        for i, some in enumerate(trials)
    ]
    jobs = [
        options.job(row.model, cuts, *row.overrides, *trial, seed=seed)
        for row, trial in zip(rows, best, strict=True)
        for seed in range(options.seeds)
    ]
    runs = run_all(jobs, options.out, options.jobs)
    return options.by_row(runs)


def written(
    options: Options,
    name: str,
    heading: Sequence[str],
    rows: Sequence[Row],
    runs: list[list[Done]],
    cuts: Sequence[int],
) -> Report:
    """The table of the rows, recall in per cent, with what the paper printed beside it."""
    report = options.report(name)
    with_paper = options.data.startswith("citeulike") and any(row.paper for row in rows)
    table = [[*heading, *(f"recall@{k}" for k in cuts), *(["paper"] if with_paper else [])]]
    for row, done in zip(rows, runs, strict=True):
        cells = [percent(done, k) for k in cuts]
        printed = " / ".join("-" if v is None else f"{v:.2f}" for v in row.paper or (None,))
        table.append([*row.labels, *cells, *([printed] if with_paper else [])])
    report.table(table)
    tuned = "Nothing was tuned: settings of the configs and the first of TRIALS (scripts/experiments/dualnet.py)."
    if options.trials > 1:
        tuned = (
            f"Each model was tuned over the first {options.trials} of its TRIALS (scripts/experiments/dualnet.py) on "
            "the validation part."
        )
    seeds = f"mean and deviation over {options.seeds} seeds" if options.seeds > 1 else "one seed"
    report.say(
        f"Test recall in per cent over all users with a test row, {seeds} of weights and batches; one split. {tuned}"
    )
    if options.source.text:
        report.say(options.source.text)
    return report


def percent(done: Sequence[Done], k: int) -> str:
    values = 100 * np.array([d.result["test"][f"recall@{k}"] for d in done])
    return f"{values.mean():.2f}" + (f" ± {values.std(ddof=1):.2f}" if len(values) > 1 else "")


def of_users(done: Sequence[Done], metric: str) -> np.ndarray:
    """float[users]: each user's value, the mean over the seeds."""
    return np.mean([d.test_users()[metric] for d in done], axis=0)


def claim(report: Report, told: str, better: Sequence[Done], worse: Sequence[Done], k: int) -> None:
    """Whether one is above the other at k, by a Wilcoxon signed-rank test over users."""
    metric = f"recall@{k}"
    users = of_users(better, metric), of_users(worse, metric)
    means = [[d.result["test"][metric] for d in done] for done in (better, worse)]
    test = compare(*means, *users)
    report.claim(verdict(f"{told}, {metric} (Wilcoxon over users)", test.difference, test.p_users))


# ------------------------------------------------------------------------------------------- the tables


ABOVE = (
    ("DualNet", "CDL"),
    ("CDL", "WMF"),
    ("DualNet", "WMF"),
    ("DualNet+users", "CDL"),
    ("DualNet+users", "WMF"),
)


def table1(options: Options) -> None:
    """Recall@50, 100 and 200 of every model on every split."""
    cuts = options.cuts(50, 100, 200)
    models, left_out = _with_content(options, cuts)
    rows = [
        Row((split, model), model, settings, PAPER_TABLE_1.get((split, model)))
        for split, settings in options.source.splits.items()
        for model in models
    ]
    runs = measured(options, rows, cuts)
    report = written(options, "table1", ("split", "model"), rows, runs, cuts)
    if left_out:
        report.say(f"Left out, as the items of '{options.data}' have no columns to read: {', '.join(left_out)}.")
    by_label = {row.labels: done for row, done in zip(rows, runs, strict=True)}
    for split in options.source.splits:
        for better, worse in ABOVE:
            if better in models and worse in models:
                for k in cuts:
                    runs_of = by_label[split, better], by_label[split, worse]
                    claim(report, f"{better} above {worse}, {split}", *runs_of, k)
    report.close([d for done in runs for d in done])


def _with_content(options: Options, cuts: Sequence[int]) -> tuple[list[str], list[str]]:
    """The models that were asked for, and those of them that the data has nothing to read for."""
    asked = list(options.models or OF_TABLE_1)
    first = options.job("WMF", cuts, *next(iter(options.source.splits.values())))
    kinds = split_of(first.load()).train.kinds.values()
    left_out = [] if any(kind.columns for kind in kinds) else [name for name in asked if name in READ_CONTENT]
    return [name for name in asked if name not in left_out], left_out


def table2(options: Options) -> None:
    """Out-matrix: items that no training row names, ranked among themselves."""
    if strange := [name for name in options.models if name not in OF_TABLE_2]:
        raise ConfigError(
            f"--models: table2 ranks new items, of which {strange[0]} knows nothing: {', '.join(OF_TABLE_2)}"
        )
    cuts = options.cuts(50, 100, 200)
    rows = [
        Row((model,), model, (*options.source.out_matrix, NO_LEAK), PAPER_TABLE_2.get(model))
        for model in options.models or OF_TABLE_2
    ]
    runs = measured(options, rows, cuts)
    report = written(options, "table2", ("model",), rows, runs, cuts)
    by_model = {row.model: done for row, done in zip(rows, runs, strict=True)}
    if len(by_model) == 2:
        for k in cuts:
            claim(report, "DualNet above CDL, out-matrix", by_model["DualNet"], by_model["CDL"], k)
    report.close([d for done in runs for d in done])


def table3(options: Options) -> None:
    """The three designs, in-matrix."""
    cuts = options.cuts(10, 50, 100)
    settings = list(options.source.splits.values())[-1]
    rows = [
        Row((design,), "DualNet", (*settings, f"model.design={design}"), printed)
        for design, printed in PAPER_TABLE_3.items()
    ]
    runs = measured(options, rows, cuts)
    report = written(options, "table3", ("design",), rows, runs, cuts)
    for k in cuts:
        claim(report, "multi-level above basic", runs[1], runs[0], k)
        claim(report, "branching above multi-level", runs[2], runs[1], k)
    report.close([d for done in runs for d in done])


def noise(options: Options) -> None:
    """With and without noise on the inputs, in-matrix and out-matrix (section 5.3)."""
    cuts = options.cuts(50, 300)
    splits = {
        "in-matrix": list(options.source.splits.values())[-1],
        "out-matrix": (*options.source.out_matrix, NO_LEAK),
    }
    rows = [
        Row((split, told), "DualNet", (*settings, *_noise(share)), PAPER_NOISE[split, told])
        for split, settings in splits.items()
        for told, share in (("without", 0.0), ("with", 0.3))
    ]
    # the noise is what is compared, so no trial may set it
    options = replace(options, trials=1)
    runs = measured(options, rows, cuts)
    report = written(options, "noise", ("split", "noise"), rows, runs, cuts)
    by_label = {row.labels: done for row, done in zip(rows, runs, strict=True)}
    for split, k in zip(splits, reversed(cuts), strict=True):
        plain, noisy = by_label[split, "without"], by_label[split, "with"]
        claim(report, f"noise raises recall, {split}", noisy, plain, k)
    report.close([d for done in runs for d in done])


def _noise(share: float) -> tuple[str, ...]:
    return (f"model.user_noise={share}", f"model.item_noise={share}")


# ----------------------------------------------------------------- dual mini-batches and what else was tried

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
SMALL = ("opt.batch_size=64", "model.block_items=64")
WAYS = {
    "dual mini-batches": (),
    "all pairs by Gram matrices": ("model.all_pairs=true",),
    "logistic loss": ("model.loss=logistic",),
    "blocks of 64 x 64": SMALL,
    "blocks of 64 x 64, half of the empty ones left out": (*SMALL, "model.skip_empty_blocks=0.5"),
}
RATES = ("opt.hyper_params.lr=0.001", "opt.hyper_params.lr=0.003", "opt.hyper_params.lr=0.01")


def tactics(options: Options) -> None:
    """Dual mini-batches against the loss of all pairs, and the paper's "Unsuccessful tactics": recall, and the time
    that each needs to the recall that all of its group reach."""
    cuts = options.cuts(50, 100, 200)
    settings = list(options.source.splits.values())[-1]
    rates = RATES[: options.trials]
    jobs = [
        options.job("DualNet+users", cuts, *settings, *PLAIN, *way, rate) for way in WAYS.values() for rate in rates
    ]
    done = run_all(jobs, options.out, options.jobs)
    watched = f"recall@{cuts[-1]}"
    best = {}
    for number, way in enumerate(WAYS):
        of_way = done[number * len(rates) : (number + 1) * len(rates)]
        best[way] = max(of_way, key=lambda run: run.result["valid"][watched])
    ways = list(WAYS)
    report = options.report("tactics")
    table = [["", "lr", *(f"recall@{k}" for k in cuts), "epochs", "s an epoch", f"{watched} reached", "after s"]]
    for group in (ways[:2], ways[2:3], ways[3:]):
        target = 0.98 * min(best[way].result["valid"][watched] for way in group)
        for way in group:
            seconds, epochs, until = _time_to(best[way], watched, target)
            lr = json.loads((best[way].folder / "config.json").read_text(encoding="utf-8"))["opt"]["hyper_params"]["lr"]
            recall = [percent([best[way]], k) for k in cuts]
            table.append(
                [way, str(lr), *recall, str(epochs), f"{seconds:.2f}", f"{100 * target:.1f}", f"{until * seconds:.0f}"]
            )
    report.table(table)
    report.say(
        f"DualNet+users, basic design, seed 0; each way with the best of {len(rates)} learning rates by validation "
        f"{watched}. 's an epoch' is without evaluation; 'reached' is 98 % of the lower best of the ways that are "
        "compared, on the validation part, and 'after s' the training time until then."
    )
    plain, logistic = [best[ways[0]]], [best[ways[2]]]
    for k in cuts:
        claim(report, "the squared loss above the logistic loss", plain, logistic, k)
    report.close(done)


def _time_to(run: Done, metric: str, target: float) -> tuple[float, int, int]:
    """(median seconds of an epoch without evaluation, epochs of the run, epochs until the metric was reached)."""
    rows = RunFolder(run.folder).rows()
    plain = [b["seconds"] - a["seconds"] for a, b in pairwise(rows) if metric not in b]
    until = next(row["epoch"] for row in rows if row.get(metric, -1.0) >= target)
    return float(np.median(plain)), rows[-1]["epoch"], until
