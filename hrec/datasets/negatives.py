"""Unseen items for implicit data, where every row is a positive: drawn at random, never a pair that is in the data.

A pair is one whole number, ``user * n_items + item``. Sorted, these keys answer "has this user seen this item?" for
a million pairs at once by binary search, whatever the number of items.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from hrec.datasets.recdata import RecData

TRIES = 100  # a user who has seen 90% of a kind goes without in 3 of 100,000 draws


def pair_keys(data: RecData) -> np.ndarray:
    """int64[N], sorted: the key of each row of ``data.interactions``."""
    rows = data.interactions
    return np.sort(rows.user.astype(np.int64) * data.n_items + rows.item)


def popularity_weights(data: RecData) -> np.ndarray | None:
    """float64[n_items]: (rows of the item in ``data``) ** data.popularity; None (uniform) for an exponent of 0.

    An item without a row counts as having one, so that every item can be drawn.
    """
    if data.popularity == 0:
        return None
    return np.maximum(np.bincount(data.interactions.item, minlength=data.n_items), 1.0) ** data.popularity


def draw_unseen(
    user: np.ndarray,
    kind: np.ndarray,
    data: RecData,
    seen_keys: np.ndarray,
    rng: np.random.Generator,
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """For each row an item of its kind that its user has not seen; with replacement from one row to the next.

    user, kind: integers [n]. seen_keys: from ``pair_keys``. weights: float[n_items], the chance of an item is
    proportional to its weight within its kind; None is uniform. Returns int32[n], with -1 where ``TRIES`` draws
    gave only seen items: the user has seen nearly all of the kind. Raises ValueError where a kind has no item to draw.
    """
    draw = _drawer(data, rng, weights, np.unique(kind))
    item = np.full(len(user), -1, np.int32)
    todo = np.arange(len(user))
    for _ in range(TRIES):
        if len(todo) == 0:
            break
        drawn = draw(kind[todo])
        seen = _contains(seen_keys, user[todo].astype(np.int64) * data.n_items + drawn)
        item[todo[~seen]] = drawn[~seen]
        todo = todo[seen]
    return item


def with_negatives(
    part: RecData, seen_keys: np.ndarray, rng: np.random.Generator, weights: np.ndarray | None = None
) -> tuple[RecData, int]:
    """``part`` with label 1 on its rows, and after them ``part.negatives`` drawn rows for each, with label 0.

    A drawn row has the user, kind, time and columns of the row it was drawn for (the same moment, another item) and
    no rating (NaN). Labels are explicit from here on, so the result has ``negatives`` 0. Also returns how many rows
    are missing because no unseen item was found.
    """
    rows = part.interactions
    source = np.repeat(np.arange(len(rows)), part.negatives)
    item = draw_unseen(rows.user[source], rows.kind[source], part, seen_keys, rng, weights)
    found = item >= 0
    n, source = len(rows), source[found]
    both = rows.take(np.concatenate([np.arange(n), source]))
    both = replace(
        both,
        item=np.concatenate([rows.item, item[found]]),
        label=np.repeat(np.array([1, 0], np.float32), [n, len(source)]),
        rating=None if rows.rating is None else np.append(rows.rating, np.full(len(source), np.nan, np.float32)),
    )
    return replace(part, interactions=both, negatives=0), int(np.sum(~found))


def _drawer(
    data: RecData, rng: np.random.Generator, weights: np.ndarray | None, kinds: np.ndarray
) -> Callable[[np.ndarray], np.ndarray]:
    """A function of kind[n] that gives item[n]: uniform, or by the inverse of the cumulated weights."""
    start = np.array([table.start for table in data.kinds.values()])
    stop = np.array([table.stop for table in data.kinds.values()])
    edge = np.arange(data.n_items + 1) if weights is None else np.concatenate([[0.0], np.cumsum(weights)])
    for k in kinds:
        if edge[stop[k]] <= edge[start[k]]:
            raise ValueError(f"no item of kind '{list(data.kinds)[k]}' can be drawn: it has none, or all weigh 0")

    def uniform(kind: np.ndarray) -> np.ndarray:
        return rng.integers(start[kind], stop[kind])

    def weighted(kind: np.ndarray) -> np.ndarray:
        low, high = edge[start[kind]], edge[stop[kind]]
        point = low + rng.random(len(kind)) * (high - low)
        item = np.searchsorted(edge, point, side="right") - 1
        return np.minimum(item, stop[kind] - 1)  # where point was rounded up to high

    return uniform if weights is None else weighted


def _contains(keys: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """bool: which of ``wanted`` are in the sorted ``keys``."""
    if len(keys) == 0:
        return np.zeros(len(wanted), bool)
    return keys.take(np.searchsorted(keys, wanted), mode="clip") == wanted
