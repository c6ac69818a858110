"""The columns of planted data: categories, lists and numbers that are noisy views of what is hidden."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from hrec.datasets.columns import FIRST, MISSING, Categorical, CategoricalList, Column, Numeric

CATEGORY_TAIL = 1.0
"""Sigma of the lognormal popularity of categories."""


def names(prefix: str, numbers: int | np.ndarray) -> np.ndarray:
    """The prefix with each number behind it; an int stands for all numbers below it."""
    numbers = np.arange(numbers) if isinstance(numbers, int) else numbers
    return np.char.add(prefix, numbers.astype(str))


@dataclass(frozen=True, eq=False)
class Views:
    """Draws columns of n rows that are noisy views of hidden vectors, float64[n, topics]."""

    rng: Generator
    hidden: np.ndarray

    def category(self, name: str, size: int, looks: int, missing: float = 0.0) -> Categorical:
        known = np.flatnonzero(~self._lost(missing))
        code = np.full(len(self.hidden), MISSING, np.int32)
        code[known], values = _vocabulary(name, self._near(known, size, looks))
        return Categorical(code, values)

    def categories(self, name: str, size: int, looks: int, mean: float, missing: float = 0.0) -> CategoricalList:
        """``mean`` entries per row or a few less, as none comes twice in a row."""
        n = len(self.hidden)
        length = 1 + self.rng.poisson(mean - 1, n)
        length[self._lost(missing)] = 0
        rows = np.repeat(np.arange(n), length)
        different = np.unique(rows * size + self._near(rows, size, looks))
        code, values = _vocabulary(name, different % size)
        return CategoricalList(np.searchsorted(different, np.arange(n + 1) * size), code, values)

    def number(self, signal: float, missing: float = 0.0) -> np.ndarray:
        """float64[n] of mean 0 and variance 1, NaN where missing; ``signal`` is its correlation with the vectors."""
        view = np.sum(self.hidden * self.rng.standard_normal(self.hidden.shape[1]), axis=1)
        view = (view - view.mean()) / view.std()
        number = signal * view + np.sqrt(1 - signal**2) * self.rng.standard_normal(len(view))
        number[self._lost(missing)] = np.nan
        return number

    def _near(self, rows: np.ndarray, size: int, looks: int) -> np.ndarray:
        """A category in 0..size-1 for each of ``rows``: the nearest of ``looks`` drawn by popularity.

        A category's own vector is that of some row. One look is noise, more looks are a clearer view.
        """
        centre = self.hidden[self.rng.integers(len(self.hidden), size=size)]
        share = np.cumsum(self.rng.lognormal(0, CATEGORY_TAIL, size))
        share /= share[-1]
        vector, nearest = self.hidden[rows], np.zeros(len(rows), np.int64)
        least = np.full(len(rows), np.inf)
        for _ in range(looks):
            seen = np.searchsorted(share, self.rng.random(len(rows)), side="right")
            distance = np.sum((vector - centre[seen]) ** 2, axis=1)
            nearest = np.where(distance < least, seen, nearest)
            least = np.minimum(distance, least)
        return nearest

    def _lost(self, share: float) -> np.ndarray:
        return self.rng.random(len(self.hidden)) < share


def _vocabulary(name: str, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Codes int32 of these category numbers, and the text of the codes; categories that no row has are left out."""
    used, code = np.unique(index, return_inverse=True)
    return (FIRST + code).astype(np.int32), names(f"{name}_", used)


def _numeric(value: np.ndarray, decimals: int = 0) -> Numeric:
    return Numeric(np.round(value, decimals).astype(np.float32))


def _score(rng: Generator, quality: np.ndarray, popularity: np.ndarray) -> Numeric:
    """Quality on a scale of 0 to 10, as a noisy mean of ratings elsewhere; none for the least popular 30 %."""
    noisy = (quality + 0.75 * rng.standard_normal(len(quality))) / 1.25
    noisy[popularity < np.quantile(popularity, 0.3)] = np.nan
    return _numeric(np.clip(7 + 1.2 * noisy, 0, 10), 1)


def _year(view: np.ndarray) -> Numeric:
    return _numeric(np.clip(2017 - np.exp(2.2 + 0.8 * view), 1900, 2017))


def user_columns(rng: Generator, taste: np.ndarray) -> dict[str, Column]:
    """What is known of users with these tastes, float64[n, topics]."""
    views = Views(rng, taste)
    return {
        "age": _numeric(np.clip(28 * np.exp(0.3 * views.number(0.4, missing=0.3)), 10, 90)),
        "region": views.category("region", 30, looks=6, missing=0.1),
    }


def _book_columns(views: Views) -> dict[str, Column]:
    n = len(views.hidden)
    return {
        "authors": views.categories("author", 1 + n // 4, looks=24, mean=1.3, missing=0.02),
        "publisher": views.category("publisher", 5 + n // 100, looks=12, missing=0.05),
        "binding": views.category("binding", 5, looks=1),
        "subjects": views.categories("subject", 60, looks=12, mean=3, missing=0.1),
        "publish_year": _year(views.number(0.3, missing=0.05)),
        "pages": _numeric(300 * np.exp(0.4 * views.number(0.5, missing=0.15))),
        "price": _numeric(35 * np.exp(0.8 * views.number(0.3, missing=0.2)), 2),
    }


def _music_columns(views: Views) -> dict[str, Column]:
    n = len(views.hidden)
    return {
        "performers": views.categories("performer", 1 + n // 4, looks=24, mean=1.2, missing=0.02),
        "style": views.category("style", 20, looks=16, missing=0.15),
        "medium": views.category("medium", 6, looks=1),
        "year": _year(views.number(0.4, missing=0.05)),
        "tracks": _numeric(np.clip(11 * np.exp(0.4 * views.number(0.3)), 1, None)),
    }


def _film_columns(views: Views) -> dict[str, Column]:
    n = len(views.hidden)
    return {
        "directors": views.categories("director", 1 + n // 4, looks=24, mean=1.1, missing=0.02),
        "genres": views.categories("genre", 25, looks=16, mean=2.5, missing=0.03),
        "regions": views.categories("region", 40, looks=6, mean=1.3),
        "languages": views.categories("language", 30, looks=4, mean=1.3, missing=0.05),
        "year": _year(views.number(0.3)),
        "mins": _numeric(np.clip(100 + 20 * views.number(0.4, missing=0.1), 20, None)),
    }


_OF_KIND: dict[str, Callable[[Views], dict[str, Column]]] = {
    "book": _book_columns,
    "music": _music_columns,
    "film": _film_columns,
}


def item_columns(
    rng: Generator, kind: str, topics: np.ndarray, quality: np.ndarray, popularity: np.ndarray
) -> dict[str, Column]:
    """What is known of the items of a kind: topics float64[n, topics], quality and popularity float64[n]."""
    return _OF_KIND[kind](Views(rng, topics)) | {"score": _score(rng, quality, popularity)}
