"""Weighted sums of table rows with gradients that name only the rows used: the one lookup of every large table.

A plain ``nn.EmbeddingBag`` writes a dense gradient of the whole table at every step. Here the gradient is a coalesced
sparse tensor, summed by sorting the entries, so a step costs what its entries cost (see scripts/bench.py).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hrec.datasets.histories import History


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

    def forward(self, first: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
        """Entries of the row ranges [first, last), int64[B] each, one after another: index int32 and value, [total]."""
        start = self.offset[first]
        length = self.offset[last] - start
        total = int(length.sum())
        shift = start - (length.cumsum(0) - length)
        at = torch.repeat_interleave(shift, length, output_size=total).add_(torch.arange(total, device=start.device))
        return self.index.index_select(0, at), self.value.index_select(0, at)

    def cells(self, row: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Entries of these rows, int64[B], with whose they are: place in ``row`` int64, index int64, value, [total]."""
        length = self.offset[row + 1] - self.offset[row]
        owner = torch.repeat_interleave(torch.arange(len(row), device=row.device), length)
        index, value = self(row, row + 1)
        return owner, index.long(), value


class Table(nn.Module):
    """A weight [rows, width] read by ``bags`` or ``rows``; ``row_gradient`` marks the parameter for the optimisers.

    Initialised N(0, std), as the published code does with std 0.01.
    """

    def __init__(self, rows: int, width: int, std: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(rows, width))
        self.weight.row_gradient = True  # type: ignore[attr-defined]
        self.sparse_gradient = True
        self.dense_rows = False
        """``rows`` gives a dense gradient, which is quicker where a batch reads a good part of the table."""
        nn.init.normal_(self.weight, std=std)

    def bags(self, index: Tensor, offset: Tensor, value: Tensor) -> Tensor:
        """Sum of ``value * weight[index]`` over each bag; bag b starts at ``offset[b]``. -> [bags, width].

        index int32[entries], offset int[bags], value float[entries].
        """
        offset = offset.to(index.dtype)
        if self.sparse_gradient and torch.is_grad_enabled() and self.weight.requires_grad:
            return _Bags.apply(self.weight, index, offset, value)
        return F.embedding_bag(index, self.weight, offset, mode="sum", per_sample_weights=value)

    def rows(self, index: Tensor) -> Tensor:
        """The rows one by one, in the order given: int[B] -> [B, width]."""
        sparse = self.sparse_gradient and not self.dense_rows
        if sparse and torch.is_grad_enabled() and self.weight.requires_grad:
            return self.bags(index, torch.arange(len(index), device=index.device), self.weight.new_ones(len(index)))
        return F.embedding(index, self.weight)


def used_rows(gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Rows int64[k], each once, and their gradients [k, width], of the sparse gradient of a table.

    Autograd forgets that a gradient is coalesced; sorting it again would cost more than the step. Ascending rows are
    proof enough; a table that a loss reads twice has rows in two runs, and those are summed.
    """
    rows = gradient._indices()[0]
    if not bool((rows[1:] > rows[:-1]).all()):
        gradient = gradient.coalesce()
    return gradient._indices()[0], gradient._values()


class _Bags(torch.autograd.Function):
    """embedding_bag whose gradient is sparse and coalesced."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, index: Tensor, offset: Tensor, value: Tensor) -> Tensor:
        ctx.save_for_backward(index, offset, value)
        ctx.shape = weight.shape
        return F.embedding_bag(index, weight, offset, mode="sum", per_sample_weights=value)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        index, offset, value = ctx.saved_tensors
        gradient = gradients[0].contiguous()
        length = torch.diff(offset, append=offset.new_tensor([len(index)]))
        bag = torch.arange(len(offset), dtype=index.dtype, device=index.device)
        bag = torch.repeat_interleave(bag, length, output_size=len(index))
        index, order = torch.sort(index)
        rows, count = torch.unique_consecutive(index, return_counts=True)
        start = (count.cumsum(0) - count).to(index.dtype)
        # the transpose of the forward pass: each used row gathers the gradients of the bags that used it
        values = F.embedding_bag(
            bag.index_select(0, order), gradient, start, mode="sum", per_sample_weights=value.index_select(0, order)
        )
        sparse = torch.sparse_coo_tensor(
            rows[None].long(), values, ctx.shape, is_coalesced=True, check_invariants=False
        )
        return sparse, None, None, None
