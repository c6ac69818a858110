"""A column as weighted codes, so that one embedding table serves columns of every type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hrec.datasets.columns import FIRST, MISSING, Categorical, CategoricalList, Numeric, Sparse, Tokens
from hrec.datasets.encoding import LARGEST


@dataclass(frozen=True, eq=False)
class Entries:
    """Row r of a field is the sum of ``weight * vector(code)`` over the slice ``offset[r]:offset[r + 1]``.

    offset int64[n + 1], code int[total] below ``size``, weight float32[total].
    """

    offset: np.ndarray
    code: np.ndarray
    weight: np.ndarray
    size: int

    def __len__(self) -> int:
        return len(self.offset) - 1


def of_codes(code: np.ndarray, size: int, weight: np.ndarray | None = None) -> Entries:
    """One code for each row, of weight 1 or as given."""
    weight = np.ones(len(code), np.float32) if weight is None else weight.astype(np.float32)
    return Entries(np.arange(len(code) + 1), code, weight, size)


def of_categories(column: Categorical | CategoricalList) -> Entries:
    """The category, or the mean over a list; an empty list is the one code MISSING."""
    if isinstance(column, Categorical):
        return of_codes(column.code, column.size)
    length = np.diff(column.offset)
    return _weighted(column.offset, column.code, np.repeat(1 / np.maximum(length, 1), length), column.size)


def of_tokens(column: Tokens) -> Entries:
    """The mean over the words of a text; MISSING where it has none."""
    length = np.diff(column.offset)
    weight = np.repeat(1 / np.maximum(length, 1), length)
    return _weighted(column.offset, FIRST + column.word, weight, FIRST + len(column.vocabulary))


def of_sparse(column: Sparse) -> Entries:
    """The mean of the entries' vectors, weighted by their values, of which the sizes sum to 1; MISSING if all are 0."""
    size = np.abs(column.value)
    row = np.repeat(np.arange(len(column)), np.diff(column.offset))
    total = np.bincount(row, size, len(column))
    return _weighted(column.offset, FIRST + column.index, column.value / total[row], FIRST + column.width)


def _weighted(offset: np.ndarray, code: np.ndarray, weight: np.ndarray, size: int) -> Entries:
    """Codes with weights; a row without any is the one code MISSING, of weight 1."""
    length = np.diff(offset)
    filled = np.concatenate([[0], np.cumsum(np.maximum(length, 1))])
    codes, weights = np.full(filled[-1], MISSING, np.int32), np.ones(filled[-1], np.float32)
    at = np.arange(len(code)) + np.repeat(filled[:-1] - offset[:-1], length)
    codes[at], weights[at] = code, weight
    return Entries(filled, codes, weights, size)


def of_numbers(column: Numeric, clip: float) -> Entries:
    """The standardised number, cut off at ``clip`` deviations, times one vector; a missing one has its own vector."""
    scaled, known = standardised(column.value[:, None], clip, column.reference[:, None])
    weight = np.where(known[:, 0], scaled[:, 0], 1)
    return of_codes(np.where(known[:, 0], 1, MISSING), 2, weight)


def of_buckets(column: Numeric, buckets: int) -> Entries:
    """The number's bucket, of ``buckets`` that hold nearly as many known rows each; MISSING where it is missing."""
    known, among = np.isfinite(column.value), column.reference[np.isfinite(column.reference)]
    cuts = np.linspace(0, 1, buckets + 1)[1:-1]
    edges = np.unique(np.quantile(with_room(among), cuts)) if len(among) else np.zeros(0)
    code = np.where(known, FIRST + np.searchsorted(edges, column.value, side="right"), MISSING)
    return of_codes(code, FIRST + len(edges) + 1)


def with_room(number: np.ndarray) -> np.ndarray:
    """The finite numbers, in float64 where a difference of two of them would leave float32's range."""
    return number.astype(np.float64) if np.abs(number).max(initial=0) > LARGEST / 2 else number


def standardised(value: np.ndarray, clip: float, among: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """float32[n, d] with mean 0 and deviation 1 over the known ones ``among`` [m, d], 0 where missing; bool[n, d],
    known. Most often ``among`` is ``value`` itself."""
    value, among = np.asarray(value, np.float32), np.asarray(among, np.float32)
    known, counted = np.isfinite(value), np.isfinite(among)
    count = np.maximum(counted.sum(0), 1)
    mean = np.where(counted, among, 0).sum(0, dtype=np.float64) / count
    deviation = np.sqrt((np.where(counted, among - mean, 0) ** 2).sum(0, dtype=np.float64) / count)
    scaled = (value - mean) / np.where(deviation > 0, deviation, 1)
    return np.where(known, np.clip(scaled, -clip, clip), 0).astype(np.float32), known


def side_by_side(fields: Sequence[Entries], first: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The fields of n rows as one CSR of ``n * len(fields)`` rows, row-major: offset, index, weight.

    The codes begin at ``first``; those of a field begin behind those of the fields before it.
    """
    n, lengths = len(fields[0]), np.stack([np.diff(f.offset) for f in fields], axis=1)
    offset = np.zeros(lengths.size + 1, np.int64)
    np.cumsum(lengths.ravel(), out=offset[1:])
    index, weight = np.empty(offset[-1], np.int64), np.empty(offset[-1], np.float32)
    base = first
    for place, field in enumerate(fields):
        start = offset[:-1].reshape(n, -1)[:, place]
        at = np.arange(len(field.code)) + np.repeat(start - field.offset[:-1], lengths[:, place])
        index[at] = field.code.astype(np.int64) + base
        weight[at] = field.weight
        base += field.size
    return offset, index, weight
