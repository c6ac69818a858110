"""Columns that are made from the training part alone: how many rows a user or an item has there, and how liked it is.

In training a row reads the counts without itself, as a test row does. Known limit of means: the row is one of those
that its item's mean was taken over, so the mean tells a little of its label. It is shrunk for that reason; to leave the
row out would tell the label too, the other way round. Histories, which leave the row out, need no such column.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from hrec.datasets.columns import Numeric
from hrec.datasets.recdata import Interactions, RecData, Split, Table

SHRINK = 3.0
"""Rows of the average value that every mean is taken with."""


def with_train_columns(parts: Split, names: Sequence[str]) -> Split:
    """The same parts; users and items of each kind have a column ``train_<name>`` more for each of ``names``.

    names: of DERIVED. Users and items without a training row have 0, not a missing value: no training row would show
    what a missing one means. Raises ValueError for 'mean' where the data has neither ratings nor labels.
    """
    if not names:
        return parts
    train = parts.train
    x, kinds = train.interactions, {}
    users = _with(train.users, x, x.user, names)
    for kind, table in train.kinds.items():
        kinds[kind] = _with(table, x, x.item - table.start, names)
    grown = (replace(part, users=users, kinds=kinds) for part in (parts.train, parts.valid, parts.test))
    return Split(*grown)


def of_new_users(users: Table, x: Interactions, train: RecData, names: Sequence[str]) -> Table:
    """Users who are none of the training part's, with the columns that ``with_train_columns`` gave those: made from
    rows ``x`` of their own, and measured as the columns of the training part are."""
    made = _with(users, x, x.user, names, train.interactions).columns
    columns = dict(users.columns)
    for name in (f"train_{name}" for name in names):
        own, known = made[name], train.users.columns[name]
        assert isinstance(own, Numeric) and isinstance(known, Numeric)
        columns[name] = Numeric(own.value, known.value)
    return replace(users, columns=columns)


def _with(
    table: Table, x: Interactions, row: np.ndarray, names: Sequence[str], among: Interactions | None = None
) -> Table:
    """``among``: the rows whose mean rating is the mean of all; None for ``x``."""
    here = (row >= 0) & (row < table.count)
    counted = np.bincount(row[here], minlength=table.count)
    columns = {f"train_{name}": DERIVED[name](x, row, here, counted, x if among is None else among) for name in names}
    return replace(table, columns={**table.columns, **columns})


def _count(x: Interactions, row: np.ndarray, here: np.ndarray, counted: np.ndarray, among: Interactions) -> Numeric:
    """log(1 + rows); every training row finds one row less. Drawn negatives do so too, though they are none of the
    rows: a number that only positives had less of would tell the label."""
    every, others = (np.log1p(n).astype(np.float32) for n in (counted, np.maximum(counted - 1, 0)))
    return Numeric(every, in_training=others)


def _mean(x: Interactions, row: np.ndarray, here: np.ndarray, counted: np.ndarray, among: Interactions) -> Numeric:
    """Shrunk mean of the ratings (labels where there are none), less the mean of all."""
    value, every = (y.label if y.rating is None else y.rating for y in (x, among))
    if value is None or every is None:
        raise ValueError("data.train_columns 'mean' needs ratings or labels, and this data has neither; use 'count'")
    known = here & np.isfinite(value)
    sums = np.bincount(row[known], value[known] - every[np.isfinite(every)].mean(dtype=np.float64), len(counted))
    return Numeric((sums / (np.bincount(row[known], minlength=len(counted)) + SHRINK)).astype(np.float32))


DERIVED: dict[str, Callable[[Interactions, np.ndarray, np.ndarray, np.ndarray, Interactions], Numeric]] = {
    "count": _count,
    "mean": _mean,
}
"""What can be told of the rows of a user or an item, by its name in data.train_columns."""
