"""What models of item-to-item matching share: the query is the newest item of a history."""

from __future__ import annotations

from torch import Tensor

from hrec.datasets.queries import Queries
from hrec.datasets.recdata import TrainData
from hrec.models.base import InnerProductModel, Reads
from hrec.models.layers.user_sequences import UserSequences
from hrec.settings import Settings


class ItemToItem(InnerProductModel):
    """score(u, i) = E_q . E_i, with q the newest positive item of the user's history; 0 for a user without one.

    A subclass gives ``item_vectors``. Similar items are those of a history of one item.
    """

    reads = Reads(user={"sequence"}, item={"id"})

    def __init__(self, config: Settings, data: TrainData) -> None:
        super().__init__(config, data)
        self.newest = UserSequences(data, 1)

    def query_vectors(self, queries: Queries) -> Tensor:
        """The vector of the newest item of each history, or of the training rows of a known user."""
        last = self.newest.of_queries(queries)
        vectors = self.item_vectors(last.item)
        return vectors.new_zeros(len(queries), vectors.shape[1]).index_copy(0, last.owner, vectors)

    def user_vectors(self, user: Tensor) -> Tensor:
        return self.query_vectors(Queries(user))
