"""The best results that planted data allows, from its known probabilities; no label is drawn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def best_auc(probability: np.ndarray, kind: np.ndarray, names: Sequence[str]) -> dict[str, float]:
    """AUC to expect when ranking rows by their true probability [n]; kind int[n], position in ``names``.

    Keys: "auc/pooled", "auc/<kind>" for each kind that has rows, and "auc", the mean over these kinds.
    """
    by_kind = {
        f"auc/{name}": expected_auc(part, part)
        for index, name in enumerate(names)
        if len(part := probability[kind == index])
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
    positive = np.bincount(group, probability, len(values))
    other = np.bincount(group, 1 - probability, len(values))
    itself = np.bincount(group, probability * (1 - probability), len(values))
    below = np.cumsum(other) - other
    won = np.sum(positive * below + (positive * other - itself) / 2)
    possible = positive.sum() * other.sum() - itself.sum()
    return float(won / possible) if possible > 0 else float("nan")


def expected_ndcg(odds: np.ndarray, relevant: np.ndarray, k: int) -> np.ndarray:
    """float64[B]: NDCG@k to expect of the lists in descending order of ``odds`` float64[B, n], 0 for no candidate.

    relevant int[B]: how many items are relevant, from 1 to the number of candidates. Each item is relevant
    independently of the others, with these odds, given that number m. With e_m the elementary symmetric polynomial,

        P_i = odds_i e_{m-1}(odds of all but i) / e_m(odds of all)
        NDCG@k = sum over ranks r of P_(r) / log2(r + 1)  /  sum over r up to min(m, k) of 1 / log2(r + 1)

    No other order has a larger expectation, as P_i grows with odds_i.
    """
    odds = -np.sort(-odds, axis=1)
    odds = odds * (relevant / odds.sum(1))[:, None]  # any factor leaves P_i as it is; this one keeps e_m in range
    k_top = min(k, odds.shape[1])
    top, rest = odds[:, :k_top], _symmetric(odds[:, k_top:], int(relevant.max(initial=0)))
    gain, user = 1 / np.log2(np.arange(k) + 2), np.arange(len(odds))
    whole = _times(rest, top)[user, relevant]
    dcg = np.zeros(len(odds))
    for rank in range(k_top):
        others = _times(rest, np.delete(top, rank, axis=1))
        dcg += gain[rank] * top[:, rank] * others[user, relevant - 1] / whole
    return dcg / np.cumsum(gain)[np.minimum(relevant, k) - 1]


def _symmetric(odds: np.ndarray, most: int) -> np.ndarray:
    """float64[B, most + 1]: the elementary symmetric polynomials e_0 to e_most of the rows, float64[B, n]."""
    one = np.zeros((len(odds), most + 1))
    one[:, 0] = 1
    return _times(one, odds)


def _times(polynomial: np.ndarray, odds: np.ndarray) -> np.ndarray:
    """Coefficients float64[B, d] times the product of 1 + odds_i z, cut off at the same degree."""
    out = polynomial.copy()
    for column in odds.T:
        out[:, 1:] += column[:, None] * out[:, :-1]
    return out
