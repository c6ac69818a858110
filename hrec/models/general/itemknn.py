"""ItemKNN: an item is scored by how much it is like the items that the user likes.

Deshpande and Karypis, Item-Based Top-N Recommendation Algorithms, TOIS 2004, section 4: cosines of the columns of the
0/1 matrix, a few neighbours kept. There the neighbours kept are those of each item of the history. Here, as in RecBole,
they are those of each item that is scored, so every scored item has some. ``shrink`` lowers cosines of few users
(Bell and Koren, ICDM 2007).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor, nn

from hrec.datasets.histories import positive_history
from hrec.datasets.queries import Queries
from hrec.datasets.recdata import TrainData
from hrec.models.base import BaseModel, Ranker, Reads, Stage
from hrec.models.layers.bags import Cells, RaggedRows
from hrec.models.layers.cooccurrence import cooccurrences, largest
from hrec.settings import Settings

USERS = 64
"""Users that are ranked at once: each positive brings a row of neighbours."""


class ItemKNN(BaseModel):
    """Score: the sum of s_ij over the items j that the user likes among the neighbours of i.

    s_ij = n_ij / (sqrt(n_i n_j) + shrink), n_ij users who like both, n_i users who like i.
    """

    class Config(Settings):
        """Settings of ItemKNN."""

        neighbours: PositiveInt = 100
        """Items kept for each item: the most similar; of equally similar ones the first."""
        shrink: NonNegativeFloat = 0.0
        """Added to the divisor."""

    stage_groups = ("solve",)
    reads = Reads(user={"history"}, item={"id"})
    one_epoch = True
    config: Config
    neighbour: Tensor
    keys: Tensor

    def __init__(self, config: Config, data: TrainData) -> None:
        super().__init__(config, data)
        self.history = h = positive_history(data)
        self.rows = RaggedRows.of(h)
        keys = np.repeat(np.arange(len(h)), np.diff(h.offset)) * data.n_items + h.index  # ascending, as h is
        self.register_buffer("keys", torch.from_numpy(keys), persistent=False)
        k = min(config.neighbours, data.n_items)
        self.register_buffer("neighbour", torch.zeros(data.n_items, k, dtype=torch.int32))
        self.similarity = nn.Parameter(torch.zeros(data.n_items, k))  # 0 where an item has fewer neighbours

    def stages(self, data: TrainData) -> Iterator[Stage]:
        """One sweep."""
        yield Stage("count", solve=self.solve, group="solve")

    @torch.no_grad()
    def solve(self) -> float:
        """Find the neighbours of every item. There is no loss: 0."""
        users = np.bincount(self.history.index, minlength=self.n_items).astype(np.float64)
        for here, both in cooccurrences(self.history):
            # each row by column, so that of equal cosines the first column wins
            cells = both.tocsc().tocsr().astype(np.float64, copy=False)
            owner = np.repeat(np.arange(here.start, here.stop), np.diff(cells.indptr))
            of_both = users[owner] * users[cells.indices]
            # the root of a quotient of whole numbers, so that equal cosines come out equal
            cells.data = (
                cells.data / (np.sqrt(of_both) + self.config.shrink)
                if self.config.shrink
                else np.sqrt(cells.data**2 / of_both)
            )
            cells.data[owner == cells.indices] = -np.inf  # no item is its own neighbour
            self.neighbour[here], self.similarity[here] = largest(cells, self.neighbour.shape[1])
        return 0.0

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        wanted = user[:, None] * self.n_items + self.neighbour[item]
        place = torch.searchsorted(self.keys, wanted).clamp_(max=max(len(self.keys) - 1, 0))
        positive = self.keys[place] == wanted if len(self.keys) else torch.zeros_like(wanted, dtype=torch.bool)
        return (self.similarity[item] * positive).sum(1)

    def ranker(self) -> Ranker:
        similar = self._by_neighbour()

        def scores_of(positive: Cells) -> Tensor:
            near = similar(positive.column.long())
            queries = len(positive.length)
            out = near.value.new_zeros(queries * self.n_items)
            place = positive.owner[near.owner] * self.n_items + near.column
            return out.index_add_(0, place, near.value).view(queries, self.n_items)

        def scores_of_all(queries: Queries) -> Tensor:
            rows = RaggedRows.of_cells(self.rows.of_queries(queries, positives=True))
            row = torch.arange(len(queries), device=self.device)
            return torch.cat([scores_of(rows(few)) for few in row.split(USERS)])

        return scores_of_all

    def _by_neighbour(self) -> RaggedRows:
        """Row j: the items that have j as a neighbour, with their similarity."""
        item, place = self.similarity.detach().nonzero(as_tuple=True)
        neighbour, order = torch.sort(self.neighbour[item, place].long(), stable=True)
        offset = torch.zeros(self.n_items + 1, dtype=torch.int64, device=item.device)
        offset[1:] = torch.bincount(neighbour, minlength=self.n_items).cumsum(0)
        return RaggedRows(offset, item[order], self.similarity.detach()[item, place][order])
