"""Weighted sums of table rows, the one lookup of every large table, with gradients that cost what the entries cost.

A plain ``nn.EmbeddingBag`` adds up its gradient entry by entry. Here it is summed by sorting the entries, into a
coalesced sparse tensor that names only the rows used, or into a dense one where the entries are many for the table
(see scripts/bench.py).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hrec.datasets.histories import History
from hrec.datasets.queries import Queries


class Cells(NamedTuple):
    """The cells of some rows of different length, one row after another: how many each row has int64[B], their columns
    int32[total], their values float32[total]."""

    length: Tensor
    column: Tensor
    value: Tensor

    @property
    def start(self) -> Tensor:
        """Where the cells of each row begin, int64[B]."""
        return self.length.cumsum(0).sub_(self.length)

    @property
    def owner(self) -> Tensor:
        """The place among the B rows of the row that each cell is of, int64[total]."""
        place = torch.arange(len(self.length), device=self.length.device)
        return torch.repeat_interleave(place, self.length, output_size=len(self.column))


class RaggedRows(nn.Module):
    """Rows of different length kept on the device: row r holds ``index[offset[r]:offset[r + 1]]`` and ``value``.

    The arrays come from the data, so they are not saved with the weights.
    """

    offset: Tensor
    index: Tensor
    value: Tensor

    def __init__(self, offset: Any, index: Any, value: Any) -> None:
        super().__init__()
        self.register_buffer("offset", torch.as_tensor(offset, dtype=torch.int64), persistent=False)
        self.register_buffer("index", torch.as_tensor(index, dtype=torch.int32), persistent=False)
        self.register_buffer("value", torch.as_tensor(value, dtype=torch.float32), persistent=False)

    @classmethod
    def of(cls, history: History) -> RaggedRows:
        """The rows of a history."""
        return cls(history.offset, history.index, history.value)

    def of_queries(self, queries: Queries, positives: bool = False) -> Cells:
        """The cells of the queries: of their histories, or of the training rows of known users.

        positives: a history gives its positive items, cells of 1. Raises UnknownUserError without either.
        """
        if queries.history is None:
            return self(queries.known())
        return Cells(*queries.history.cells(positives))

    @classmethod
    def of_cells(cls, cells: Cells) -> RaggedRows:
        """Rows that hold these cells."""
        offset = torch.cat([cells.length.new_zeros(1), cells.length.cumsum(0)])
        return cls(offset, cells.column, cells.value)

    def length(self, row: Tensor) -> Tensor:
        """How many cells each of these rows has, int64[B] -> int64[B]."""
        return self.offset[row + 1] - self.offset[row]

    def forward(self, row: Tensor) -> Cells:
        """The cells of these rows, int64[B]."""
        first = self.offset[row]
        length = self.offset[row + 1] - first
        before = length.cumsum(0)
        total = int(before[-1]) if len(row) else 0
        shift = first.sub_(before).add_(length)
        at = torch.repeat_interleave(shift, length, output_size=total).add_(torch.arange(total, device=row.device))
        return Cells(length, self.index.index_select(0, at), self.value.index_select(0, at))


DENSE_UP_TO = 8.0
"""Rows of a table, for each entry read, up to which a dense gradient is quicker than one of the rows used."""


class EmbeddingTable(nn.Module):
    """A weight [rows, width] read by ``bags`` or ``rows``, initialised N(0, std).

    The gradient is dense where the table has at most ``weight.dense_up_to`` rows for each entry read, else sparse;
    optimisers that need one or the other set the number to 0 or infinity.
    """

    def __init__(self, rows: int, width: int, std: float, dense_up_to: float = DENSE_UP_TO) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(rows, width))
        self.weight.dense_up_to = dense_up_to  # type: ignore[attr-defined]
        nn.init.normal_(self.weight, std=std)

    def rows_or_mean(self, index: Tensor) -> Tensor:
        """Rows of the table, int64[B] -> [B, width]; for -1 the mean of all rows."""
        unknown = index < 0
        rows = self.rows(index.clamp(min=0))
        return torch.where(unknown[:, None], self.weight.mean(0), rows) if bool(unknown.any()) else rows

    def bags(self, index: Tensor, offset: Tensor, value: Tensor) -> Tensor:
        """Sum of ``value * weight[index]`` over each bag; bag b starts at ``offset[b]``. -> [bags, width].

        index int32[entries], offset int[bags], value float[entries].
        """
        offset = offset.to(index.dtype)
        if torch.is_grad_enabled() and self.weight.requires_grad:
            return _Bags.apply(self.weight, index, offset, value, self._dense(index))
        return F.embedding_bag(index, self.weight, offset, mode="sum", per_sample_weights=value)

    def dots(self, left: Tensor, index: Tensor, offset: Tensor) -> Tensor:
        """Products of the rows of each bag with the row of ``left`` of that bag: left[b] . weight[index].

        left float[bags, width], index int32[entries], offset int[bags] -> float[entries].
        """
        return _Dots.apply(left, self.weight, index, offset.to(index.dtype), self._dense(index))

    def rows(self, index: Tensor) -> Tensor:
        """The rows one by one, in the order given: int[B] -> [B, width]."""
        if torch.is_grad_enabled() and self.weight.requires_grad and not self._dense(index):
            return self.bags(index, torch.arange(len(index), device=index.device), self.weight.new_ones(len(index)))
        if self.weight.is_cuda:
            return F.embedding(index, self.weight)  # its gradient has the same bits each time there
        return self.weight.index_select(0, index)  # and this one's is two to three times as fast on a CPU

    def _dense(self, index: Tensor) -> bool:
        """Whether the gradient of these entries is dense."""
        up_to = getattr(self.weight, "dense_up_to", DENSE_UP_TO)  # a copied parameter has lost it
        return len(self.weight) <= up_to * max(len(index), 1)


def used_rows(gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Rows int64[k], each once, and their gradients [k, width], of the sparse gradient of a table.

    Autograd forgets that a gradient is coalesced; sorting it again would cost more than the step. Ascending rows are
    proof enough; a table that a loss reads twice has rows in two runs, and those are summed.
    """
    rows = gradient._indices()[0]
    if not bool((rows[1:] > rows[:-1]).all()):
        gradient = gradient.coalesce()
    return gradient._indices()[0], gradient._values()


DOTS_AT_ONCE = 2**20
"""Numbers of the rows that ``dots`` reads at once."""


def dots(left: Tensor, bag: Tensor, weight: Tensor, index: Tensor) -> Tensor:
    """left[bag] . weight[index] for each entry, without a gradient: int[entries] both -> float[entries].

    The rows are read in pieces: memory grows with the entries, not with entries times width.
    """
    at_once = max(1, DOTS_AT_ONCE // max(left.shape[1], 1))
    pieces = zip(bag.split(at_once), index.split(at_once), strict=True)
    products = [(left.index_select(0, b) * weight.index_select(0, i)).sum(1) for b, i in pieces]
    return torch.cat(products) if products else left.new_zeros(0)


class _Bags(torch.autograd.Function):
    """embedding_bag whose gradient is sparse and coalesced, or dense; values have gradients too."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, index: Tensor, offset: Tensor, value: Tensor, dense: bool) -> Tensor:
        ctx.save_for_backward(index, offset, value, weight if ctx.needs_input_grad[3] else None)
        ctx.shape, ctx.dense = weight.shape, dense
        return F.embedding_bag(index, weight, offset, mode="sum", per_sample_weights=value)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        index, offset, value, weight = ctx.saved_tensors
        gradient = gradients[0].contiguous()
        bag = _bag_of_each(index, offset)
        of_weight = _transposed(ctx, gradient, bag, index, value) if ctx.needs_input_grad[0] else None
        of_value = dots(gradient, bag, weight, index) if ctx.needs_input_grad[3] else None
        return of_weight, None, None, of_value, None


class _Dots(torch.autograd.Function):
    """``dots`` with gradients of both sides; the transpose of ``_Bags``."""

    @staticmethod
    def forward(ctx: Any, left: Tensor, weight: Tensor, index: Tensor, offset: Tensor, dense: bool) -> Tensor:
        ctx.save_for_backward(left, weight, index, offset)
        ctx.shape, ctx.dense = weight.shape, dense
        return dots(left, _bag_of_each(index, offset), weight, index)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        left, weight, index, offset = ctx.saved_tensors
        value = gradients[0].contiguous()
        of_left = of_weight = None
        if ctx.needs_input_grad[0]:
            of_left = F.embedding_bag(index, weight, offset, mode="sum", per_sample_weights=value)
        if ctx.needs_input_grad[1]:
            of_weight = _transposed(ctx, left, _bag_of_each(index, offset), index, value)
        return of_left, of_weight, None, None, None


def _bag_of_each(index: Tensor, offset: Tensor) -> Tensor:
    """The bag of each entry, int[entries]."""
    length = torch.diff(offset, append=offset.new_tensor([len(index)]))
    bag = torch.arange(len(offset), dtype=index.dtype, device=index.device)
    return torch.repeat_interleave(bag, length, output_size=len(index))


def _transposed(ctx: Any, rows: Tensor, bag: Tensor, index: Tensor, value: Tensor) -> Tensor:
    """Sum of ``value * rows[bag]`` over the entries of each index: each row of the table gathers what used it.

    ctx: has the table's ``shape``, and ``dense``, whether the sum is a dense tensor.
    """
    index, order = torch.sort(index)
    if ctx.dense:
        count = torch.bincount(index, minlength=ctx.shape[0])
    else:
        used, count = torch.unique_consecutive(index, return_counts=True)
    start = (count.cumsum(0) - count).to(index.dtype)
    values = F.embedding_bag(
        bag.index_select(0, order), rows, start, mode="sum", per_sample_weights=value.index_select(0, order)
    )
    if ctx.dense:
        return values
    return torch.sparse_coo_tensor(used[None].long(), values, ctx.shape, is_coalesced=True, check_invariants=False)
