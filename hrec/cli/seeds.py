"""Train models with several seeds on one data set: mean and deviation of a metric by kind, as a Markdown table.

    hrec seeds duration deepmf --data epinions --seeds 3 -- opt.hyper_params.lr=0.0003

A run that is finished is not run again, one that was killed is resumed; so the command can be repeated at will. Runs go
by their settings as they take effect; the commits they were made at stand under the table.
``name:key.path=value`` gives one model its own settings: "duration:model.alpha=0". What comes after ``--`` goes
to all of them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hrec.cli.arguments import too_small
from hrec.cli.ending import status_of
from hrec.config import ConfigError, path_argument
from hrec.experiments.runs import Job, run_all, short
from hrec.pipeline.devices import reuse_memory
from hrec.pipeline.measured import Metrics
from hrec.pipeline.metrics import direction
from hrec.pipeline.ranking import GROUPS
from hrec.pipeline.ranking_metrics import is_ranking


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Run one command line; returns the exit status."""
    return status_of(lambda: seeds(argv, prog))


def seeds(argv: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Run the models, write the table. Raises ConfigError, DataError, CheckpointError."""
    args, shared = _parsed(argv, prog)
    reuse_memory()
    jobs = []
    for model in args.models:
        name, *settings = _parted(model)
        jobs += [Job(name, (f"data={args.data}", *shared, *settings), seed) for seed in range(args.seeds)]
    metric = metric_of(jobs, args.metric)
    done = run_all(jobs, args.out, args.jobs, shown=metric)
    results = {
        model: [d.result for d in done[i * args.seeds : (i + 1) * args.seeds]] for i, model in enumerate(args.models)
    }
    text = markdown(results, metric, sampled=is_ranking(metric) and any(j.load().run.ranking.sampled for j in jobs))
    commits = sorted({short(d.result["commit"]) for d in done})
    text += f"\n\nRuns at commit {', '.join(commits)}."
    if len(commits) > 1:
        text += " They differ: give another --out to run all again."
    what = [*args.models, *shared, f"--metric={metric}", f"--seeds={args.seeds}"]
    path = args.out / f"{jobs[0].load().run.data.name}-{_digest(what)}.md"
    path.write_text(text + "\n", encoding="utf-8")
    print(f"\n{text}\n\nwritten to {path}")


def _parsed(argv: Sequence[str] | None, prog: str | None) -> tuple[argparse.Namespace, list[str]]:
    """The arguments, and the settings after ``--``. Raises ConfigError."""
    parser = argparse.ArgumentParser(
        prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("models", nargs="+", help="configs by name, each with its own settings after ':'")
    parser.add_argument("--data", required=True, help="a name in configs/data/")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side; they share the cores")
    parser.add_argument("--metric", help="auc, recall@10; left out, what the first model watches")
    parser.add_argument("--out", type=path_argument, default=Path("output/seeds"))
    own = list(sys.argv[1:] if argv is None else argv)
    cut = own.index("--") if "--" in own else len(own)
    args, shared = parser.parse_args(own[:cut]), own[cut + 1 :]
    if problem := too_small(args, seeds=1, jobs=1):
        raise ConfigError(problem)
    for word in [*shared, *(part for model in args.models for part in _parted(model)[1:])]:
        if word.startswith("seed="):
            raise ConfigError(f"'{word}': every row has seeds 0 to {args.seeds - 1}, as --seeds says; leave it out")
    return args, shared


def _parted(model: str) -> list[str]:
    """A config's name and its settings; a colon inside a value, as JSON has it, parts nothing. Raises ConfigError."""
    name, *settings = re.split(r":(?=[A-Za-z_][\w.,]*=)", model)
    if ":" in name:
        raise ConfigError(f"'{model}': after a ':' comes key.path=value, for example {name.split(':')[0]}:opt.epochs=5")
    return [name, *settings]


def metric_of(jobs: Sequence[Job], asked: str | None) -> str:
    """The metric of the table, which every job measures. Raises ConfigError, before anything is trained."""
    first = [job for job in jobs if job.seed == jobs[0].seed]
    common = set.intersection(*(set(job.overrides) for job in first))
    configs = {job.describe(common).rpartition(" seed ")[0]: job.load() for job in first}
    stop = next(iter(configs.values())).run.opt.early_stop
    metric = asked or (stop.metric.partition("/")[0] if stop else "auc")
    if "/" in metric:
        remedy = f"write '{metric.split('/', 1)[0]}', which is shown for each kind"
        raise ConfigError(f"--metric: '{metric}': {remedy}")
    try:
        direction(metric)
    except ValueError as error:
        raise ConfigError(f"--metric: {error}") from None
    for name, config in configs.items():
        if metric not in (measured := Metrics.parse(config).names):
            said = "--metric" if asked else f"--metric is left out, and {jobs[0].config} watches '{metric}'"
            raise ConfigError(
                f"{said}: {name} does not measure '{metric}', but {', '.join(measured)}. Choose one of all models, or "
                f"put 'metrics={metric}' after --"
            )
    return metric


def markdown(results: dict[str, list[dict[str, Any]]], metric: str, sampled: bool = False) -> str:
    """Rows are models, columns are kinds, then all of them; mean ± deviation over seeds on the test part. A kind that a
    model was not trained on has '-'. sampled: so were candidates, which the heading says."""
    measured = dict.fromkeys(key for runs in results.values() for key in runs[0]["test"])
    groups = ("pooled", *GROUPS)
    of_kinds = {k.split("/")[1]: k for k in measured if k.startswith(f"{metric}/") and k.split("/")[1] not in groups}
    of_all = {"all": metric} if is_ranking(metric) else {"macro": metric, "pooled": f"{metric}/pooled"}
    columns = of_kinds | of_all
    keys = list(columns.values())
    lines = [
        f"| test {metric}{' (sampled)' * sampled} | " + " | ".join(columns) + " | seconds |",
        "| --- |" + " ---: |" * (len(keys) + 1),
    ]
    for model, runs in results.items():
        cells = [_cell([r["test"][k] for r in runs]) if k in runs[0]["test"] else "-" for k in keys]
        lines.append(f"| {model} | " + " | ".join(cells) + f" | {np.mean([r['seconds'] for r in runs]):.0f} |")
    return "\n".join(lines)


def _cell(values: Sequence[float]) -> str:
    return f"{np.mean(values):.4f}" + (f" ± {np.std(values, ddof=1):.4f}" if len(values) > 1 else "")


def _digest(words: list[str]) -> str:
    return hashlib.blake2b(json.dumps(words).encode(), digest_size=4).hexdigest()
