"""The one structure that flows: users, kinds of item, interactions, and the columns of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self, TypeVar

import numpy as np

from hrec.datasets.columns import Column
from hrec.datasets.relations import Relations

AnyData = TypeVar("AnyData", bound="RecData")


@dataclass(frozen=True, eq=False)
class Table:
    """The users, or the items of one kind: how many, where their numbers start, what is known of them.

    Row r of every column describes index ``start + r``. ``ids`` holds the raw ids as text (Python strings), in
    the same order.
    """

    count: int
    start: int = 0
    columns: Mapping[str, Column] = field(default_factory=dict)
    ids: np.ndarray | None = None

    @property
    def stop(self) -> int:
        return self.start + self.count


@dataclass(frozen=True, eq=False)
class Interactions:
    """Rows of (user, item, kind), arrays of one length N.

    user, item: int32, positions; items are numbered over all kinds. kind: int16, position in ``RecData.kinds``.
    label: float32 1 or 0; rating: float32; time: float64 seconds; each None where the data has none.
    columns: what belongs to the interaction itself (a review, a timestamp as a feature).
    """

    user: np.ndarray
    item: np.ndarray
    kind: np.ndarray
    label: np.ndarray | None = None
    rating: np.ndarray | None = None
    time: np.ndarray | None = None
    columns: Mapping[str, Column] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.user)

    def take(self, rows: np.ndarray) -> Interactions:
        """The rows at these positions (or where a boolean mask is true), in the order given."""
        if rows.dtype == bool:
            rows = np.flatnonzero(rows)

        def pick(array: np.ndarray | None) -> np.ndarray | None:
            return None if array is None else array[rows]

        return Interactions(
            self.user[rows],
            self.item[rows],
            self.kind[rows],
            pick(self.label),
            pick(self.rating),
            pick(self.time),
            {name: column.take(rows) for name, column in self.columns.items()},
        )


def joined_rows(parts: Sequence[Interactions]) -> Interactions:
    """Rows of several parts, one part after another, without columns; what one part lacks is left out of all."""

    def join(name: str) -> np.ndarray | None:
        arrays = [getattr(part, name) for part in parts]
        return None if any(array is None for array in arrays) else np.concatenate(arrays)

    return Interactions(*(join(name) for name in ("user", "item", "kind", "label", "rating", "time")))  # type: ignore[arg-type]


@dataclass(frozen=True, eq=False)
class RecData:
    """One data set. Frozen; views are new objects that share the arrays.

    kinds: name -> items of that kind; each kind owns a range of item indices, in the order of this dict.
    relations: a knowledge graph of the items, None if there is none.
    """

    users: Table
    kinds: Mapping[str, Table]
    interactions: Interactions
    name: str = "data"
    relations: Relations | None = field(default=None, kw_only=True)

    @property
    def n_users(self) -> int:
        return self.users.count

    @property
    def n_items(self) -> int:
        return sum(table.count for table in self.kinds.values())

    def has_rows(self) -> np.ndarray:
        """bool[n_items]: whether any row is of the item."""
        return np.bincount(self.interactions.item, minlength=self.n_items) > 0

    def with_interactions(self, interactions: Interactions) -> Self:
        return replace(self, interactions=interactions)

    def only(self, kind: str) -> Self:
        """The same users and items, with the interactions of one kind."""
        index = list(self.kinds).index(kind)
        return self.with_interactions(self.interactions.take(self.interactions.kind == index))


@dataclass(frozen=True)
class Feedback:
    """What interactions stand for.

    cells: what a history cell holds, one of ``hrec.datasets.histories.CELLS``.
    negatives: 0 where labels are explicit; else how many items without a row are drawn for each row, with probability
    proportional to (rows of the item) ** ``popularity``.
    """

    cells: str = "sign"
    negatives: int = 0
    popularity: float = 0.0


EXPLICIT = Feedback()


@dataclass(frozen=True, eq=False)
class TrainData(RecData):
    """The training split, all that a model sees of the data, and how its rows are to be read.

    negatives_from_train_only: True when the split holds out items: training negatives then come only from items with
    training rows.
    """

    feedback: Feedback = EXPLICIT
    negatives_from_train_only: bool = False

    @staticmethod
    def of(data: RecData, feedback: Feedback = EXPLICIT, negatives_from_train_only: bool = False) -> TrainData:
        """The rows of ``data`` as training rows."""
        known = (data.users, data.kinds, data.interactions, data.name)
        return TrainData(*known, feedback, negatives_from_train_only, relations=data.relations)


def keep_kinds(data: AnyData, kinds: Sequence[str]) -> AnyData:
    """The data cut down to these kinds, in this order: their items indexed from 0, their interactions alone.

    In the knowledge graph the items of other kinds become entities that are no items.
    """
    old = list(data.kinds)
    tables, start = {}, 0
    for kind in kinds:
        tables[kind] = replace(data.kinds[kind], start=start)
        start += tables[kind].count
    index = np.array([kinds.index(kind) if kind in kinds else -1 for kind in old], np.int16)
    shift = np.array([tables[k].start - data.kinds[k].start if k in tables else 0 for k in old], np.int32)
    rows = data.interactions.take(index[data.interactions.kind] >= 0)
    rows = replace(rows, item=rows.item + shift[rows.kind], kind=index[rows.kind])
    relations = data.relations
    if relations is not None:
        items = np.concatenate([np.arange(data.kinds[kind].start, data.kinds[kind].stop) for kind in kinds])
        relations = relations.with_items(items, data.n_items)
    return replace(data, kinds=tables, interactions=rows, relations=relations)


@dataclass(frozen=True, eq=False)
class Split:
    """Three parts of one data set; users, items and columns are shared."""

    train: TrainData
    valid: RecData
    test: RecData
