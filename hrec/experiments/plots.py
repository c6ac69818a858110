"""Tables as pictures: a dot for each value, with its deviation over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

from hrec.pipeline.checkpoints import write_whole

mpl.use("Agg")
from matplotlib import pyplot as plt

Dots = Mapping[str, Mapping[str, Sequence[float] | np.ndarray]]
"""Row -> column -> its values, one for each seed."""


def dots(path: Path, rows: Dots, label: str, log: bool = False) -> None:
    """A line for each row and a colour for each column: mean and deviation; ``log`` for counts."""
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    figure, axes = plt.subplots(figsize=(7, 1.3 + 0.24 * len(rows)))
    for index, column in enumerate(columns):
        at = [place for place, row in enumerate(rows.values()) if column in row]
        values = [np.asarray(row[column], float) for row in rows.values() if column in row]
        deviation = [v.std(ddof=1) if len(v) > 1 else 0.0 for v in values]
        last = index == len(columns) - 1
        axes.errorbar(
            [v.mean() for v in values],
            at,
            xerr=deviation,
            fmt="D" if last else "o",
            color="black" if last else None,
            alpha=1.0 if last else 0.6,
            markersize=4,
            capsize=2,
            label=column,
        )
    if log:
        axes.set_xscale("log")
    axes.set_yticks(range(len(rows)), list(rows))
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.3)
    axes.set_xlabel(label)
    axes.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
    save(figure, path)


def save(figure: Any, path: Path) -> None:
    """Write a figure as PNG, whole or not at all, and close it. Raises CheckpointError where that fails."""
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, lambda partial: figure.savefig(partial, format="png", dpi=150))
    plt.close(figure)
