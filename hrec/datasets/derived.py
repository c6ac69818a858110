"""Columns made from the training part alone: a user's or an item's number of rows there, and its share of positives.

In training a row reads the counts without itself, as a test row does. The models of whole content (CDL, DualNet), whose
rows are items and not pairs, read the count of all. Known limit of means: the mean of a row's item includes the row, so
it reveals a little of its label. It is shrunk for that reason. To leave the row out would reveal the label too, the
other way round. Histories, which leave the row out, need no such column.
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
    what a missing one means. Raises ValueError for 'mean' where the data has neither ratings nor labels, and where a
    column of that name is there.
    """
    if not names:
        return parts
    train = parts.train
    for where, table in (("users", train.users), *((f"kind '{kind}'", table) for kind, table in train.kinds.items())):
        if taken := [name for name in names if f"train_{name}" in table.columns]:
            raise ValueError(
                f"data.train_columns: {where} of '{train.name}' have a column 'train_{taken[0]}' of their own; "
                f"rename it, or leave '{taken[0]}' out"
            )
    x, kinds = train.interactions, {}
    middle = _middle(x, names)
    users = _with(train.users, _Owned(x, x.user, train.users.count), middle, names)
    for kind, table in train.kinds.items():
        kinds[kind] = _with(table, _Owned(x, x.item - table.start, table.count), middle, names)
    grown = (replace(part, users=users, kinds=kinds) for part in (parts.train, parts.valid, parts.test))
    return Split(*grown)  # type: ignore[arg-type]


def of_new_users(users: Table, x: Interactions, train: RecData, names: Sequence[str]) -> Table:
    """Users who are none of the training part's, with the columns that ``with_train_columns`` gave those: made from
    rows ``x``, and measured as the columns of the training part are."""
    made = _with(users, _Owned(x, x.user, users.count), _middle(train.interactions, names), names).columns
    columns = dict(users.columns)
    for name in (f"train_{name}" for name in names):
        own, known = made[name], train.users.columns[name]
        assert isinstance(own, Numeric) and isinstance(known, Numeric)
        columns[name] = Numeric(own.value, known.value)
    return replace(users, columns=columns)


class _Owned:
    """Rows, each of one of ``count`` users or items, or of none of them: ``owner`` int[N], outside of 0..count - 1."""

    def __init__(self, x: Interactions, owner: np.ndarray, count: int) -> None:
        self.here = (owner >= 0) & (owner < count)
        self.x, self.owner, self.count = x, owner, count

    def sums(self, value: np.ndarray) -> np.ndarray:
        """float64[count]: the sum of ``value`` [N] over each one's rows, those left out that have none."""
        known = self.here & np.isfinite(value)
        return np.bincount(self.owner[known], value[known], self.count)


def _with(table: Table, rows: _Owned, middle: float, names: Sequence[str]) -> Table:
    made = {f"train_{name}": DERIVED[name](rows, middle) for name in names}
    return replace(table, columns={**table.columns, **made})


def _middle(x: Interactions, names: Sequence[str]) -> float:
    """What means are taken from: the mean of all rows; 0 if no mean is requested."""
    if "mean" not in names:
        return 0.0
    value = _liking(x)
    return float(value[np.isfinite(value)].mean(dtype=np.float64))


def _liking(x: Interactions) -> np.ndarray:
    value = x.label if x.rating is None else x.rating
    if value is None:
        raise ValueError("data.train_columns 'mean' needs ratings or labels, and this data has neither; use 'count'")
    return value


def _count(rows: _Owned, middle: float) -> Numeric:
    """log(1 + rows); every training row finds one row less. Drawn negatives do so too, though they are none of the
    rows: a number that is lower for positives alone would reveal the label."""
    n = rows.sums(np.ones(len(rows.owner)))
    every, others = (np.log1p(m).astype(np.float32) for m in (n, np.maximum(n - 1, 0)))
    return Numeric(every, in_training=others)


def _mean(rows: _Owned, middle: float) -> Numeric:
    """Shrunk mean of the ratings (labels if there are none), less the mean of all."""
    value = _liking(rows.x)
    sums, known = rows.sums(value - middle), rows.sums(np.where(np.isfinite(value), 1.0, np.nan))
    return Numeric((sums / (known + SHRINK)).astype(np.float32))


DERIVED: dict[str, Callable[[_Owned, float], Numeric]] = {"count": _count, "mean": _mean}
"""Statistics of the rows of a user or an item, by their names in data.train_columns."""
