"""Scores labelled rows with a model and measures the result: for each kind, their macro mean, and pooled."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from hrec.datasets.recdata import RecData
from hrec.models.base import BaseModel, InnerProductModel
from hrec.pipeline.devices import Processes
from hrec.pipeline.metrics import by_kind


class Evaluator:
    """Measures the metrics named; several processes share the rows and each gets the same result."""

    def __init__(self, metrics: Sequence[str], processes: Processes | None = None) -> None:
        self.metrics = list(metrics)
        self.processes = processes or Processes()

    def measure(self, model: BaseModel, part: RecData) -> dict[str, float]:
        """Keys: '<metric>' (macro mean), '<metric>/pooled', '<metric>/<kind>'. The model is left in evaluation mode."""
        x = part.interactions
        if x.label is None:
            raise ValueError(f"'{part.name}' has no labels to measure against")
        rows = self.processes.share(len(x))
        user, item = (torch.from_numpy(a[rows].astype(np.int64)) for a in (x.user, x.item))
        score = self.processes.gather(scores(model, user, item).cpu().numpy(), len(x))
        return by_kind(self.metrics, score, x.label, x.user, x.kind, list(part.kinds))


@torch.no_grad()
def scores(model: BaseModel, user: Tensor, item: Tensor) -> Tensor:
    """Scores of pairs, int64[n] each -> float32[n], in chunks, on the model's device."""
    model.eval()
    user, item, rows = user.to(model.device), item.to(model.device), model.rows_at_once
    if isinstance(model, InnerProductModel):
        # each user and each item is encoded once, however many rows it stands in
        left, right = _encode(model.user_vectors, user, rows), _encode(model.item_vectors, item, rows)
        chunks = [
            (left[0][u] * right[0][i]).sum(1) for u, i in zip(left[1].split(rows), right[1].split(rows), strict=True)
        ]
    else:
        chunks = [model.score(u, i) for u, i in zip(user.split(rows), item.split(rows), strict=True)]
    return torch.cat(chunks).float() if chunks else torch.zeros(0)


def _encode(vectors: object, number: Tensor, rows: int) -> tuple[Tensor, Tensor]:
    """Vectors of the distinct numbers, and for each row which of them is its own."""
    unique, inverse = torch.unique(number, return_inverse=True)
    return torch.cat([vectors(chunk) for chunk in unique.split(rows)]), inverse  # type: ignore[operator]
