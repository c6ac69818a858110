"""Which interactions a run uses at all: kinds, times, ratings and the k-core, applied before the split."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

from hrec.config import did_you_mean
from hrec.datasets.problems import DataError, Log, plural
from hrec.datasets.recdata import AnyData, Interactions, RecData, Table
from hrec.settings import FilterSettings


def filtered(data: AnyData, settings: FilterSettings, log: Log) -> AnyData:
    """The rows of ``data`` that the settings keep, in their order, with the users, items and kinds that have one.

    Indices of users and items are assigned again, ids and columns go with them. Vocabularies of columns stay as they
    are. ``log`` gets a line for each rule that is set and one with what is left.
    Raises DataError for an unknown kind, and for a rule that needs ratings or times that the data lacks. Raises it too
    if no row is left, or none of a kind that ``kinds`` does not exclude.
    """
    for rule in (_of_kinds, _in_time, _rated, _core):
        rows = rule(data.interactions, data, settings, log)
        data = data.with_interactions(rows)
    kinds = [kind for kind in data.kinds if settings.kinds is None or kind in settings.kinds]
    _require_rows(data, kinds)
    kept = _only_used(data, kinds)
    items = ", ".join(f"{kept.kinds[k].count:,} of {data.kinds[k].count:,} items of '{k}'" for k in kinds)
    rows_left = plural(len(kept.interactions), "row")
    log(f"data.filter leaves {rows_left}, {kept.n_users:,} of {plural(data.n_users, 'user')}, {items}")
    return kept


def _of_kinds(x: Interactions, data: RecData, settings: FilterSettings, log: Log) -> Interactions:
    if settings.kinds is None:
        return x
    known = list(data.kinds)
    for kind in settings.kinds:
        if kind not in known:
            raise DataError(
                f"data.filter.kinds: no kind '{kind}'.{did_you_mean(kind, known)} Kinds: {', '.join(known)}."
            )
    keep = np.isin(x.kind, [known.index(kind) for kind in settings.kinds])
    return _kept(x, keep, f"kinds {', '.join(settings.kinds)}", log)


def _in_time(x: Interactions, data: RecData, settings: FilterSettings, log: Log) -> Interactions:
    if settings.start is None and settings.stop is None:
        return x
    if x.time is None:
        raise DataError(
            f"data.filter: '{data.name}' has no times for 'from' and 'to': name their column in data.TIME_FIELD."
        )
    start = -np.inf if settings.start is None else settings.start
    stop = np.inf if settings.stop is None else settings.stop
    bounds = [("from ", settings.start), ("before ", settings.stop)]
    rule = ", ".join(word + _date(time) for word, time in bounds if time is not None)
    if np.isfinite(x.time).any():
        rule += f" (the data has {_date(np.nanmin(x.time))} to {_date(np.nanmax(x.time))})"
    return _kept(x, (x.time >= start) & (x.time < stop), rule, log)  # a missing time, NaN, is in no range


def _rated(x: Interactions, data: RecData, settings: FilterSettings, log: Log) -> Interactions:
    if settings.min_rating is None:
        return x
    if x.rating is None:
        raise DataError(
            f"data.filter.min_rating: '{data.name}' has no ratings: name their column in data.RATING_FIELD."
        )
    return _kept(x, x.rating >= settings.min_rating, f"rating at least {settings.min_rating:g}", log)


def _core(x: Interactions, data: RecData, settings: FilterSettings, log: Log) -> Interactions:
    users, items = settings.min_user_rows, settings.min_item_rows
    if users == items == 1:
        return x
    keep, rounds = k_core(x.user, x.item, users, items)
    rule = f"at least {plural(users, 'row')} for each user and {items:,} for each item, after {plural(rounds, 'round')}"
    return _kept(x, keep, rule, log)


def k_core(user: np.ndarray, item: np.ndarray, min_user: int, min_item: int) -> tuple[np.ndarray, int]:
    """(bool[N], rounds): the largest set of rows in which every user has ``min_user`` rows and every item ``min_item``.

    user, item: int[N]. A round drops the rows of users and items that have too few; the rounds stop when one drops
    none. The result does not depend on the order in which rows are dropped (Seidman, Social Networks 1983).
    """
    rows, rounds = np.arange(len(user)), 0
    while len(rows):
        u, i = user[rows], item[rows]
        left = rows[(np.bincount(u)[u] >= min_user) & (np.bincount(i)[i] >= min_item)]
        if len(left) == len(rows):
            break
        rows, rounds = left, rounds + 1
    keep = np.zeros(len(user), bool)
    keep[rows] = True
    return keep, rounds


def _kept(x: Interactions, keep: np.ndarray, rule: str, log: Log) -> Interactions:
    dropped = len(keep) - int(np.count_nonzero(keep))
    log(f"data.filter, {rule}: {dropped:,} of {plural(len(keep), 'row')} dropped")
    return x.take(keep) if dropped else x


def _require_rows(data: RecData, kinds: list[str]) -> None:
    count = np.bincount(data.interactions.kind, minlength=len(data.kinds))
    if not count.any():
        raise DataError(f"data.filter leaves no row of '{data.name}': the log has the rows that each rule dropped.")
    for kind, n in zip(data.kinds, count, strict=True):
        if kind in kinds and not n:
            others = ", ".join(f'"{name}"' for name, some in zip(data.kinds, count, strict=True) if some)
            raise DataError(
                f"data.filter leaves no row of kind '{kind}': lower its bounds, or go on without the kind: "
                f"data.filter.kinds=[{others}]."
            )


def _only_used(data: AnyData, kinds: list[str]) -> AnyData:
    """The data without users and items that have no row. kinds: those with a row, in the order of the data."""
    x = data.interactions
    user, users = _used(x.user, data.n_users)
    item, items = _used(x.item, data.n_items)
    tables, start = {}, 0
    for kind in kinds:
        table = data.kinds[kind]
        inside = items[(items >= table.start) & (items < table.stop)] - table.start
        tables[kind] = _rows_of(table, inside, start)
        start += len(inside)
    index = np.array([kinds.index(kind) if kind in kinds else -1 for kind in data.kinds], np.int16)
    rows = replace(x, user=user, item=item, kind=index[x.kind])
    graph = None if data.relations is None else data.relations.with_items(items, data.n_items)
    return replace(data, users=_rows_of(data.users, users, 0), kinds=tables, interactions=rows, relations=graph)


def _used(index: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """(int32[N], the indices from 0 on without a gap; int64[used], the old index of each), of int[N] below ``n``."""
    used = np.flatnonzero(np.bincount(index, minlength=n))
    new = np.full(n, -1, np.int32)
    new[used] = np.arange(len(used))
    return new[index], used


def _rows_of(table: Table, rows: np.ndarray, start: int) -> Table:
    if len(rows) == table.count:
        return replace(table, start=start)
    ids = None if table.ids is None else table.ids[rows]
    return Table(len(rows), start, {name: column.take(rows) for name, column in table.columns.items()}, ids)


def _date(seconds: float) -> str:
    """As a date where it is one between the years 1 and 9999, else as seconds."""
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(sep=" ").removesuffix("+00:00")
    except (ValueError, OverflowError, OSError):
        return f"{seconds:.15g} s"
