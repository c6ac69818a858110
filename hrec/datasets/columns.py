"""Columns of users, items and interactions: one small frozen class per type, arrays only.

Categories are stored as codes. Two codes belong to no value of the file: ``MISSING`` (the cell is empty) and
``UNKNOWN`` (the value is not in the vocabulary: too rare, or new at inference). Real categories start at ``FIRST``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

MISSING, UNKNOWN, FIRST = 0, 1, 2


@dataclass(frozen=True, eq=False)
class Categorical:
    """One category per row: ``code`` int32[n]; ``values`` the text (Python strings) of ``FIRST``, ..."""

    code: np.ndarray
    values: np.ndarray

    @property
    def size(self) -> int:
        """Number of codes, MISSING and UNKNOWN included."""
        return FIRST + len(self.values)

    def __len__(self) -> int:
        return len(self.code)

    def take(self, rows: np.ndarray) -> Categorical:
        return Categorical(self.code[rows], self.values)


@dataclass(frozen=True, eq=False)
class CategoricalList:
    """A list of categories per row, as CSR: row r holds ``code[offset[r]:offset[r + 1]]``.

    ``offset`` int64[n + 1], ``code`` int32[total]. An empty list is an empty slice (no MISSING code inside).
    """

    offset: np.ndarray
    code: np.ndarray
    values: np.ndarray

    @property
    def size(self) -> int:
        """Number of codes, MISSING and UNKNOWN included."""
        return FIRST + len(self.values)

    def __len__(self) -> int:
        return len(self.offset) - 1

    def take(self, rows: np.ndarray) -> CategoricalList:
        offset, at = slices(self.offset, rows)
        return CategoricalList(offset, self.code[at], self.values)


@dataclass(frozen=True, eq=False)
class _Numbers:
    """Numbers, and what they are measured against.

    among: The rows that give mean, deviation and buckets, if those are not the column's own. A new user's age is
    measured against the ages that the model was trained on.
    in_training: What a training row reads in place of ``value``, if a number comes from training rows: the same
    without that row.
    """

    value: np.ndarray
    among: np.ndarray | None = None
    in_training: np.ndarray | None = None

    @property
    def reference(self) -> np.ndarray:
        return self.value if self.among is None else self.among

    def __len__(self) -> int:
        return len(self.value)

    def take(self, rows: np.ndarray) -> Self:
        less = None if self.in_training is None else self.in_training[rows]
        return replace(self, value=self.value[rows], in_training=less)

    @property
    def own_row_out(self) -> Self:
        """The column as a training row reads it."""
        return self if self.in_training is None else type(self)(self.in_training, self.reference)


class Numeric(_Numbers):
    """One number per row, ``value`` float32[n], NaN where missing; as in the file, not scaled. ``among`` float32[m]."""


class Dense(_Numbers):
    """A vector per row, ``value`` float32[n, d] (may be memory-mapped); ``among`` float32[m, d]."""


@dataclass(frozen=True, eq=False)
class Sparse:
    """A vector of ``width`` numbers per row, most of them 0, as CSR: row r holds ``value[offset[r]:offset[r + 1]]``.

    ``offset`` int64[n + 1]; ``index`` int32[cells], the place of each value in its row's vector, ascending and each
    once; ``value`` float32[cells].
    """

    offset: np.ndarray
    index: np.ndarray
    value: np.ndarray
    width: int

    def __len__(self) -> int:
        return len(self.offset) - 1

    def take(self, rows: np.ndarray) -> Self:
        offset, at = slices(self.offset, rows)
        return replace(self, offset=offset, index=self.index[at], value=self.value[at])


@dataclass(frozen=True, eq=False)
class Tokens:
    """A text per row, as CSR: row r holds the words ``word[offset[r]:offset[r + 1]]``, in order.

    ``offset`` int64[n + 1]; ``word`` int32[total], index in ``vocabulary``, the text of each word. A row without text
    is an empty slice.
    """

    offset: np.ndarray
    word: np.ndarray
    vocabulary: np.ndarray

    def __len__(self) -> int:
        return len(self.offset) - 1

    def take(self, rows: np.ndarray) -> Tokens:
        offset, at = slices(self.offset, rows)
        return Tokens(offset, self.word[at], self.vocabulary)


Column = Categorical | CategoricalList | Numeric | Dense | Sparse | Tokens


def slices(offset: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Some rows of a CSR, in the order given: their offset, and where their entries are in the old arrays."""
    if rows.dtype == bool:
        rows = np.flatnonzero(rows)
    length = np.diff(offset)[rows]
    new = np.concatenate([[0], np.cumsum(length)])
    return new, np.arange(new[-1]) + np.repeat(offset[:-1][rows] - new[:-1], length)


def behind_missing(n: int, column: Column, rows: np.ndarray) -> Column:
    """``n`` rows without a value, then these rows of the column; vocabulary and measure are the column's."""
    known = column.take(rows)
    if isinstance(known, Categorical):
        return Categorical(np.concatenate([np.full(n, MISSING, known.code.dtype), known.code]), known.values)
    if isinstance(known, CategoricalList):
        return CategoricalList(np.concatenate([np.zeros(n, np.int64), known.offset]), known.code, known.values)
    if isinstance(known, Sparse):
        return Sparse(np.concatenate([np.zeros(n, np.int64), known.offset]), known.index, known.value, known.width)
    if isinstance(known, Tokens):
        return Tokens(np.concatenate([np.zeros(n, np.int64), known.offset]), known.word, known.vocabulary)
    nothing = np.full((n, *known.value.shape[1:]), np.nan, np.float32)
    return type(known)(np.concatenate([nothing, known.value]), column.reference)  # type: ignore[union-attr]


def before_missing(column: Column, n: int) -> Column:
    """The rows of the column, then ``n`` rows without a value."""
    if isinstance(column, Categorical):
        return Categorical(np.append(column.code, np.full(n, MISSING, column.code.dtype)), column.values)
    if isinstance(column, CategoricalList | Sparse | Tokens):
        return replace(column, offset=np.append(column.offset, np.full(n, column.offset[-1], column.offset.dtype)))
    nothing = np.full((n, *column.value.shape[1:]), np.nan, np.float32)
    return replace(column, value=np.concatenate([column.value, nothing]), among=column.reference, in_training=None)


def joined(columns: Sequence[Column]) -> Column:
    """Columns of one type, one below the other. If vocabularies differ, categories are matched by their text.

    Numbers are measured against all of them together.

    Raises ValueError where the types, or the widths of vectors, differ.
    """
    first = columns[0]
    if len({type(c) for c in columns}) > 1:
        raise ValueError("is of type " + " and ".join(dict.fromkeys(type(c).__name__ for c in columns)))
    if isinstance(first, Categorical | CategoricalList):
        return _joined_categories(columns)  # type: ignore[arg-type]
    if isinstance(first, Sparse):
        return _joined_sparse(columns)  # type: ignore[arg-type]
    if isinstance(first, Tokens):
        return _joined_tokens(columns)  # type: ignore[arg-type]
    values = [c.value for c in columns]  # type: ignore[union-attr]
    if len({v.shape[1:] for v in values}) > 1:
        raise ValueError("holds vectors of " + " and ".join(str(v.shape[1]) for v in values) + " numbers")
    in_training = None
    if any(c.in_training is not None for c in columns):  # type: ignore[union-attr]
        in_training = np.concatenate([c.own_row_out.value for c in columns])  # type: ignore[union-attr]
    return type(first)(np.concatenate(values), in_training=in_training)


def _joined_sparse(columns: Sequence[Sparse]) -> Sparse:
    if len({c.width for c in columns}) > 1:
        raise ValueError("holds vectors of " + " and ".join(str(c.width) for c in columns) + " numbers")
    length = np.concatenate([np.diff(c.offset) for c in columns])
    index, value = (np.concatenate([getattr(c, name) for c in columns]) for name in ("index", "value"))
    return Sparse(np.concatenate([[0], np.cumsum(length)]), index, value, columns[0].width)


def _joined_tokens(columns: Sequence[Tokens]) -> Tokens:
    length = np.concatenate([np.diff(c.offset) for c in columns])
    offset = np.concatenate([[0], np.cumsum(length)])
    if all(c.vocabulary is columns[0].vocabulary for c in columns):
        return Tokens(offset, np.concatenate([c.word for c in columns]), columns[0].vocabulary)
    vocabulary, place = np.unique(np.concatenate([c.vocabulary for c in columns]), return_inverse=True)
    places = np.split(place.astype(np.int32), np.cumsum([len(c.vocabulary) for c in columns])[:-1])
    word = np.concatenate([at[c.word] for at, c in zip(places, columns, strict=True)])
    return Tokens(offset, word, vocabulary)


def _joined_categories(columns: Sequence[Categorical | CategoricalList]) -> Categorical | CategoricalList:
    values, place = np.unique(np.concatenate([c.values for c in columns]), return_inverse=True)
    codes, start = [], 0
    for column in columns:
        stop = start + len(column.values)
        renumbered = np.concatenate([[MISSING, UNKNOWN], FIRST + place[start:stop]]).astype(np.int32)
        codes.append(renumbered[column.code])
        start = stop
    code = np.concatenate(codes)
    if isinstance(columns[0], Categorical):
        return Categorical(code, values)
    length = np.concatenate([np.diff(c.offset) for c in columns])  # type: ignore[union-attr]
    return CategoricalList(np.concatenate([[0], np.cumsum(length)]), code, values)
