"""The tables of the DualNet paper (Xiong et al., 2017): recall of WMF, CDL and DualNet, in-matrix and out-matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from experiments.report import Report
from experiments.runs import Done, Job, run_all
from experiments.statistics import compare, verdict

CONFIGS = {"Popularity": "popularity", "ItemKNN": "itemknn", "EASE": "ease", "BPRMF": "bprmf", "WMF": "wmf"} | {
    "CDL": "cdl",
    "DualNet": "dualnet",
}
UNLABELLED = 'data.label={"negatives": 0}'
IN_MATRIX = 'data.split={"by": "in_matrix", "ratio": [3, 1, 1]}'
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


def _source(name: str, *settings: str) -> Source:
    data = (f"data={name}", *settings)
    return Source({"in-matrix": (*data, IN_MATRIX)}, (*data, *OUT_MATRIX))


def _citeulike(name: str, text: str, **more: tuple[str, ...]) -> Source:
    kept = (f"data={name}", UNLABELLED)
    own = {"CDL": "cdl-citeulike", "DualNet": "dualnet-citeulike"}
    told = f"The content is a bag of words of {text}; the paper's is of titles and abstracts."
    return Source({**more, "CiteULike2": kept}, (*kept, *OUT_MATRIX), own, told)


SOURCES = {
    "citeulike_a": _citeulike("citeulike", "titles and tags", CiteULike1=("data=citeulike-p10", UNLABELLED)),
    "citeulike_titles": _citeulike("citeulike-titles", "titles alone, as tags know of test rows (data/README.md)"),
    "epinions": _source("epinions"),
    "movielens_100k": _source("movielens"),
    "planted": _source("planted-small"),
    "tiny": _source("planted-tiny"),
}

SETTINGS: dict[str, tuple[str, ...]] = {
    "Popularity": (),
    "ItemKNN": (),
    "EASE": (),
    "BPRMF": ("opt.batch_size=4096", "opt.epochs=200"),
    "WMF": ("opt.epochs=15",),
    "CDL": (),
    "DualNet": (),
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
    "CDL": [(), ("model.lambda_v=1",)],
    "DualNet": [(), ("opt.hyper_params.lr=0.001",)],
}
"""What is tried of each model on the validation part, with seed 0: the first ``--trials``."""

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
PAPER_NOISE = {("in-matrix", 300): (67.3, 71.2), ("out-matrix", 50): (38.6, 47.5)}
"""Recall in per cent, without and with noise."""


@dataclass(frozen=True)
class Options:
    """What the command line said."""

    data: str
    out: Path
    seeds: int = 3
    jobs: int = 1
    trials: int = 1
    models: tuple[str, ...] = ("WMF", "CDL", "DualNet")

    @property
    def source(self) -> Source:
        return SOURCES[self.data]

    def job(self, model: str, cuts: Sequence[int], *overrides: str, seed: int = 0) -> Job:
        names = ", ".join(f'"recall@{k}"' for k in cuts)
        measured = (f"metrics=[{names}]", f"opt.early_stop.metric=recall@{cuts[-1]}")
        return Job(self.source.configs.get(model, CONFIGS[model]), (*SETTINGS[model], *measured, *overrides), seed)

    def report(self, name: str) -> Report:
        return Report(self.out / f"dualnet-{name}-{self.data}")


# ------------------------------------------------------------------------------------ rows of every table


@dataclass(frozen=True)
class Row:
    """One line of a table: its labels, and the runs that it stands for but for trial and seed."""

    labels: tuple[str, ...]
    model: str
    overrides: tuple[str, ...]
    paper: tuple[float, ...] | None = None


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
    return [runs[i * options.seeds : (i + 1) * options.seeds] for i in range(len(rows))]


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
        printed = [" / ".join(f"{v:.2f}" for v in row.paper) if row.paper else "-"] if with_paper else []
        table.append([*row.labels, *cells, *printed])
    report.table(table)
    report.say(
        f"Test recall in per cent over all users with a test row, mean and deviation over {options.seeds} seeds of "
        f"first weights and batches; one split. Each model was tuned over the first {options.trials} of its trials "
        "(scripts/experiments/dualnet.py) on the validation part."
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


def table1(options: Options) -> None:
    """Recall@50, 100 and 200 of every model on every split."""
    cuts = (50, 100, 200)
    rows = [
        Row((split, model), model, settings, PAPER_TABLE_1.get((split, model)))
        for split, settings in options.source.splits.items()
        for model in options.models
    ]
    runs = measured(options, rows, cuts)
    report = written(options, "table1", ("split", "model"), rows, runs, cuts)
    by_label = {row.labels: done for row, done in zip(rows, runs, strict=True)}
    for split in options.source.splits:
        for better, worse in (("DualNet", "CDL"), ("CDL", "WMF")):
            if better in options.models and worse in options.models:
                for k in cuts:
                    claim(
                        report, f"{better} above {worse}, {split}", by_label[split, better], by_label[split, worse], k
                    )
    report.close([d for done in runs for d in done])


def table2(options: Options) -> None:
    """Out-matrix: items that no training row names, ranked among themselves."""
    cuts = (50, 100, 200)
    rows = [
        Row((model,), model, (*options.source.out_matrix, NO_LEAK), PAPER_TABLE_2.get(model))
        for model in ("CDL", "DualNet")
        if model in options.models
    ]
    runs = measured(options, rows, cuts)
    report = written(options, "table2", ("model",), rows, runs, cuts)
    if len(rows) == 2:
        for k in cuts:
            claim(report, "DualNet above CDL, out-matrix", runs[1], runs[0], k)
    report.close([d for done in runs for d in done])


def table3(options: Options) -> None:
    """The three designs, in-matrix."""
    cuts = (10, 50, 100)
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
    cuts = (50, 300)
    splits = {
        "in-matrix": list(options.source.splits.values())[-1],
        "out-matrix": (*options.source.out_matrix, NO_LEAK),
    }
    rows = [
        Row(
            (split, "with" if share else "without"),
            "DualNet",
            (*settings, f"model.user_noise={share}", f"model.item_noise={share}"),
        )
        for split, settings in splits.items()
        for share in (0.0, 0.3)
    ]
    # the noise is what is compared, so no trial may set it
    runs = measured(replace(options, trials=0), rows, cuts)
    report = written(options, "noise", ("split", "noise"), rows, runs, cuts)
    for number, (split, k) in enumerate(PAPER_NOISE):
        plain, noisy = PAPER_NOISE[split, k]
        claim(
            report,
            f"noise raises recall, {split} (paper: {plain} to {noisy})",
            runs[2 * number + 1],
            runs[2 * number],
            k,
        )
    report.close([d for done in runs for d in done])
