"""What models share that have another vector of a user for each kind: the layout of a score, and losses of pairs.

A user's exported vector is [h^1; ...; h^n], one part per kind, and an item's has zeros but in the part of its kind, so
that the inner product is <h^t, q_i> for item i of kind t.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
import torch.nn.functional as F
from pydantic import NonNegativeFloat, PositiveInt, field_validator
from torch import Tensor

from hrec.datasets.histories import positive_history
from hrec.datasets.queries import Queries
from hrec.datasets.recdata import TrainData
from hrec.datasets.samplers import Pairwise
from hrec.models.base import InnerProductModel, Ranker, Reads
from hrec.models.layers.kinds import Kinds
from hrec.settings import NegativeSettings, Settings


class SlotSettings(Settings):
    """Settings of models with a vector of a user for each kind, trained on pairs."""

    embedding_size: PositiveInt = 64
    """Width of the first vectors of users and items."""
    negatives: NegativeSettings = NegativeSettings()
    """The negatives of the same kind that a positive is set against."""
    reg_weight: NonNegativeFloat = 1e-4
    """lambda of lambda / 2 |x|^2 of the vectors of a pair, mean over the batch."""

    @field_validator("negatives")
    @classmethod
    def _of_the_same_kind(cls, value: NegativeSettings) -> NegativeSettings:
        if not value.same_kind:
            raise ValueError("same_kind false: a user has another vector for items of other kinds; leave it out")
        return value


class SlotModel(InnerProductModel):
    """Score <h_u^t, q_i> for item i of kind t. A batch has pairs of all kinds, so that each row counts the same."""

    reads = Reads(user={"id"}, item={"id"}, per_kind=True)
    config: SlotSettings
    degree: Tensor

    def __init__(self, config: SlotSettings, data: TrainData) -> None:
        super().__init__(config, data)
        self.kinds = Kinds(data)
        self.register_buffer("degree", positives_by_kind(data), persistent=False)

    @abstractmethod
    def user_part(self, user: Tensor, kind: Tensor) -> Tensor:
        """h_u^t of each row: user int64[B], kind int64[B] (positions) -> float[B, d]"""

    @abstractmethod
    def item_part(self, item: Tensor) -> Tensor:
        """q_i of items of any kinds: int64[B] -> float[B, d]"""

    def sampler(self, data: TrainData) -> Pairwise:
        return Pairwise(data, self.config.negatives, self.device)

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        return (self.user_part(user, self.kinds.index(item)) * self.item_part(item)).sum(1)

    def user_parts(self, user: Tensor) -> Tensor:
        """[h^1, ..., h^n], float[B, n, d]"""
        n = len(self.kinds.names)
        kind = torch.arange(n, device=user.device).repeat(len(user))
        return self.user_part(user.repeat_interleave(n), kind).view(len(user), n, -1)

    def user_vectors(self, user: Tensor) -> Tensor:
        """[h^1; ...; h^n]"""
        return self.user_parts(user).flatten(1)

    def item_vectors(self, item: Tensor) -> Tensor:
        """q_i in the part of its kind, zeros in the others."""
        slot = F.one_hot(self.kinds.index(item), len(self.kinds.names))
        q = self.item_part(item)
        return (slot.to(q.dtype)[:, :, None] * q[:, None]).flatten(1)

    def ranker(self) -> Ranker:
        """The items of each kind are multiplied with their part of the user's vector alone."""
        item = torch.arange(self.n_items, device=self.device)
        q = torch.cat([self.item_part(part) for part in item.split(self.rows_at_once)])
        counts = torch.diff(self.kinds.starts, append=self.kinds.starts.new_tensor([self.n_items])).tolist()
        by_kind = q.split(counts)

        def scores(queries: Queries) -> Tensor:
            parts = self.user_parts(queries.known())
            return torch.cat([parts[:, k] @ of_kind.T for k, of_kind in enumerate(by_kind)], 1)

        return scores


def positives_by_kind(data: TrainData) -> Tensor:
    """float32[n_users, n]: how many items of each kind a user likes."""
    history = positive_history(data)
    owner = torch.repeat_interleave(torch.arange(len(history)), torch.from_numpy(history.offset).diff())
    starts = torch.tensor([table.start for table in data.kinds.values()])
    kind = torch.searchsorted(starts, torch.from_numpy(history.index).long(), right=True) - 1
    n = len(data.kinds)
    return torch.bincount(owner * n + kind, minlength=len(history) * n).view(-1, n).float()


def squared_norms(*vectors: Tensor) -> Tensor:
    """Half of the mean over the B rows of the sum of all squares of their vectors, float[B, ..., d] each."""
    return torch.stack([v.square().sum() for v in vectors]).sum() / (2 * len(vectors[0]))
