"""Samplers: objects that yield the batches of one epoch.

``Sampler.epoch(draw)`` permutes the rows once and hands out slices that are already on the device: no Python loop over
rows, no worker process. A sampler keeps what it works out once for its training split (candidates for negatives, say),
so nothing outlives the model that owns it. Columns are gathered by the model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import repeat
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from hrec.datasets.batches import Block, Draw, Joint, Pairs, Points, Rows, Triples
from hrec.datasets.candidates import Candidates, candidate_items
from hrec.datasets.negatives import with_negatives
from hrec.datasets.recdata import TrainData
from hrec.settings import NegativeSettings

CPU = torch.device("cpu")


class Sampler(Protocol):
    """What a stage trains on: the training split and the batches of each epoch."""

    data: TrainData

    def epoch(self, draw: Draw) -> Iterator[Any]:
        """The batches of one epoch; the same generator state gives the same batches."""
        ...


class Pointwise:
    """Every training row once per epoch, in a new order, as Points; negatives of implicit data are drawn each epoch.

    rows: int64[N], the indices that ``Points.row`` gives for the rows of ``data``; None: their positions.
    rating: whether batches carry ratings.
    """

    def __init__(self, data: TrainData, rows: np.ndarray | None = None, rating: bool = False) -> None:
        self.data = data
        self.rows = np.arange(len(data.interactions)) if rows is None else rows
        self.rating = rating

    @cached_property
    def _candidates(self) -> Candidates:
        return candidates(self.data, self.data.feedback.popularity, True, CPU)

    def epoch(self, draw: Draw) -> Iterator[Points]:
        x, rows = self.data.interactions, self.rows
        if count := self.data.feedback.negatives:
            x = with_negatives(self.data, count, self._candidates, draw.generator)[0].interactions
            rows = np.concatenate([rows, np.full(len(x) - len(rows), -1)])
        label = np.ones(len(x), np.float32) if x.label is None else x.label
        order = torch.randperm(len(x), generator=draw.generator)
        users, items, labels, row = (torch.from_numpy(a)[order].to(draw.device) for a in (x.user, x.item, label, rows))
        users, items = users.long(), items.long()
        ratings = self._ratings(x.rating, order, draw.device)
        for own in draw.slices(len(x)):
            rating = None if ratings is None else ratings[own]
            yield Points(users[own], items[own], labels[own], draw.share(own), row[own], rating)

    def _ratings(self, rating: np.ndarray | None, order: Tensor, device: torch.device) -> Tensor | None:
        if not self.rating or rating is None:
            return None
        return torch.from_numpy(rating)[order].to(device)


DRAWN_AHEAD = 2**17
"""Negatives that are drawn at once."""


class Pairwise:
    """Every positive training row once per epoch, in a new order, with negatives drawn on the device, as Pairs.

    Rows of users who have interacted with every candidate are left out.
    """

    def __init__(self, data: TrainData, negatives: NegativeSettings, device: torch.device) -> None:
        self.data, self.settings, self.device = data, negatives, device

    @cached_property
    def _candidates(self) -> Candidates:
        return candidates(self.data, self.settings.popularity, self.settings.same_kind, self.device)

    @cached_property
    def _positives(self) -> tuple[Tensor, ...]:
        """user, item, span and row int64[N] of the positive rows of users who have a candidate left."""
        x = self.data.interactions
        row = positive_rows(self.data)
        span = x.kind if self.settings.same_kind else np.zeros_like(x.kind)
        columns = (x.user[row], x.item[row], span[row], row)
        rows = [torch.from_numpy(a.astype(np.int64)).to(self.device) for a in columns]
        left = self._candidates.any_left(rows[0], rows[2])
        return tuple(a[left] for a in rows)

    def __len__(self) -> int:
        """Rows of an epoch."""
        return len(self._positives[0])

    def epoch(self, draw: Draw) -> Iterator[Pairs]:
        user, item, span, row = self._positives
        order = torch.randperm(len(user), generator=draw.generator).to(draw.device)
        pool = self.settings.pool
        ahead = draw.batch_size * max(1, DRAWN_AHEAD // (draw.batch_size * pool))
        for piece in order.split(ahead):  # drawing for many batches at once costs little more than for one
            u, i, k, r = (a[piece] for a in (user, item, span, row))
            # drawn for whole batches on every process, so that several train on what one would
            drawn = self._candidates.draw(u.repeat_interleave(pool), k.repeat_interleave(pool), draw.generator)
            drawn = drawn.view(-1, pool)
            for own in draw.slices(len(piece)):
                yield Pairs(u[own], i[own], drawn[own], r[own], draw.share(own))


class Triplewise:
    """Every triple of the knowledge graph once per epoch, in a new order, each with a corrupted tail, as Triples.

    The corrupted tail is drawn uniformly from all entities that make the triple false. Triples without such an entity
    are left out. Raises ValueError where the data has no relations.
    """

    def __init__(self, data: TrainData, device: torch.device) -> None:
        if data.relations is None:
            raise ValueError("needs a knowledge graph, and the data has none; name its files in data.relations")
        self.data, self.relations, self.device = data, data.relations, device

    @cached_property
    def _triples(self) -> tuple[Candidates, tuple[Tensor, ...]]:
        """The false tails of each query, a distinct (head, relation); head, relation, tail and query int64[T]."""
        r = self.relations
        query = np.unique(r.head.astype(np.int64) * r.n_relations + r.relation, return_inverse=True)[1]
        n = int(query.max(initial=-1)) + 1
        false = Candidates.of(query, r.tail, n, np.ones(r.n_entities), [(0, r.n_entities)], self.device)
        arrays = (r.head, r.relation, r.tail, query)
        rows = [torch.from_numpy(a.astype(np.int64)).to(self.device) for a in arrays]
        left = false.any_left(rows[3], torch.zeros_like(rows[3]))
        return false, tuple(a[left] for a in rows)

    def __len__(self) -> int:
        """Triples of an epoch."""
        return len(self._triples[1][0])

    def epoch(self, draw: Draw) -> Iterator[Triples]:
        false, (head, relation, tail, query) = self._triples
        order = torch.randperm(len(head), generator=draw.generator).to(draw.device)
        for piece in order.split(draw.batch_size * max(1, DRAWN_AHEAD // draw.batch_size)):
            h, r, t, q = (a[piece] for a in (head, relation, tail, query))
            # drawn for whole batches on every process, as in Pairwise
            negative = false.draw(q, torch.zeros_like(q), draw.generator)
            for own in draw.slices(len(piece)):
                yield Triples(h[own], r[own], t[own], negative[own], draw.share(own))


class Items:
    """Every item with a training row once per epoch, in a new order, as Rows; ``all_items``: those without one too."""

    def __init__(self, data: TrainData, all_items: bool = False) -> None:
        self.data = data
        self.items = in_order_of_rows(data.interactions.item)
        if all_items:
            self.items = np.concatenate([self.items, np.setdiff1d(np.arange(data.n_items), self.items)])

    def __len__(self) -> int:
        """Items of an epoch."""
        return len(self.items)

    def epoch(self, draw: Draw) -> Iterator[Rows]:
        item = shuffled(self.items, draw)
        for own in draw.slices(len(item)):
            yield Rows(item[own], draw.share(own))


class Jointly:
    """One batch of pairs at each step, with one of items and one of triples, as Joint.

    The pairs set the number of steps. Items and triples are cut into as many batches, so that an epoch takes each once;
    where rounding leaves too few batches, they start again in a new order. None: the model has no such part.
    """

    def __init__(self, pairs: Pairwise, items: Items | None = None, triples: Triplewise | None = None) -> None:
        self.data, self.pairs, self.items, self.triples = pairs.data, pairs, items, triples

    def epoch(self, draw: Draw) -> Iterator[Joint]:
        steps = max(1, -(-len(self.pairs) // draw.batch_size))
        items, triples = (_spread(sampler, steps, draw) for sampler in (self.items, self.triples))
        for pairs in self.pairs.epoch(draw):
            yield Joint(pairs, next(items), next(triples))


def _spread(sampler: Items | Triplewise | None, steps: int, draw: Draw) -> Iterator[Any]:
    """Batches without end, an epoch of them over ``steps`` steps; None each time if there is no row."""
    if not sampler:
        yield from repeat(None)
    size = -(-len(sampler) // steps)  # type: ignore[arg-type]
    while True:
        yield from sampler.epoch(replace(draw, batch_size=size))  # type: ignore[union-attr]


class Users:
    """Every user with a training row once per epoch, in a new order, as Rows."""

    def __init__(self, data: TrainData) -> None:
        self.data = data
        self.users = in_order_of_rows(data.interactions.user)

    def epoch(self, draw: Draw) -> Iterator[Rows]:
        user = shuffled(self.users, draw)
        for own in draw.slices(len(user)):
            yield Rows(user[own])


class WithSecondPair:
    """The pairs of ``Pairwise``, and after them in each batch as many more: for each a second pair of the same user.

    The kind of the second pair is drawn uniformly among those in which the user has a positive. Its positive is one of
    the user's positives of that kind, its negative a candidate of the kind. Pairs: user [u; u], positive [i; i'],
    negative [j; j'], without ``row``.
    """

    def __init__(self, data: TrainData, negatives: NegativeSettings, device: torch.device) -> None:
        self.data = data
        self.first = Pairwise(data, negatives, device)

    @cached_property
    def _groups(self) -> tuple[Tensor, ...]:
        """item int64[N] sorted by user and kind; of each group of one user and kind: kind, start and size int64[G];
        of each user: the first group and how many, int64[n_users]."""
        user, item, kind, _ = self.first._positives
        n_kinds = len(self.data.kinds)
        key, order = torch.sort(user * n_kinds + kind, stable=True)
        group, size = torch.unique_consecutive(key, return_counts=True)
        count = torch.bincount(group // n_kinds, minlength=self.data.n_users)
        return item[order], group % n_kinds, size.cumsum(0) - size, size, count.cumsum(0) - count, count

    def epoch(self, draw: Draw) -> Iterator[Pairs]:
        for first in self.first.epoch(replace(draw, rank=0, world=1)):
            user, pool = first.user, first.negative.shape[1]
            positive, kind = self._second(user, draw.generator)
            each = user.repeat_interleave(pool), kind.repeat_interleave(pool)
            negative = self.first._candidates.draw(*each, draw.generator).view(-1, pool)
            (own,) = draw.slices(len(user)) if len(user) else (slice(0),)
            columns = ((user, user), (first.positive, positive), (first.negative, negative))
            user, both, drawn = (torch.cat([a[own], b[own]]) for a, b in columns)
            yield Pairs(user, both, drawn)

    def _second(self, user: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """A positive of each user, int64[B], and its kind."""
        item, kind, start, size, first, count = self._groups
        group = first[user] + self._below(count[user], generator)
        return item[start[group] + self._below(size[group], generator)], kind[group]

    def _below(self, end: Tensor, generator: torch.Generator) -> Tensor:
        share = torch.rand(len(end), generator=generator, dtype=torch.float64).to(end.device)
        return (share * end).long()


class Dual:
    """Dual mini-batches: blocks of draw.batch_size users by ``block_items`` items (None: all), as Block.

    Users and items that have a training row are shuffled and cut into groups of nearly equal size. Every pair of groups
    comes once, in random order: an epoch passes all of R without repetition (DualNet paper, section 4).
    skip_empty: This share of the blocks without a positive row is left out, chosen again for each epoch.
    """

    def __init__(self, data: TrainData, block_items: int | None, skip_empty: float = 0.0) -> None:
        self.data, self.block_items, self.skip_empty = data, block_items, skip_empty

    def epoch(self, draw: Draw) -> Iterator[Block]:
        x = self.data.interactions
        if not len(x):
            return
        user, item = (shuffled(in_order_of_rows(a), draw) for a in (x.user, x.item))
        users = user.tensor_split(max(1, min(-(-len(user) // draw.batch_size), len(user) // draw.world)))
        items = item.tensor_split(-(-len(item) // (self.block_items or len(item))))
        block = torch.randperm(len(users) * len(items), generator=draw.generator)
        if self.skip_empty:
            block = self._without_some_empty(block, users, items, draw)
        for index in block.tolist():
            some = users[index // len(items)]
            yield Block(some.tensor_split(draw.world)[draw.rank], items[index % len(items)], some)

    def _without_some_empty(
        self, block: Tensor, users: Sequence[Tensor], items: Sequence[Tensor], draw: Draw
    ) -> Tensor:
        at = _without_positives(self.data, users, items)[block].nonzero().squeeze(1)
        left_out = at[torch.randperm(len(at), generator=draw.generator)[: round(self.skip_empty * len(at))]]
        return block[torch.ones(len(block), dtype=torch.bool).index_fill(0, left_out, False)]


class PerKind:
    """One batch of every kind at each step, as a dict in the order of the kinds.

    ``make(view, rows)`` builds the sampler of one kind; rows are the positions of its interactions in ``data``. Kinds
    without a training row are left out. The kind with the most rows sets the length of the epoch; a kind that runs out
    starts again in a new order.
    """

    def __init__(self, data: TrainData, make: Callable[[TrainData, np.ndarray], Sampler] = Pointwise) -> None:
        self.data = data
        self.samplers: Mapping[str, Sampler] = {
            kind: make(data.only(kind), rows)
            for index, kind in enumerate(data.kinds)
            if len(rows := np.flatnonzero(data.interactions.kind == index))
        }

    def epoch(self, draw: Draw) -> Iterator[dict[str, Any]]:
        if not self.samplers:
            return
        longest = max(self.samplers, key=lambda kind: len(self.samplers[kind].data.interactions))
        running = {kind: sampler.epoch(draw) for kind, sampler in self.samplers.items()}
        for lead in running[longest]:
            step = {}
            for kind, sampler in self.samplers.items():
                batch = lead if kind == longest else next(running[kind], None)
                if batch is None:
                    running[kind] = sampler.epoch(draw)
                    batch = next(running[kind])
                step[kind] = batch
            yield step


def candidates(data: TrainData, popularity: float, same_kind: bool, device: torch.device) -> Candidates:
    """What may be drawn as a negative for each user: items without a training row of that user."""
    among = data.has_rows() if data.negatives_from_train_only else None
    return candidate_items(data, popularity, same_kind, device, among=among)


def positive_rows(data: TrainData) -> np.ndarray:
    """int64: positions of the positive rows; without labels every row is positive."""
    label = data.interactions.label
    return np.arange(len(data.interactions)) if label is None else np.flatnonzero(label > 0)


def in_order_of_rows(index: np.ndarray) -> np.ndarray:
    """The distinct indices, in the order in which they first occur, as the order of indices has no meaning."""
    distinct, first = np.unique(index, return_index=True)
    return distinct[np.argsort(first)]


def shuffled(index: np.ndarray, draw: Draw) -> Tensor:
    """int64, on the device."""
    order = torch.randperm(len(index), generator=draw.generator)
    return torch.from_numpy(index.astype(np.int64))[order].to(draw.device)


def _without_positives(data: TrainData, users: Sequence[Tensor], items: Sequence[Tensor]) -> Tensor:
    """bool[blocks], row by row of user groups: whether the block holds no positive row."""
    x, row = data.interactions, positive_rows(data)
    group = []
    for groups, n, index in ((users, data.n_users, x.user), (items, data.n_items, x.item)):
        of = torch.zeros(n, dtype=torch.int64)
        of[torch.cat(list(groups)).cpu()] = torch.arange(len(groups)).repeat_interleave(
            torch.tensor([*map(len, groups)])
        )
        group.append(of[torch.from_numpy(index[row]).long()])
    count = torch.bincount(group[0] * len(items) + group[1], minlength=len(users) * len(items))
    return count == 0
