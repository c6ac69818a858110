"""Measures a model on a split: labelled rows for each kind, their macro mean and pooled; and top-N lists."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from hrec.datasets.recdata import RecData, Split
from hrec.models.base import BaseModel, InnerProductModel
from hrec.pipeline.devices import Processes
from hrec.pipeline.measured import Metrics
from hrec.pipeline.metrics import by_kind
from hrec.pipeline.ranking import Ranking
from hrec.settings import RankingSettings


class Evaluator:
    """Measures the metrics named; several processes share the work and each gets the same result.

    ranking: settings of the lists and the splits of the data, for metrics written with '@'.
    """

    def __init__(
        self,
        metrics: Sequence[str],
        processes: Processes | None = None,
        ranking: tuple[RankingSettings, Split] | None = None,
    ) -> None:
        self.metrics = Metrics.of(metrics)
        self.processes = processes or Processes()
        lists = self.metrics.lists
        if lists and ranking is None:
            raise ValueError(f"{lists[0]} needs the settings of the ranking and the splits of the data")
        self.ranking = Ranking(ranking[0], lists, ranking[1], self.processes) if lists and ranking else None

    def measure(self, model: BaseModel, part: RecData) -> dict[str, float]:
        """Keys: '<metric>' (macro mean), '<metric>/pooled', '<metric>/<kind>'; for lists those of ``Ranking.measure``.

        The model is left in evaluation mode. Raises ValueError if a metric needs labels and the split has none.
        """
        out = self._of_rows(model, part) if self.metrics.rows else {}
        return out | (self.ranking.measure(model, part) if self.ranking else {})

    def _of_rows(self, model: BaseModel, part: RecData) -> dict[str, float]:
        x = part.interactions
        if x.label is None:
            raise ValueError(f"'{part.name}' has no labels to measure {', '.join(self.metrics.rows)} against")
        rows = self.processes.share(len(x))
        user, item = (torch.from_numpy(a[rows].astype(np.int64)) for a in (x.user, x.item))
        score = self.processes.gather(scores(model, user, item).cpu().numpy(), len(x))
        return by_kind(self.metrics.rows, score, x.label, x.user, x.kind, list(part.kinds))


@torch.no_grad()
def scores(model: BaseModel, user: Tensor, item: Tensor) -> Tensor:
    """Scores of pairs, int64[n] each -> float32[n], in chunks, on the model's device."""
    model.eval()
    user, item, rows = user.to(model.device), item.to(model.device), model.rows_at_once
    if isinstance(model, InnerProductModel):
        # each user and each item is encoded once, in however many rows it is
        left, right = _encode(model.user_vectors, user, rows), _encode(model.item_vectors, item, rows)
        chunks = [
            (left[0][u] * right[0][i]).sum(1) for u, i in zip(left[1].split(rows), right[1].split(rows), strict=True)
        ]
    else:
        chunks = [model.score(u, i) for u, i in zip(user.split(rows), item.split(rows), strict=True)]
    return torch.cat(chunks).float() if chunks else torch.zeros(0)


def _encode(vectors: object, index: Tensor, rows: int) -> tuple[Tensor, Tensor]:
    """Vectors of the distinct indices, and for each row the position of its vector."""
    unique, inverse = torch.unique(index, return_inverse=True)
    return torch.cat([vectors(chunk) for chunk in unique.split(rows)]), inverse  # type: ignore[operator]
