"""A linear layer on rows of the label matrix Y, without ever writing such a row out."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from pydantic import Field, NonNegativeFloat, PositiveFloat
from torch import Tensor, nn

from hrec.datasets.histories import History
from hrec.datasets.queries import Queries
from hrec.models.layers.bags import Cells, EmbeddingTable, RaggedRows
from hrec.settings import Settings


class HistorySettings(Settings):
    """How a tower reads a history; what its cells hold is ``data.inter_matrix_type``."""

    scale: Literal["sum", "sqrt", "mean"] = "sqrt"
    """The sum over n cells as it is (the papers' Y W), over the square root of n, or over n."""
    summary: bool = True
    """Two numbers more: the shrunk mean of the cells, and the logarithm of their number."""
    shrink: NonNegativeFloat = 3.0
    """Cells of value 0 that the mean is taken with, so that one rating does not count as much as ten."""
    leave_target_out: bool = True
    """In training, take the cell of the pair that is being predicted out of both histories."""
    dropout: float = Field(0.3, ge=0, lt=1)
    """In training, each cell is left out of the sum with this chance and the others are scaled up."""
    init_std: PositiveFloat = 0.01
    """Standard deviation of the first weights."""


POWER = {"sum": 0.0, "sqrt": 0.5, "mean": 1.0}
"""The power of the number of cells that each scale divides by."""


class HistoryLinear(nn.Module):
    """``Y[row] @ W`` for CSR rows of Y; W is [columns of Y, size], no bias; ``width`` counts the summary too.

    power: the sum over n cells is divided by n ** power; None takes that of ``settings.scale``.

    Equal rows of a batch are multiplied once. The target's own cell is subtracted afterwards, which is exact because
    the layer is linear.
    """

    total: Tensor

    def __init__(self, history: History, size: int, settings: HistorySettings, power: float | None = None) -> None:
        super().__init__()
        self.rows = RaggedRows.of(history)
        self.table = EmbeddingTable(history.width, size, settings.init_std)
        self.settings = settings
        self.power = POWER[settings.scale] if power is None else power
        self.width = size + 2 * settings.summary
        cumulated = torch.cat([torch.zeros(1), torch.from_numpy(history.value).cumsum(0, dtype=torch.float64)])
        total = cumulated[self.rows.offset[1:]] - cumulated[self.rows.offset[:-1]]
        self.register_buffer("total", total.float(), persistent=False)

    def forward(self, row: Tensor, leave_out: Tensor | None = None) -> Tensor:
        """row int64[B]; leave_out int64[B], the column to take out of each row, or None. -> [B, width]."""
        unique, inverse = torch.unique(row, return_inverse=True)
        cells = self.rows(unique)
        n, total = cells.length.index_select(0, inverse), self.total.index_select(0, row)
        kept = F.dropout(cells.value, self.settings.dropout, self.training)
        if leave_out is None:
            pooled = self.table.bags(cells.column, cells.start, kept).index_select(0, inverse)
        else:
            own = _own_cells(cells, kept, inverse, leave_out, self.table.weight.shape[0])
            # the own cells go into the same call as bags of one entry each, to be taken away again
            single = torch.arange(len(row), device=row.device) + len(cells.column)
            joined = self.table.bags(
                torch.cat([cells.column, leave_out.to(cells.column.dtype)]),
                torch.cat([cells.start, single]),
                torch.cat([kept, -own.kept]),
            )
            sums, minus = joined.split([len(unique), len(row)])
            # A pair without its own cell (a drawn negative) would keep one cell more than a pair that lost its
            # own, and that count would reveal the label: it loses an average cell instead.
            rest = torch.where(own.there > 0, 1.0, (n - 1).clamp(min=0) / n.clamp(min=1))
            pooled = sums.index_select(0, inverse) * rest[:, None] + minus
            n, total = (n - 1).clamp(min=0), total * rest - own.value
        return self._scaled(pooled, n.to(pooled.dtype), total)

    def of_cells(self, cells: Cells) -> Tensor:
        """Cells of B rows, of which none need be a training row -> [B, width]."""
        total = cells.value.new_zeros(len(cells.length), dtype=torch.float64)
        total = total.index_add_(0, cells.owner, cells.value.double()).float()
        pooled = self.table.bags(cells.column, cells.start, cells.value)
        return self._scaled(pooled, cells.length.to(pooled.dtype), total)

    def of_queries(self, queries: Queries) -> Tensor:
        """-> [Q, width]"""
        if queries.history is None:
            return self(queries.known())
        return self.of_cells(self.rows.of_queries(queries))

    def _scaled(self, pooled: Tensor, n: Tensor, total: Tensor) -> Tensor:
        if self.power:
            pooled = pooled / n.clamp(min=1).pow(self.power)[:, None]
        if not self.settings.summary:
            return pooled
        return torch.cat(
            [pooled, (total / (n + self.settings.shrink).clamp(min=1))[:, None], torch.log1p(n)[:, None]], 1
        )


def mean_squared_norm(rows: RaggedRows, table: EmbeddingTable, row: Tensor) -> Tensor:
    """Mean over the batch of the sum of |table[j]|^2 over the cells j of each row; row int64[B] -> float[].

    Each row of the table is read once, with the number of times it is in the batch.
    """
    unique, times = torch.unique(row, return_counts=True)
    cells = rows(unique)
    times = torch.repeat_interleave(times.to(table.weight.dtype), cells.length, output_size=len(cells.column))
    count = times.new_zeros(len(table.weight)).index_add_(0, cells.column, times)
    used = count.nonzero().squeeze(1)
    return (count[used] * table.rows(used).square().sum(1)).sum() / len(row)


class _Own(NamedTuple):
    """Of each pair's own cell: whether it is there (0 or 1), its value, and its value after dropout."""

    there: Tensor
    value: Tensor
    kept: Tensor


def _own_cells(cells: Cells, kept: Tensor, inverse: Tensor, column: Tensor, width: int) -> _Own:
    """The cells (row ``inverse[b]`` of ``cells``, ``column[b]``), zeros if there is none; ``kept`` is what dropout
    has left of their values."""
    if not len(cells.column):
        nothing = torch.zeros(len(column), device=column.device)
        return _Own(nothing.long(), nothing, nothing)
    # rows and their columns ascend, so (position of the row, column) is a sorted key
    keys = cells.owner.mul_(width).add_(cells.column)
    key = inverse * width + column
    at = torch.searchsorted(keys, key).clamp_(max=len(keys) - 1)
    there = keys[at] == key
    return _Own(there.long(), cells.value.index_select(0, at) * there, kept.index_select(0, at) * there)
