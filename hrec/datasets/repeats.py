"""Rows of a user and an item that occur more than once: what ``data.repeats`` makes of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from hrec.datasets import encoding
from hrec.datasets.problems import DataError, plural
from hrec.datasets.row_check import RowCheck
from hrec.settings import DataSettings


@dataclass(frozen=True, eq=False)
class Repeats:
    """The usable rows of one file, some of which have the same user and item.

    rows: int64[n], places in ``check``, oldest first.
    pair: int64[n], equal for the same user and item.
    ratings: Arrays over all rows of the file, which ``mean`` changes in place.
    labels: Over all rows, if the file itself holds them.
    """

    check: RowCheck
    settings: DataSettings
    rows: np.ndarray
    pair: np.ndarray
    ratings: Sequence[np.ndarray]
    labels: np.ndarray | None

    def leave_out(self, again: np.ndarray) -> None:
        """Drop the rows where ``again`` bool[n], counted in the log."""
        bad = np.zeros(len(self.check.good), bool)
        bad[self.rows[again]] = True
        self.check.leave_out(bad, self.describe(int(bad.argmax())))

    def describe(self, row: int) -> str:
        """A row, and where its user and item occur again, for a message."""
        sheet, place = self.check.sheet, int(np.flatnonzero(self.rows == row)[0])
        others = np.sort(self.rows[self.pair == self.pair[place]])
        after = others[others > row]
        other = int(after[0] if len(after) else others[0])
        user, item = (sheet.show(row, name) for name in (self.settings.USER_ID_FIELD, self.settings.ITEM_ID_FIELD))
        where = sheet.where(row, self.settings.USER_ID_FIELD)
        return f"{where}: {user} and item {item} occur again in {sheet.place(other)}"


def settle_repeats(
    check: RowCheck,
    settings: DataSettings,
    pair: np.ndarray,
    time: np.ndarray | None,
    ratings: Sequence[np.ndarray],
    labels: np.ndarray | None,
) -> None:
    """Deal with the usable rows of ``check`` that have the same ``pair`` int64[N], as ``data.repeats`` says.

    time: float64[N]; where known, it says which row is the first and which the last, and rows without a time come
    first; else the order of the file does. Raises DataError where repeats are refused or cannot be averaged.
    """
    how = settings.repeats or ("last" if settings.drop_bad_rows else "refuse")
    rows = np.flatnonzero(check.good)
    if time is not None and settings.repeats is not None:  # drop_bad_rows alone keeps the last in the file, as ever
        rows = rows[np.argsort(np.where(np.isnan(time), -np.inf, time)[rows], kind="stable")]
    found = Repeats(check, settings, rows, pair[rows], ratings, labels)
    if len(np.unique(found.pair)) < len(rows):
        HOW[how](found)


def _refuse(found: Repeats) -> None:
    again = found.rows[encoding.repeated(found.pair)]
    first, more = int(again.min()), f" ({len(again):,} rows like it)" if len(again) > 1 else ""
    raise DataError(
        f"{found.describe(first)}{more}. Correct the file, or set data.repeats: first or last keeps one row, mean "
        "keeps one with the mean rating, keep keeps all."
    )


def _first(found: Repeats) -> None:
    found.leave_out(encoding.repeated(found.pair[::-1])[::-1])


def _last(found: Repeats) -> None:
    found.leave_out(encoding.repeated(found.pair))


def _mean(found: Repeats) -> None:
    """The last row of each pair, with the mean of the known ratings."""
    if not found.ratings:
        raise DataError(
            f"{found.check.sheet.path}: data.repeats=mean needs ratings, and the file has none. Correct "
            "data.RATING_FIELD, or set data.repeats to first, last or keep."
        )
    if found.labels is not None:
        _require_same_labels(found, found.labels[found.rows])
    again, group = encoding.repeated(found.pair), np.unique(found.pair, return_inverse=True)[1]
    for rating in found.ratings:
        mean = _means(rating[found.rows], group)
        rating[found.rows[~again]] = mean[group[~again]]
    found.leave_out(again)
    found.check.log(f"{plural(int(again.sum()), 'row')} left out as repeats: the row kept has the mean of the ratings")


def _means(value: np.ndarray, group: np.ndarray) -> np.ndarray:
    """float64[groups]: the mean of the known numbers of each group, NaN where none is known.

    Taken over differences from one of them, so that the mean of equal ratings is that rating to the last bit.
    """
    known, base = np.isfinite(value), np.full(int(group.max()) + 1, np.nan)
    base[group[known]] = value[known]
    count = np.bincount(group[known], minlength=len(base))
    return base + np.bincount(group[known], (value - base[group])[known], len(base)) / np.maximum(count, 1)


def _require_same_labels(found: Repeats, label: np.ndarray) -> None:
    group = np.unique(found.pair, return_inverse=True)[1]
    positive = np.bincount(group, label)
    mixed = ((positive > 0) & (positive < np.bincount(group)))[group]
    if mixed.any():
        raise DataError(
            f"{found.describe(int(found.rows[mixed].min()))} with another label, and data.repeats=mean averages "
            "ratings alone. Set data.repeats to first, last or keep, or make the labels from the ratings: "
            'data.label={"from": "rating", "above": 3}.'
        )


def _keep(found: Repeats) -> None:
    again = found.rows[encoding.repeated(found.pair)]
    found.check.log(
        f"warning: data.repeats=keep: {plural(len(again), 'row')} of a user and an item that occur again, the first is "
        f"{found.describe(int(again.min()))}. A split may put rows of one pair into training and test, and an item of "
        "the training rows is never in a list, so that such a test row counts as missed"
    )


HOW: dict[str, Callable[[Repeats], None]] = {
    "refuse": _refuse,
    "first": _first,
    "last": _last,
    "mean": _mean,
    "keep": _keep,
}
"""What is done about repeats, by its name in data.repeats."""
