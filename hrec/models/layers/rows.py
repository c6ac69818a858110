"""What the rows of a weight stand for, so that ``model.init_from`` finds them again in a run on other data.

A weight with as many rows as there are users, or items, needs no declaration: its rows are theirs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from torch import nn

from hrec.datasets.columns import FIRST, Categorical, CategoricalList, Column
from hrec.models.layers.entries import Entries

USERS, ITEMS = "user", "item"


@dataclass(frozen=True, eq=False)
class Rows:
    """``size`` successive rows of a weight.

    name: USERS or ITEMS for a row each, in the order of the data, of the items of ``kind`` alone if it is given. Any
    other name for other rows. values: the texts that those from ``first`` on stand for, as in a column of categories;
    None: they go by their place.
    """

    name: str
    size: int
    kind: str | None = None
    values: np.ndarray | None = None
    first: int = FIRST


def declare_rows(weight: nn.Parameter, rows: Iterable[Rows]) -> None:
    """``rows`` are all rows of ``weight``, in order."""
    weight.rows = tuple(rows)  # type: ignore[attr-defined]


def declared_rows(weight: nn.Parameter) -> tuple[Rows, ...]:
    """What ``declare_rows`` was given; empty where nothing was declared."""
    return getattr(weight, "rows", ())


def rows_of_column(name: str, entries: Entries, columns: Mapping[str, Column], prefix: str = "column") -> Rows:
    """The rows of the field of the column ``name``."""
    column = columns.get(name)
    values = column.values if isinstance(column, Categorical | CategoricalList) else None
    return Rows(f"{prefix} {name}", entries.size, values=values)
