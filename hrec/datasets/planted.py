"""Planted data: books, music and films for one set of users, made from a known truth.

Every item has hidden topics and a hidden quality, every user hidden tastes and a bias. All that a model sees, columns
and ratings, is a noisy view of these, and the probability of every label is known: so is the best possible AUC.

    label ~ Bernoulli(sigmoid(SCALE * (affinity + user bias + quality + kind offset)))
    affinity = <taste of the user, topics of the item>

Tastes are mostly one for all kinds, so ratings in one kind are informative about the others. Users come across an item
in proportion to its popularity and, softly, to their taste for its topics. planted_options.py adds reviews, images,
times that matter and a knowledge graph; planted_best.py and planted_lists.py give the best possible results.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.random import Generator, SeedSequence, default_rng

from hrec.datasets import planted_options as options
from hrec.datasets.columns import Tokens
from hrec.datasets.planted_best import best_auc
from hrec.datasets.planted_choice import Choice, distinct_pairs
from hrec.datasets.planted_columns import item_columns, names, user_columns
from hrec.datasets.recdata import Interactions, RecData, Table


@dataclass(frozen=True)
class Size:
    """How many of each; ``items`` and ``interactions`` by kind, ``pairs`` of a book and its film."""

    users: int
    items: Mapping[str, int]
    interactions: Mapping[str, int]
    pairs: int


def _size(users: int, book: tuple[int, int], music: tuple[int, int], film: tuple[int, int], pairs: int) -> Size:
    counts = {"book": book, "music": music, "film": film}
    return Size(users, {k: n for k, (n, _) in counts.items()}, {k: n for k, (_, n) in counts.items()}, pairs)


SIZES: dict[str, Size] = {
    "tiny": _size(120, book=(80, 1500), music=(60, 1100), film=(50, 1400), pairs=20),
    "small": _size(800, book=(2_000, 70_000), music=(1_500, 55_000), film=(1_000, 75_000), pairs=200),
    "douban": _size(36_585, book=(150_955, 356_001), music=(102_571, 269_760), film=(50_299, 470_479), pairs=500),
}

TOPICS = 4
CONCENTRATION = 0.2  # of the Dirichlet over topics: most items are about one to three of them
SHARED = 0.8  # share of a taste's variance that is the same in all kinds
SELECTION = 0.5  # how strongly users come across what they have a taste for; 0 is not at all
SCALE = 1.7
AFFINITY, USER_BIAS, QUALITY = 0.35, 0.25, 0.4  # shares of the variance inside the sigmoid, before selection
KIND_OFFSET = {"book": 0.1, "music": 0.2, "film": -0.2}
ITEM_TAIL, USER_TAIL = 1.5, 1.0  # sigma of the lognormals
RATING_CUTS = (-3.0, -1.5, 0.0, 1.5)  # between 1|2|3|4|5; the label is rating > 3
EPOCH, TEN_YEARS = 1_199_145_600, 315_576_000  # 2008-01-01, seconds


# ------------------------------------------------------------------------------------------- public


@dataclass(frozen=True, eq=False)
class Planted:
    """Made data and its truth.

    data: interactions with label (1 or 0), rating (1..5, above 3 where the label is 1) and time, in order of time.
    probability: float64[N], P(label = 1) of every interaction row. pairs: int32[n, 2], item indices of (book, film).
    period: int64[N], of the user's time, 0 unless times are an option. hidden, choices: the truth.
    """

    data: RecData
    probability: np.ndarray
    pairs: np.ndarray
    period: np.ndarray
    hidden: _Hidden
    choices: Mapping[str, Choice]

    def best_auc(self, rows: np.ndarray | None = None) -> dict[str, float]:
        """AUC to expect on these rows (positions or mask; None: all) when ranking by the true probability."""
        rows = np.arange(len(self.probability)) if rows is None else rows
        return best_auc(self.probability[rows], self.data.interactions.kind[rows], list(self.data.kinds))

    def label_chance(self, kind: str, user: np.ndarray) -> np.ndarray:
        """float64[B, n]: P(label = 1) of these users, int[B], with each item of the kind."""
        n, index = self.data.kinds[kind].count, list(self.data.kinds).index(kind)
        local = np.tile(np.arange(n), len(user))
        logit = _logit(self.hidden, np.repeat(user, n), local, np.full(len(local), index))
        return (1 / (1 + np.exp(-logit))).reshape(-1, n)


def make(
    size: str, seed: int = 0, *, reviews: bool = False, times: bool = False, image: bool = False, graph: bool = False
) -> Planted:
    """Planted data of one of the ``SIZES``; the same arguments give the same bytes.

    Options (hrec/datasets/planted_options.py): a column ``review`` of interactions, times whose order matters, a column
    ``image`` of items, relations. Each has its own random stream, so that none changes what another draws.
    """
    rng, counts = _streams(seed), SIZES[size]
    hidden = _hide(rng.truth, counts)
    if times:
        hidden = replace(hidden, drift=options.drift(rng.times, counts.users, TOPICS))
    if image:
        hidden = replace(hidden, styles=options.styles(rng.image, counts.users, counts.items))
    choices = _choices(hidden)
    users, kinds = _tables(rng.columns, hidden)
    rows = _interact(rng.pairs, counts.interactions, hidden, choices)
    interactions, probability, period = _rate(rng.labels, hidden, rows, _periods(rng.times, choices, rows), kinds)
    pairs = (hidden.pairs + np.array([kinds["book"].start, kinds["film"].start])).astype(np.int32)
    relations = None
    if reviews:
        interactions = replace(interactions, columns={"review": _reviews(rng.reviews, hidden, interactions)})
    if image:
        seen = options.images(rng.image, hidden.styles.items)
        kinds = {kind: replace(t, columns={**t.columns, "image": seen[kind]}) for kind, t in kinds.items()}
    if graph:
        ids = np.concatenate([names(f"{kind}_", n) for kind, n in counts.items.items()])
        relations = options.graph(rng.graph, _topics(hidden), ids, pairs)
    data = RecData(users, kinds, interactions, f"planted-{size}", relations=relations)
    return Planted(data, probability, pairs, period, hidden, choices)


class _Streams(NamedTuple):
    """Independent random streams: the truth, columns, pairs of user and item, and labels; one for each option."""

    truth: Generator
    columns: Generator
    pairs: Generator
    labels: Generator
    reviews: Generator
    times: Generator
    image: Generator
    graph: Generator


def _streams(seed: int) -> _Streams:
    return _Streams(*(default_rng(part) for part in SeedSequence(seed).spawn(len(_Streams._fields))))


# --------------------------------------------------------------------------------------- the truth


@dataclass(frozen=True, eq=False)
class _Users:
    """taste: float64[kinds, n, TOPICS], mean 0, variance 1. bias: float64[n]. activity: float64[kinds, n], weights."""

    taste: np.ndarray
    bias: np.ndarray
    activity: np.ndarray


@dataclass(frozen=True, eq=False)
class _Items:
    """topics: float64[n, TOPICS], rows sum to 1. quality: float64[n], mean 0, variance 1. popularity: float64[n]."""

    topics: np.ndarray
    quality: np.ndarray
    popularity: np.ndarray


@dataclass(frozen=True, eq=False)
class _Hidden:
    """pairs: int64[n, 2], positions of (book, film) within their kinds. drift: float64[G, users, TOPICS], what is added
    to the logits of topics in each period. styles: of the items, and the users' taste for them."""

    users: _Users
    items: Mapping[str, _Items]
    pairs: np.ndarray
    drift: np.ndarray
    styles: options.Styles


def _hide(rng: Generator, counts: Size) -> _Hidden:
    users = _hide_users(rng, counts.users, len(counts.items))
    items = {kind: _hide_items(rng, n) for kind, n in counts.items.items()}
    book, film = (_draw_distinct(rng, items[kind].popularity, counts.pairs) for kind in ("book", "film"))
    items["film"].topics[film] = 0.95 * items["book"].topics[book] + 0.05 * items["film"].topics[film]
    pairs = np.stack([book, film], axis=1)
    unmoved, unstyled = options.no_drift(counts.users, TOPICS), options.one_style(counts.users, counts.items)
    return _Hidden(users, items, pairs, unmoved, unstyled)


def _hide_users(rng: Generator, n: int, n_kinds: int) -> _Users:
    shared = rng.standard_normal((1, n, TOPICS))
    own = rng.standard_normal((n_kinds, n, TOPICS))
    activity = rng.lognormal(0, USER_TAIL, n) * rng.exponential(size=(n_kinds, n))
    return _Users(np.sqrt(SHARED) * shared + np.sqrt(1 - SHARED) * own, rng.standard_normal(n), activity)


def _hide_items(rng: Generator, n: int) -> _Items:
    topics = rng.dirichlet(np.full(TOPICS, CONCENTRATION), n)
    return _Items(topics, rng.standard_normal(n), rng.lognormal(0, ITEM_TAIL, n))


def _draw_distinct(rng: Generator, weight: np.ndarray, n: int) -> np.ndarray:
    return rng.choice(len(weight), n, replace=False, p=weight / weight.sum())


# ------------------------------------------------------------------------- who comes across what


def _choices(hidden: _Hidden) -> dict[str, Choice]:
    """Of each kind, as a mixture over pairs of topic t and style s:

    P(item, period | user) ~ popularity * sum_t topics_t exp(SELECTION taste_t + drift_t) * sum_s style_s exp(taste_s)
    """
    of_style = np.exp(hidden.styles.taste)[None, :, None, :]
    out = {}
    for index, (kind, items) in enumerate(hidden.items.items()):
        of_topic = np.exp(SELECTION * hidden.users.taste[index] + hidden.drift)[..., None]
        mix = items.topics[:, :, None] * hidden.styles.items[kind][:, None, :]
        factor = (of_topic * of_style).reshape(*of_topic.shape[:2], -1)
        out[kind] = Choice(mix.reshape(len(mix), -1), items.popularity, factor)
    return out


def _interact(rng: Generator, totals: Mapping[str, int], hidden: _Hidden, choices: Mapping[str, Choice]) -> np.ndarray:
    """int64[N, 3]: user, item within its kind, kind. Every user has a row, no pair comes twice."""
    activity = hidden.users.activity
    # A user's first row is in the kind that wins an exponential race, thus in proportion to the user's activity.
    first_kind = np.argmin(rng.exponential(size=activity.shape) / activity, axis=0)
    parts = []
    for index, (kind, total) in enumerate(totals.items()):
        first = np.flatnonzero(first_kind == index)
        user, item = distinct_pairs(rng, first, activity[index], choices[kind], total)
        parts.append(np.stack([user, item, np.full(total, index)], axis=1))
    return np.concatenate(parts)


def _periods(rng: Generator, choices: Mapping[str, Choice], rows: np.ndarray) -> np.ndarray:
    """int64[N]: the period of the user's time that each row of ``_interact`` is of."""
    of_kind = [rows[rows[:, 2] == index] for index in range(len(choices))]
    parts = zip(choices.values(), of_kind, strict=True)
    return np.concatenate([choice.period(rng, part[:, 0], part[:, 1]) for choice, part in parts])


# ------------------------------------------------------------------------------------------ ratings


def _rate(
    rng: Generator, hidden: _Hidden, rows: np.ndarray, period: np.ndarray, kinds: Mapping[str, Table]
) -> tuple[Interactions, np.ndarray, np.ndarray]:
    """Interactions in order of time; the probability of each one's label; its period."""
    start = rng.random(len(hidden.users.bias))[rows[:, 0]]
    passed = (period + rng.random(len(start))) / len(hidden.drift)  # share of the user's time
    time = EPOCH + np.floor(TEN_YEARS * (start + (1 - start) * passed))
    order = np.argsort(time, kind="stable")
    time, (user, local, kind) = time[order], rows[order].T
    logit = _logit(hidden, user, local, kind)
    # Logistic noise around the logit is above 0 with probability sigmoid(logit): one draw gives label and rating.
    rating = 1 + np.searchsorted(RATING_CUTS, logit + rng.logistic(size=len(logit)))
    interactions = Interactions(
        user.astype(np.int32),
        (local + np.array([table.start for table in kinds.values()])[kind]).astype(np.int32),
        kind.astype(np.int16),
        (rating > 3).astype(np.float32),
        rating.astype(np.float32),
        time,
    )
    return interactions, 1 / (1 + np.exp(-logit)), period[order]


def _logit(hidden: _Hidden, user: np.ndarray, local: np.ndarray, kind: np.ndarray) -> np.ndarray:
    spread = np.sqrt((1 - 1 / TOPICS) / (TOPICS * CONCENTRATION + 1))  # of <taste, topics - 1 / TOPICS>
    logit = np.empty(len(user))
    for index, (name, items) in enumerate(hidden.items.items()):
        rows = np.flatnonzero(kind == index)
        taste, topics = hidden.users.taste[index, user[rows]], items.topics[local[rows]]
        logit[rows] = SCALE * (
            np.sqrt(AFFINITY) * np.sum(taste * (topics - 1 / TOPICS), axis=1) / spread
            + np.sqrt(USER_BIAS) * hidden.users.bias[user[rows]]
            + np.sqrt(QUALITY) * items.quality[local[rows]]
            + KIND_OFFSET[name]
        )
    return logit


# ------------------------------------------------------------------------------------------ columns


def _topics(hidden: _Hidden) -> np.ndarray:
    """float64[n_items, TOPICS]"""
    return np.concatenate([items.topics for items in hidden.items.values()])


def _reviews(rng: Generator, hidden: _Hidden, x: Interactions) -> Tokens:
    return options.reviews(rng, hidden.users.taste[x.kind, x.user], _topics(hidden)[x.item])


def _tables(rng: Generator, hidden: _Hidden) -> tuple[Table, dict[str, Table]]:
    """The users and each kind of item, with what can be seen of them."""
    n_users = len(hidden.users.bias)
    users = Table(n_users, 0, user_columns(rng, hidden.users.taste.mean(0)), names("u", n_users))
    kinds, start = {}, 0
    for kind, items in hidden.items.items():
        n = len(items.quality)
        columns = item_columns(rng, kind, items.topics, items.quality, items.popularity)
        kinds[kind] = Table(n, start, columns, names(f"{kind}_", n))
        start += n
    return users, kinds
