"""A linear layer on rows of the label matrix Y, without ever writing such a row out."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveFloat
from torch import Tensor, nn

from hrec.datasets.histories import History
from hrec.models.layers.bags import RaggedRows, Table
from hrec.settings import Settings


class HistorySettings(Settings):
    """How a tower reads a history; what its cells hold is ``data.inter_matrix_type``."""

    scale: Literal["sum", "sqrt", "mean"] = "sqrt"
    """The sum over n cells as it is (the papers' Y W), over the square root of n, or over n."""
    leave_target_out: bool = True
    """In training, take the cell of the pair that is being predicted out of both histories."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """In training, each cell is left out with this chance and the others are scaled up."""
    init_std: PositiveFloat = 0.01
    """Standard deviation of the first weights."""


class HistoryLinear(nn.Module):
    """``Y[row] @ W`` for CSR rows of Y; W is [columns of Y, width], no bias.

    Equal rows of a batch are multiplied once. The target's own cell is subtracted afterwards, which is exact because
    the layer is linear.
    """

    def __init__(self, history: History, width: int, settings: HistorySettings) -> None:
        super().__init__()
        self.rows = RaggedRows(history.offset, history.index, history.value)
        self.table = Table(history.width, width, settings.init_std)
        self.settings = settings
        self.width = width

    def forward(self, row: Tensor, leave_out: Tensor | None = None) -> Tensor:
        """row int64[B]; leave_out int64[B], the column to take out of each row, or None. -> [B, width]."""
        unique, inverse = torch.unique(row, return_inverse=True)
        index, value = self.rows(unique, unique + 1)
        length = self.rows.offset[unique + 1] - self.rows.offset[unique]
        offset = length.cumsum(0) - length
        n = length[inverse]
        value = F.dropout(value, self.settings.dropout, self.training)
        if leave_out is None:
            pooled = self.table.bags(index, offset, value)[inverse]
        else:
            cell, there = self._cell(unique, offset, length, index, value, inverse, leave_out)
            own = torch.arange(len(row), device=row.device) + len(index)
            bags = self.table.bags(torch.cat([index, leave_out]), torch.cat([offset, own]), torch.cat([value, -cell]))
            pooled = bags[: len(unique)][inverse] + bags[len(unique) :]
            n = n - there
        return pooled if self.settings.scale == "sum" else pooled * self._factor(n)[:, None]

    def _factor(self, n: Tensor) -> Tensor:
        n = n.clamp(min=1).float()
        return n.rsqrt() if self.settings.scale == "sqrt" else n.reciprocal()

    def _cell(
        self,
        unique: Tensor,
        offset: Tensor,
        length: Tensor,
        index: Tensor,
        value: Tensor,
        inverse: Tensor,
        column: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Value of each pair's own cell, 0 where there is none, and whether there is one."""
        width = self.table.weight.shape[0]
        # rows and their columns ascend, so (position of the row, column) is a sorted key
        keys = torch.repeat_interleave(torch.arange(len(unique), device=column.device) * width, length) + index
        key = inverse * width + column
        if not len(keys):
            return torch.zeros(len(column), device=column.device), torch.zeros_like(column)
        at = torch.searchsorted(keys, key).clamp_(max=len(keys) - 1)
        there = keys[at] == key
        return value[at] * there, there.long()
