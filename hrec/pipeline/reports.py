"""The tables and curves of a run: the counts of its data, its metrics, and the closing lines of its log."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hrec.config import LoadedConfig
from hrec.datasets.recdata import Split
from hrec.models.base import BaseModel
from hrec.pipeline.curves import draw_curves
from hrec.pipeline.measured import Metrics
from hrec.pipeline.ranking import describe_candidates, ranked_out_of
from hrec.pipeline.records import RunFolder


def report(folder: RunFolder, config: LoadedConfig, metrics: Metrics, parts: Split, result: dict[str, Any]) -> None:
    """Write result.json and the curves, and log the closing tables."""
    folder.write_json("result.json", result)
    draw_run(folder, config, metrics)
    shown = {"valid": result["valid"], "test": result["test"]}
    kinds, best, ranking = list(parts.train.kinds), result["best_possible"], config.run.ranking
    if metrics.rows:
        folder.say(metrics_table(shown | ({"best possible": best} if best else {}), metrics.rows, kinds))
    if metrics.lists:
        table_of_lists = lists_table(shown, metrics.lists, ranked_out_of(ranking, kinds))
        folder.say(f"lists ranked {describe_candidates(ranking)}\n{table_of_lists}")
    if best and "auc" in result["test"]:
        reached = result["test"]["auc"]
        folder.say(f"macro AUC {reached:.4f} of a best possible {best['auc']:.4f}: {reached / best['auc']:.3f} of it")
    folder.say(f"trained in {result['seconds']:.1f} s, peak memory {result['memory_mb']:,.0f} MB; see {folder.path}")


def draw_run(folder: RunFolder, config: LoadedConfig, metrics: Metrics) -> None:
    """Draw curves.png, with the metric that chose the best epoch of the last stage."""
    stop = config.run.opt.for_stage(config.model_class.stage_groups[-1]).early_stop
    draw_curves(folder.rows(), metrics.names, folder.path / "curves.png", stop.metric if stop else None)


def size_of(model: BaseModel) -> str:
    """The number of weights and their memory."""
    count = sum(p.numel() for p in model.parameters())
    return f"{count:,} weights, {sum(p.numel() * p.element_size() for p in model.parameters()) / 1e6:.1f} MB"


# ------------------------------------------------------------------------------------- tables


def table(rows: list[list[str]]) -> str:
    """Text in columns, the first aligned left and the others right; the first row is the heading."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def counts_table(parts: Split) -> str:
    """Users, items and rows of each split, by kind."""
    train, splits = parts.train, [part.interactions for part in (parts.train, parts.valid, parts.test)]
    rows = [["kind", "items", "columns", "train", "valid", "test", "positive %", "users"]]
    rows += [_counts_of(parts, index) for index in range(len(train.kinds))]
    rows.append(["all", f"{train.n_items:,}", "", *(f"{len(x):,}" for x in splits), "", f"{train.n_users:,}"])
    if train.users.columns:
        rows.append(["users", "", str(len(train.users.columns)), *[""] * 5])
    return table(rows)


def _counts_of(parts: Split, index: int) -> list[str]:
    """The cells of the kind with this index."""
    name, kind = list(parts.train.kinds.items())[index]
    splits = [part.interactions for part in (parts.train, parts.valid, parts.test)]
    here = [(x, x.kind == index) for x in splits]
    # implicit training rows are all positive: the share is that of the splits with drawn negatives
    labelled = here[1 if parts.train.feedback.negatives else 0 :]
    label = np.concatenate([np.zeros(0), *(x.label[rows] for x, rows in labelled if x.label is not None)])
    share = f"{100 * label.mean():.1f}" if len(label) else "-"
    users = np.unique(np.concatenate([x.user[rows] for x, rows in here]))
    counts = [f"{rows.sum():,}" for _, rows in here]
    return [name, f"{kind.count:,}", str(len(kind.columns)), *counts, share, f"{len(users):,}"]


def metrics_table(results: Mapping[str, Mapping[str, float]], metrics: Sequence[str], kinds: Sequence[str]) -> str:
    """A row for each kind, the macro mean and pooled; a column for each split and metric.

    A line below the table names each column whose macro mean leaves out kinds where the metric is not defined.
    """
    columns = [(part, metric) for part in results for metric in metrics if metric in results[part]]
    rows = [["", *(f"{part} {metric}" for part, metric in columns)]]
    for name, suffix in [*((kind, f"/{kind}") for kind in kinds), ("macro mean", ""), ("pooled", "/pooled")]:
        rows.append([name, *(_shown(results[part].get(metric + suffix)) for part, metric in columns)])
    lines = [table(rows)]
    for part, metric in columns:
        defined = [kind for kind in kinds if not math.isnan(results[part].get(f"{metric}/{kind}", 0.0))]
        if 0 < len(defined) < len(kinds):
            lines.append(f"{part} {metric}: the macro mean is that of {', '.join(defined)}")
    return "\n".join(lines)


WIDTH = 100
"""Characters of a line of the table of lists, so that it fits a terminal."""


def lists_table(results: Mapping[str, Mapping[str, float]], metrics: Sequence[str], out_of: Mapping[str, str]) -> str:
    """A column for each metric of lists, in blocks of WIDTH; a row for each split, and for each group of the last one.

    out_of: the groups of a metric, '' for all, and what the lists of each are ranked out of, which the row names.
    """
    last = list(results)[-1]
    known = [g for g in out_of if any(f"{metric}/{g}" in results[last] for metric in metrics)]
    rows = [*((part, "") for part in results), *((last, group) for group in known)]
    names = ["", *(f"{part} {group.replace('_', ' ')}".strip() for part, group in rows)]
    width = max(len(text) for text in out_of.values())
    sources = [text.ljust(width) for text in ("out of", *(out_of[group] for _, group in rows))]
    values = [[metric, *_cells(results, rows, metric)] for metric in metrics]
    blocks = _in_blocks(values, WIDTH - max(map(len, names)) - 2 - max(width, len("out of")))
    return "\n\n".join(table([list(row) for row in zip(names, sources, *block, strict=True)]) for block in blocks)


def _cells(results: Mapping[str, Mapping[str, float]], rows: list[tuple[str, str]], metric: str) -> list[str]:
    """The metric of each row's split and group."""
    return [_shown(results[part].get(f"{metric}/{group}" if group else metric)) for part, group in rows]


def _shown(value: float | None) -> str:
    """Four decimals, '-' without a value."""
    return "-" if value is None or math.isnan(value) else f"{value:.4f}"


def _in_blocks(columns: list[list[str]], room: int) -> list[list[list[str]]]:
    """The columns in blocks of at most ``room`` characters, of one column at least."""
    blocks: list[list[list[str]]] = []
    left = 0
    for column in columns:
        needs = 2 + max(map(len, column))
        if not blocks or needs > left:
            blocks.append([])
            left = room
        blocks[-1].append(column)
        left -= needs
    return blocks
