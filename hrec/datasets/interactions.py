"""The file of interactions -> Interactions: positions, labels, ratings, times; each row checked."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hrec.datasets import encoding, times
from hrec.datasets.catalogue import Catalogue
from hrec.datasets.interaction_columns import checked_fields, encode, feature_names, split_column
from hrec.datasets.problems import DataError, Log, plural
from hrec.datasets.recdata import Interactions
from hrec.datasets.repeats import settle_repeats
from hrec.datasets.row_check import RowCheck
from hrec.datasets.sheets import Sheet
from hrec.datasets.tables import typed
from hrec.settings import DataSettings


def require_named_columns(sheet: Sheet, settings: DataSettings) -> None:
    """A column that may be left out is optional under its usual name alone. Raises DataError."""
    for key in ("RATING_FIELD", "TIME_FIELD"):
        name = getattr(settings, key)
        if name != DataSettings.model_fields[key].default:
            sheet.column(name, f"Correct data.{key} or the header.")


def columns_to_read(settings: DataSettings) -> set[str]:
    names = {settings.USER_ID_FIELD, settings.ITEM_ID_FIELD, settings.LABEL_FIELD}
    names |= {settings.RATING_FIELD, settings.TIME_FIELD}
    names |= {settings.TYPE_FIELD} if settings.TYPE_FIELD is not None else set()
    names |= {settings.label.source} if settings.label and settings.label.source else set()
    return names | feature_names(settings) | ({column} if (column := split_column(settings)) else set())


def needs_time(settings: DataSettings) -> bool:
    return settings.split.by in ("time", "leave_one_out")


def build_interactions(
    sheet: Sheet, settings: DataSettings, catalogue: Catalogue, users: Sheet | None, log: Log
) -> tuple[Interactions, pa.Array]:
    """(interactions, raw ids of the users): the users of ``users``, or those of the interactions, sorted.

    Raises DataError for any row that cannot be used; with settings.drop_bad_rows the row is left out. Also for
    duplicate pairs, unless settings.repeats allows them, for a kind without interactions and for labels that are all
    the same.
    """
    check, how = RowCheck(sheet, settings.drop_bad_rows, log), settings.label
    made = how is not None and how.source is not None
    kind, item = _place_items(check, settings, catalogue, log)
    user, user_ids = _place_users(check, settings, users)
    rating = _ratings(check, settings)
    values = _label_values(check, settings, log)
    time = _times(check, settings)
    fields = checked_fields(check, settings, log)
    ratings = [numbers for numbers in (rating, values if made else None) if numbers is not None]
    settle_repeats(check, settings, user.astype(np.int64) << 32 | item, time, ratings, None if how else values)
    label = _labels(check, values, settings)
    rows = np.flatnonzero(check.good)
    _require_every_kind(sheet, kind[rows], catalogue)
    if how is None or made:
        _require_both_labels(check, settings, label, kind, catalogue, log)

    def pick(array: np.ndarray | None, dtype: type) -> np.ndarray | None:
        return None if array is None else array[rows].astype(dtype)

    return (
        Interactions(
            user=user[rows],
            item=item[rows],
            kind=kind[rows].astype(np.int16),
            label=pick(label, np.float32),
            rating=pick(rating, np.float32),
            time=pick(time, np.float64),
            columns=encode(check.rows(), fields, settings),
        ),
        user_ids,
    )


def _place_items(
    check: RowCheck, settings: DataSettings, catalogue: Catalogue, log: Log
) -> tuple[np.ndarray, np.ndarray]:
    """(position of the kind, position of the item) of each row; leaves out the rows of kinds that are not used."""
    name = settings.ITEM_ID_FIELD
    ids = typed(check.sheet, name, encoding.as_names)
    check.refuse(ids.is_null().to_numpy(zero_copy_only=False), name, "is no id")
    kind = _kinds_of_rows(check, settings, catalogue, log)
    if kind is not None:
        item, why = _by_kind(ids, kind, catalogue), "is not an item of its kind"
        ignored = kind >= len(catalogue.used)
    else:
        item, why = _by_item(check, ids, settings, catalogue), "is in none of the item files"
        kind = np.searchsorted(catalogue.starts[1:], item, side="right")
        ignored = (kind >= len(catalogue.used)) | ((item < 0) & (not catalogue.closed))
    _leave_out(check, ignored, log)
    files = ", ".join(map(str, catalogue.files))
    check.refuse(item < 0, name, f"{why} ({files})", "Add the item to its file")
    return kind, item


def _kinds_of_rows(check: RowCheck, settings: DataSettings, catalogue: Catalogue, log: Log) -> np.ndarray | None:
    """Position of each row's kind in catalogue.ids (past the end: not used), or None if the items determine it."""
    name, sheet = settings.TYPE_FIELD, check.sheet
    if name is None or name not in sheet.cells:
        return None
    text = typed(sheet, name, encoding.as_names)
    known = list(catalogue.ids)
    kind = encoding.positions(text, pa.array(known, pa.string()))
    if (kind < 0).all():
        log(f"{sheet.path}: column '{name}' names none of {', '.join(known)}: the items give the kind instead")
        return None
    unknown = kind < 0
    if settings.type or settings.single_type is not None:
        unknown &= text.is_null().to_numpy(zero_copy_only=False)  # any other name is a kind that is not used
    remedy = "Correct the file, name its file in data.item_feat_path, or list the kinds to use in data.type"
    check.refuse(unknown, name, f"is none of the kinds {', '.join(known)}", remedy)
    return np.where(kind < 0, len(known), kind)


def _by_kind(ids: pa.Array, kinds: np.ndarray, catalogue: Catalogue) -> np.ndarray:
    """int32[n] positions over all kinds, each row's item looked up in its own kind; -1 where it is not."""
    out = np.full(len(ids), -1, np.int32)
    for index, (start, among) in enumerate(zip(catalogue.starts, catalogue.ids.values(), strict=False)):
        rows = np.flatnonzero(kinds == index)
        found = encoding.positions(ids.take(pa.array(rows)), among)
        out[rows] = np.where(found < 0, -1, found + start)
    return out


def _by_item(check: RowCheck, ids: pa.Array, settings: DataSettings, catalogue: Catalogue) -> np.ndarray:
    """int32[n] positions over all kinds; -1 for an unknown item. Raises DataError where two kinds share an item, or
    leaves out its rows."""
    among = pa.concat_arrays(list(catalogue.ids.values()))
    if len(among.unique()) < len(among):
        shared = among.filter(pa.array(encoding.repeated(encoding.numbered(among)))).unique()
        message = _both_kinds(shared, settings, catalogue)
        if not settings.drop_bad_rows:
            named = f"a column '{settings.TYPE_FIELD}'" if settings.TYPE_FIELD else "a column (data.TYPE_FIELD)"
            raise DataError(
                f"{message}; its interactions do not name the kind. Give them {named} with the kind of each row, "
                "make the ids differ, or set data.drop_bad_rows=true to leave out the rows of such items."
            )
        bad = pc.is_in(ids, shared).to_numpy(zero_copy_only=False)
        check.leave_out(bad, f"that of an item of two kinds: {message}")
    return encoding.positions(ids, among)


def _both_kinds(shared: pa.Array, settings: DataSettings, catalogue: Catalogue) -> str:
    """Of which two kinds the first of the ``shared`` ids is, and where that stands."""
    text, places = shared[0].as_py(), []
    for kind, ids in catalogue.ids.items():
        sheet = catalogue.sheets.get(kind)
        row = pc.index(ids if sheet is None else sheet.cells[settings.ITEM_ID_FIELD], text).as_py()
        if row >= 0:
            places.append(f"'{kind}' ({sheet.where(row, settings.ITEM_ID_FIELD) if sheet else 'a kind not used'})")
    more = f" ({len(shared):,} items like it)" if len(shared) > 1 else ""
    return f"item '{text}' is both of kind {places[0]} and of {places[1]}{more}"


def _leave_out(check: RowCheck, ignored: np.ndarray, log: Log) -> None:
    count = int(np.count_nonzero(ignored & check.good))
    if count:
        log(f"{check.sheet.path}: {plural(count, 'interaction')} with items of kinds that are not used are left out")
        check.good &= ~ignored


def _place_users(check: RowCheck, settings: DataSettings, users: Sheet | None) -> tuple[np.ndarray, pa.Array]:
    """(position of each row's user, the raw ids of all users)."""
    name = settings.USER_ID_FIELD
    ids = typed(check.sheet, name, encoding.as_names)
    check.refuse(ids.is_null().to_numpy(zero_copy_only=False), name, "is no id")
    if users is None:
        different = ids.filter(pa.array(check.good)).unique()
        among = different.take(pc.array_sort_indices(different))
        return encoding.positions(ids, among), among
    among = users.cells[name]
    user = encoding.positions(ids, among)
    check.refuse(user < 0, name, f"is not in the user file {users.path}", "Add the user to it")
    return user, among


def _numbers(
    check: RowCheck, name: str, remedy: str, required: bool, read: Callable = encoding.as_numbers
) -> np.ndarray:
    """float64[n]. Where they are not ``required``, data.drop_bad_rows leaves a cell empty and keeps its row."""
    check.sheet.column(name, remedy)
    numbers, bad = typed(check.sheet, name, read)
    if required:
        check.refuse(bad | np.isnan(numbers), name, "is not a number")
    else:
        check.empty(bad, name, "is not a number")
    return numbers


def _ratings(check: RowCheck, settings: DataSettings) -> np.ndarray | None:
    """float64[n] or None. An empty rating is refused only where ratings are needed, or labels are made from them."""
    name, needed = settings.RATING_FIELD, settings.inter_matrix_type in ("rating", "centred")
    source = settings.label.source if settings.label else None
    if name not in check.sheet.cells and source:
        name = source
    if name not in check.sheet.cells and not needed:
        return None
    remedy = "Correct data.RATING_FIELD, or set data.inter_matrix_type to another than 'rating'."
    return _numbers(check, name, remedy, needed or name == source)


def _label_values(check: RowCheck, settings: DataSettings, log: Log) -> np.ndarray:
    """float64[n]: the labels of the file, the ratings they are made from, or ones if every row is a positive."""
    name, how = settings.LABEL_FIELD, settings.label
    if how is not None and name in check.sheet.cells:
        log(f"{check.sheet.path}: column '{name}' is not used, because data.label makes the labels")
    if how is None:
        remedy = (
            'Correct data.LABEL_FIELD, or make labels: data.label={"from": "rating", "above": 3} from ratings, '
            'data.label={"negatives": 4} if every row is a positive.'
        )
        label = _numbers(check, name, remedy, True, encoding.as_labels)
        remedy = 'Write 1 or 0, or set data.label={"from": <column of ratings>, "above": <number>}'
        check.refuse((label != 0) & (label != 1), name, "is no label, which is 1 (positive) or 0 (negative)", remedy)
        return label
    if how.source is None:
        return np.ones(len(check.sheet))
    return _numbers(check, how.source, "Correct 'from' in data.label.", required=True)


def _labels(check: RowCheck, values: np.ndarray, settings: DataSettings) -> np.ndarray:
    """float64[n] of 1 and 0, from what ``_label_values`` gives."""
    how = settings.label
    if how is None or how.source is None or how.above is None:
        return values
    return encoding.above(check.sheet.cells[how.source], values, how.above).astype(np.float64)


def _times(check: RowCheck, settings: DataSettings) -> np.ndarray | None:
    """float64[n] seconds or None. An empty time is refused only where the split goes by time."""
    name = settings.TIME_FIELD
    if name not in check.sheet.cells:
        return None
    seconds, bad, date = typed(check.sheet, name, times.as_seconds)
    why = "is neither a number nor a date such as 2024-01-31 12:00:00"
    if needs_time(settings):
        check.refuse(bad | np.isnan(seconds), name, why)
    else:
        check.empty(bad, name, why)
    refuse_two_forms(check.sheet, name, seconds, date, check.good)
    return seconds


def refuse_two_forms(sheet: Sheet, name: str, seconds: np.ndarray, date: np.ndarray, good: np.ndarray) -> None:
    """Raises DataError where the times of the rows ``good`` have two forms (``hrec.datasets.times.two_forms``)."""
    found = times.two_forms(seconds, date, good)
    if found is None:
        return
    one, other = (
        f"{sheet.place(row)} holds {sheet.show(row, name)} ({form})"
        for row, form in sorted(zip(found.rows, found.forms, strict=True))
    )
    raise DataError(
        f"{sheet.path}, column '{name}': two forms of time in one column do not sort. {one[0].upper()}{one[1:]}; "
        f"{other}. Write all times in one form, or set data.TIME_FIELD to another column."
    )


def _require_every_kind(sheet: Sheet, kind: np.ndarray, catalogue: Catalogue) -> None:
    count = np.bincount(kind, minlength=len(catalogue.used))
    for name, here in zip(catalogue.used, count, strict=True):
        if not here:
            raise DataError(
                f"{sheet.path}: no usable interaction with an item of kind '{name}'. "
                f"Leave '{name}' out of data.type, or correct the ids so that they match those of its items."
            )


def _require_both_labels(
    check: RowCheck, settings: DataSettings, label: np.ndarray, kind: np.ndarray, catalogue: Catalogue, log: Log
) -> None:
    """Raises DataError where all labels are the same; says so in the log where those of one kind are."""
    label, kind = label[check.good], kind[check.good]
    made = settings.label is not None
    name = settings.label.source if settings.label else settings.LABEL_FIELD
    if label.min() == label.max():
        what = "every interaction is positive (label 1)" if label[0] else "every interaction is negative (label 0)"
        remedy = "Choose another 'above' in data.label." if made else "Correct the column."
        raise DataError(
            f"{check.sheet.path}, column '{name}': {what}, so a model cannot learn to separate them. "
            f'{remedy} Where only likes are known, set data.label={{"negatives": 4}}.'
        )
    positive = np.bincount(kind, weights=label, minlength=len(catalogue.used))
    for index, (one, count) in enumerate(zip(positive, np.bincount(kind), strict=True)):
        if one in (0, count):
            log(f"{check.sheet.path}: all interactions of kind '{catalogue.used[index]}' have the same label")
