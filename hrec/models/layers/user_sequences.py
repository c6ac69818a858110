"""The training rows of each user in order, on the device, for models that read sequences."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hrec.datasets.queries import Queries
from hrec.datasets.recdata import TrainData
from hrec.datasets.sequences import Sequences


class UserSequences(nn.Module):
    """The newest ``most`` positive training rows of each user, oldest first; they are not saved with the weights.

    once: of an item that comes several times only the newest entry is kept.
    """

    offset: Tensor
    item: Tensor
    kind: Tensor
    cell: Tensor
    positive: Tensor

    def __init__(self, data: TrainData, most: int, once: bool = False) -> None:
        super().__init__()
        self.most, self.once = most, once
        kept = self._of(Sequences.of(data, data.interactions, data.n_users))
        for name in ("offset", "item", "kind", "cell", "positive"):
            self.register_buffer(name, getattr(kept, name), persistent=False)

    def forward(self, user: Tensor) -> Sequences:
        """Of known users, int64[B]."""
        return Sequences(self.offset, self.item, self.kind, None, self.cell, self.positive).take(user)

    def of_queries(self, queries: Queries) -> Sequences:
        """Of the histories of the queries, or of known users. Raises UnknownUserError without either."""
        return self(queries.known()) if queries.history is None else self._of(queries.history)

    def _of(self, sequences: Sequences) -> Sequences:
        positives = sequences.where(sequences.positive)
        return (newest_of_each_item(positives) if self.once else positives).last(self.most)


def newest_of_each_item(sequences: Sequences) -> Sequences:
    """The sequences without the entries whose item comes again later in the same row."""
    place = torch.arange(len(sequences.item), device=sequences.item.device)
    width = int(sequences.item.max()) + 1 if len(place) else 1
    key, of_key = torch.unique(sequences.owner * width + sequences.item, return_inverse=True)
    newest = place.new_zeros(len(key)).scatter_reduce_(0, of_key, place, "amax")
    return sequences.where(newest[of_key] == place)
