"""Batches: small dataclasses of indices on the device. Samplers (hrec/datasets/samplers.py) yield them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Draw:
    """How one epoch is drawn. ``rank`` of ``world`` processes takes its share of every batch, at least one row."""

    batch_size: int
    generator: torch.Generator
    """On the CPU, so that a seed draws the same batches on every device."""
    device: torch.device
    rank: int = 0
    world: int = 1

    def slices(self, rows: int) -> Iterator[slice]:
        """The rows of each batch that belong to this process.

        No share is empty: if a batch has fewer rows than there are processes, some processes share a row. So all
        processes have the same number of batches, and a weight has a gradient on all of them or on none.
        """
        for start in range(0, rows, self.batch_size):
            stop = min(start + self.batch_size, rows)
            yield slice(start + self.rank % (stop - start), stop, self.world)

    def share(self, own: slice) -> float:
        """Rows of a batch that this process has, relative to the mean over the processes."""
        mine = len(range(own.start, own.stop, own.step))
        rows = own.stop - (own.start - own.start % self.batch_size)  # batches start at multiples of the batch size
        return mine * self.world / rows if rows >= self.world else 1.0


@dataclass(frozen=True)
class Points:
    """Labelled pairs: user, item int64[B]; label float32[B], 1 or 0.

    share: if several processes share a batch, the rows of this one relative to the mean over them.
    row: int64[B], the interaction of the training split that a pair comes from; -1 for a drawn negative.
    rating: float32[B] if the sampler was asked for it; NaN for a drawn negative or where it is missing.
    """

    user: Tensor
    item: Tensor
    label: Tensor
    share: float = 1.0
    row: Tensor | None = None
    rating: Tensor | None = None

    def __len__(self) -> int:
        return len(self.user)


@dataclass(frozen=True)
class Pairs:
    """A positive item of a user and ``pool`` sampled negatives: user, positive int64[B]; negative int64[B, pool].

    row: int64[B], the interaction of the training split that the positive comes from. share: as in ``Points``.
    """

    user: Tensor
    positive: Tensor
    negative: Tensor
    row: Tensor | None = None
    share: float = 1.0

    def __len__(self) -> int:
        return len(self.user)


@dataclass(frozen=True)
class Triples:
    """True triples of a knowledge graph, each with a tail that makes it false: head, relation, tail, negative int64[B].

    head, tail and negative are entity indices; an item's is its item index. share: as in ``Points``.
    """

    head: Tensor
    relation: Tensor
    tail: Tensor
    negative: Tensor
    share: float = 1.0

    def __len__(self) -> int:
        return len(self.head)


@dataclass(frozen=True)
class ItemPairs:
    """Two items of one user's sequence: anchor, positive, user int64[B].

    negative: int64[B, pool], items that the user has no training row with, where the sampler draws them.
    """

    anchor: Tensor
    positive: Tensor
    user: Tensor
    negative: Tensor | None = None

    def __len__(self) -> int:
        return len(self.user)

    def take(self, rows: slice) -> ItemPairs:
        """These pairs."""
        negative = None if self.negative is None else self.negative[rows]
        return ItemPairs(self.anchor[rows], self.positive[rows], self.user[rows], negative)


@dataclass(frozen=True)
class Walks:
    """Random walks over the nodes of a graph: node int64[B, L], one walk in each row.

    negative: int64[B, L, k], nodes drawn for each position of a walk.
    """

    node: Tensor
    negative: Tensor

    def __len__(self) -> int:
        return len(self.node)


@dataclass(frozen=True)
class Rows:
    """Rows of a table: row int64[B], items or users as the sampler says. share: as in ``Points``."""

    row: Tensor
    share: float = 1.0

    def __len__(self) -> int:
        return len(self.row)


@dataclass(frozen=True)
class Joint:
    """A batch for each part of a joint loss; None where the model has no such part. Its length is that of ``pairs``."""

    pairs: Pairs
    items: Rows | None = None
    triples: Triples | None = None

    def __len__(self) -> int:
        return len(self.pairs)

    def weight(self, part: Rows | Triples) -> float:
        """The factor of a mean over ``part``: a loss is weighed by its pairs, and processes may differ in parts."""
        return part.share / self.pairs.share


@dataclass(frozen=True)
class Block:
    """Some users, some items and all pairs of them, a block of R: user int64[B_u], item int64[B_v]; no duplicates.

    together: the users of all processes, of whom ``user`` are those of this one; None: the same.
    """

    user: Tensor
    item: Tensor
    together: Tensor | None = None

    def __len__(self) -> int:
        return len(self.user)
