"""What is known of items as one wide input: the columns of every kind side by side, each in its own block."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import singledispatch
from typing import Literal

import numpy as np

from hrec.datasets.columns import Categorical, CategoricalList, Column, Dense, Numeric, Sparse, Tokens, joined
from hrec.datasets.encoding import LARGEST
from hrec.datasets.recdata import TrainData
from hrec.datasets.tokens import bag_of_words
from hrec.models.layers.entries import with_room
from hrec.models.layers.wide import Wide
from hrec.settings import Settings

Scale = Literal["max", "binary", "unit", "tfidf"]


class ContentSettings(Settings):
    """What a model of content reads."""

    columns: tuple[str, ...] | None = None
    """The columns of items to read; null: all of them."""
    scale: Scale = "max"
    """What a cell of a sparse vector, a list or a category holds. max: its value over the largest of its entry, as in
    CDL; binary: 1; unit: its value, the cells of an item scaled to length 1; tfidf: value * log(items / items with the
    entry), scaled likewise. Numbers and dense vectors are scaled to the range from 0 to 1."""


def content(
    data: TrainData, settings: ContentSettings, extra: Sparse | None = None, setting: str = "model.columns"
) -> Wide:
    """The content of all items, rows in the order of their numbers.

    A column that several kinds have is one block where their vocabularies can be joined, else a block of each. Kinds
    without a column have zeros there. extra: cells of all items that go along with those of the columns. setting: the
    name of ``settings.columns`` for messages.
    Raises ValueError if there is nothing to read, or for a name that no kind has.
    """
    cells: list[tuple[np.ndarray, Sparse]] = [] if extra is None else [(np.arange(data.n_items), extra)]
    numbers = []
    for row, column in _blocks(data, settings.columns, setting):
        if isinstance(column, Numeric | Dense):
            spread = np.zeros((data.n_items, np.asarray(column.value).reshape(len(column), -1).shape[1]), np.float32)
            spread[row] = _from_0_to_1(column)
            numbers.append(spread)
        else:
            cells.append((row, as_sparse(column)))
    if not cells and not numbers:
        raise ValueError(
            f"the model needs columns of items to read, and '{data.name}' has none: name some in data.feat"
        )
    joined = _side_by_side(cells, data.n_items)
    return Wide(SCALES[settings.scale](joined), np.concatenate(numbers, 1) if numbers else None)


def describe_all_items(data: TrainData, all_items: bool) -> list[str]:
    """What to say where content is learnt from of items without a training row: out-matrix figures must not."""
    new = int((~data.has_rows()).sum())
    text = f"all_items: learns from the content of {new:,} items without a training row too"
    return [text] if all_items and new else []


def _blocks(data: TrainData, names: Sequence[str] | None, setting: str) -> Iterator[tuple[np.ndarray, Column]]:
    """(numbers of the items, their column), one after another."""
    known = list(dict.fromkeys(name for table in data.kinds.values() for name in table.columns))
    if unknown := [name for name in names or () if name not in known]:
        raise ValueError(f"{setting}: no kind of item has a column '{unknown[0]}'. Columns: {', '.join(known)}")
    for name in known if names is None else names:
        tables = [table for table in data.kinds.values() if name in table.columns]
        rows, columns = [np.arange(t.start, t.stop) for t in tables], [t.columns[name] for t in tables]
        try:
            yield np.concatenate(rows), joined(columns)
        except ValueError:  # they mean different things under one name
            yield from zip(rows, columns, strict=True)


@singledispatch
def as_sparse(column: Column) -> Sparse:
    """A column of categories, lists, texts or sparse vectors as sparse vectors; a category is a 1 at its code."""
    raise TypeError(f"{type(column).__name__} is not sparse")


@as_sparse.register
def _of_sparse(column: Sparse) -> Sparse:
    return column


@as_sparse.register
def _of_category(column: Categorical) -> Sparse:
    n = len(column)
    return Sparse(np.arange(n + 1), column.code.astype(np.int32), np.ones(n, np.float32), column.size)


@as_sparse.register
def _of_list(column: CategoricalList) -> Sparse:
    """A category that stands twice in a list is one 1."""
    row = np.repeat(np.arange(len(column)), np.diff(column.offset))
    row, code = np.divmod(np.unique(row * column.size + column.code), column.size)
    offset = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=len(column)))])
    return Sparse(offset, code.astype(np.int32), np.ones(len(code), np.float32), column.size)


@as_sparse.register
def _of_tokens(column: Tokens) -> Sparse:
    return bag_of_words(column)


def text_columns(data: TrainData) -> tuple[str, ...]:
    """Names of the columns of words, sparse vectors, lists and categories of any kind, in the order of the kinds."""
    of_words = Tokens | Sparse | CategoricalList | Categorical
    found = [n for table in data.kinds.values() for n, column in table.columns.items() if isinstance(column, of_words)]
    return tuple(dict.fromkeys(found))


def _side_by_side(blocks: Sequence[tuple[np.ndarray, Sparse]], n: int) -> Sparse:
    """One CSR of n rows out of blocks of columns, each with its rows."""
    rows, places, values, width = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros(0, np.float32)], 0
    for row, block in blocks:
        rows.append(np.repeat(row, np.diff(block.offset)))
        places.append(block.index.astype(np.int64) + width)
        values.append(block.value)
        width += block.width
    row, place, value = (np.concatenate(parts) for parts in (rows, places, values))
    order = np.lexsort((place, row))
    offset = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=n))])
    return Sparse(offset, place[order].astype(np.int32), value[order].astype(np.float32), width)


def _from_0_to_1(column: Numeric | Dense) -> np.ndarray:
    """float32[n, d]: each column from its smallest value to its largest; what is missing is the mean."""
    value = np.asarray(column.value, np.float32).reshape(len(column), -1)
    known = np.isfinite(value)
    value = with_room(np.where(known, value, 0))
    low, high = (f(np.where(known, value, fill), 0) for f, fill in ((np.min, np.inf), (np.max, -np.inf)))
    span = np.where(high > low, high - low, 1)
    scaled = np.where(known, (value - np.where(np.isfinite(low), low, 0)) / span, 0).astype(np.float32)
    mean = scaled.sum(0) / np.maximum(known.sum(0), 1)
    return np.where(known, scaled, mean).astype(np.float32)


def _over_largest(x: Sparse) -> Sparse:
    largest = np.zeros(x.width, np.float32)
    np.maximum.at(largest, x.index, np.abs(x.value))
    return Sparse(x.offset, x.index, x.value / largest[x.index], x.width)


def _binary(x: Sparse) -> Sparse:
    return Sparse(x.offset, x.index, np.ones_like(x.value), x.width)


def _unit(x: Sparse) -> Sparse:
    row = np.repeat(np.arange(len(x)), np.diff(x.offset))
    length = np.sqrt(np.bincount(row, np.square(x.value, dtype=np.float64), len(x)))
    return Sparse(x.offset, x.index, (x.value / np.maximum(length, 1e-12)[row]).astype(np.float32), x.width)


def _tfidf(x: Sparse) -> Sparse:
    rarity = np.log(len(x) / np.maximum(np.bincount(x.index, minlength=x.width), 1))
    weighed = x.value * rarity[x.index]
    fits = np.abs(weighed).max(initial=0) <= LARGEST
    return _unit(Sparse(x.offset, x.index, weighed.astype(np.float32) if fits else weighed, x.width))


SCALES: dict[str, Callable[[Sparse], Sparse]] = {
    "max": _over_largest,
    "binary": _binary,
    "unit": _unit,
    "tfidf": _tfidf,
}
"""What each value of ``ContentSettings.scale`` makes of the cells."""
