"""The columns of a table as one vector per row: categories embedded, lists averaged, numbers standardised or cut."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from hrec.datasets.columns import Categorical, CategoricalList, Column, Dense, Numeric, Sparse
from hrec.datasets.recdata import Table as RecTable
from hrec.models.layers.bags import RaggedRows, Table
from hrec.models.layers.entries import Entries, of_buckets, of_categories, of_sparse, side_by_side, standardised
from hrec.settings import Settings


class FieldSettings(Settings):
    """How a model reads the columns of users and of each kind of item."""

    token_emb_size: PositiveInt = 32
    """Width of the embedding of each categorical column."""
    buckets: int | None = Field(None, ge=2)
    """Numbers are cut into so many buckets of nearly equal count, which are embedded as categories are; null: numbers
    are standardised."""


class Fields(nn.Module):
    """Rows of a user or item table -> float[B, width].

    One embedding matrix serves all categorical fields, offset by field; every field has rows of its own for missing
    and unseen values. A list is the mean of its entries, a sparse vector their mean weighted by its values. Numbers and
    dense vectors are standardised over the table, 0 where missing, with a 0/1 column beside each number that is missing
    somewhere. They are cut off at ``clip`` deviations, so that one price of a million does not drown the rest. With
    ``buckets`` numbers are categories too, of nearly equal count.
    """

    numbers: Tensor

    def __init__(
        self,
        table: RecTable,
        width: int,
        init_std: float,
        columns: Iterable[str] | None = None,
        clip: float = 4.0,
        buckets: int | None = None,
    ) -> None:
        super().__init__()
        chosen = {name: table.columns[name] for name in (table.columns if columns is None else columns)}
        embedded = {name: _entries(column, buckets) for name, column in chosen.items()}
        tokens = [entries for entries in embedded.values() if entries is not None]
        self.n_tokens = len(tokens)
        self.token_width = width
        if tokens:
            self.rows = RaggedRows(*side_by_side(tokens))
            self.table = Table(sum(c.size for c in tokens), width, init_std)
        plain = [chosen[name] for name, entries in embedded.items() if entries is None]
        numbers = [part for column in plain for part in _standardised(column, clip)]
        stacked = np.concatenate(numbers, axis=1) if numbers else np.zeros((table.count, 0), np.float32)
        self.register_buffer("numbers", torch.from_numpy(stacked), persistent=False)
        self.width = self.n_tokens * width + stacked.shape[1]

    def forward(self, row: Tensor) -> Tensor:
        """row int64[B], counted from the table's start. -> [B, width]; width 0 where the table has no column."""
        parts = [self.numbers[row]] if self.numbers.shape[1] else []
        if self.n_tokens:
            fields = (row[:, None] * self.n_tokens + torch.arange(self.n_tokens, device=row.device)).flatten()
            cells = self.rows(fields)
            embedded = self.table.bags(cells.column, cells.start, cells.value)
            parts.insert(0, embedded.view(len(row), self.n_tokens * self.token_width))
        return torch.cat(parts, dim=1) if parts else self.numbers[row]


def _entries(column: Column, buckets: int | None) -> Entries | None:
    """What is looked up in the embedding matrix; None for what is read as numbers."""
    if isinstance(column, Categorical | CategoricalList):
        return of_categories(column)
    if isinstance(column, Sparse):
        return of_sparse(column)
    return of_buckets(column, buckets) if isinstance(column, Numeric) and buckets else None


def _standardised(column: Column, clip: float) -> list[np.ndarray]:
    """[n, d] float32, and a 0/1 column [n, 1] of what is missing where anything is among the column's reference."""
    assert isinstance(column, Numeric | Dense)
    value, among = (np.asarray(rows).reshape(len(rows), -1) for rows in (column.value, column.reference))
    scaled, known = standardised(value, clip, among)
    missing = np.any(~known, axis=1, keepdims=True).astype(np.float32)
    return [scaled] if np.isfinite(among).all() else [scaled, missing]
