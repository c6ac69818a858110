"""Samplers of what users did in order: the next item at each position, and pairs of items of one sequence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from hrec.datasets.batches import Draw, ItemPairs
from hrec.datasets.recdata import TrainData
from hrec.datasets.samplers import candidates, positive_rows
from hrec.datasets.sequences import SequenceBatch, Sequences
from hrec.settings import NegativeSettings


class NextItem:
    """Sequences of positive rows with the next item at each position, as SequenceBatch.

    Every user with at least two positive rows comes once per epoch, in a new order. A batch has the newest
    ``max_length`` positions of each, aligned to the right. Position t holds entry t of the sequence, and its target is
    entry t + 1. Both are 0 where the mask is False. The newest entry is a target only.
    stride: a long sequence gives several windows of ``max_length`` positions, each ``stride`` positions older than the
    one before. If the stride is ``max_length``, every entry but the first is a target once per epoch. None: the newest
    window alone.
    negatives: how items that the user has no training row with are drawn for each target (of the kind of the target,
    with ``same_kind``); None: none.
    Raises ValueError where a stride above ``max_length`` would leave out entries.
    """

    no_batch = "No user has two positive training rows, of which one is the next item of the other"

    def __init__(
        self,
        data: TrainData,
        max_length: int,
        device: torch.device,
        stride: int | None = None,
        negatives: NegativeSettings | None = None,
    ) -> None:
        if stride is not None and not 0 < stride <= max_length:
            raise ValueError(f"stride is from 1 to max_length, {max_length}, got {stride}")
        self.data, self.negatives = data, negatives
        sequences, self.owner = _in_order_of_rows(data, data.interactions.user)
        self.windows = _Windows.of(sequences, max_length, stride)
        self.item, self.kind = sequences.item.to(device), sequences.kind.to(device)
        if negatives is not None:
            self.candidates = candidates(data, negatives.popularity, negatives.same_kind, device)

    def epoch(self, draw: Draw) -> Iterator[SequenceBatch]:
        order = torch.randperm(len(self.windows.row), generator=draw.generator)
        start, stop, row = (a[order] for a in (self.windows.start, self.windows.stop, self.windows.row))
        length, user = stop - start, self.owner[row].to(draw.device)
        start, stop = start.to(draw.device), stop.to(draw.device)
        for first in range(0, len(order), draw.batch_size):
            # negatives are drawn for whole batches on every process, so that several train on what one would
            whole = slice(first, first + draw.batch_size)
            # the width comes from the CPU, so that the device need not be waited for
            width = int(length[whole].max())
            batch = self._batch(start[whole], stop[whole], width, user[whole], draw.generator)
            for own in draw.slices(len(batch)):
                yield batch.take(own)

    def _batch(
        self, start: Tensor, stop: Tensor, width: int, user: Tensor, generator: torch.Generator
    ) -> SequenceBatch:
        at = stop[:, None] + torch.arange(-width, 0, device=stop.device)
        mask = at >= start[:, None]
        at = at.where(mask, 0)
        item, kind, target = ((a * mask) for a in (self.item[at], self.kind[at], self.item[at + 1]))
        batch = SequenceBatch(item, kind, mask, target, user)
        if self.negatives is None:
            return batch
        return replace(batch, negative=self._negative(batch, self.kind[at + 1], generator))

    def _negative(self, batch: SequenceBatch, kind: Tensor, generator: torch.Generator) -> Tensor:
        """int64[B, L, pool]; kind int64[B, L], of the targets."""
        assert self.negatives is not None and batch.user is not None
        pool = self.negatives.pool
        user = batch.user[:, None].expand_as(kind)
        span = kind if self.negatives.same_kind else torch.zeros_like(kind)
        drawn = batch.mask & self.candidates.any_left(user, span)
        negative = torch.full((*kind.shape, pool), -1, device=kind.device)
        user, span = (a[drawn].repeat_interleave(pool) for a in (user, span))
        negative[drawn] = self.candidates.draw(user, span, generator).view(-1, pool)
        return negative


@dataclass(frozen=True, eq=False)
class _Windows:
    """Positions start to stop (not part of it) of the entries of row ``row``, int64[windows], on the CPU; every
    position has an entry after it in its row."""

    row: Tensor
    start: Tensor
    stop: Tensor

    @staticmethod
    def of(sequences: Sequences, max_length: int, stride: int | None) -> _Windows:
        """The newest window of each row, then older ones until its first entry is in one; no windows of short rows."""
        positions = sequences.length - 1
        count = (positions > 0).long()
        if stride is not None:
            count *= 1 + (positions - max_length).clamp(min=0).add(stride - 1) // stride
        row = torch.arange(len(count)).repeat_interleave(count)
        age = torch.arange(len(row)) - (count.cumsum(0) - count)[row]
        stop = (sequences.offset[1:] - 1)[row] - age * (stride or 0)
        return _Windows(row, torch.maximum(stop - max_length, sequences.offset[:-1][row]), stop)


class WithinSequence:
    """Pairs of two different items of one user's positive rows, as ItemPairs.

    Every row is the anchor once per epoch, in a new order. Its positive is drawn from the other rows of its window,
    each as likely.
    window: the positive is at most this many entries before or after the anchor; None: any of the sequence.
    across_kinds: False pairs items of one kind alone, and the window counts entries of that kind.
    negatives: how items that the user has no training row with are drawn for each pair (of the kind
    of the positive, with ``same_kind``); None: none. Left out are rows without another in their window, pairs of an
    item with itself, and pairs of users who have interacted with every candidate.
    keep: float[n_items], the chance with which an entry of each item is kept in an epoch (subsampling of frequent
    items); a pair is left out if one of its two is not. None: all are kept.
    """

    no_batch = "No user has positive training rows of two items that make a pair, and an item left to draw"

    def __init__(
        self,
        data: TrainData,
        device: torch.device,
        window: int | None = None,
        across_kinds: bool = True,
        negatives: NegativeSettings | None = None,
        keep: np.ndarray | None = None,
    ) -> None:
        if window is not None and window < 1:
            raise ValueError(f"window is at least 1 entry, got {window}")
        self.data, self.negatives = data, negatives
        x = data.interactions
        group = x.user if across_kinds else x.user.astype(np.int64) * len(data.kinds) + x.kind
        sequences, owner = _in_order_of_rows(data, group)
        row = sequences.owner
        self.item, self.kind, self.user = sequences.item.to(device), sequences.kind.to(device), owner[row].to(device)
        self.at, self.first, self.last = (a.to(device) for a in _others(sequences, window))
        if negatives is not None:
            self.candidates = candidates(data, negatives.popularity, negatives.same_kind, device)
        self.keep = None if keep is None else torch.from_numpy(keep.astype(np.float64)).to(device)

    def epoch(self, draw: Draw) -> Iterator[ItemPairs]:
        order = torch.randperm(len(self.at), generator=draw.generator)
        point = torch.rand(len(order), generator=draw.generator, dtype=torch.float64).to(draw.device)
        order = order.to(draw.device)
        at, first, last = (a[order] for a in (self.at, self.first, self.last))
        other = first + (point * (last - first)).long()
        other += other >= at  # the anchor itself is not among the positives
        usable = self._usable(at, other)
        if self.keep is not None:
            chance = torch.rand(len(at), generator=draw.generator, dtype=torch.float64).to(draw.device)
            usable &= chance < self.keep[self.item[at]] * self.keep[self.item[other]]
        at, other = at[usable], other[usable]
        for start in range(0, len(at), draw.batch_size):
            # negatives are drawn for whole batches on every process, so that several train on what one would
            whole = slice(start, start + draw.batch_size)
            batch = self._batch(at[whole], other[whole], draw.generator)
            for own in draw.slices(len(batch)):
                yield batch.take(own)

    def _usable(self, at: Tensor, other: Tensor) -> Tensor:
        """bool[B]: pairs of two items, with an item left to draw as the negative."""
        different = self.item[at] != self.item[other]
        if self.negatives is None:
            return different
        return different & self.candidates.any_left(self.user[at], self._span(other))

    def _batch(self, at: Tensor, other: Tensor, generator: torch.Generator) -> ItemPairs:
        pairs = ItemPairs(self.item[at], self.item[other], self.user[at])
        if self.negatives is None:
            return pairs
        pool = self.negatives.pool
        user, span = (a.repeat_interleave(pool) for a in (pairs.user, self._span(other)))
        return replace(pairs, negative=self.candidates.draw(user, span, generator).view(-1, pool))

    def _span(self, at: Tensor) -> Tensor:
        """int64[B]: the span of candidates of these entries."""
        same_kind = self.negatives is not None and self.negatives.same_kind
        return self.kind[at] if same_kind else torch.zeros_like(at)


def _others(sequences: Sequences, window: int | None) -> tuple[Tensor, Tensor, Tensor]:
    """(at, first, last), int64 each: the entries that have another within ``window`` entries in their row, and the
    range of these, both ends part of it."""
    at, row = torch.arange(len(sequences.item)), sequences.owner
    first, last = sequences.offset[:-1][row], sequences.offset[1:][row] - 1
    if window is not None:
        first, last = torch.maximum(first, at - window), torch.minimum(last, at + window)
    some = last > first
    return at[some], first[some], last[some]


def _in_order_of_rows(data: TrainData, group: np.ndarray) -> tuple[Sequences, Tensor]:
    """The positive rows by group, int[N], oldest first, and the user of each group, int64, both on the CPU.

    Groups are in the order of their first rows, as the order of indices has no meaning.
    """
    rows = positive_rows(data)
    x = replace(data.interactions, columns={}).take(rows)
    _, first, of_row = np.unique(group[rows], return_index=True, return_inverse=True)
    order = np.argsort(first)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    sequences = Sequences.of(data, replace(x, user=place[of_row]), len(order))
    return sequences, torch.from_numpy(x.user[first[order]].astype(np.int64))
