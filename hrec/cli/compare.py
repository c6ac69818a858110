"""Compare finished runs on one data set: mean and deviation over seeds of a metric by kind, as a Markdown table.

    hrec compare output/DURation-planted-tiny-* output/DeepMF-planted-tiny-* --metric auc

Runs that differ only in their seed are one row. Nothing is trained.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hrec.cli.ending import status_of
from hrec.cli.seeds import markdown
from hrec.config import ConfigError, load, path_argument
from hrec.experiments.runs import whole
from hrec.models import find_model
from hrec.pipeline.building import effective_settings
from hrec.pipeline.checkpoints import CheckpointError
from hrec.pipeline.ranking_metrics import is_ranking

PARTS = ("model", "opt", "ranking")
"""Settings by which runs are separate rows."""


class Finished(NamedTuple):
    """A finished run: its result, its settings by key path, and the digest of its rows."""

    folder: Path
    result: dict[str, Any]
    settings: dict[str, str]
    rows: str


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Run one command line; returns the exit status."""
    return status_of(lambda: compare(argv, prog))


def compare(argv: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Print the table. Raises ConfigError or CheckpointError."""
    parser = argparse.ArgumentParser(
        prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("runs", nargs="+", type=path_argument, metavar="RUN", help="folders of finished runs")
    parser.add_argument("--metric", help="auc, recall@10; left out, the first that all runs measured")
    args = parser.parse_args(argv)
    runs = [_read(folder) for folder in dict.fromkeys(args.runs)]
    _refuse_other_data(runs)
    metric = _metric(runs, args.metric)
    sampled = is_ranking(metric) and any(run.settings.get("ranking.sampled", "null") != "null" for run in runs)
    print(markdown(_rows(runs), metric, sampled=sampled))


def _read(folder: Path) -> Finished:
    """Raises CheckpointError where the folder holds no finished run."""
    if not (folder / "result.json").exists():
        why = "the run has not finished" if (folder / "config.json").exists() else "not the folder of a run"
        raise CheckpointError(f"{folder}: {why}, there is no result.json in it")
    result = whole(folder / "result.json", lambda path: json.loads(path.read_text(encoding="utf-8")))
    data = whole(folder / "data.json", lambda path: json.loads(path.read_text(encoding="utf-8")))
    settings = effective_settings(load(str(folder / "config.json"), find_model))
    return Finished(folder, result, _flat({part: settings[part] for part in PARTS if part in settings}), data["digest"])


def _flat(settings: dict[str, Any], above: str = "") -> dict[str, str]:
    """Key path -> value as JSON."""
    out: dict[str, str] = {}
    for key, value in settings.items():
        out |= _flat(value, f"{above}{key}.") if isinstance(value, dict) else {above + key: json.dumps(value)}
    return out


def _refuse_other_data(runs: Sequence[Finished]) -> None:
    """Raises ConfigError: figures of other data or another split cannot stand in one table."""
    like = runs[0]
    for run in runs[1:]:
        if run.result["data"] != like.result["data"]:
            raise ConfigError(f"{run.folder} is a run on {run.result['data']}, {like.folder} on {like.result['data']}")
        if run.rows != like.rows:
            raise ConfigError(f"{run.folder} and {like.folder} have other rows or another split: compare them alone")


def _metric(runs: Sequence[Finished], asked: str | None) -> str:
    """Raises ConfigError where a run did not measure it."""
    common = [m for m in runs[0].result["test"] if "/" not in m and all(m in run.result["test"] for run in runs)]
    if not common or (asked and asked not in common):
        has = f"all runs measured {', '.join(common)}" if common else "the runs have no metric in common"
        raise ConfigError(f"--metric {asked or 'is left out'}: {has}")
    return asked or common[0]


def _rows(runs: Sequence[Finished]) -> dict[str, list[dict[str, Any]]]:
    """Name of a row -> results over seeds. Settings stand in the name where rows of one model differ in them."""
    groups: dict[str, list[Finished]] = {}
    for run in runs:
        groups.setdefault(run.result["model"] + json.dumps(run.settings, sort_keys=True), []).append(run)
    out: dict[str, list[dict[str, Any]]] = {}
    for group in groups.values():
        same = [g[0].settings for g in groups.values() if g[0].result["model"] == group[0].result["model"]]
        _refuse_equal_seeds(group)
        differ = sorted(k for k in set().union(*same) if len({s.get(k) for s in same}) > 1)
        named = [f"{key}={group[0].settings.get(key, 'null')}" for key in differ]
        out[" ".join([group[0].result["model"], *named])] = [run.result for run in group]
    return out


def _refuse_equal_seeds(group: Sequence[Finished]) -> None:
    """Raises ConfigError: a run counted twice would make the deviation too small."""
    seen: dict[int, Path] = {}
    for run in group:
        if (first := seen.setdefault(run.result["seed"], run.folder)) != run.folder:
            raise ConfigError(f"{first} and {run.folder} have the same settings and seed: give one of them")
