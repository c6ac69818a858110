"""Data sets: files or made data -> RecData -> train, valid, test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from hrec.datasets import planted, reading
from hrec.datasets.catalogue import is_single, used_kinds
from hrec.datasets.columns import Numeric
from hrec.datasets.derived import with_train_columns
from hrec.datasets.filters import filtered
from hrec.datasets.histories import default_cells
from hrec.datasets.planted_best import best_auc
from hrec.datasets.problems import DataError
from hrec.datasets.recdata import Feedback, RecData, Split, keep_kinds
from hrec.datasets.splitting import split
from hrec.datasets.vocabulary import with_training_words
from hrec.settings import DataSettings

PROBABILITY = "probability"
"""Column of planted interactions: the known chance that the label is 1. No model reads it."""


def load(settings: DataSettings, cache: Path | None, log: Callable[[str], None] = lambda line: None) -> RecData:
    """The data that the section ``data`` describes. Raises DataError for files that cannot be used."""
    return one_kind(load_whole(settings, cache, log), settings)


def load_split(settings: DataSettings, cache: Path | None, log: Callable[[str], None] = lambda line: None) -> Split:
    """``load_whole``, then ``parts_of``. Raises DataError."""
    return parts_of(load_whole(settings, cache, log), settings, log)


def load_whole(settings: DataSettings, cache: Path | None, log: Callable[[str], None] = lambda line: None) -> RecData:
    """What ``parts_of`` splits: all kinds of ``data.type``, also where ``data.single_type`` asks for one of them, with
    the rows that ``data.filter`` keeps.

    So the rows of a kind fall to the same parts whether it is alone or among others, and models of both can be
    compared. Where the other kinds cannot be read, the one kind alone, and a line says so. Raises DataError.
    """
    data = _unfiltered(settings, cache, log)
    return data if settings.filter is None else filtered(data, settings.filter, log)


def _unfiltered(settings: DataSettings, cache: Path | None, log: Callable[[str], None]) -> RecData:
    if settings.single is False and settings.single_type is not None:
        log(f"warning: data.single is false, so single_type '{settings.single_type}' is passed over, as published")
    if settings.planted is not None:
        made = planted.make(**settings.planted.model_dump())
        rows = made.data.interactions
        columns = {**rows.columns, PROBABILITY: Numeric(made.probability.astype(np.float32))}
        data = replace(made.data.with_interactions(replace(rows, columns=columns)), name=settings.name)
        used_kinds(settings, data.kinds)  # what is wrong with single and single_type
        return keep_kinds(data, used_kinds(_of_all_kinds(settings), data.kinds))
    if _kinds_named(settings) == 1 or not is_single(settings):
        return reading.read(settings, cache, log)
    try:
        return reading.read(_of_all_kinds(settings), cache, log)
    except DataError as error:
        data = reading.read(settings, cache, log)
        log(f"warning: '{settings.single_type}' is split alone, as other kinds cannot be read: {error}")
        return data


def one_kind(data: RecData, settings: DataSettings) -> RecData:
    """What ``data.single_type`` leaves of the data, all where it asks for no kind. Raises DataError if it is none."""
    return keep_kinds(data, used_kinds(settings, data.kinds)) if is_single(settings) else data


def parts_of(data: RecData, settings: DataSettings, log: Callable[[str], None] = lambda line: None) -> Split:
    """The parts that ``data.split`` asks for, of one kind alone if need be, with the words and the columns that come
    from the training part. Raises DataError."""
    try:
        parts = split(data, settings.split, settings.sample, log, feedback_of(settings, data))
        if is_single(settings):
            kinds = used_kinds(settings, data.kinds)
            train, valid, test = (parts.train, parts.valid, parts.test)
            parts = Split(keep_kinds(train, kinds), keep_kinds(valid, kinds), keep_kinds(test, kinds))
            sizes = (len(part.interactions) for part in (parts.train, parts.valid, parts.test))
            log("of '{}': {:,} training, {:,} validation and {:,} test rows".format(settings.single_type, *sizes))
        if "mean" in settings.train_columns:
            log(
                "warning: data.train_columns: 'mean' includes the training row itself and reveals its label, "
                "which it does not of a test row; it lowered the AUC on Epinions (docs/log)"
            )
        return with_train_columns(with_training_words(parts, settings.feat, log), settings.train_columns)
    except ValueError as error:  # a split or share that this data cannot give
        raise DataError(str(error)) from None


def feedback_of(settings: DataSettings, data: RecData) -> Feedback:
    """How the rows of ``data`` are to be read, by data.inter_matrix_type and data.label."""
    how, cells = settings.label, settings.inter_matrix_type or default_cells(data.interactions)
    return Feedback(cells, how.negatives if how else 0, how.popularity if how else 0.0)


def _of_all_kinds(settings: DataSettings) -> DataSettings:
    return settings.model_copy(update={"single": None, "single_type": None})


def _kinds_named(settings: DataSettings) -> int | None:
    """How many kinds data.item_feat_path names; None if their file or the interactions name the kind."""
    return len(settings.item_feat_path) if isinstance(settings.item_feat_path, dict) else None


def best_possible_auc(part: RecData) -> dict[str, float] | None:
    """Expected AUC of ranking by the known probabilities: per kind, pooled, macro mean. None where none are known."""
    column = part.interactions.columns.get(PROBABILITY)
    if not isinstance(column, Numeric):
        return None
    return best_auc(column.value.astype(np.float64), part.interactions.kind, list(part.kinds))
