"""CoOccurrence: what stands near the newest item in the sequences of all users, as a baseline of item-to-item matching.

Linden, Smith and York, Amazon.com Recommendations: Item-to-Item Collaborative Filtering, IEEE Internet Computing 2003,
with plain counts in the place of cosines. ``ItemKNN`` has cosines, and sums over the whole history.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from pydantic import PositiveInt
from scipy import sparse
from torch import Tensor, nn

from hrec.datasets.queries import Queries
from hrec.datasets.recdata import TrainData
from hrec.datasets.sequences import Sequences
from hrec.models.base import BaseModel, Ranker, Reads, Stage
from hrec.models.layers.cooccurrence import largest, pairs_within
from hrec.models.layers.user_sequences import UserSequences
from hrec.settings import Settings


class CoOccurrence(BaseModel):
    """Score n_qi: pairs of an entry of q and one of i at most ``window`` apart in a sequence, q the newest item.

    0 for a user without a history, and for items that are not among the ``neighbours`` of q.
    """

    class Config(Settings):
        """Settings of CoOccurrence."""

        window: PositiveInt | None = None
        """Two entries count if they are at most so many entries apart; null: all of a sequence do."""
        neighbours: PositiveInt = 500
        """Items kept for each item: those with the largest counts, of equal ones the first."""

    stage_groups = ("solve",)
    reads = Reads(user={"sequence"}, item={"id"})
    one_epoch = True
    config: Config
    neighbour: Tensor

    def __init__(self, config: Config, data: TrainData) -> None:
        super().__init__(config, data)
        self.newest = UserSequences(data, 1)
        k = min(config.neighbours, data.n_items)
        self.register_buffer("neighbour", torch.zeros(data.n_items, k, dtype=torch.int32))
        self.count = nn.Parameter(torch.zeros(data.n_items, k))  # 0 where an item has fewer neighbours

    def stages(self, data: TrainData) -> Iterator[Stage]:
        """One sweep."""
        sequences = Sequences.of(data, data.interactions, data.n_users)
        sequences = sequences.where(sequences.positive)
        yield Stage("count", solve=lambda: self.solve(sequences), group="solve")

    @torch.no_grad()
    def solve(self, sequences: Sequences) -> float:
        """Count the pairs of the sequences, one row a user. There is no loss: 0."""
        for here, pairs in pairs_within(sequences, self.config.window, self.n_items):
            cells = _without_diagonal(pairs, here.start)
            self.neighbour[here], self.count[here] = largest(cells, self.neighbour.shape[1])
        return 0.0

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        last = self.newest(user)
        row, other = last.item, item[last.owner]
        counts = (self.count[row] * (self.neighbour[row] == other[:, None])).sum(1)
        return counts.new_zeros(len(user)).index_copy(0, last.owner, counts)

    def ranker(self) -> Ranker:
        def scores_of_all(queries: Queries) -> Tensor:
            last = self.newest.of_queries(queries)
            out = self.count.new_zeros(len(queries), self.n_items)
            place = last.owner[:, None] * self.n_items + self.neighbour[last.item]
            out.view(-1).index_add_(0, place.flatten(), self.count[last.item].flatten())
            return out

        return scores_of_all


def _without_diagonal(pairs: sparse.csr_array, first: int) -> sparse.csr_array:
    """The rows ``first`` and on of a matrix of counts, by column, without the pairs of an item with itself."""
    cells = pairs.tocsc().tocsr()
    owner = np.repeat(np.arange(first, first + cells.shape[0]), np.diff(cells.indptr))
    cells.data[owner == cells.indices] = 0
    return cells
