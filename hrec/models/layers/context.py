"""What context models read: the fields of a user and of an item, as vectors of one embedding matrix."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Literal

import numpy as np
import torch
from pydantic import Field, NonNegativeInt, PositiveFloat
from torch import Tensor, nn

from hrec.datasets.columns import Categorical, CategoricalList, Column, Dense, Numeric, Sparse, Tokens, joined
from hrec.datasets.recdata import TrainData
from hrec.models.layers import entries
from hrec.models.layers.bags import EmbeddingTable, RaggedRows
from hrec.models.layers.entries import Entries
from hrec.models.layers.own_row import Numbers, OwnRowOut
from hrec.models.layers.rows import Rows, declare_rows, rows_of_column
from hrec.settings import Settings


class ContextSettings(Settings):
    """Settings that models of columns share."""

    embedding_size: NonNegativeInt = 10
    """Width of a field's vector."""
    ids: bool = True
    """The user and the item are themselves a field each."""
    buckets: int | None = Field(None, ge=2)
    """Numbers are cut into so many buckets of nearly equal count; null: a number, standardised, multiplies a vector."""
    clip: PositiveFloat = 4.0
    """Standardised numbers are cut off at so many deviations."""
    vectors: Literal["linear", "drop"] = "linear"
    """Columns of vectors: linear: a matrix maps a dense one to the field's vector, a sparse one is the mean of its
    entries' vectors weighted by their values; drop: they are left out."""
    refuse_columns: bool = False
    """Stop at a column that the model cannot use, instead of leaving it out with a line in the log."""
    init_std: PositiveFloat = 0.01
    """Standard deviation of the first weights."""


class PairFields(nn.Module):
    """user, item int64[B] -> a vector of each field [B, F, d] and the sum of their weights of first order [B].

    One matrix serves the fields of both sides, offset by field; its last column is the weight of first order. With
    ``first_order`` False it has none, and ``of`` gives the vectors. A list is the mean of its entries; every field has
    its own rows for missing and unknown values. A column of dense vectors is a VectorField, after the other fields of
    its side. Of several kinds of item the columns that all kinds share are fields; of one kind, all of its columns.
    ``remarks`` says which.
    """

    def __init__(self, data: TrainData, settings: ContextSettings, first_order: bool = True) -> None:
        super().__init__()
        shared, left_out = _shared(data)
        columns = {"user": dict(data.users.columns), "item": shared}
        every = [pair for side in columns.values() for pair in side.items()]
        if settings.vectors == "drop":
            left_out |= {name: "holds vectors" for name, column in every if isinstance(column, Dense | Sparse)}
            columns = {side: _without_vectors(of_side) for side, of_side in columns.items()}
        if settings.refuse_columns:
            _refuse(left_out)
        count = {"user": data.n_users, "item": data.n_items}
        fields_of = {side: partial(_fields, side, count=count[side], settings=settings) for side in columns}
        sides = {side: fields_of[side](columns[side]) for side in columns}
        dense = {side: {n: c for n, c in columns[side].items() if isinstance(c, Dense)} for side in columns}
        self.names = {side: [*(name for name, _ in sides[side]), *dense[side]] for side in sides}
        _require_fields(self.names)
        self.remarks = [f"fields of {side}s: {', '.join(names)}" for side, names in self.names.items()]
        self.remarks += [f"left out: {reason}" for reason in _by_reason(left_out)]
        self.width = settings.embedding_size
        user_rows, item_rows = (sum(field.size for _, field in fields) for fields in sides.values())
        first = {"user": 0, "item": user_rows}
        self.users, self.items = (
            OwnRowOut(partial(_rows, fields_of[side], first[side]), columns[side]) for side in columns
        )
        self.id_rows = first if settings.ids else {}
        """Row of the matrix where the users themselves begin, and where the items do."""
        self.table = EmbeddingTable(user_rows + item_rows, self.width + first_order, settings.init_std)
        of_sides = [_declared(side, sides[side], columns[side], settings.ids) for side in sides]
        declare_rows(self.table.weight, chain.from_iterable(of_sides))
        self.in_table = {side: len(fields) for side, fields in sides.items()}
        """The fields of each side that are rows of the matrix; those of dense vectors come after them."""
        width = self.table.weight.shape[1]
        self.vectors = nn.ModuleDict(
            {
                side: nn.ModuleList(VectorField(c, width, settings) for c in some.values())
                for side, some in dense.items()
            }
        )

    @property
    def count(self) -> int:
        """F, the fields of both sides."""
        return len(self.names["user"]) + len(self.names["item"])

    def forward(self, user: Tensor, item: Tensor) -> tuple[Tensor, Tensor]:
        both = self._look_up({"user": user, "item": item})
        return both[:, :, :-1], both[:, :, -1].sum(1)

    def of(self, side: str, index: Tensor) -> Tensor:
        """The vectors of the fields of one side, 'user' or 'item', int64[B] -> [B, F_side, d]."""
        return self._look_up({side: index})[:, :, : self.width]

    def _look_up(self, indices: Mapping[str, Tensor]) -> Tensor:
        """[B, F, d + 1] (d without first order), the sides given one behind the other; the matrix is read once."""
        parts, shapes, start = [], [], 0
        for side, index in indices.items():
            rows, fields = (self.users if side == "user" else self.items), self.in_table[side]
            cells = rows((index[:, None] * fields + torch.arange(fields, device=index.device)).flatten())
            parts.append((cells.column, cells.start + start, cells.value))
            shapes.append((len(index), fields))
            start += len(cells.column)
        column, offset, value = (torch.cat(list(part)) for part in zip(*parts, strict=True))
        found = self.table.bags(column, offset, value).split([n * fields for n, fields in shapes])
        out = []
        for (side, index), of_side, shape in zip(indices.items(), found, shapes, strict=True):
            out.append(of_side.view(*shape, self.table.weight.shape[1]))
            out += [field(index)[:, None] for field in self.vectors[side]]  # type: ignore[attr-defined]
        return torch.cat(out, 1)


def _refuse(left_out: Mapping[str, str]) -> None:
    """Raises ValueError where a column is left out."""
    if left_out:
        reasons = "; ".join(_by_reason(left_out))
        raise ValueError(
            f"{reasons}. The model cannot use such columns: take them out of data.feat (data.feat.NAME=null), or set "
            "model.refuse_columns to false"
        )


def _require_fields(names: Mapping[str, Sequence[str]]) -> None:
    """Raises ValueError where a side has no field."""
    for side, of_side in names.items():
        if not of_side:
            raise ValueError(
                f"model.ids is false, and there is no column of the {side}s to read: name some in data.feat, or set it "
                "to true"
            )


class VectorField(nn.Module):
    """Rows of a column of dense vectors, int64[B] -> float[B, width]: W x, or a trained vector where x is missing.

    x is standardised over the known rows and cut off, as numbers are. W begins so that W x has the deviation of the
    other fields' vectors, ``settings.init_std``.
    """

    def __init__(self, column: Dense, width: int, settings: ContextSettings) -> None:
        super().__init__()
        self.rows = OwnRowOut(partial(_standardised, clip=settings.clip), {"": column})
        size = column.value.shape[1]
        self.map = nn.Linear(size, width, bias=False)
        nn.init.normal_(self.map.weight, std=settings.init_std / size**0.5)
        self.missing = nn.Parameter(torch.empty(width).normal_(std=settings.init_std))

    def forward(self, row: Tensor) -> Tensor:
        x = self.rows(row)
        missing = x[:, -1:]
        return self.map(x[:, :-1]) + missing * self.missing


def _standardised(columns: Mapping[str, Column], clip: float) -> Numbers:
    """Rows of the one column, [n, d + 1]: the numbers, all 0 where one is missing, and 1 or 0, whether one is."""
    (column,) = columns.values()
    assert isinstance(column, Dense)
    scaled, known = entries.standardised(column.value, clip, column.reference)
    there = known.all(1, keepdims=True)
    return Numbers(torch.from_numpy(np.concatenate([scaled * there, ~there], 1).astype(np.float32)))


def _without_vectors(columns: Mapping[str, Column]) -> dict[str, Column]:
    return {name: column for name, column in columns.items() if not isinstance(column, Dense | Sparse)}


def _by_reason(left_out: Mapping[str, str]) -> list[str]:
    """A line for each reason, with the columns that it holds for."""
    names: dict[str, list[str]] = {}
    for name, why in left_out.items():
        names.setdefault(why, []).append(f"'{name}'")
    return [
        f"column {n[0]} {why}" if len(n) == 1 else f"columns {', '.join(n)}: each {why}" for why, n in names.items()
    ]


def _shared(data: TrainData) -> tuple[dict[str, Column], dict[str, str]]:
    """The columns that all kinds of item have, joined over the kinds; the others with the reason."""
    tables = list(data.kinds.values())
    shared: dict[str, Column] = {}
    left_out: dict[str, str] = {}
    for name in dict.fromkeys(name for table in tables for name in table.columns):
        having = [kind for kind, table in data.kinds.items() if name in table.columns]
        if len(having) < len(tables):
            left_out[name] = f"is one of {_listed(having)} alone"
            continue
        try:
            shared[name] = joined([table.columns[name] for table in tables])
        except ValueError as error:
            left_out[name] = str(error)
    return shared, left_out


def _fields(
    side: str, columns: Mapping[str, Column], count: int, settings: ContextSettings
) -> list[tuple[str, Entries]]:
    """The fields of one side that are rows of the matrix, with their names, the side's own id first.

    A list, as a column may have any name: one called 'user' does not replace the id of the user.
    """
    fields = [(f"{side} id", entries.of_codes(np.arange(count), count))] if settings.ids else []
    for name, column in columns.items():
        if isinstance(column, Numeric) and settings.buckets:
            fields.append((name, entries.of_buckets(column, settings.buckets)))
        elif isinstance(column, Numeric):
            fields.append((name, entries.of_numbers(column, settings.clip)))
        elif isinstance(column, Sparse):
            fields.append((name, entries.of_sparse(column)))
        elif isinstance(column, Tokens):
            fields.append((name, entries.of_tokens(column)))
        elif isinstance(column, Categorical | CategoricalList):
            fields.append((name, entries.of_categories(column)))
    return fields


def _declared(side: str, fields: Sequence[tuple[str, Entries]], columns: Mapping[str, Column], ids: bool) -> list[Rows]:
    """What the rows of the fields of one side are; the first field is the id, if ``ids``."""
    own = [Rows(side, field.size) for _, field in fields[:ids]]
    return own + [rows_of_column(name, field, columns, f"{side} column") for name, field in fields[ids:]]


def _rows(
    fields_of: Callable[[Mapping[str, Column]], list[tuple[str, Entries]]], first: int, columns: Mapping[str, Column]
) -> RaggedRows:
    """The fields of all rows of one side; its part of the matrix begins at row ``first``."""
    fields = [field for _, field in fields_of(columns)]
    return RaggedRows(*entries.side_by_side(fields, first)) if fields else RaggedRows([0], [], [])


def _listed(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
