"""Data sets: files or made data -> RecData -> train, valid, test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from hrec.datasets import planted, reading
from hrec.datasets.catalogue import used_kinds
from hrec.datasets.columns import Numeric
from hrec.datasets.derived import with_train_columns
from hrec.datasets.histories import default_cells
from hrec.datasets.problems import DataError
from hrec.datasets.recdata import RecData, Split, keep_kinds
from hrec.datasets.splitting import split
from hrec.settings import DataSettings

PROBABILITY = "probability"
"""Column of planted interactions: the known chance that the label is 1. No model reads it."""


def load(settings: DataSettings, cache: Path | None, log: Callable[[str], None] = lambda line: None) -> RecData:
    """The data that the section ``data`` describes. Raises DataError for files that cannot be used."""
    if settings.planted is None:
        return reading.read(settings, cache, log)
    made = planted.make(settings.planted.size, settings.planted.seed)
    known = {PROBABILITY: Numeric(made.probability.astype(np.float32))}
    rows = replace(made.data.interactions, columns=known)
    data = replace(made.data, interactions=rows, cells=settings.inter_matrix_type or default_cells(rows))
    return keep_kinds(data, used_kinds(settings, data.kinds))


def load_split(settings: DataSettings, cache: Path | None, log: Callable[[str], None] = lambda line: None) -> Split:
    """``load``, then ``parts_of``. Raises DataError."""
    return parts_of(load(settings, cache, log), settings, log)


def parts_of(data: RecData, settings: DataSettings, log: Callable[[str], None] = lambda line: None) -> Split:
    """The parts that ``data.split`` asks for, with the columns made from the training part. Raises DataError."""
    try:
        return with_train_columns(split(data, settings.split, settings.sample, log), settings.train_columns)
    except ValueError as error:  # a split or share that this data cannot give
        raise DataError(str(error)) from None


def best_possible_auc(part: RecData) -> dict[str, float] | None:
    """Expected AUC of ranking by the known probabilities: per kind, pooled, macro mean. None where none are known."""
    column = part.interactions.columns.get(PROBABILITY)
    if not isinstance(column, Numeric):
        return None
    p, kind = column.value.astype(np.float64), part.interactions.kind
    out = {f"auc/{name}": planted.expected_auc(p[kind == k], p[kind == k]) for k, name in enumerate(part.kinds)}
    return {"auc": float(np.mean(list(out.values()))), "auc/pooled": planted.expected_auc(p, p), **out}
