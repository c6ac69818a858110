"""Tables of top-N lists: rows that are runs of a model over seeds, the best of its trials chosen by validation."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol

import numpy as np

from hrec.experiments.options import CommonOptions
from hrec.experiments.reports import Report
from hrec.experiments.runs import Done, Job, best_of, run_all, try_all
from hrec.experiments.significance import compare
from hrec.pipeline.ranking import describe_candidates as out_of
from hrec.settings import RankingSettings

Overrides = tuple[str, ...]


class ListOptions(Protocol):
    """The options of a paper whose tables are made of lists (a ``CommonOptions`` with these)."""

    @property
    def seeds(self) -> int: ...

    @property
    def jobs(self) -> int: ...

    @property
    def out(self) -> Path: ...

    def trials_of(self, model: str) -> list[Overrides]:
        """What is tried of a model; without trials one setting, which may be empty."""
        ...

    def job(self, model: str, metrics: Sequence[str], *overrides: str, seed: int = 0) -> Job: ...

    def by_row(self, done: Sequence[Done]) -> list[list[Done]]: ...

    def report(self, name: str) -> Report: ...


@dataclass(frozen=True)
class Row:
    """One line of a table: its labels, and its runs, whose trial and seed may differ."""

    labels: tuple[str, ...]
    model: str
    overrides: Overrides = ()
    paper: Sequence[float | None] | None = None
    """The numbers that the paper printed, in the order of the metrics."""


def measured(
    options: ListOptions, rows: Sequence[Row], metrics: Sequence[str], watched: Sequence[str]
) -> list[list[Done]]:
    """For each row its runs, one for each seed, with the best of its model's trials.

    watched: the metrics that choose a trial on the validation part, the first one first.
    """
    jobs = chosen(options, rows, metrics, watched)
    return options.by_row(run_all(jobs, options.out, options.jobs, shown=watched[0]))


def chosen(options: ListOptions, rows: Sequence[Row], metrics: Sequence[str], watched: Sequence[str]) -> list[Job]:
    """The jobs of ``measured``, in the order of rows and of seeds within a row; runs the trials."""
    trials = [options.trials_of(row.model) for row in rows]
    tried = [
        options.job(row.model, metrics, *trial, *row.overrides)
        for row, some in zip(rows, trials, strict=True)
        for trial in (some if len(some) > 1 else ())
    ]
    later = sum(options.seeds - (len(some) > 1) for some in trials)
    done = iter(try_all(tried, options.out, options.jobs, later=later, shown=watched[0]))
    best = [some[0] if len(some) == 1 else best_of(some, list(islice(done, len(some))), watched) for some in trials]
    return [
        options.job(row.model, metrics, *trial, *row.overrides, seed=seed)
        for row, trial in zip(rows, best, strict=True)
        for seed in range(options.seeds)
    ]


def percent(done: Sequence[Done], metric: str) -> str:
    """Mean ± deviation over the seeds of a test metric, in per cent."""
    values = 100 * np.array([d.result["test"].get(metric, np.nan) for d in done])
    return f"{values.mean():.2f}" + (f" ± {values.std(ddof=1):.2f}" if len(values) > 1 else "")


def of_users(done: Sequence[Done], metric: str) -> np.ndarray:
    """float[users]: each user's value, the mean over the seeds."""
    return np.mean([d.test_users()[metric] for d in done], axis=0)


def claim(
    report: Report, text: str, better: Sequence[Done], worse: Sequence[Done], metric: str, ours: bool = False
) -> None:
    """Whether one is above the other, by a Wilcoxon test over users; ``ours``: the paper does not claim it."""
    users = of_users(better, metric), of_users(worse, metric)
    above, below = ([d.result["test"][metric] for d in done] for done in (better, worse))
    report.claim_of_users(f"{text}, {metric} (Wilcoxon over users)", compare(above, below, *users), ours)


def table_of(
    rows: Sequence[Row], runs: Sequence[Sequence[Done]], heading: Sequence[str], metrics: Sequence[str]
) -> list[list[str]]:
    """Cells of the table: labels, each metric in per cent, and the paper's numbers where a row has some."""
    with_paper = any(row.paper for row in rows)
    table = [[*heading, *metrics, *(["paper"] if with_paper else [])]]
    for row, done in zip(rows, runs, strict=True):
        printed = " / ".join("-" if v is None else f"{v:.2f}" for v in row.paper or (None,))
        table.append([*row.labels, *(percent(done, m) for m in metrics), *([printed] if with_paper else [])])
    return table


def seconds_of(done: Sequence[Done]) -> float:
    """Mean seconds of training of the runs."""
    return float(np.mean([d.result["seconds"] for d in done]))


def candidates(runs: Sequence[Sequence[Done]]) -> str:
    """What the lists were ranked out of, in words."""
    settings = {json.dumps(run.result["ranking"], sort_keys=True) for done in runs for run in done}
    each = [RankingSettings.model_validate(json.loads(text)) for text in sorted(settings)]
    lines = [
        f"{out_of(one)}, less what the user has in training" + (" and validation" if one.mask_valid else "")
        for one in each
    ]
    return f"Lists {'; or '.join(dict.fromkeys(lines))}."


def tuned(options: ListOptions, rows: Sequence[Row], metric: str, where: str) -> str:
    """Which models had several settings tried, and which settings the others have, in words."""
    tried = {row.model: options.trials_of(row.model) for row in rows}
    several = [f"{model} ({len(some)} settings)" for model, some in tried.items() if len(some) > 1]
    lines = [f"Tuned by {metric} of the validation part over the trials in {where}: {', '.join(several)}."]
    alone = {model: " ".join(some[0]) for model, some in tried.items() if len(some) == 1}
    with_more = [f"{model} with {words}" for model, words in alone.items() if words]
    as_given = [model for model, words in alone.items() if not words]
    lines += [f"One setting, not tuned in this run: {', '.join(with_more)}."] if with_more else []
    lines += [f"As in the config: {', '.join(as_given)}."] if as_given else []
    return " ".join(lines[0 if several else 1 :])


@dataclass(frozen=True)
class ListSource:
    """A data set of a paper's tables: settings of every run on it, and what its models are given there."""

    overrides: Overrides
    models: tuple[str, ...]
    """The rows that it can have, in order."""
    settings: Mapping[str, Overrides] | None = None
    """Model -> settings of every run here, in addition to the trial."""
    trials: Mapping[str, list[Overrides]] | None = None
    """Model -> what is tried here, in place of the paper's trials."""
    published: Mapping[str, Sequence[float | None]] | None = None
    """Model -> the paper's numbers, where data and split are the paper's."""
    text: str = ""
    """What a reader must know of the data."""


def write_table(
    options: CommonOptions,
    name: str,
    content: tuple[Sequence[str], Sequence[Row], list[list[Done]], Sequence[str]],
    remarks: Sequence[str],
    more: Callable[[Report], None] = lambda report: None,
) -> None:
    """A report with one table and its remarks. content: heading, rows, runs, metrics; ``more`` adds claims."""
    heading, rows, runs, metrics = content
    report = options.report(name)
    report.table(table_of(rows, runs, heading, metrics))
    found = {
        ", ".join(row.labels): {m: [100 * d.result["test"].get(m, np.nan) for d in done] for m in metrics}
        for row, done in zip(rows, runs, strict=True)
    }
    report.dots(found, "test, in per cent")
    for line in remarks:
        if line:
            report.say(line)
    more(report)
    report.close([d for done in runs for d in done])
