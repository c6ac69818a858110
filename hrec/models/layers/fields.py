"""The columns of a table as one vector per row: categories embedded, lists averaged, numbers standardised or cut."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from hrec.datasets.columns import Categorical, CategoricalList, Column, Dense, Numeric, Sparse, Tokens, behind_missing
from hrec.datasets.queries import Queries
from hrec.datasets.recdata import Table
from hrec.models.layers.bags import EmbeddingTable, RaggedRows
from hrec.models.layers.entries import (
    Entries,
    of_buckets,
    of_categories,
    of_sparse,
    of_tokens,
    side_by_side,
    standardised,
)
from hrec.models.layers.own_row import Numbers, OwnRowOut
from hrec.models.layers.rows import declare_rows, rows_of_column
from hrec.settings import Settings

NO_ROW = np.zeros(0, np.int64)


class FieldSettings(Settings):
    """How a model reads the columns of users and of each kind of item."""

    token_emb_size: PositiveInt = 32
    """Width of the embedding of each categorical column."""
    buckets: int | None = Field(None, ge=2)
    """Numbers are cut into so many buckets of nearly equal count, which are embedded as categories are; null: numbers
    are standardised."""


class Fields(nn.Module):
    """Rows of a user or item table -> float[B, width].

    One embedding matrix serves all categorical fields, offset by field; every field has its own rows for missing
    and unknown values. A list or a text is the mean of its entries, a sparse vector their mean weighted by its values.
    Numbers and dense vectors are standardised over the table, 0 where missing, with a 0/1 column for each number
    that is missing somewhere. They are cut off at ``clip`` deviations, so that one price of a million does not drown
    the rest. With ``buckets`` numbers are categories too, of nearly equal count.
    """

    def __init__(
        self,
        table: Table,
        width: int,
        init_std: float,
        columns: Iterable[str] | None = None,
        clip: float = 4.0,
        buckets: int | None = None,
    ) -> None:
        super().__init__()
        chosen = {name: table.columns[name] for name in (table.columns if columns is None else columns)}
        self.columns = chosen
        tokens = {name: column for name, column in chosen.items() if _entries(column, buckets) is not None}
        plain = {name: column for name, column in chosen.items() if name not in tokens}
        self.n_tokens = len(tokens)
        self.token_width = width
        self.clip, self.buckets, self.tokens, self.plain = clip, buckets, list(tokens), list(plain)
        if tokens:
            self.rows = OwnRowOut(self._token_rows, tokens)
            of_tokens = _all_entries(tokens, buckets)
            self.table = EmbeddingTable(sum(e.size for e in of_tokens), width, init_std)
            rows = (rows_of_column(name, entries, tokens) for name, entries in zip(tokens, of_tokens, strict=True))
            declare_rows(self.table.weight, rows)
        self.numbers = OwnRowOut(partial(self._number_rows, count=table.count), plain)
        self.n_numbers: int = self.numbers(torch.zeros(0, dtype=torch.int64)).shape[1]
        self.width = self.n_tokens * width + self.n_numbers

    def forward(self, row: Tensor) -> Tensor:
        """row int64[B], counted from the table's start. -> [B, width]; width 0 where the table has no column."""
        return self._look_up(row, self.rows if self.n_tokens else None, self.numbers)

    def of_queries(self, queries: Queries) -> Tensor:
        """Rows of known users, and the columns that unknown ones bring, or missing values. -> [Q, width]"""
        unknown = queries.unknown.nonzero().squeeze(1)
        out = self(queries.user.clamp(min=0))
        if not len(unknown):
            return out
        given = queries.take(unknown).columns or {}
        columns = {name: _given(given.get(name), column, len(unknown)) for name, column in self.columns.items()}
        tokens = self._token_rows({n: columns[n] for n in self.tokens}) if self.n_tokens else None
        numbers = self._number_rows({n: columns[n] for n in self.plain}, len(unknown))
        row = torch.arange(len(unknown), device=out.device)
        theirs = self._look_up(row, tokens.to(out.device) if tokens else None, numbers.to(out.device))
        return out.index_copy(0, unknown, theirs)

    def _token_rows(self, columns: Mapping[str, Column]) -> RaggedRows:
        return RaggedRows(*side_by_side(_all_entries(columns, self.buckets)))

    def _number_rows(self, columns: Mapping[str, Column], count: int) -> Numbers:
        return Numbers(_stacked(columns, count, self.clip))

    def _look_up(self, row: Tensor, rows: nn.Module | None, numbers: nn.Module) -> Tensor:
        parts = [numbers(row)] if self.n_numbers or not self.n_tokens else []
        if rows is not None:
            fields = (row[:, None] * self.n_tokens + torch.arange(self.n_tokens, device=row.device)).flatten()
            cells = rows(fields)
            embedded = self.table.bags(cells.column, cells.start, cells.value)
            parts.insert(0, embedded.view(len(row), self.n_tokens * self.token_width))
        return torch.cat(parts, dim=1)


def _given(own: Column | None, known: Column, n: int) -> Column:
    """A column of ``n`` unknown users, measured against the known ones; None: missing values."""
    if own is None:
        return behind_missing(n, known, NO_ROW)
    if isinstance(own, Numeric | Dense) and isinstance(known, Numeric | Dense):
        return replace(own, among=known.reference)
    return own


def _entries(column: Column, buckets: int | None) -> Entries | None:
    """What is looked up in the embedding matrix; None for what is read as numbers."""
    if isinstance(column, Categorical | CategoricalList):
        return of_categories(column)
    if isinstance(column, Sparse):
        return of_sparse(column)
    if isinstance(column, Tokens):
        return of_tokens(column)
    return of_buckets(column, buckets) if isinstance(column, Numeric) and buckets else None


def _all_entries(columns: Mapping[str, Column], buckets: int | None) -> list[Entries]:
    return [entries for column in columns.values() if (entries := _entries(column, buckets)) is not None]


def _stacked(columns: Mapping[str, Column], count: int, clip: float) -> Tensor:
    """The numbers of all columns side by side, float32[count, d]."""
    parts = [part for column in columns.values() for part in _standardised(column, clip)]
    return torch.from_numpy(np.concatenate(parts, axis=1) if parts else np.zeros((count, 0), np.float32))


def _standardised(column: Column, clip: float) -> list[np.ndarray]:
    """[n, d] float32, and a 0/1 column [n, 1] of what is missing where anything is among the column's reference."""
    assert isinstance(column, Numeric | Dense)
    value, among = (np.asarray(rows).reshape(len(rows), -1) for rows in (column.value, column.reference))
    scaled, known = standardised(value, clip, among)
    missing = np.any(~known, axis=1, keepdims=True).astype(np.float32)
    return [scaled] if np.isfinite(among).all() else [scaled, missing]
