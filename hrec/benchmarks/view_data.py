"""Made data of a given size with reviews, item vectors and ratings. Only sizes matter here; there is no taste in it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hrec.datasets.columns import Dense, Tokens
from hrec.datasets.recdata import Interactions, RecData, Table, TrainData

AT_ONCE = 2**20
"""Words that are drawn at once, so that drawing needs little memory."""

HEAD, HEAD_OF_WORDS = 100.0, 5.0
"""What is added to the rank in Zipf's law, for users and items, and for words: the larger, the flatter the head."""


class Shape(NamedTuple):
    """How much there is of everything. words: of each review. numbers: of each item vector."""

    users: int = 22_363
    items: int = 12_101
    reviews: int = 150_000
    words: int = 100
    vocabulary: int = 20_000
    numbers: int = 4_096


BEAUTY = Shape()
"""Users and items of the paper's Beauty, and about as many reviews as its training part has."""


def made(shape: Shape) -> TrainData:
    """Training rows of distinct pairs. Users, items and words are drawn by Zipf's law."""
    rng = np.random.default_rng(0)
    user, item = _pairs(shape, rng)
    offset = np.arange(shape.reviews + 1, dtype=np.int64) * shape.words
    text = Tokens(offset, _words(shape, rng), np.arange(shape.vocabulary).astype(str))
    rating = rng.integers(1, 6, shape.reviews).astype(np.float32)
    kind = np.zeros(shape.reviews, np.int16)
    rows = Interactions(user, item, kind, None, rating, None, {"review": text})
    image = Dense(rng.standard_normal((shape.items, shape.numbers), dtype=np.float32))
    return TrainData.of(RecData(Table(shape.users), {"thing": Table(shape.items, 0, {"image": image})}, rows, "made"))


def _pairs(shape: Shape, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(user, item) int32[reviews], no pair twice."""
    pair = np.empty(0, np.int64)
    while len(pair) < shape.reviews:
        user, item = (_zipf(n, shape.reviews, HEAD, rng) for n in (shape.users, shape.items))
        more = user * shape.items + item
        pair = np.unique(np.concatenate([pair, more]))
    chosen = rng.permutation(pair)[: shape.reviews]
    return (chosen // shape.items).astype(np.int32), (chosen % shape.items).astype(np.int32)


def _words(shape: Shape, rng: np.random.Generator) -> np.ndarray:
    """int32[reviews * words]"""
    word = np.empty(shape.reviews * shape.words, np.int32)
    for first in range(0, len(word), AT_ONCE):
        part = word[first : first + AT_ONCE]
        part[:] = _zipf(shape.vocabulary, len(part), HEAD_OF_WORDS, rng)
    return word


def _zipf(n: int, count: int, head: float, rng: np.random.Generator) -> np.ndarray:
    """int64[count] out of 0 to n - 1, the k-th with a chance in proportion to 1 / (k + head)."""
    share = np.cumsum(1 / (np.arange(n) + head))
    return np.searchsorted(share / share[-1], rng.random(count), side="right").clip(max=n - 1)
