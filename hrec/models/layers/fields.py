"""The columns of a table as one vector per row: categories embedded, lists averaged, numbers standardised."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn

from hrec.datasets.columns import MISSING, Categorical, CategoricalList, Column, Dense, Numeric
from hrec.datasets.recdata import Table as RecTable
from hrec.models.layers.bags import RaggedRows, Table

CLIP = 4.0
"""Standardised numbers are cut off here: one price of a million must not drown the rest."""


class Fields(nn.Module):
    """Rows of a user or item table -> float[B, width].

    One embedding matrix serves all categorical fields, offset by field; every field has rows of its own for missing
    and unseen values. A list is the mean of its entries. Numbers and vectors are standardised over the table, 0 where
    missing, with a 0/1 column beside each number that is missing somewhere.
    """

    numbers: Tensor

    def __init__(self, table: RecTable, width: int, init_std: float, columns: Iterable[str] | None = None) -> None:
        super().__init__()
        chosen = {name: table.columns[name] for name in (table.columns if columns is None else columns)}
        tokens = [c for c in chosen.values() if isinstance(c, Categorical | CategoricalList)]
        self.n_tokens = len(tokens)
        self.token_width = width
        if tokens:
            self.rows = RaggedRows(*_ragged(tokens, table.count))
            self.table = Table(sum(c.size for c in tokens), width, init_std)
        numbers = [part for c in chosen.values() if isinstance(c, Numeric | Dense) for part in _standardised(c)]
        stacked = np.concatenate(numbers, axis=1) if numbers else np.zeros((table.count, 0), np.float32)
        self.register_buffer("numbers", torch.from_numpy(stacked), persistent=False)
        self.width = self.n_tokens * width + stacked.shape[1]

    def forward(self, row: Tensor) -> Tensor:
        """row int64[B], counted from the table's start. -> [B, width]; width 0 where the table has no column."""
        parts = [self.numbers[row]] if self.numbers.shape[1] else []
        if self.n_tokens:
            first = row * self.n_tokens
            index, value = self.rows(first, first + self.n_tokens)
            bag = (first[:, None] + torch.arange(self.n_tokens, device=row.device)).flatten()
            length = self.rows.offset[bag + 1] - self.rows.offset[bag]
            embedded = self.table.bags(index, length.cumsum(0) - length, value)
            parts.insert(0, embedded.view(len(row), self.n_tokens * self.token_width))
        return torch.cat(parts, dim=1) if parts else self.numbers[row]


def _ragged(tokens: list[Categorical | CategoricalList], n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Codes of all fields as one CSR with ``n * len(tokens)`` rows, row-major; weights make each bag a mean."""
    lists = [_as_list(c) for c in tokens]
    length = np.stack([np.diff(offset) for offset, _ in lists], axis=1)
    offset = np.zeros(length.size + 1, np.int64)
    np.cumsum(length.ravel(), out=offset[1:])
    index = np.empty(offset[-1], np.int64)
    base = 0
    for f, (own_offset, code) in enumerate(lists):
        start = offset[:-1].reshape(n, -1)[:, f]
        at = np.arange(len(code)) + np.repeat(start - own_offset[:-1], length[:, f])
        index[at] = code.astype(np.int64) + base
        base += tokens[f].size
    value = np.repeat(1 / length.ravel(), length.ravel()).astype(np.float32)
    return offset, index, value


def _as_list(column: Categorical | CategoricalList) -> tuple[np.ndarray, np.ndarray]:
    """Offsets and codes, with one MISSING code where a list is empty."""
    if isinstance(column, Categorical):
        return np.arange(len(column) + 1), column.code
    length = np.diff(column.offset)
    offset = np.concatenate([[0], np.cumsum(np.maximum(length, 1))])
    code = np.full(offset[-1], MISSING, column.code.dtype)
    code[np.arange(len(column.code)) + np.repeat(offset[:-1] - column.offset[:-1], length)] = column.code
    return offset, code


def _standardised(column: Column) -> list[np.ndarray]:
    """[n, d] float32 with mean 0 and deviation 1 over the known values, and a missing mark where it is needed."""
    assert isinstance(column, Numeric | Dense)
    value = np.asarray(column.value, np.float32).reshape(len(column), -1)
    known = np.isfinite(value)
    count = np.maximum(known.sum(0), 1)
    mean = np.where(known, value, 0).sum(0, dtype=np.float64) / count
    deviation = np.sqrt((np.where(known, value - mean, 0) ** 2).sum(0, dtype=np.float64) / count)
    scaled = (value - mean) / np.where(deviation > 0, deviation, 1)
    scaled = np.where(known, np.clip(scaled, -CLIP, CLIP), 0).astype(np.float32)
    missing = np.any(~known, axis=1, keepdims=True).astype(np.float32)
    return [scaled] if known.all() else [scaled, missing]
