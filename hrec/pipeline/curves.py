"""The curves of a run as a picture: terms of the loss, and a validation metric with its groups, over the epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec
from matplotlib.ticker import MaxNLocator

from hrec.pipeline.checkpoints import write_whole

Rows = Sequence[dict[str, Any]]

NOT_LOSSES = {"stage", "epoch", "lr", "seconds", "best"}
TERM_HEIGHT = 1.6
"""Inches of one term of the loss."""


def draw_curves(rows: Rows, metrics: Sequence[str], path: Path, watched: str | None = None) -> None:
    """``rows`` of log.jsonl -> a PNG; see ``curves``. No rows, no file."""
    if not rows:
        return
    figure = curves(rows, metrics, watched)
    try:
        write_whole(path, lambda p: figure.savefig(p, dpi=120, format="png"))
    finally:
        plt.close(figure)


def curves(rows: Rows, metrics: Sequence[str], watched: str | None = None) -> Figure:
    """The terms of the loss on the left, a metric on the right, and under it its groups.

    Each term has its own axis, as terms may differ by orders of magnitude.

    metrics: all that are measured. watched: the one that chose the best epoch, such as 'auc' or 'ndcg@10/book'. None:
    the first of ``metrics``.
    """
    watched = watched or metrics[0]
    terms, values = _terms(rows, metrics), _values(rows, watched)
    figure = plt.figure(figsize=(12, max(4.0, TERM_HEIGHT * len(terms) + 0.6)), layout="constrained")
    grid = figure.add_gridspec(1, 2)
    _draw_terms(_stacked(figure, grid[0, 0], len(terms)), rows, terms)
    _draw_metric(_stacked(figure, grid[0, 1], min(2, len(values))), rows, values, watched)
    for axis in figure.axes:
        axis.set_xlim(0.5, len(rows) + 0.5)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.ticklabel_format(axis="y", useOffset=False)
        axis.grid(alpha=0.3)
    return figure


def _stacked(figure: Figure, cell: SubplotSpec, count: int) -> list[Axes]:
    """Axes one under the other; the last names the epochs."""
    grid = cell.subgridspec(max(count, 1), 1)
    axes = [figure.add_subplot(grid[i, 0]) for i in range(count)]
    for axis in axes[:-1]:
        axis.tick_params(labelbottom=False)
    for axis in axes[-1:]:
        axis.set_xlabel("epoch")
    return axes


def _terms(rows: Rows, metrics: Sequence[str]) -> list[str]:
    """The loss, and its terms if there are several."""
    names = dict.fromkeys(name for row in rows for name in row if name.split("/")[0] not in metrics)
    terms = [name for name in names if name not in NOT_LOSSES]
    own = [name for name in terms if name != "loss"]
    return terms if len(own) != 1 or "loss" not in terms else ["loss"]


def _values(rows: Rows, watched: str) -> dict[str, list[float]]:
    """The watched metric, then its other groups, NaN if an epoch was not measured."""
    base = watched.split("/", maxsplit=1)[0]
    names = {name for row in rows for name in row if name.split("/")[0] == base}
    order = sorted(names, key=lambda name: (name != watched, name))
    return {name: _line(rows, name) for name in order}


def _line(rows: Rows, name: str) -> list[float]:
    """One value for each row, NaN if it is missing or null."""
    return [float("nan") if row.get(name) is None else row[name] for row in rows]


def _draw_terms(axes: Sequence[Axes], rows: Rows, terms: Sequence[str]) -> None:
    for axis, name in zip(axes, terms, strict=True):
        axis.plot(range(1, len(rows) + 1), _line(rows, name), ".-", lw=1.2)
        axis.set_ylabel(name)
        for i in range(1, len(rows)):
            if rows[i]["stage"] != rows[i - 1]["stage"]:
                axis.axvline(i + 0.5, color="grey", lw=0.5)
    for axis in axes[:1]:
        axis.set_title("training loss" if len(terms) == 1 else "training loss and its terms")


def _draw_metric(axes: Sequence[Axes], rows: Rows, values: Mapping[str, Sequence[float]], watched: str) -> None:
    """The watched metric on the first axis, other groups of it on the second; a line at the best epoch."""
    best = [i for i, row in enumerate(rows, start=1) if row.get("best")]
    for name, line in values.items():
        axis = axes[0] if name == watched else axes[-1]
        axis.plot(range(1, len(rows) + 1), line, ".-", label=name, lw=2 if name == watched else 1.2)
    for axis in axes:
        if best:
            axis.axvline(best[-1], color="grey", ls=":", lw=1, label="best" if axis is axes[0] else None)
        axis.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1), borderaxespad=0)  # outside of the axes
    for axis in axes[:1]:
        axis.set_title(f"validation {watched}")
