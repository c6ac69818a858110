"""Made data for the tests of models: small, with columns of every type, and with a pattern that is easy to find."""

from __future__ import annotations

import os
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is read, and for the processes that tests start

import numpy as np
import pytest
import torch

from hrec.datasets.columns import FIRST, MISSING, UNKNOWN, Categorical, CategoricalList, Column, Dense, Numeric, Tokens
from hrec.datasets.recdata import Interactions, RecData, Split, Table, TrainData

torch.set_num_threads(1)  # these models are too small for two

USERS = 31
ITEMS = {"book": 23, "music": 19, "film": 11}  # these counts and their sum are the size of nothing else
NEW = 2  # the last items of each kind have no row, nor has the last user


def make_checkerboard(seed: int = 0, agreed: bool = False) -> Split:
    """A user likes the items of the user's own group, of two, and a column of each kind tells the group. Reviews have
    words of both groups.

    ``agreed``: all users are of one group, so that an item is a positive of all or of none.

    Of each user one positive and one negative row are test, and as many are valid. The rows come in random order.
    """
    rng = np.random.default_rng(seed)
    user_group = _groups(rng, USERS) * (not agreed)
    groups = {kind: _groups(rng, n) for kind, n in ITEMS.items()}
    kinds, start = {}, 0
    for kind, group in groups.items():
        kinds[kind] = Table(len(group), start, COLUMNS[kind](rng, group))
        start += len(group)
    new = np.concatenate([np.arange(t.stop - NEW, t.stop) for t in kinds.values()])
    user, item = np.nonzero(rng.random((USERS, start)) < 0.6)
    known = (user < USERS - 1) & ~np.isin(item, new)
    order = rng.permutation(np.flatnonzero(known))
    user, item = user[order].astype(np.int32), item[order].astype(np.int32)
    kind = np.searchsorted([t.start for t in kinds.values()], item, side="right").astype(np.int16) - np.int16(1)
    item_group = np.concatenate(list(groups.values()))
    label = (user_group[user] == item_group[item]).astype(np.float32)
    columns = {"review": _reviews(np.random.default_rng([seed, 1]), user_group[user], item_group[item])}
    rows = Interactions(user, item, kind, label, 2 + 2 * label, np.arange(len(user), dtype=np.float64), columns)
    data = RecData(Table(USERS, 0, _user_columns(rng, user_group)), kinds, rows, "checkerboard")
    place = _place_in_group(user * 2 + label.astype(int))
    parts = [data.with_interactions(rows.take(mask)) for mask in (place > 1, place == 1, place == 0)]
    return Split(TrainData.of(parts[0]), *parts[1:])


@pytest.fixture(scope="session")
def make_board() -> Callable[..., Split]:
    return make_checkerboard


@pytest.fixture(scope="session")
def board() -> Split:
    return make_checkerboard()


def _groups(rng: np.random.Generator, n: int) -> np.ndarray:
    """0 or 1 for each of n, nearly as many of both."""
    return rng.permutation(n) % 2


def _place_in_group(group: np.ndarray) -> np.ndarray:
    """How many rows before this one have the same number."""
    place, count = np.empty(len(group), int), dict.fromkeys(group.tolist(), 0)
    for row, g in enumerate(group.tolist()):
        place[row] = count[g]
        count[g] += 1
    return place


def _told(rng: np.random.Generator, group: np.ndarray, name: str) -> Categorical:
    """Two categories of each group; MISSING and UNKNOWN here and there, but not for new items."""
    code = FIRST + 2 * group + rng.integers(0, 2, len(group))
    code[:4] = [MISSING, UNKNOWN, MISSING, UNKNOWN]
    code[-2:] = [FIRST, FIRST + 3]
    return Categorical(code.astype(np.int32), np.array([f"{name}{i}" for i in range(4)]))


def _lists(rng: np.random.Generator, group: np.ndarray) -> CategoricalList:
    """None to three of five categories; the first two are one group's, the last two the other's."""
    length = rng.integers(0, 4, len(group))
    length[-2:] = [1, 3]
    offset = np.concatenate([[0], np.cumsum(length)])
    code = FIRST + 3 * np.repeat(group, length) + rng.integers(0, 2, offset[-1])
    return CategoricalList(offset, code.astype(np.int32), np.array(["a", "b", "c", "d", "e"]))


def _number(rng: np.random.Generator, group: np.ndarray) -> Numeric:
    """100 and something, larger in one group; NaN here and there."""
    value = rng.normal(100 + 10 * group, 5).astype(np.float32)
    value[1:-2:4] = np.nan
    return Numeric(value)


def _vector(rng: np.random.Generator, group: np.ndarray) -> Dense:
    return Dense((group[:, None] + rng.normal(size=(len(group), 3))).astype(np.float32))


def _reviews(rng: np.random.Generator, user_group: np.ndarray, item_group: np.ndarray) -> Tokens:
    """None to five words each: two of three words are of the user's group or of the item's, the others are of none."""
    length = rng.integers(0, 6, len(user_group))
    row = np.repeat(np.arange(len(length)), length)
    of_user, of_item, of_none = 2 * user_group[row], 4 + 2 * item_group[row], np.full(len(row), 8)
    source = rng.integers(0, 3, len(row))
    word = np.choose(source, [of_user, of_item, of_none]) + rng.integers(0, 2, len(row))
    vocabulary = np.array(["my0", "mine0", "my1", "mine1", "it0", "its0", "it1", "its1", "the", "a"])
    return Tokens(np.concatenate([[0], np.cumsum(length)]), word.astype(np.int32), vocabulary)


def _user_columns(rng: np.random.Generator, group: np.ndarray) -> dict[str, Column]:
    return {"city": _told(rng, group, "city"), "age": _number(rng, group)}


COLUMNS: dict[str, Callable[[np.random.Generator, np.ndarray], dict[str, Column]]] = {
    "book": lambda rng, g: {"author": _told(rng, g, "author"), "genres": _lists(rng, g), "pages": _number(rng, g)},
    "music": lambda rng, g: {"style": _told(rng, g, "style"), "year": _number(rng, g)},
    "film": lambda rng, g: {"directors": _lists(rng, g), "poster": _vector(rng, g)},
}
