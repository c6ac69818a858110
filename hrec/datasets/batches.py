"""Batches, small dataclasses of ids, and the samplers that yield them for one epoch.

A sampler is ``sample(data, draw) -> iterator of batches``. It permutes the rows once and hands out slices that
already sit on the device: no per-row Python, no worker process. Columns are gathered by the model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hrec.datasets.negatives import with_negatives
from hrec.datasets.recdata import RecData
from hrec.datasets.unseen import Unseen, unseen_items
from hrec.settings import NegativeSettings


@dataclass(frozen=True)
class Draw:
    """How one epoch is drawn. ``rank`` of ``world`` processes takes its share of every batch, at least one row."""

    batch_size: int
    generator: torch.Generator
    """On the CPU, so that a seed draws the same batches on every device."""
    device: torch.device
    rank: int = 0
    world: int = 1


Sampler = Callable[[RecData, Draw], Iterator[Any]]


@dataclass(frozen=True)
class Points:
    """Labelled pairs: user, item int64[B]; label float32[B], 1 or 0.

    share: of a batch that several processes share, the rows that this one has, relative to the mean over them.
    """

    user: Tensor
    item: Tensor
    label: Tensor
    share: float = 1.0

    def __len__(self) -> int:
        return len(self.user)


@dataclass(frozen=True)
class Pairs:
    """An item that the user likes and ``pool`` unseen ones: user, positive int64[B]; negative int64[B, pool]."""

    user: Tensor
    positive: Tensor
    negative: Tensor

    def __len__(self) -> int:
        return len(self.user)


@dataclass(frozen=True)
class Rows:
    """Rows of a table: row int64[B], items or users as the sampler says."""

    row: Tensor

    def __len__(self) -> int:
        return len(self.row)


@dataclass(frozen=True)
class Block:
    """Some users and some items and all pairs of them, a block of R: user int64[B_u], item int64[B_v]; none twice.

    together: the users of all processes, of whom ``user`` are those of this one; None: the same.
    """

    user: Tensor
    item: Tensor
    together: Tensor | None = None

    def __len__(self) -> int:
        return len(self.user)


def pointwise(data: RecData, draw: Draw) -> Iterator[Points]:
    """Every training row once, in a new order; for implicit rows negatives are drawn anew and mixed in."""
    x = data.interactions
    if data.negatives:
        unseen = _unseen(data, data.popularity, True, torch.device("cpu"))
        x = with_negatives(data, unseen, draw.generator)[0].interactions  # drawn anew at each call
    label = np.ones(len(x), np.float32) if x.label is None else x.label
    order = torch.randperm(len(x), generator=draw.generator)
    users, items, labels = (torch.from_numpy(a)[order].to(draw.device) for a in (x.user, x.item, label))
    users, items = users.long(), items.long()
    for own in _batches(len(x), draw):
        yield Points(users[own], items[own], labels[own], _share(own, draw))


DRAWN_AHEAD = 2**17
"""Negatives that are drawn at once."""


def pairwise(negatives: NegativeSettings) -> Sampler:
    """Every training row that is liked once, in a new order, with unseen items beside it, drawn on the device.

    Rows of users who have seen all there is to draw are left out.
    """

    def sample(data: RecData, draw: Draw) -> Iterator[Pairs]:
        unseen = _unseen(data, negatives.popularity, negatives.same_kind, draw.device)
        user, item, span = _liked_rows(data, negatives.popularity, negatives.same_kind, draw.device)
        order = torch.randperm(len(user), generator=draw.generator).to(draw.device)
        pool = negatives.pool
        ahead = draw.batch_size * max(1, DRAWN_AHEAD // (draw.batch_size * pool))
        for piece in order.split(ahead):  # many batches at once, as drawing costs little more for many than for one
            u, i, k = (a[piece] for a in (user, item, span))
            # drawn for whole batches on every process, so that several train on what one would
            drawn = unseen.draw(u.repeat_interleave(pool), k.repeat_interleave(pool), draw.generator).view(-1, pool)
            for own in _batches(len(piece), draw):
                yield Pairs(u[own], i[own], drawn[own])

    return sample


def items(all_items: bool = False) -> Sampler:
    """Every item with a training row once, in a new order, as Rows; with ``all_items`` those without one too."""

    def sample(data: RecData, draw: Draw) -> Iterator[Rows]:
        known = _in_order_of_rows(data.interactions.item)
        if all_items:
            known = np.concatenate([known, np.setdiff1d(np.arange(data.n_items), known)])
        item = _shuffled(known, draw)
        for own in _batches(len(item), draw):
            yield Rows(item[own])

    return sample


def dual(block_items: int | None, skip_empty: float = 0.0) -> Sampler:
    """Dual mini-batches: blocks of draw.batch_size users by ``block_items`` items (None: all), as Block.

    Users and items that have a training row are cut into groups of nearly equal size in a new order, and every pair of
    groups comes once, in a new order: an epoch walks all of R without repetition (DualNet paper, section 4).
    skip_empty: this share of the blocks in which no row is liked is left out, drawn anew for each epoch.
    """

    def sample(data: RecData, draw: Draw) -> Iterator[Block]:
        x = data.interactions
        if not len(x):
            return
        user, item = (_shuffled(_in_order_of_rows(a), draw) for a in (x.user, x.item))
        users = user.tensor_split(max(1, min(-(-len(user) // draw.batch_size), len(user) // draw.world)))
        items = item.tensor_split(-(-len(item) // (block_items or len(item))))
        block = torch.randperm(len(users) * len(items), generator=draw.generator)
        if skip_empty:
            empty = _holds_no_one(data, users, items)[block]
            at = empty.nonzero().squeeze(1)
            left_out = at[torch.randperm(len(at), generator=draw.generator)[: round(skip_empty * len(at))]]
            block = block[torch.ones(len(block), dtype=torch.bool).index_fill(0, left_out, False)]
        for number in block.tolist():
            some = users[number // len(items)]
            yield Block(some.tensor_split(draw.world)[draw.rank], items[number % len(items)], some)

    return sample


def _in_order_of_rows(number: np.ndarray) -> np.ndarray:
    """The different numbers, in the order in which they first come: no number has a meaning, so neither has theirs."""
    different, first = np.unique(number, return_index=True)
    return different[np.argsort(first)]


def _shuffled(number: np.ndarray, draw: Draw) -> Tensor:
    """int64, on the device."""
    order = torch.randperm(len(number), generator=draw.generator)
    return torch.from_numpy(number.astype(np.int64))[order].to(draw.device)


def _holds_no_one(data: RecData, users: Sequence[Tensor], items: Sequence[Tensor]) -> Tensor:
    """bool[blocks], row by row of user groups: whether no row of the block is liked."""
    x = data.interactions
    liked = np.ones(len(x), bool) if x.label is None else x.label > 0
    group = []
    for groups, n, number in ((users, data.n_users, x.user), (items, data.n_items, x.item)):
        of = torch.zeros(n, dtype=torch.int64)
        of[torch.cat(list(groups)).cpu()] = torch.arange(len(groups)).repeat_interleave(
            torch.tensor([*map(len, groups)])
        )
        group.append(of[torch.from_numpy(number[liked]).long()])
    count = torch.bincount(group[0] * len(items) + group[1], minlength=len(users) * len(items))
    return count == 0


@lru_cache(maxsize=16)
def _unseen(data: RecData, popularity: float, same_kind: bool, device: torch.device) -> Unseen:
    """Worked out once for a training part, not for each epoch."""
    among = data.has_rows() if data.known_alone else None
    return unseen_items(data, popularity, same_kind, device, among=among)


@lru_cache(maxsize=16)
def _liked_rows(data: RecData, popularity: float, same_kind: bool, device: torch.device) -> tuple[Tensor, ...]:
    """user, item and span int64[N] of the liked rows of users who have something left to draw."""
    x = data.interactions
    liked = np.arange(len(x)) if x.label is None else np.flatnonzero(x.label > 0)
    span = x.kind if same_kind else np.zeros_like(x.kind)
    rows = [torch.from_numpy(a[liked].astype(np.int64)).to(device) for a in (x.user, x.item, span)]
    user, _, span_of = rows
    left = _unseen(data, popularity, same_kind, device).any_left(user, span_of)
    return tuple(a[left] for a in rows)


@lru_cache(maxsize=4)
def _by_kind(data: RecData) -> dict[str, RecData]:
    """The rows of each kind that has any; the same objects for every epoch, so that ``_unseen`` knows them again."""
    views = {kind: data.only(kind) for kind in data.kinds}
    return {kind: view for kind, view in views.items() if len(view.interactions)}


def per_kind(sample: Sampler) -> Sampler:
    """One batch of every kind at each step, as a dict in the order of the kinds.

    The kind with the most rows sets the length of the epoch; a kind that runs out starts again in a new order.
    """

    def sample_each(data: RecData, draw: Draw) -> Iterator[dict[str, Any]]:
        views = _by_kind(data)
        if not views:
            return
        longest = max(views, key=lambda kind: len(views[kind].interactions))
        running = {kind: sample(view, draw) for kind, view in views.items()}
        for lead in running[longest]:
            step = {}
            for kind, view in views.items():
                batch = lead if kind == longest else next(running[kind], None)
                if batch is None:
                    running[kind] = sample(view, draw)
                    batch = next(running[kind])
                step[kind] = batch
            yield step

    return sample_each


def _batches(rows: int, draw: Draw) -> Iterator[slice]:
    """The rows of each batch that belong to this process.

    No share is empty: of a batch with fewer rows than processes some have the same row. So the processes have the same
    number of batches, and of every kind in the same steps, and weights of a kind have a gradient on all or on none.
    """
    for start in range(0, rows, draw.batch_size):
        stop = min(start + draw.batch_size, rows)
        yield slice(start + draw.rank % (stop - start), stop, draw.world)


def _share(own: slice, draw: Draw) -> float:
    """Rows of a batch of which this process has ``own``, one in ``draw.world``, relative to the mean over processes."""
    mine = len(range(own.start, own.stop, own.step))
    rows = own.stop - (own.start - own.start % draw.batch_size)  # every batch begins at a multiple of the batch size
    return mine * draw.world / rows if rows >= draw.world else 1.0
