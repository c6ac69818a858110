"""Histories of new users from a file -> NewUsers: rows of known items, with ratings and labels as in training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from hrec.config import did_you_mean
from hrec.datasets import encoding, times
from hrec.datasets.catalogue import kind_name
from hrec.datasets.interactions import refuse_two_forms
from hrec.datasets.problems import DataError, plural
from hrec.datasets.recdata import Interactions
from hrec.datasets.sheets import Sheet, as_sheet, read_sheet
from hrec.datasets.tables import typed
from hrec.inference.ids import describe_unknown, ids_of, item_ids, item_kinds
from hrec.inference.trained import Trained
from hrec.settings import DataSettings

NAME = "new"
"""The id of a new user whose history has no user ids."""

OF_ITEM = "item "
"""Before the id of an item in the name of the user whose history it is."""

Log = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class NewUsers:
    """Users without training rows, with indices from 0, and their rows with items of the training data.

    ids: text[n]. The rows have ratings and labels if the training data has them.
    """

    ids: np.ndarray
    rows: Interactions

    def take(self, ids: Sequence[str]) -> NewUsers:
        """Those of the users that have these ids, in this order."""
        place = {one: index for index, one in enumerate(dict.fromkeys(ids))}
        index = np.array([place.get(one, -1) for one in self.ids], np.int32)[self.rows.user]
        rows = replace(self.rows, user=index).take(index >= 0)
        return NewUsers(np.array(list(place), object), rows)


def new_users(
    trained: Trained, history: str | Path | pa.Table, name: str = NAME, log: Log = lambda line: None
) -> NewUsers:
    """New users from a file (or a table) of their rows.

    It has a column of item ids. It may have columns of user ids, kinds, ratings, labels and times. All have the names
    of the run's data. Without times the order of the rows counts as the order of time. Unknown items are skipped.
    ``name``: the id of the one user of a file without user ids. Raises DataError if no item is known, or a cell cannot
    be read.
    """
    sheet = _sheet(history, trained.config.run.data, log)
    item = _items(sheet, trained, log)
    user_ids = _user_ids(sheet, trained.config.run.data, name)
    label, rating = _values(sheet, trained, log)
    time = None if trained.data.interactions.time is None else _times(sheet, trained.config.run.data)
    kept = _last_of_each(user_ids, item, time)
    ids, user = _indexed(user_ids[kept])
    kinds = trained.data.kinds.values()
    rows = Interactions(
        user=user,
        item=item[kept],
        kind=(np.searchsorted([t.start for t in kinds], item[kept], side="right") - 1).astype(np.int16),
        label=None if label is None else label[kept].astype(np.float32),
        rating=None if rating is None else rating[kept].astype(np.float32),
        time=None if time is None else time[kept],
    )
    if (again := int((item >= 0).sum()) - len(kept)) > 0:
        log(f"{sheet.path}: {plural(again, 'row')} of a user and an item that a later row repeats: skipped")
    if lost := sorted(set(user_ids.tolist()) - set(ids.tolist())):
        log(f"{sheet.path}: {plural(len(lost), 'user')} without a known item left out: {', '.join(lost[:3])}")
    _log_known(ids, trained, log)
    return NewUsers(ids, rows)


def of_each_item(trained: Trained, items: Sequence[str], log: Log = lambda line: None) -> NewUsers:
    """For each item a new user with the id of the item, whose history is this item: the lists hold similar items.

    Unknown items are skipped. Raises DataError if no item is known.
    """
    ids, settings = encoding.as_names(pa.array(items, pa.string())).unique(), trained.config.run.data
    users = [OF_ITEM + one for one in ids.to_pylist()]  # not the id of a known user
    history = pa.table({settings.USER_ID_FIELD: users, settings.ITEM_ID_FIELD: ids})
    new = new_users(trained, history, log=log)
    return replace(new, ids=np.array([one.removeprefix(OF_ITEM) for one in new.ids], object))


def _sheet(history: str | Path | pa.Table, settings: DataSettings, log: Log) -> Sheet:
    if isinstance(history, pa.Table):
        sheet = as_sheet(history, "history").without(settings.missing_values)
    else:
        path = Path(history).expanduser()
        sheet = read_sheet(path, "--history", lambda name: True, log, settings.missing_values)
    sheet.column(settings.ITEM_ID_FIELD, "It holds the ids of the items in the history: name it so.")
    return sheet


def _user_ids(sheet: Sheet, settings: DataSettings, name: str) -> np.ndarray:
    """text[n]: the user of each row."""
    if settings.USER_ID_FIELD not in sheet.cells:
        return np.full(len(sheet), name, object)
    return encoding.as_objects(_ids(sheet, settings.USER_ID_FIELD))


def _indexed(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(the distinct ids in the order of the rows, int32[n] the position of each row's id)."""
    distinct, first, index = np.unique(ids, return_index=True, return_inverse=True)
    order = np.argsort(first)
    return distinct[order], np.argsort(order)[index].astype(np.int32)


def _ids(sheet: Sheet, column: str) -> pa.Array:
    text = typed(sheet, column, encoding.as_names)
    _refuse(sheet, column, text.is_null().to_numpy(zero_copy_only=False), "is no id")
    return text


def _refuse(sheet: Sheet, column: str, bad: np.ndarray, why: str) -> None:
    """Raises DataError about the first row with ``bad``, bool[n]."""
    if bad.any():
        first = int(bad.argmax())
        raise DataError(f"{sheet.where(first, column)}: {sheet.show(first, column)} {why}. Correct the file.")


def _items(sheet: Sheet, trained: Trained, log: Log) -> np.ndarray:
    """int32[n]: the item of each row, -1 for an unknown one. Raises DataError if all are unknown."""
    settings, data = trained.config.run.data, trained.data
    text, known = _ids(sheet, settings.ITEM_ID_FIELD), pa.array(item_ids(data), pa.string())
    if settings.TYPE_FIELD is not None and settings.TYPE_FIELD in sheet.cells:
        item = _by_kind(sheet, settings.TYPE_FIELD, text, trained)
    else:
        item = encoding.positions(text, known)
        _refuse_shared(sheet, text, item, trained)
    if (item < 0).any():
        missing = np.flatnonzero(item < 0)
        named = describe_unknown([text[int(row)].as_py() for row in missing], item_ids(data))
        unknown = f"{sheet.path}: {len(missing):,} of {plural(len(item), 'item')} unknown to '{data.name}': {named}"
        if len(missing) == len(item):
            raise DataError(f"{unknown}. A history needs a known item; correct the ids.")
        log(f"{unknown}; skipped")
    return item


def _by_kind(sheet: Sheet, column: str, text: pa.Array, trained: Trained) -> np.ndarray:
    """The item of each row among those of the row's kind; -1 for an item of a kind that the run leaves out."""
    kinds = [kind_name(kind) for kind in _ids(sheet, column).to_pylist()]
    settings, known = trained.config.run.data, trained.data.kinds
    unknown = next((kind for kind in kinds if kind not in known), None)
    filtered = settings.filter is not None and settings.filter.kinds is not None
    if unknown is not None and not settings.type and settings.single_type is None and not filtered:
        row = np.array([kind == unknown for kind in kinds])
        _refuse(sheet, column, row, f"is no kind.{did_you_mean(unknown, known)} Kinds: {', '.join(known)}")
    item = np.full(len(text), -1, np.int32)
    for kind, table in known.items():
        here = np.flatnonzero(np.array(kinds) == kind)
        found = encoding.positions(text.take(pa.array(here)), pa.array(ids_of(table), pa.string()))
        item[here] = np.where(found < 0, -1, found + table.start)
    return item


def _refuse_shared(sheet: Sheet, text: pa.Array, item: np.ndarray, trained: Trained) -> None:
    """Raises DataError for an id shared by items of two kinds."""
    settings, names = trained.config.run.data, item_ids(trained.data)
    shared = np.zeros(len(names), bool)
    _, first, count = np.unique(names, return_index=True, return_counts=True)
    shared[first[count > 1]] = True
    bad = shared[item] & (item >= 0)
    if bad.any():
        one = text[int(bad.argmax())].as_py()
        of = " and ".join(item_kinds(trained.data)[names == one][:2])
        added = f"add a column '{settings.TYPE_FIELD}'" if settings.TYPE_FIELD else "name a column in data.TYPE_FIELD"
        remedy = f"is an item of {of}; {added} with the kind of each row"
        _refuse(sheet, settings.ITEM_ID_FIELD, bad, remedy)


def _times(sheet: Sheet, settings: DataSettings) -> np.ndarray:
    """float64[n] seconds, NaN for an empty cell; the position in the file where it has no column of times."""
    name = settings.TIME_FIELD
    if name not in sheet.cells:
        return np.arange(len(sheet), dtype=np.float64)
    seconds, bad, date = typed(sheet, name, times.as_seconds)
    _refuse(sheet, name, bad, "is neither a number nor a date such as 2024-01-31 12:00:00")
    refuse_two_forms(sheet, name, seconds, date, np.ones(len(sheet), bool))
    return seconds


def _last_of_each(user: np.ndarray, item: np.ndarray, time: np.ndarray | None) -> np.ndarray:
    """int64: rows of known items in the file's order; of duplicates of a user and an item the last.

    The last is the newest, and that of the highest position among equal times. A row without a time is the oldest.
    """
    known = np.flatnonzero(item >= 0)
    if time is not None:
        known = known[np.argsort(np.nan_to_num(time[known], nan=-np.inf), kind="stable")]
    index = np.unique(user, return_inverse=True)[1]
    return np.sort(known[~encoding.repeated(index[known].astype(np.int64) << 32 | item[known])])


# --------------------------------------------------------------------------------- ratings and labels


def _values(sheet: Sheet, trained: Trained, log: Log) -> tuple[np.ndarray | None, np.ndarray | None]:
    """(labels 1 and 0, ratings) of the rows, float64[n], each None if the training data has none.

    Rows with neither are positives. A missing rating becomes the mean training rating of the rows with that label.
    """
    settings, x = trained.config.run.data, trained.parts.train.interactions
    rated = _rating_column(sheet, settings)
    rating = None if rated is None else _numbers(sheet, rated)
    label = None if x.label is None else _labels(sheet, trained, rated, rating, log)
    if x.rating is None:
        return label, None
    if rating is None and x.label is None:  # every row is a positive, and no model that reads cells was trained so
        rating = np.full(len(sheet), _mean_rating(x, np.full(len(x), True)))
    elif rating is None and label is not None and x.label is not None:
        means = [_mean_rating(x, x.label == one) for one in (0, 1)]
        rating = np.where(label > 0, means[1], means[0])
        if "cells" in trained.model.reads.user and trained.parts.train.feedback.cells in ("rating", "centred"):
            log(f"{sheet.path}: no column '{settings.RATING_FIELD}', so a positive counts as rated {means[1]:.2f}")
    return label, rating


def _rating_column(sheet: Sheet, settings: DataSettings) -> str | None:
    names = [settings.RATING_FIELD, settings.label.source if settings.label else None]
    return next((name for name in names if name in sheet.cells), None)


def _labels(sheet: Sheet, trained: Trained, rated: str | None, rating: np.ndarray | None, log: Log) -> np.ndarray:
    settings = trained.config.run.data
    name, how = settings.LABEL_FIELD, settings.label
    if how is not None and how.above is not None and rated is not None and rating is not None:
        _refuse(sheet, rated, np.isnan(rating), "is not a number, so it gives no label")
        return encoding.above(sheet.cells[rated], rating, how.above).astype(np.float64)
    if name in sheet.cells:
        label = _numbers(sheet, name, encoding.as_labels)
        _refuse(sheet, name, (label != 0) & (label != 1), "is no label, which is 1 (positive) or 0 (negative)")
        return label
    if trained.parts.train.feedback.cells in ("sign", "liked"):
        if rating is not None and not trained.parts.train.feedback.negatives:
            sheet.column(name, f"{trained.name} reads labels, and the ratings have no threshold for them: add it.")
        log(f"{sheet.path}: no column '{name}', so every item counts as a positive")
    return np.ones(len(sheet))


def _numbers(sheet: Sheet, column: str, read: Callable = encoding.as_numbers) -> np.ndarray:
    """float64[n], NaN for an empty cell. Raises DataError for any other cell that is not a number."""
    number, bad = typed(sheet, column, read)
    _refuse(sheet, column, bad, "is not a number")
    return number


def _mean_rating(x: Interactions, rows: np.ndarray) -> float:
    assert x.rating is not None
    rating = x.rating[rows & np.isfinite(x.rating)].astype(np.float64)
    return float(rating.mean()) if len(rating) else float("nan")


def _log_known(ids: np.ndarray, trained: Trained, log: Log) -> None:
    """Log the new users with ids of the data: their rows there are not used."""
    both = ids[np.isin(ids, ids_of(trained.data.users))]
    if len(both):
        log(f"in the data too, but only the new history counts: {plural(len(both), 'user')}, {', '.join(both[:3])}")
