"""Vectors that items bring with them (of an image, a sound, a text): which columns, on which scale, of which items."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from hrec.datasets.columns import Column, Dense, joined
from hrec.datasets.recdata import TrainData
from hrec.models.layers.entries import standardised
from hrec.settings import Settings

CLIP = 4.0
"""Deviations at which a standardised number is cut off."""


class VectorSettings(Settings):
    """Which vectors of items a model reads."""

    columns: tuple[str, ...] | None = None
    """Columns of vectors to read, each a modality; null: all of them."""
    scale: Literal["unit", "standard", "max", "raw"] = "unit"
    """unit: each vector has length 1; standard: each number has mean 0 and deviation 1 over the items; max: numbers are
    divided by the largest absolute number of their column; raw: as in the file."""


class ItemVectors(nn.Module):
    """The vectors of one modality: ``value`` float32[n_items, width], ``known`` bool[n_items].

    An item without a vector has zeros in ``value`` and False in ``known``. The arrays come from the data, so they are
    not saved with the weights.
    """

    value: Tensor
    known: Tensor

    def __init__(self, name: str, value: np.ndarray, known: np.ndarray) -> None:
        super().__init__()
        self.name, self.width = name, value.shape[1]
        self.register_buffer("value", torch.from_numpy(value), persistent=False)
        self.register_buffer("known", torch.from_numpy(known), persistent=False)

    def forward(self, item: Tensor) -> Tensor:
        """item int64[B] -> float[B, width]"""
        return self.value[item]

    def __str__(self) -> str:
        missing = int((~self.known).sum())
        return f"{self.name} ({self.width:,} numbers, missing for {missing:,} of {len(self.known):,} items)"


def item_vectors(data: TrainData, settings: VectorSettings, setting: str = "model.columns") -> list[ItemVectors]:
    """The modalities that ``settings`` names, in that order; rows are the items of all kinds.

    setting: the name of ``settings.columns`` for messages.

    Kinds that share a column share a modality if their vectors have equal widths; else each kind has its own. A row
    that is not finite, and an item of a kind without the column, has no vector. Empty where no kind has a column of
    vectors. Raises ValueError for a column that is not there or holds no vectors.
    """
    names = vector_columns(data)
    for name in settings.columns or ():
        if name not in names:
            raise ValueError(f"{setting}: {_no_vectors(name, names, data)}")
    chosen = names if settings.columns is None else settings.columns
    return [vectors for name in chosen for vectors in _modalities(data, name, SCALES[settings.scale])]


def required_vectors(data: TrainData, settings: VectorSettings, model: str) -> list[ItemVectors]:
    """As ``item_vectors``. Raises ValueError if there are none."""
    found = item_vectors(data, settings)
    if not found:
        raise ValueError(
            f"{model} needs vectors of items, and '{data.name}' has none: name a file of them for a column in data.feat"
        )
    return found


def once_each(of_items: Callable[[Tensor], Tensor], item: Tensor, n_items: int) -> Tensor:
    """``of_items(item)``, int64[B] -> [B, ...]; if there are more rows than items, each item is computed once."""
    if len(item) <= n_items:
        return of_items(item)
    return of_items(torch.arange(n_items, device=item.device)).index_select(0, item)


def coverage(vectors: Sequence[ItemVectors]) -> list[str]:
    """One line for the log: the modalities, and how many items lack each."""
    return ["item vectors: " + "; ".join(map(str, vectors))] if vectors else []


def vector_columns(data: TrainData) -> list[str]:
    """Names of the columns of vectors of any kind, in the order of the kinds."""
    found = [n for table in data.kinds.values() for n, column in table.columns.items() if isinstance(column, Dense)]
    return list(dict.fromkeys(found))


def _no_vectors(name: str, names: Sequence[str], data: TrainData) -> str:
    there = any(name in table.columns for table in data.kinds.values())
    what = f"column '{name}' holds no vectors" if there else f"no kind of item has a column '{name}'"
    return f"{what}. Columns of vectors: {', '.join(names) or 'none'}"


def _modalities(data: TrainData, name: str, scaled: Callable[[np.ndarray], np.ndarray]) -> Iterator[ItemVectors]:
    tables = {kind: t for kind, t in data.kinds.items() if isinstance(t.columns.get(name), Dense)}
    rows = [np.arange(t.start, t.stop) for t in tables.values()]
    columns = [t.columns[name] for t in tables.values()]
    try:
        blocks: list[tuple[str, np.ndarray, Column]] = [(name, np.concatenate(rows), joined(columns))]
    except ValueError:  # vectors of different widths mean different things under one name
        labels = [f"{name} of {kind}" for kind in tables]
        blocks = list(zip(labels, rows, columns, strict=True))
    for label, row, column in blocks:
        assert isinstance(column, Dense)
        found = np.asarray(column.value, np.float32)
        has = np.isfinite(found).all(1)
        value, known = np.zeros((data.n_items, found.shape[1]), np.float32), np.zeros(data.n_items, bool)
        value[row[has]], known[row] = scaled(found[has]), has
        yield ItemVectors(label, value, known)


def _unit(value: np.ndarray) -> np.ndarray:
    """A vector of zeros stays as it is."""
    length = np.linalg.norm(value.astype(np.float64), axis=1, keepdims=True)
    return (value / np.where(length > 0, length, 1)).astype(np.float32)


def _standard(value: np.ndarray) -> np.ndarray:
    return standardised(value, CLIP, value)[0]


def _over_largest(value: np.ndarray) -> np.ndarray:
    largest = np.abs(value).max(initial=0)
    return value / largest if largest > 0 else value


SCALES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "unit": _unit,
    "standard": _standard,
    "max": _over_largest,
    "raw": lambda value: value,
}
"""What each value of ``VectorSettings.scale`` makes of the vectors that are there, float32[m, width]."""
