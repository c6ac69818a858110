"""Planted data: books, music and films for one set of users, made from a known truth.

Every item has hidden topics and a hidden quality, every user hidden tastes and a bias. All that a model sees, columns
and ratings, is a noisy view of these, and the probability of every label is known: so is the best possible AUC.

    label ~ Bernoulli(sigmoid(SCALE * (affinity + user bias + quality + kind offset)))
    affinity = <taste of the user, topics of the item>

Tastes are mostly one for all kinds, so what a user rated in one kind tells about the others. Users come across an item
in proportion to its popularity and, softly, to their taste for its topics.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator, SeedSequence, default_rng

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
    probability: float64[N], P(label = 1) of every interaction row. pairs: int32[n, 2], item numbers of (book, film).
    """

    data: RecData
    probability: np.ndarray
    pairs: np.ndarray

    def best_auc(self, rows: np.ndarray | None = None) -> dict[str, float]:
        """AUC to expect on these rows (positions or mask; None: all) when ranking by the true probability."""
        rows = np.arange(len(self.probability)) if rows is None else rows
        return best_auc(self.probability[rows], self.data.interactions.kind[rows], list(self.data.kinds))


def best_auc(probability: np.ndarray, kind: np.ndarray, names: Sequence[str]) -> dict[str, float]:
    """AUC to expect when ranking rows by their true probability [n]; kind int[n], position in ``names``.

    Keys: "auc/pooled", "auc/<kind>" for each kind that has rows, and "auc", the mean over these kinds.
    """
    by_kind = {
        f"auc/{name}": expected_auc(part, part)
        for number, name in enumerate(names)
        if len(part := probability[kind == number])
    }
    pooled = expected_auc(probability, probability)
    return {"auc": float(np.mean(list(by_kind.values()))), "auc/pooled": pooled, **by_kind}


def expected_auc(score: np.ndarray, probability: np.ndarray) -> float:
    """AUC to expect of ``score`` [n] when the labels are independent with this probability [n]; no label is drawn.

    A ratio of expectations, over ordered pairs of different rows (i, j):

        sum p_i (1 - p_j) ([s_i > s_j] + [s_i = s_j] / 2)  /  sum p_i (1 - p_j)

    It differs from the mean AUC of drawn labels by O(1 / n). NaN where no pair can be one of each label.
    """
    values, group = np.unique(score, return_inverse=True)
    liked = np.bincount(group, probability, len(values))
    other = np.bincount(group, 1 - probability, len(values))
    itself = np.bincount(group, probability * (1 - probability), len(values))
    below = np.cumsum(other) - other
    won = np.sum(liked * below + (liked * other - itself) / 2)
    possible = liked.sum() * other.sum() - itself.sum()
    return float(won / possible) if possible > 0 else float("nan")


def make(size: str, seed: int = 0) -> Planted:
    """Planted data of one of the ``SIZES``; the same size and seed give the same bytes."""
    for_truth, for_columns, for_pairs, for_labels = _streams(seed)
    hidden = _hide(for_truth, SIZES[size])
    users, kinds = _tables(for_columns, hidden)
    triples = _interact(for_pairs, SIZES[size].interactions, hidden)
    interactions, probability = _rate(for_labels, hidden, triples, kinds)
    pairs = hidden.pairs + np.array([kinds["book"].start, kinds["film"].start])
    data = RecData(users, kinds, interactions, name=f"planted-{size}")
    return Planted(data, probability, pairs.astype(np.int32))


def _streams(seed: int) -> list[Generator]:
    """Independent random streams: for the truth, the columns, the pairs of user and item, the labels."""
    return [default_rng(part) for part in SeedSequence(seed).spawn(4)]


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
    """pairs: int64[n, 2], numbers of (book, film) within their kinds."""

    users: _Users
    items: Mapping[str, _Items]
    pairs: np.ndarray


def _hide(rng: Generator, counts: Size) -> _Hidden:
    users = _hide_users(rng, counts.users, len(counts.items))
    items = {kind: _hide_items(rng, n) for kind, n in counts.items.items()}
    book, film = (_draw_distinct(rng, items[kind].popularity, counts.pairs) for kind in ("book", "film"))
    items["film"].topics[film] = 0.95 * items["book"].topics[book] + 0.05 * items["film"].topics[film]
    return _Hidden(users, items, np.stack([book, film], axis=1))


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


def _interact(rng: Generator, totals: Mapping[str, int], hidden: _Hidden) -> np.ndarray:
    """int64[N, 3]: user, item within its kind, kind. Every user has a row, no pair comes twice."""
    activity = hidden.users.activity
    # A user's first row is in the kind that wins an exponential race, thus in proportion to the user's activity.
    first_kind = np.argmin(rng.exponential(size=activity.shape) / activity, axis=0)
    parts = []
    for number, (kind, total) in enumerate(totals.items()):
        find = _finder(hidden.users.taste[number], hidden.items[kind])
        first = np.flatnonzero(first_kind == number)
        user, item = _distinct_pairs(rng, first, activity[number], find, total)
        parts.append(np.stack([user, item, np.full(total, number)], axis=1))
    return np.concatenate(parts)


Finder = Callable[[Generator, np.ndarray], np.ndarray]


def _finder(taste: np.ndarray, items: _Items) -> Finder:
    """A function (rng, user [m]) -> item [m] with P(item | user) ~ popularity * sum_t topics_t exp(SELECTION taste_t).

    This is a mixture over topics: draw the topic by user, then the item by topic.
    """
    weight = (items.topics * items.popularity[:, None]).T
    by_user = np.cumsum(weight.sum(1) * np.exp(SELECTION * taste), axis=1)
    by_topic = np.cumsum(weight, axis=1)
    # Topic t's cumulative shares lie in (t, t + 1]: one sorted array serves all topics.
    shares = (by_topic / by_topic[:, -1:] + np.arange(TOPICS)[:, None]).ravel()

    def find(rng: Generator, user: np.ndarray) -> np.ndarray:
        drawn = rng.random(len(user)) * by_user[user, -1]
        topic = np.sum(by_user[user, :-1] <= drawn[:, None], axis=1)
        position = np.searchsorted(shares, topic + rng.random(len(user)), side="right")
        # topic + a number below 1 may round up to topic + 1
        return np.minimum(position - topic * len(items.popularity), len(items.popularity) - 1)

    return find


def _distinct_pairs(
    rng: Generator, first: np.ndarray, activity: np.ndarray, find: Finder, total: int
) -> tuple[np.ndarray, np.ndarray]:
    """``total`` different (user, item): one for each user in ``first``, the others by activity."""
    share = np.cumsum(activity)
    share /= share[-1]
    user, item = first, find(rng, first)
    while missing := total - len(user):
        more = np.searchsorted(share, rng.random(missing + missing // 4 + 64), side="right")
        user, item = np.concatenate([user, more]), np.concatenate([item, find(rng, more)])
        _, earliest = np.unique(user * (item.max() + 1) + item, return_index=True)
        kept = np.sort(earliest)[:total]
        user, item = user[kept], item[kept]
    return user, item


# ------------------------------------------------------------------------------------------ ratings


def _rate(
    rng: Generator, hidden: _Hidden, triples: np.ndarray, kinds: Mapping[str, Table]
) -> tuple[Interactions, np.ndarray]:
    """Interactions in order of time, and the probability of each one's label."""
    start = rng.random(len(hidden.users.bias))[triples[:, 0]]
    time = EPOCH + np.floor(TEN_YEARS * (start + (1 - start) * rng.random(len(start))))
    order = np.argsort(time, kind="stable")
    time, (user, local, kind) = time[order], triples[order].T
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
    return interactions, 1 / (1 + np.exp(-logit))


def _logit(hidden: _Hidden, user: np.ndarray, local: np.ndarray, kind: np.ndarray) -> np.ndarray:
    spread = np.sqrt((1 - 1 / TOPICS) / (TOPICS * CONCENTRATION + 1))  # of <taste, topics - 1 / TOPICS>
    logit = np.empty(len(user))
    for number, (name, items) in enumerate(hidden.items.items()):
        rows = np.flatnonzero(kind == number)
        taste, topics = hidden.users.taste[number, user[rows]], items.topics[local[rows]]
        logit[rows] = SCALE * (
            np.sqrt(AFFINITY) * np.sum(taste * (topics - 1 / TOPICS), axis=1) / spread
            + np.sqrt(USER_BIAS) * hidden.users.bias[user[rows]]
            + np.sqrt(QUALITY) * items.quality[local[rows]]
            + KIND_OFFSET[name]
        )
    return logit


# ------------------------------------------------------------------------------------------ columns


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
