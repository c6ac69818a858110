"""What users did, oldest first: rows of interactions as CSR, and batches of them cut to the same length."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from hrec.datasets.histories import cells_as_in
from hrec.datasets.recdata import Interactions, TrainData


@dataclass(frozen=True, eq=False)
class Sequences:
    """One row of interactions per user or query, oldest first; row r holds the entries offset[r] to offset[r + 1].

    offset int64[n + 1]; item, kind int64[total]; time float64[total], seconds, None without timestamps; cell
    float32[total], what a history cell holds in training (data.inter_matrix_type), NaN for none; positive bool[total].
    """

    offset: Tensor
    item: Tensor
    kind: Tensor
    time: Tensor | None
    cell: Tensor
    positive: Tensor

    @staticmethod
    def of(train: TrainData, x: Interactions, n: int, device: torch.device | None = None) -> Sequences:
        """Rows ``x`` by ``x.user``, int[N] from 0 to below ``n``, measured as the training rows are.

        Without timestamps the order of the rows is taken for the order of time.
        """
        time = np.zeros(len(x)) if x.time is None else np.nan_to_num(x.time, nan=-np.inf)
        order = np.lexsort((np.arange(len(x)), time, x.user))
        offset = np.zeros(n + 1, np.int64)
        np.cumsum(np.bincount(x.user, minlength=n), out=offset[1:])
        positive = np.ones(len(x), bool) if x.label is None else x.label > 0

        def on_device(array: np.ndarray) -> Tensor:
            return torch.from_numpy(array).to(device)

        return Sequences(
            on_device(offset),
            on_device(x.item[order].astype(np.int64)),
            on_device(x.kind[order].astype(np.int64)),
            None if x.time is None else on_device(x.time[order]),
            on_device(cells_as_in(train, x)[order]),
            on_device(positive[order]),
        )

    def __len__(self) -> int:
        return len(self.offset) - 1

    @property
    def length(self) -> Tensor:
        """int64[n]: entries of each row."""
        return torch.diff(self.offset)

    @property
    def owner(self) -> Tensor:
        """int64[total]: the row of each entry."""
        return torch.repeat_interleave(torch.arange(len(self), device=self.item.device), self.length)

    def take(self, rows: Tensor) -> Sequences:
        """These rows, int64[B], in the order given."""
        length = self.length[rows]
        offset = torch.cat([length.new_zeros(1), length.cumsum(0)])
        start = self.offset[:-1][rows] - offset[:-1]
        return self._at(offset, torch.arange(int(offset[-1]), device=rows.device) + start.repeat_interleave(length))

    def where(self, keep: Tensor) -> Sequences:
        """The entries that are kept, bool[total]."""
        count = torch.zeros(len(self), dtype=torch.int64, device=keep.device).index_add_(0, self.owner, keep.long())
        return self._at(torch.cat([count.new_zeros(1), count.cumsum(0)]), keep.nonzero().squeeze(1))

    def last(self, most: int) -> Sequences:
        """The newest ``most`` entries of each row."""
        from_the_end = self.offset[1:].repeat_interleave(self.length) - torch.arange(
            len(self.item), device=self.item.device
        )
        return self.where(from_the_end <= most)

    def _at(self, offset: Tensor, at: Tensor) -> Sequences:
        time = None if self.time is None else self.time[at]
        return Sequences(offset, self.item[at], self.kind[at], time, self.cell[at], self.positive[at])

    def cells(self, positives: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """(length int64[n], item int32, value float32) of the cells of each row, items ascending, as in a ``History``.

        positives: the positive items, with cells of 1; else every item with a cell. Each item is there once, with the
        mean of its cells.
        """
        kept = self.where(self.positive if positives else torch.isfinite(self.cell))
        width = int(kept.item.max()) + 1 if len(kept.item) else 1
        key = kept.owner * width + kept.item
        if positives:
            key = torch.unique(key)
            value = torch.ones(len(key), device=key.device)
        else:
            key, at, times = torch.unique(key, return_inverse=True, return_counts=True)
            value = kept.cell.new_zeros(len(key)).index_add_(0, at, kept.cell) / times
        length = torch.bincount(key // width, minlength=len(self))
        return length, (key % width).int(), value

    def padded(self, max_length: int) -> SequenceBatch:
        """The newest ``max_length`` entries of each row, aligned to the right."""
        cut = self.last(max_length)
        width = max(1, int(cut.length.max())) if len(cut) else 1
        owner = cut.owner
        place = torch.arange(len(cut.item), device=owner.device) - cut.offset[1:][owner] + width
        item = torch.zeros(len(cut), width, dtype=torch.int64, device=owner.device)
        kind, mask = torch.zeros_like(item), torch.zeros_like(item, dtype=torch.bool)
        item[owner, place], kind[owner, place], mask[owner, place] = cut.item, cut.kind, True
        return SequenceBatch(item, kind, mask)


@dataclass(frozen=True, eq=False)
class SequenceBatch:
    """Sequences of one length: item, kind int64[B, L], oldest first and aligned to the right; mask bool[B, L], True
    for an entry and False for padding (index 0).

    target: int64[B, L], the next item at each position, where a sampler gives it; user int64[B].
    negative: int64[B, L, pool], where a sampler draws them: items that the user has no training row with, -1 for
    padding and if there is none to draw.
    """

    item: Tensor
    kind: Tensor
    mask: Tensor
    target: Tensor | None = None
    user: Tensor | None = None
    negative: Tensor | None = None

    def __len__(self) -> int:
        return len(self.item)

    def take(self, rows: slice) -> SequenceBatch:
        """These sequences, as wide as the batch."""
        target, user, negative = (None if a is None else a[rows] for a in (self.target, self.user, self.negative))
        return SequenceBatch(self.item[rows], self.kind[rows], self.mask[rows], target, user, negative)

    def with_target(self, target: Tensor, user: Tensor) -> SequenceBatch:
        """The same batch with the next item at each position."""
        return replace(self, target=target, user=user)
