"""The curves of a run as a picture: terms of the loss, and validation metrics, over the epochs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from hrec.pipeline.checkpoints import write_whole

NOT_LOSSES = {"stage", "epoch", "lr", "seconds", "best"}


def draw_curves(rows: list[dict[str, Any]], metrics: list[str], path: Path) -> None:
    """``rows`` of log.jsonl -> a PNG with the losses on the left and the metrics on the right."""
    if not rows:
        return
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    x = list(range(1, len(rows) + 1))
    measured = {name for row in rows for name in row if name.split("/")[0] in metrics}
    terms = {name for row in rows for name in row} - measured - NOT_LOSSES
    for name in sorted(terms, key=lambda n: (n != "loss", n)):
        left.plot(x, [row.get(name, float("nan")) for row in rows], label=name, lw=2 if name == "loss" else 1.2)
    main = metrics[0]
    for name in sorted(n for n in measured if n.split("/")[0] == main):
        points = [(i, row[name]) for i, row in zip(x, rows, strict=True) if name in row]
        right.plot(*zip(*points, strict=True), marker=".", label=name, lw=2 if name == main else 1.2)
    best = [i for i, row in zip(x, rows, strict=True) if row.get("best")]
    if best:
        right.axvline(best[-1], color="grey", ls=":", lw=1, label="best")
    for i in range(1, len(rows)):
        if rows[i]["stage"] != rows[i - 1]["stage"]:
            left.axvline(i + 0.5, color="grey", lw=0.5)
    left.set(title="training loss", xlabel="epoch")
    right.set(title=f"validation {main}", xlabel="epoch")
    for axis in (left, right):
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.3)
        if axis.has_data():
            axis.legend(fontsize=8)
    write_whole(path, lambda p: figure.savefig(p, dpi=120, format="png"))
    plt.close(figure)
