"""What models share that keep a vector of a user for each kind: tables, folding in, and the layout of a score.

The vector of a user is [h^1; ...; h^n], one part per kind. That of an item is q_i in the part of its kind, and zeros
elsewhere. Their inner product is <h^t, q_i> for item i of kind t.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt, field_validator
from torch import Tensor

from hrec.datasets.batches import Pairs
from hrec.datasets.queries import Queries
from hrec.datasets.recdata import TrainData
from hrec.datasets.samplers import Pairwise, positive_rows
from hrec.datasets.sequences import Sequences
from hrec.models.base import InnerProductModel, Ranker, Reads
from hrec.models.layers.bags import Cells, EmbeddingTable
from hrec.models.layers.fold_in import best_by_pairs
from hrec.models.layers.kinds import ByKind, Kinds
from hrec.models.layers.pairs import items_of, pair_terms
from hrec.settings import NegativeSettings, Settings


class KindSettings(Settings):
    """Settings of models with vectors of users and items for each kind, trained on pairs."""

    embedding_size: PositiveInt = 64
    """Width of the vectors of users and items in each kind."""
    negatives: NegativeSettings = NegativeSettings()
    """Negatives of the same kind drawn for each positive."""
    reg_weight: NonNegativeFloat = 0.05
    """lambda of lambda / 2 (|p_u|^2 + |q_i|^2 + |q_j|^2), mean over the batch."""
    init_std: PositiveFloat = 0.01
    """Standard deviation of the first vectors."""

    @field_validator("negatives")
    @classmethod
    def _of_the_same_kind(cls, value: NegativeSettings) -> NegativeSettings:
        if not value.same_kind:
            raise ValueError("same_kind false: items of other kinds have no score for this user's vector; leave it out")
        return value


class OfKinds(NamedTuple):
    """vectors float[B, n, d], one of each kind; present bool[B, n], in which kinds a user has a positive."""

    vectors: Tensor
    present: Tensor


class KindVectors(InnerProductModel):
    """Score <h_u^t, q_i> for item i of kind t; a subclass gives h."""

    reads = Reads(user={"id"}, item={"id"}, per_kind=True)
    config: KindSettings
    present: Tensor

    def __init__(self, config: KindSettings, data: TrainData) -> None:
        super().__init__(config, data)
        self.kinds = Kinds(data)
        width, std = config.embedding_size, config.init_std
        self.users = ByKind({kind: EmbeddingTable(data.n_users, width, std) for kind in data.kinds})
        self.items = ByKind({kind: EmbeddingTable(table.count, width, std) for kind, table in data.kinds.items()})
        self.register_buffer("present", presence(data), persistent=False)

    @abstractmethod
    def parts(self, own: OfKinds, user: Tensor | None) -> Tensor:
        """h float[B, n, d] of users with these vectors; user int64[B], None for unknown ones."""

    # ------------------------------------------------------------------ training

    def samplers(self, data: TrainData) -> Iterator[tuple[str, Pairwise]]:
        """Each kind that has a positive, and its pairs."""
        for kind in self.trained_kinds(data):
            yield kind, Pairwise(data.only(kind), self.config.negatives, self.device)

    def trained_kinds(self, data: TrainData) -> list[str]:
        """The kinds that have a positive."""
        return [kind for kind, any_one in zip(data.kinds, presence(data).any(0).tolist(), strict=True) if any_one]

    def terms(self, kind: str, user: Tensor, batch: Pairs, reg_weight: float) -> dict[str, Tensor]:
        """BPR and norms of pairs of one kind; user float[B, d], h of that kind."""
        items = self.items[kind].rows(self.kinds.row(kind, items_of(batch)))
        return pair_terms(user, items, batch, reg_weight)

    # ------------------------------------------------------------------ vectors

    def of_users(self, user: Tensor) -> OfKinds:
        """The vectors as they are in the tables, int64[B]."""
        return OfKinds(torch.stack([self.users[k].rows(user) for k in self.kinds.names], 1), self.present[user])

    def of_histories(self, history: Sequences) -> OfKinds:
        """The vectors that fit the histories best, items fixed, in each kind by the positives of that kind."""
        kinds = enumerate(self.kinds.names)
        found = [self._folded(kind, history.where((history.kind == index) & history.positive)) for index, kind in kinds]
        return OfKinds(torch.stack([v for v, _ in found], 1), torch.stack([there for _, there in found], 1))

    def _folded(self, kind: str, history: Sequences) -> tuple[Tensor, Tensor]:
        """float[Q, d] and bool[Q] of one kind, from the positives of that kind."""
        length, item, ones = history.cells(positives=True)
        cells = Cells(length, item - self.kinds.start[kind], ones)
        users = self.trained_users(kind)
        if not len(users):
            return ones.new_zeros(len(length), self.config.embedding_size), length > 0
        return best_by_pairs(cells, self.items[kind].weight, users), length > 0

    def trained_users(self, kind: str) -> Tensor:
        """The vectors of the users who have a positive in the kind: float[users, d]"""
        return self.users[kind].weight[self.present[:, self.kinds.names.index(kind)]]

    def completed(self, own: OfKinds) -> Tensor:
        """The vectors float[B, n, d]; for a kind that a user lacks the mean of those who have it."""
        if bool(own.present.all()):
            return own.vectors
        share = self.present.float() / self.present.sum(0).clamp(min=1)
        mean = torch.stack([share[:, k] @ self.users[kind].weight for k, kind in enumerate(self.kinds.names)])
        return torch.where(own.present[:, :, None], own.vectors, mean)

    def user_vectors(self, user: Tensor) -> Tensor:
        """[h^1; ...; h^n]"""
        return self.parts(self.of_users(user), user).flatten(1)

    def query_vectors(self, queries: Queries) -> Tensor:
        """An unknown user, or one with another history, has in each kind the vector that fits the history best."""
        if queries.history is None:
            return self.user_vectors(queries.known())
        return self.parts(self.of_histories(queries.history), None).flatten(1)

    def item_vectors(self, item: Tensor) -> Tensor:
        """q_i in the part of its kind, zeros in the others."""
        width, n = self.config.embedding_size, len(self.kinds.names)

        def of_kind(kind: str, here: Tensor) -> Tensor:
            index = self.kinds.names.index(kind)
            rows = self.items[kind].rows(self.kinds.row(kind, item[here]))
            return F.pad(rows, (index * width, (n - 1 - index) * width))

        return self.kinds.each(item, of_kind, n * width)

    def ranker(self) -> Ranker:
        """The items of each kind are multiplied with their part of the user's vector alone."""
        items = [self.items[kind].weight for kind in self.kinds.names]

        def scores(queries: Queries) -> Tensor:
            parts = self.query_vectors(queries).view(-1, len(items), self.config.embedding_size)
            return torch.cat([parts[:, k] @ q.T for k, q in enumerate(items)], 1)

        return scores


def presence(data: TrainData) -> Tensor:
    """bool[n_users, n]: whether the user has a positive row in each kind."""
    x, row = data.interactions, positive_rows(data)
    present = torch.zeros(data.n_users, len(data.kinds), dtype=torch.bool)
    user, kind = (torch.from_numpy(a[row].astype(np.int64)) for a in (x.user, x.kind))
    present[user, kind] = True
    return present
