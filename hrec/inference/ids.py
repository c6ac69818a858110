"""Raw ids and their indices."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hrec.datasets import encoding
from hrec.datasets.problems import DataError, plural
from hrec.datasets.recdata import RecData, Table

SHOWN = 3
"""Unknown ids that a message names, and near ids that it names for each."""
COMPARED = 50_000
"""Ids that an unknown one is compared with: each takes about 10 microseconds."""


def ids_of(table: Table) -> np.ndarray:
    """The raw ids as text[count]; without ids in the data, the indices."""
    return np.arange(table.start, table.stop).astype(str) if table.ids is None else table.ids


def item_ids(data: RecData) -> np.ndarray:
    """Raw ids of the items of all kinds, text[n_items]."""
    return np.concatenate([ids_of(table) for table in data.kinds.values()])


def item_kinds(data: RecData) -> np.ndarray:
    """The kind of each item, text[n_items]."""
    return np.repeat(np.array(list(data.kinds), object), [table.count for table in data.kinds.values()])


def user_indices(data: RecData, ids: Sequence[str]) -> np.ndarray:
    """int64[n]: the users with these raw ids. Raises DataError with the nearest ids for unknown ones."""
    known, text = ids_of(data.users), encoding.as_names(pa.array(ids, pa.string()))
    index = encoding.positions(text, pa.array(known, pa.string()))
    if (index < 0).any():
        unknown = [one for one, place in zip(ids, index, strict=True) if place < 0]
        which = "the user is" if len(ids) == 1 else f"{len(unknown):,} of {plural(len(ids), 'user')} are"
        raise DataError(
            f"'{data.name}': {which} not in the data: {describe_unknown(unknown, known)}. "
            "Correct the id, or, of a model that answers for new users, give the user's history with --history."
        )
    return index.astype(np.int64)


def describe_unknown(unknown: Sequence[str], known: np.ndarray) -> str:
    """The first few unknown ids, each with the nearest known ones, for a message."""
    distinct = list(dict.fromkeys(unknown))
    shown = [f"'{one}'{_nearest(one, known)}" for one in distinct[:SHOWN]]
    more = len(distinct) - len(shown)
    return ", ".join(shown) + (f" and {more:,} more" if more else "")


def _nearest(one: str, known: np.ndarray) -> str:
    """' (nearest: ...)', or nothing without a near one."""
    if len(known) > COMPARED:  # of a long list only ids with the same start and about the same length
        text = pa.array(known, pa.string())
        length = pc.utf8_length(text)
        near = pc.and_(pc.greater_equal(length, len(one) - 1), pc.less_equal(length, len(one) + 1))
        known = known[pc.and_(near, pc.starts_with(text, one[:2])).to_numpy(zero_copy_only=False)][:COMPARED]
    close = difflib.get_close_matches(one, known.tolist(), SHOWN)
    return f" (nearest: {', '.join(close)})" if close else ""
