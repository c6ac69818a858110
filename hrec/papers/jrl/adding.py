"""What it costs to add a view to a finished run of eJRL, against training all views from scratch (section 4.2)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hrec.config import ConfigError
from hrec.experiments import lists
from hrec.experiments.lists import Row, percent, seconds_of
from hrec.experiments.reports import Report
from hrec.experiments.runs import Done, Job, run_all
from hrec.papers.jrl.published import CLAIMS
from hrec.papers.jrl.runs import METRICS, SOURCES, VIEWS, Options
from hrec.pipeline.kept_views import kept_from

WATCHED = ("ndcg@10",)
SCRATCH = ("eJRL", "JRL")
"""Models that train all views from scratch."""


@dataclass(frozen=True)
class Added:
    """Runs over the seeds before and after a view was added."""

    view: str
    before: list[Done]
    after: list[Done]


def views(options: Options) -> None:
    """Cost and quality of adding a view to a finished run of eJRL, against training all views from scratch.

    Each view of the data is added in turn to a run of the others.
    """
    _require_views(options)
    had = views_of(options.job("eJRL", METRICS))
    rows = [*rows_before(had), *(Row((model,), model) for model in SCRATCH)]
    jobs = lists.chosen(options, rows, METRICS, WATCHED)
    done = run_all(jobs, options.out, options.jobs, shown=WATCHED[0])
    runs, each = options.by_row(done), [view for view in had for _ in range(options.seeds)]
    extending = [extended(job, one, had, view) for job, one, view in zip(jobs, done, each, strict=False)]
    after = options.by_row(run_all(extending, options.out, options.jobs, shown=WATCHED[0]))
    added = [Added(*one) for one in zip(had, runs, after, strict=False)]
    scratch = dict(zip(SCRATCH, runs[len(had) :], strict=True))
    _write(options, added, scratch, lists.tuned(options, rows[len(had) :], WATCHED[0], "hrec/papers/jrl/runs.py"))


def _require_views(options: Options) -> None:
    having = [name for name, source in SOURCES.items() if len(set(VIEWS) & set(source.models)) > 1]
    if options.data not in having:
        raise ConfigError(f"--data {options.data} has no two views. Data that have: {', '.join(having)}")


def views_of(job: Job) -> dict[str, Any]:
    """The views that a run has by name, with their settings. The job names them in ``model.views``."""
    chosen = job.load().model.views  # type: ignore[attr-defined]
    return {name: settings.model_dump(mode="json") for name, settings in chosen.items()}


def rows_before(had: Mapping[str, Any]) -> list[Row]:
    """For each view a row of eJRL with the others."""
    return [Row((f"without {view}",), "eJRL", (_with({k: v for k, v in had.items() if k != view}),)) for view in had]


def extended(job: Job, done: Done, had: Mapping[str, Any], view: str) -> Job:
    """The job that adds ``view`` to the finished run of ``job``, whose views keep their weights."""
    old = [name for name in had if name != view]
    return replace(job, overrides=(*job.overrides, _with(had), *kept_from(done.folder, old)))


def _with(views: Mapping[str, Any]) -> str:
    return f"model.views={json.dumps(views)}"


def _write(options: Options, added: Sequence[Added], scratch: Mapping[str, list[Done]], tuned: str) -> None:
    whole = seconds_of(scratch["eJRL"])
    rows = [["run", "seconds", "of eJRL from scratch", *METRICS]]
    for one in added:
        rows.append(_line(f"without {one.view}", one.before, whole))
        rows.append(_line(f"{one.view} added to it", one.after, whole))
    rows += [_line(f"{model}, all views from scratch", done, whole) for model, done in scratch.items()]
    report = options.report("views")
    report.table(rows)
    report.say(
        f"Test values in per cent, {options.described_seeds}. {lists.candidates([scratch['eJRL']])} Seconds are those "
        "of training. Of a run with an added view they are those of that view alone: the other views keep their "
        f"weights, and the line above has what they cost. {tuned} A run with an added view has the setting of the run "
        "that it extends."
    )
    report.say(_differences(options, added, scratch["eJRL"]))
    if options.source.text:
        report.say(options.source.text)
    _claims(report, added)
    every = [done for one in added for done in (*one.before, *one.after)]
    report.close([*every, *(done for some in scratch.values() for done in some)])


def _line(label: str, done: Sequence[Done], whole: float) -> list[str]:
    seconds = seconds_of(done)
    return [label, f"{seconds:.1f}", f"{100 * seconds / whole:.0f} %", *(percent(done, m) for m in METRICS)]


def _differences(options: Options, added: Sequence[Added], scratch: Sequence[Done]) -> str:
    """How far the quality after adding a view is from that of all views from scratch, in words."""
    reached = [[d.result["test"][WATCHED[0]] for d in done] for done in (*(one.after for one in added), scratch)]
    *after, whole = reached
    far = max(100 * abs(a - w) for some in after for a, w in zip(some, whole, strict=True))
    why = " (validation may choose another setting for the run that is extended)" if options.trials > 1 else ""
    return f"With the added view {WATCHED[0]} differs by at most {far:.2f} points from eJRL from scratch{why}."


def _claims(report: Report, added: Sequence[Added]) -> None:
    for order in CLAIMS["views"]:
        for one in added:
            lists.claim(report, f"{order}: {one.view}", one.after, one.before, WATCHED[0], order.ours)
