"""Metrics of top-N lists: functions of the recommended items and the positives, formula in the docstring.

A metric is written ``<name>@<k>``. Metrics of users give one value for each user; metrics of the catalogue give one
value for all lists together. Relevance is 1 or 0; log is to base 2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from hrec.config import did_you_mean


@dataclass(frozen=True)
class Lists:
    """Ranked lists of U users, at most K long.

    Field ``item`` int[U, K]: best first, -1 after the end of a short list. Field ``hit`` bool[U, K]: whether the item
    is a positive of the user in the measured split. Field ``relevant`` int[U]: how many of these the user has, in a
    list or not.
    """

    user: np.ndarray
    item: np.ndarray
    hit: np.ndarray
    relevant: np.ndarray

    def take(self, users: np.ndarray) -> Lists:
        """The lists of some users, by position or mask."""
        return Lists(self.user[users], self.item[users], self.hit[users], self.relevant[users])


def recall(hit: np.ndarray, relevant: np.ndarray) -> np.ndarray:
    """Hits among the first k / relevant items (DualNet paper, section 5.1)."""
    return hit.sum(1) / relevant


def precision(hit: np.ndarray, relevant: np.ndarray) -> np.ndarray:
    """Hits among the first k / k, also with fewer than k candidates."""
    return hit.sum(1) / max(hit.shape[1], 1)


def ndcg(hit: np.ndarray, relevant: np.ndarray) -> np.ndarray:
    """DCG / IDCG, DCG = sum over hits at rank r of 1 / log2(r + 1); IDCG has min(relevant, k) hits first.

    Source: Järvelin and Kekäläinen, TOIS 2002.
    """
    gain = 1 / np.log2(np.arange(hit.shape[1]) + 2)
    ideal = np.concatenate([[0.0], np.cumsum(gain)])
    dcg = (hit * gain).sum(1)
    return dcg / ideal[np.minimum(relevant, hit.shape[1])]


def hit_rate(hit: np.ndarray, relevant: np.ndarray) -> np.ndarray:
    """1 with a hit among the first k, else 0."""
    return np.asarray(hit.any(1), np.float64)


def mrr(hit: np.ndarray, relevant: np.ndarray) -> np.ndarray:
    """1 / rank of the first hit, 0 without one."""
    return np.where(hit.any(1), 1 / (hit.argmax(1) + 1), 0.0)


def average_precision(hit: np.ndarray, relevant: np.ndarray) -> np.ndarray:
    """AP = (1 / relevant) sum over hits at rank r of (hits up to r) / r; the mean over users is MAP.

    As in trec_eval and ranx. RecBole divides by min(relevant, k) instead.
    """
    return (np.cumsum(hit, 1) * hit / (np.arange(hit.shape[1]) + 1)).sum(1) / relevant


def coverage(item: np.ndarray, popularity: np.ndarray, candidates: int) -> float:
    """Share of the candidate items that are in at least one list."""
    return len(np.unique(item[item >= 0])) / candidates if candidates else float("nan")


def gini(item: np.ndarray, popularity: np.ndarray, candidates: int) -> float:
    """Gini coefficient of how often each candidate is recommended: 0 all equally often, near 1 always the same few.

    G = sum_i (2 i - n - 1) c_i / (n sum_i c_i), counts c ascending, i from 1 to n.
    """
    count = np.sort(np.unique(item[item >= 0], return_counts=True)[1])
    if not len(count):
        return float("nan")
    place = np.arange(candidates - len(count), candidates) + 1  # items that are never recommended come first and add 0
    return float(((2 * place - candidates - 1) * count).sum() / (candidates * count.sum()))


def average_popularity(item: np.ndarray, popularity: np.ndarray, candidates: int) -> float:
    """Mean number of training rows of the items recommended."""
    shown = item[item >= 0]
    return float(popularity[shown].mean()) if len(shown) else float("nan")


OfUsers = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""hit bool[U, k], relevant int[U] above 0 -> float[U]"""
OfCatalogue = Callable[[np.ndarray, np.ndarray, int], float]
"""item int[U, k], popularity int[n_items], number of candidates -> float"""

USER_METRICS: dict[str, OfUsers] = {
    "recall": recall,
    "precision": precision,
    "ndcg": ndcg,
    "hit": hit_rate,
    "mrr": mrr,
    "map": average_precision,
}
CATALOGUE_METRICS: dict[str, tuple[OfCatalogue, Literal["max", "min"]]] = {
    "coverage": (coverage, "max"),
    "gini": (gini, "min"),
    "popularity": (average_popularity, "min"),
}


def is_ranking(name: str) -> bool:
    """Whether a name has the form of a top-N metric."""
    return "@" in name


def parse(name: str) -> tuple[str, int]:
    """'recall@10' -> ('recall', 10). Raises ValueError with the nearest name for an unknown one."""
    base, _, k = name.partition("@")
    known = [*USER_METRICS, *CATALOGUE_METRICS]
    if base not in known:
        raise ValueError(f"no metric '{base}@k'.{did_you_mean(base, known)} With '@': {', '.join(known)}")
    if not k.isdecimal() or int(k) < 1:
        raise ValueError(f"'{name}': a whole number of 1 or more belongs after '@', as in '{base}@10'")
    return base, int(k)


def best_is(name: str) -> Literal["max", "min"]:
    """Whether a larger or a smaller value of 'recall@10' is better."""
    base, _ = parse(name)
    return "max" if base in USER_METRICS else CATALOGUE_METRICS[base][1]


def of_users(name: str, lists: Lists) -> np.ndarray:
    """float[U]: the metric of each user; NaN for users without a relevant item."""
    base, k = parse(name)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = USER_METRICS[base](
            lists.hit[:, :k] if k <= lists.hit.shape[1] else _wider(lists.hit, k), lists.relevant
        )
    return np.where(lists.relevant > 0, value, np.nan)


def _wider(hit: np.ndarray, k: int) -> np.ndarray:
    """Lists longer than the catalogue end without a hit."""
    return np.pad(hit, ((0, 0), (0, k - hit.shape[1])))


def mean_of_users(name: str, lists: Lists) -> float:
    """Mean over the users with a relevant item; NaN if there are none."""
    value = of_users(name, lists)
    known = value[~np.isnan(value)]
    return float(known.mean()) if len(known) else float("nan")


def of_catalogue(name: str, lists: Lists, popularity: np.ndarray, candidates: int) -> float:
    """The metric of all lists together."""
    base, k = parse(name)
    return CATALOGUE_METRICS[base][0](lists.item[:, :k], popularity, candidates)
