"""Some items of each user's sequence, drawn at random, and the rest of it: batches for losses between sequences."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hrec.datasets.batches import Draw
from hrec.datasets.recdata import TrainData
from hrec.datasets.sequence_samplers import _in_order_of_rows
from hrec.datasets.sequences import SequenceBatch, Sequences


@dataclass(frozen=True, eq=False)
class Excerpt:
    """Drawn items of B sequences: user int64[B]; item int64[B, m], 0 for padding; mask bool[B, m], True for an item.

    No item is twice in a row. context: the entries of each sequence that an encoder may read, in their places; the mask
    is False for those that it may not.
    """

    user: Tensor
    item: Tensor
    mask: Tensor
    context: SequenceBatch

    def __len__(self) -> int:
        return len(self.user)


class Excerpts:
    """Sequences of positive rows with items drawn from each, as Excerpt.

    Every user with at least two positive items comes once per epoch, in a new order. A sequence holds the newest
    ``max_length`` items, each at its newest entry. Up to ``most`` of them are drawn, in random order.
    across_kinds: False gives a sequence for each user and kind.
    disjoint: the context holds only entries that are not drawn, and at most half of the items (rounded up, and at least
    two) are drawn, so that some are left. False: the context is the whole sequence.
    Raises ValueError if fewer than two are to be drawn.
    """

    all_kinds_in_each_batch = False
    """A batch may lack a kind; then the weights of that kind have no gradient in the step."""

    def __init__(
        self,
        data: TrainData,
        most: int,
        max_length: int,
        device: torch.device,
        across_kinds: bool = True,
        disjoint: bool = True,
    ) -> None:
        if min(most, max_length) < 2:
            raise ValueError(f"at least 2 items are drawn of each sequence, got {min(most, max_length)}")
        self.data, self.disjoint = data, disjoint
        x = data.interactions
        group = x.user if across_kinds else x.user.astype(np.int64) * len(data.kinds) + x.kind
        sequences, owner = _in_order_of_rows(data, group)
        sequences = _each_item_once(sequences).last(max_length)
        long = (sequences.length > 1).nonzero().squeeze(1)
        sequences, self.owner = sequences.take(long), owner[long]
        self.offset, self.row, self.length = sequences.offset, sequences.owner, sequences.length
        half = ((self.length + 1) // 2).clamp(min=2)
        self.count = torch.minimum(half if disjoint else self.length, torch.tensor(most))
        self.item, self.kind = sequences.item.to(device), sequences.kind.to(device)

    def epoch(self, draw: Draw) -> Iterator[Excerpt]:
        order = torch.randperm(len(self.owner), generator=draw.generator)
        key = torch.rand(len(self.row), generator=draw.generator, dtype=torch.float64)
        shuffled = torch.argsort(self.row + key)  # the entries of each row stay together, in random order
        drawn = torch.empty(len(self.row), dtype=torch.bool)
        drawn[shuffled] = torch.arange(len(self.row)) - self.offset[self.row] < self.count[self.row]
        shuffled, drawn = shuffled.to(draw.device), drawn.to(draw.device)
        for own in draw.slices(len(order)):
            yield self._batch(order[own], shuffled, drawn, draw.device)

    def _batch(self, row: Tensor, shuffled: Tensor, drawn: Tensor, device: torch.device) -> Excerpt:
        # widths come from the CPU, so that the device need not be waited for
        longest, most = int(self.length[row].max()), int(self.count[row].max())
        start, stop, count = (a.to(device)[:, None] for a in (self.offset[row], self.offset[row + 1], self.count[row]))
        place = torch.arange(most, device=device)
        mask = place < count
        item = self.item[shuffled[(start + place).where(mask, 0)]] * mask
        at = stop + torch.arange(-longest, 0, device=device)
        read = at >= start
        at = at.where(read, 0)
        if self.disjoint:
            read = read & ~drawn[at]
        context = SequenceBatch(self.item[at] * read, self.kind[at] * read, read)
        return Excerpt(self.owner[row].to(device), item, mask, context)


def _each_item_once(sequences: Sequences) -> Sequences:
    """The newest entry of each item of each row."""
    width = int(sequences.item.max()) + 1 if len(sequences.item) else 1
    key = (sequences.owner * width + sequences.item).numpy()
    newest = len(key) - 1 - np.unique(key[::-1], return_index=True)[1]
    keep = np.zeros(len(key), bool)
    keep[newest] = True
    return sequences.where(torch.from_numpy(keep))
