"""Popularity: every user gets what most users like. A line that every other model should be above.

TopPop of Cremonesi, Koren and Turrin, Performance of Recommender Algorithms on Top-N Recommendation Tasks, RecSys 2010,
section 3.1.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from hrec.datasets.histories import positive_history
from hrec.datasets.queries import Queries
from hrec.datasets.recdata import TrainData
from hrec.models.base import InnerProductModel, Reads, Stage
from hrec.settings import Settings


class Popularity(InnerProductModel):
    """Score: how many users like the item in the training part, the same for every user."""

    class Config(Settings):
        """Settings of Popularity."""

        per_kind: bool = False
        """Divide by the count of all items of the kind, so that a kind of few rows is not below the others."""

    stage_groups = ("solve",)
    reads = Reads(user=set(), item={"id"})
    one_epoch = True
    config: Config
    count: Tensor

    def __init__(self, config: Config, data: TrainData) -> None:
        super().__init__(config, data)
        count = np.bincount(positive_history(data).index, minlength=data.n_items).astype(np.float64)
        if config.per_kind:
            for table in data.kinds.values():
                count[table.start : table.stop] /= max(count[table.start : table.stop].sum(), 1)
        self.register_buffer("count", torch.from_numpy(count).float(), persistent=False)
        self.score_of_item = nn.Parameter(torch.zeros(data.n_items))

    def stages(self, data: TrainData) -> Iterator[Stage]:
        """One sweep."""
        yield Stage("count", solve=self.solve, group="solve")

    @torch.no_grad()
    def solve(self) -> float:
        """Take over the counts. There is no loss: 0."""
        self.score_of_item.copy_(self.count)
        return 0.0

    def user_vectors(self, user: Tensor) -> Tensor:
        """1"""
        return self.score_of_item.new_ones(len(user), 1)

    def query_vectors(self, queries: Queries) -> Tensor:
        return self.user_vectors(queries.user)

    def item_vectors(self, item: Tensor) -> Tensor:
        """The item's count."""
        return self.score_of_item[item, None]
