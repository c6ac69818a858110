"""The parent of views whose entities belong to items: one entity for each item that has an image, a sound, a title."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from hrec.datasets.batches import Pairs
from hrec.datasets.recdata import TrainData
from hrec.models.layers.bags import EmbeddingTable
from hrec.models.layers.pairs import items_of
from hrec.models.views.edges import NONE, Edges
from hrec.models.views.view import Shared, View, ViewSettings, masked, positives, required_row


class ItemView(View):
    """u_k = sum_v a_uv p_v over the user's positives, v_k = b_v p_v; a learned from the mean on, b from 1 on.

    Items without an entity have the vector 0. With ``exclude_target`` a positive is left out of its user's sum.
    """

    known: Tensor
    edge: Tensor

    def __init__(self, name: str, config: ViewSettings, data: TrainData, shared: Shared, known: np.ndarray) -> None:
        """known: bool[n_items], which items have an entity."""
        super().__init__(name, config, data, shared)
        row, user, item = positives(data)
        has = known[item]
        edge = np.full(len(data.interactions), NONE)
        edge[row[has]] = np.arange(int(has.sum()))
        self.register_buffer("known", torch.from_numpy(known), persistent=False)
        self.register_buffer("edge", torch.from_numpy(edge), persistent=False)
        self.entities = shared.table(data.n_items)
        self.to_user = Edges(user[has], data.n_users, item[has])
        self.to_item = EmbeddingTable(data.n_items, 1, 0.0)
        torch.nn.init.ones_(self.to_item.weight)

    def user_vectors(self, user: Tensor) -> Tensor:
        return self.to_user(user, self.entities)

    def item_vectors(self, item: Tensor) -> Tensor:
        return self._items(item, fixed=False)

    def _items(self, item: Tensor, fixed: bool) -> Tensor:
        entity = self.entities.rows(item)
        return masked(self.to_item.rows(item) * (entity.detach() if fixed else entity), self.known[item])

    def vectors_of(self, batch: Pairs) -> tuple[Tensor, Tensor]:
        fixed = self.shared.fixed
        user = self.to_user(batch.user, self.entities, fixed)
        if self.shared.exclude_target:
            user = user - self.to_user.one(self.edge[required_row(batch)], self.entities, fixed)
        return user, self._items(items_of(batch), fixed)
