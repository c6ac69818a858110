"""Stored columns of which a training row reads another version: one that is computed from the other rows alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from hrec.datasets.columns import Column, Dense, Numeric


class OwnRowOut(nn.Module):
    """What ``make`` stores of the columns; in training, where a column has numbers ``in_training``, of those instead.

    Both stores are called with row numbers, int64[B].
    """

    stays_in_training = True
    """Not put into evaluation mode with frozen weights: the rows of a batch remain training rows."""

    def __init__(self, make: Callable[[Mapping[str, Column]], nn.Module], columns: Mapping[str, Column]) -> None:
        super().__init__()
        self.always = make(columns)
        less = {name: c.own_row_out if isinstance(c, Numeric | Dense) else c for name, c in columns.items()}
        same = all(less[name] is column for name, column in columns.items())
        self.in_training = None if same else make(less)

    def forward(self, row: Tensor) -> Any:
        return (self.in_training if self.training and self.in_training is not None else self.always)(row)


class Numbers(nn.Module):
    """Rows of numbers, float32[n, d], of the data and so not saved with the weights; row int64[B] -> [B, d]."""

    value: Tensor

    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.register_buffer("value", value, persistent=False)

    def forward(self, row: Tensor) -> Tensor:
        return self.value[row]
