"""``model.init_from``: a model starts from the weights of a finished run, rows of users and items matched by raw id."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn

from hrec.config import ConfigError, did_you_mean
from hrec.datasets import encoding
from hrec.datasets.recdata import RecData, Table
from hrec.models.base import BaseModel
from hrec.models.layers.kinds import ByKind
from hrec.models.layers.rows import ITEMS, USERS, Rows, declared_rows
from hrec.pipeline.finished import load_finished
from hrec.settings import InitFrom

SHOWN = 8
"""Weights that a line names."""


class NoMatch(ValueError):
    """Why a weight cannot start from another one."""


@dataclass(frozen=True)
class Side:
    """A weight and the data of its model."""

    weight: Tensor
    data: RecData


@dataclass(frozen=True)
class Places:
    """Rows int64[n] of one weight, and those of another that they start from."""

    ours: np.ndarray
    theirs: np.ndarray

    @property
    def same(self) -> bool:
        return np.array_equal(self.ours, self.theirs)


def start_from(
    sources: Sequence[InitFrom], model: BaseModel, data: RecData, log: Callable[[str], None] = lambda line: None
) -> None:
    """Copy what matches of each run into ``model``, built from ``data``; say what matched and what did not.

    Raises ConfigError where a run is not finished, nothing of it matches, or a named pair does not match; and as
    ``load_finished``.
    """
    for source in sources:
        with torch.random.fork_rng(devices=[]):  # building a model seeds torch
            run = load_finished(Path(source.run).expanduser(), torch.device("cpu"))
        own, theirs = _weights(model), _weights(run.model)
        pairs = _named_pairs(source, own, theirs) if source.weights else {name: name for name in own}
        taken, left = [], []
        for name, other in pairs.items():
            try:
                if other not in theirs:
                    raise NoMatch("is not in the run")
                how = _copy(Side(own[name], data), Side(theirs[other], run.parts.train))
                taken.append(name + ("" if name == other else f" from {other}") + how)
            except NoMatch as reason:
                left.append(f"{name} {reason}")
        _report(source, taken, left, log)


def _report(source: InitFrom, taken: list[str], left: list[str], log: Callable[[str], None]) -> None:
    if left and source.weights:
        raise ConfigError(f"model.init_from.weights: {_listed(left)}. Correct or leave out the pair ({source.run})")
    if not taken:
        raise ConfigError(
            f"model.init_from: no weight of {source.run} matches one of this model: {_listed(left)}. Name another run, "
            'or pairs of weights of the same shape: {"run": ..., "weights": {"ours": "theirs"}}'
        )
    log(f"starts from {source.run}: {', '.join(taken)}")
    if left:
        log(f"not from {source.run}: {'; '.join(left)}")


def _listed(reasons: list[str]) -> str:
    return "; ".join(reasons[:SHOWN]) + (f"; {len(reasons) - SHOWN} more" if len(reasons) > SHOWN else "")


def _weights(model: nn.Module) -> dict[str, nn.Parameter]:
    """Weights by name; those of a ByKind by the name of the kind, ``maps.book.weight``, whatever its place."""
    by_kind = [(path, part) for path, part in model.named_modules() if isinstance(part, ByKind)]
    prefixes = [
        (f"{path}.parts.{place}.", f"{path}.{kind}.")
        for path, part in sorted(by_kind, key=lambda found: -len(found[0]))
        for kind, place in part.index.items()
    ]
    out = {}
    for path, weight in model.named_parameters():
        name = path
        for placed, named in prefixes:
            name = named + name.removeprefix(placed) if name.startswith(placed) else name
        out[name] = weight
    return out


def _named_pairs(source: InitFrom, own: dict[str, nn.Parameter], theirs: dict[str, nn.Parameter]) -> dict[str, str]:
    """Name of a weight here -> its name there. Raises ConfigError for a name that is no weight or module."""
    out: dict[str, str] = {}
    for ours, other in source.weights.items():
        for given, known, where in ((ours, own, "this model"), (other, theirs, source.run)):
            if not _within(given, known):
                raise ConfigError(
                    f"model.init_from.weights: '{given}' is no weight or module of {where}."
                    f"{did_you_mean(given, known)} Weights: {', '.join(known)}"
                )
        out |= {name: other + name.removeprefix(ours) for name in _within(ours, own)}
    return out


def _within(name: str, weights: dict[str, nn.Parameter]) -> list[str]:
    return [known for known in weights if known == name or known.startswith(f"{name}.")]


@torch.no_grad()
def _copy(ours: Side, theirs: Side) -> str:
    """Copy the rows that match; '' or how many they are. Raises NoMatch where none does."""
    if ours.weight.shape[1:] != theirs.weight.shape[1:] or ours.weight.dim() != theirs.weight.dim():
        raise NoMatch(_shapes(ours, theirs))
    places = _places(ours, theirs)
    if places is None and ours.weight.shape != theirs.weight.shape:
        raise NoMatch(_shapes(ours, theirs))
    _refuse_other_columns(ours, theirs)
    if places is None:
        ours.weight.copy_(theirs.weight)
        return ""
    if not len(places.ours):
        raise NoMatch("has rows of other users or items alone")
    ours.weight[torch.from_numpy(places.ours)] = theirs.weight[torch.from_numpy(places.theirs)].to(ours.weight)
    return f" ({len(places.ours):,} of {len(ours.weight):,} rows)"


def _shapes(ours: Side, theirs: Side) -> str:
    return f"is {list(ours.weight.shape)} here and {list(theirs.weight.shape)} there"


def _refuse_other_columns(ours: Side, theirs: Side) -> None:
    """Raises NoMatch where the columns of a weight are of users or items, and the data has others: rows alone are
    matched."""
    for name, count in ((USERS, ours.data.n_users), (ITEMS, ours.data.n_items)):
        if count in ours.weight.shape[1:] and not np.array_equal(_ids(name, ours.data), _ids(name, theirs.data)):
            raise NoMatch(f"has a column for each {name}, and those of the run are others")


def _places(ours: Side, theirs: Side) -> Places | None:
    """The rows that match; None where rows go by their place. Raises NoMatch where that cannot be known."""
    found = [
        _aligned(own, other, ours.data, theirs.data)
        for own in _what_rows_are(ours)
        for other in _what_rows_are(theirs)
        if {(rows.name, rows.kind) for rows in own} & {(rows.name, rows.kind) for rows in other}
    ]
    if len(found) > 1 and not all(places.same for places in found):
        raise NoMatch("has as many rows as there are users and as there are items (declare_rows says which)")
    return found[0] if found else None


def _what_rows_are(side: Side) -> list[Sequence[Rows]]:
    """What the rows of a weight may be: what was declared, or a row for each user or item if there are as many."""
    if declared := declared_rows(side.weight):  # type: ignore[arg-type]
        return [declared]
    if not side.weight.dim():
        return []
    counts = {USERS: side.data.n_users, ITEMS: side.data.n_items}
    return [[Rows(name, count)] for name, count in counts.items() if len(side.weight) == count]


def _aligned(own: Sequence[Rows], other: Sequence[Rows], our_data: RecData, their_data: RecData) -> Places:
    """The rows of each block that both have."""
    starts = np.cumsum([0, *(rows.size for rows in other)])
    there = {(rows.name, rows.kind): (int(start), rows) for start, rows in zip(starts, other, strict=False)}
    ours, theirs, start = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], 0
    for rows in own:
        if found := there.get((rows.name, rows.kind)):
            row, place = _matches(rows, found[1], our_data, their_data)
            ours.append(start + row)
            theirs.append(found[0] + place)
        start += rows.size
    return Places(np.concatenate(ours), np.concatenate(theirs))


def _matches(own: Rows, other: Rows, our_data: RecData, their_data: RecData) -> tuple[np.ndarray, np.ndarray]:
    """(rows of ``own``, the rows of ``other`` that stand for the same), int64 both."""
    keys, others = _keys(own, our_data), _keys(other, their_data)
    if keys is None or others is None:
        row = np.arange(own.size if own.size == other.size else 0)
        return row, row
    place = encoding.positions(pa.array(keys, pa.string()), pa.array(others, pa.string())).astype(np.int64)
    row = np.flatnonzero(place >= 0)
    return row, place[row]


def _keys(rows: Rows, data: RecData) -> np.ndarray | None:
    """What identifies each row, as text[n]; None where its place does."""
    if rows.name in (USERS, ITEMS):
        return _ids(rows.name, data, rows.kind)
    if rows.values is None:
        return None
    special = np.array([f"\0{code}" for code in range(rows.first)], object)  # missing and unknown; no value begins so
    return np.concatenate([special, rows.values])


def _ids(name: str, data: RecData, kind: str | None = None) -> np.ndarray:
    """The raw ids of users, or of items with their kind, text[n]; where the data has none, the indices."""
    if name == USERS:
        return _of_table(data.users)
    tables = data.kinds if kind is None else {kind: data.kinds[kind]}
    return np.concatenate([_of_table(table, f"{one}\0") for one, table in tables.items()])


def _of_table(table: Table, prefix: str = "") -> np.ndarray:
    ids = np.arange(table.count).astype(str).astype(object) if table.ids is None else table.ids
    return prefix + ids.astype(object)
