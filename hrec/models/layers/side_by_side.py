"""All columns of vectors of an item as one vector."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hrec.models.layers.item_vectors import ItemVectors


class SideBySide(nn.Module):
    """The modalities of each item one behind the other, 0 for those that it lacks: ``value`` float[n_items, width].

    known bool[n_items]: the items that have at least one. Not saved with the weights.
    """

    value: Tensor
    known: Tensor

    def __init__(self, vectors: Sequence[ItemVectors]) -> None:
        super().__init__()
        self.register_buffer("value", torch.cat([v.value for v in vectors], 1), persistent=False)
        self.register_buffer("known", torch.stack([v.known for v in vectors]).any(0), persistent=False)
        self.width = self.value.shape[1]

    def forward(self, item: Tensor) -> tuple[Tensor, Tensor]:
        """(vectors float[B, width], whether there are any bool[B, 1]) of int64[B]"""
        return self.value[item], self.known[item][:, None]
