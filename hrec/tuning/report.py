"""What a search leaves: a table of its trials, pictures of its course and of what mattered, the best settings."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState

from hrec.experiments.reports import Report
from hrec.experiments.runs import Done
from hrec.pipeline.building import effective_settings
from hrec.pipeline.checkpoints import write_whole
from hrec.pipeline.ranking_metrics import is_ranking
from hrec.tuning.space import values_of
from hrec.tuning.study import Study
from hrec.tuning.trial import Search

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.ticker import MaxNLocator


def write_report(study: Study, search: Search) -> None:
    """report.md, table.csv, history.png, importance.png and best.json in the study's folder; all of it printed."""
    trials, best, metric = study.done(), study.best(), search.metric
    report = Report(study.folder)
    report.table(table(trials, search, best))
    states = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "diverged": TrialState.FAIL}
    counts = ", ".join(f"{sum(t.state == state for t in trials)} {name}" for name, state in states.items())
    sampled = is_ranking(metric) and search.load(trials[0].params).run.ranking.sampled
    out_of = f" among {sampled} sampled others and the user's positives" if sampled else ""
    report.say(f"{len(trials)} trials: {counts}. Values are validation {metric}{out_of}; the test part was not read.")
    if best is not None:
        _history(study, metric, study.folder / "history.png")
        report.picture(study.folder / "history.png", f"validation {metric} over the trials")
        _say_importance(report, study)
        text = json.dumps(effective_settings(search.load(best.params)), indent=2) + "\n"
        write_whole(study.folder / "best.json", lambda path: path.write_text(text, encoding="utf-8"))
    report.close([Done(study.folder, trial.user_attrs) for trial in trials])


def table(trials: Sequence[FrozenTrial], search: Search, best: FrozenTrial | None) -> list[list[str]]:
    """A row for each trial, in their order, the best value in bold."""
    rows = [["trial", f"valid {search.metric}", *search.space, "seconds"]]
    for trial in trials:
        value = _described(trial)
        if best is not None and trial.number == best.number:
            value = f"**{value}**"
        drawn = [json.dumps(v) for v in values_of(search.space, trial.params).values()]
        seconds = f"{trial.duration.total_seconds():.0f}" if trial.duration else ""
        rows.append([str(trial.number), value, *drawn, seconds])
    return rows


def _described(trial: FrozenTrial) -> str:
    if trial.state == TrialState.COMPLETE:
        return f"{trial.value:.4f}"
    return "pruned" if trial.state == TrialState.PRUNED else "diverged"


def _say_importance(report: Report, study: Study) -> None:
    """Which setting mattered, if the values show it."""
    complete = study.trials(TrialState.COMPLETE)
    if len({t.value for t in complete}) < 2 or len(study.space) < 2:
        report.say("Importances need two settings and two complete trials of different value.")
        return
    importance = get_param_importances(study.optuna, evaluator=FanovaImportanceEvaluator(seed=0))
    _bars(importance, study.folder / "importance.png")
    report.picture(study.folder / "importance.png", "share of each setting in the variance of the values")
    shares = ", ".join(f"{name} {share:.2f}" for name, share in importance.items())
    report.say(f"Importance (fANOVA over {len(complete)} complete trials; of few trials it says little): {shares}.")


def _history(study: Study, metric: str, path: Path) -> None:
    """Values over the trials in their order, and the best so far."""
    complete, pruned = study.trials(TrialState.COMPLETE), study.trials(TrialState.PRUNED)
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    numbers = [t.number for t in complete]
    value = np.array([t.value for t in complete], float)
    best = np.maximum.accumulate(value) if study.optuna.direction.name == "MAXIMIZE" else np.minimum.accumulate(value)
    axes.plot(numbers, value, "o", label="complete")
    axes.step(numbers, best, where="post", label="best so far")
    stopped = [(t.number, t.value) for t in pruned if t.value is not None]
    if stopped:
        axes.plot(*zip(*stopped, strict=True), "x", color="grey", label="pruned, where it was")
    axes.set(xlabel="trial", ylabel=f"validation {metric}")
    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    _save(figure, path)


def _bars(importance: dict[str, float], path: Path) -> None:
    figure, axes = plt.subplots(figsize=(7, 0.4 * len(importance) + 1.2), layout="constrained")
    axes.barh(list(importance), list(importance.values()))
    axes.invert_yaxis()
    axes.set(xlabel="share in the variance of the values", xlim=(0, 1))
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    write_whole(path, lambda partial: figure.savefig(partial, dpi=120, format="png"))
    plt.close(figure)
