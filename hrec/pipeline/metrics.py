"""Metrics as functions of arrays: ``score`` float[n], logits if possible; ``label`` float[n], 1 or 0; ``user`` [n].

Every metric takes all three, whether it needs them or not, and returns a float: NaN if it is not defined. A score
that is NaN raises ScoreError.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from hrec.config import did_you_mean
from hrec.endings import Refusal
from hrec.pipeline.ranking_metrics import CATALOGUE_METRICS, USER_METRICS, best_is, is_ranking


class ScoreError(Refusal, ValueError):
    """A score is NaN."""


@dataclass(frozen=True)
class Metric:
    function: Callable[[np.ndarray, np.ndarray, np.ndarray | None], float]
    mode: Literal["max", "min"]
    """Whether a larger or a smaller value is better."""

    def __call__(self, score: np.ndarray, label: np.ndarray, user: np.ndarray | None = None) -> float:
        return self.function(score, label, user)


def auc(score: np.ndarray, label: np.ndarray, user: np.ndarray | None = None) -> float:
    """Chance that a positive scores above a negative; a tie counts one half. NaN without positives or negatives.

    AUC = (sum of the ranks of the P positives - P (P + 1) / 2) / (P N), tied rows sharing their mean rank
    (Hanley and McNeil, 1982). Exact: counted in whole numbers, divided once.
    """
    _refuse_nan(score)
    order = np.argsort(score)
    return float(_auc_of_groups(score[order], label[order] > 0, np.zeros(len(score), np.int8))[0])


def gauc(score: np.ndarray, label: np.ndarray, user: np.ndarray | None) -> float:
    """GAUC = sum_u n_u AUC_u / sum_u n_u over the users u with positives and negatives; n_u counts all rows of u.

    NaN if there is no such user. Source: Zhu et al., Optimized Cost per Click in Taobao Display Advertising, KDD 2017,
    with rows for impressions.
    """
    if user is None:
        raise ValueError("gauc needs the user of each row")
    _, value, rows = auc_of_users(score, label, user)
    both = ~np.isnan(value)
    return float(np.average(value[both], weights=rows[both])) if both.any() else float("nan")


def auc_of_users(score: np.ndarray, label: np.ndarray, user: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The distinct users, ascending; the AUC of each, NaN without positives or negatives; the rows of each."""
    _refuse_nan(score)
    order = np.lexsort((score, user))
    user = user[order]
    first = _starts(user[1:] != user[:-1])[: len(user)]
    rows = np.diff(np.append(first, len(user)))
    return user[first], _auc_of_groups(score[order], label[order] > 0, user)[: len(first)], rows


def logloss(score: np.ndarray, label: np.ndarray, user: np.ndarray | None = None) -> float:
    """Mean of -y log(p) - (1 - y) log(1 - p) with p = sigmoid(score), for labels y of 1 and 0.

    That is the mean of log(1 + exp((1 - 2 y) score)), which no logit overflows and no p rounds to 0 or 1.
    """
    _refuse_nan(score)
    return _mean(np.logaddexp(0.0, (1 - 2 * label.astype(np.float64)) * score))


def rmse(score: np.ndarray, label: np.ndarray, user: np.ndarray | None = None) -> float:
    """Root of the mean of (sigmoid(score) - label)^2."""
    return float(np.sqrt(_mean(_error(score, label) ** 2)))


def mae(score: np.ndarray, label: np.ndarray, user: np.ndarray | None = None) -> float:
    """Mean of |sigmoid(score) - label|."""
    return _mean(np.abs(_error(score, label)))


METRICS: dict[str, Metric] = {
    "auc": Metric(auc, "max"),
    "gauc": Metric(gauc, "max"),
    "logloss": Metric(logloss, "min"),
    "rmse": Metric(rmse, "min"),
    "mae": Metric(mae, "min"),
}


def find_metric(name: str) -> Metric:
    """The metric of this name; ValueError with the nearest name for an unknown one."""
    if name not in METRICS:
        raise ValueError(no_such_metric(name))
    return METRICS[name]


def no_such_metric(name: str) -> str:
    """A sentence that suggests the nearest name."""
    lists = ", ".join(f"{base}@k" for base in [*USER_METRICS, *CATALOGUE_METRICS])
    return f"no metric '{name}'.{did_you_mean(name, METRICS)} Metrics: {', '.join(METRICS)}; of lists: {lists}"


def direction(name: str) -> Literal["max", "min"]:
    """Whether a larger or a smaller value of 'auc', 'auc/pooled', 'auc/<kind>' or 'recall@10' is better.

    Raises ValueError with the nearest name for a metric that does not exist.
    """
    base = name.split("/", maxsplit=1)[0]
    return best_is(base) if is_ranking(base) else find_metric(base).mode


def by_kind(
    names: Iterable[str],
    score: np.ndarray,
    label: np.ndarray,
    user: np.ndarray,
    kind: np.ndarray,
    kind_names: Sequence[str],
) -> dict[str, float]:
    """Each metric overall and for each kind of item.

    score, label, user, kind: [n]; ``kind`` holds positions in ``kind_names``. Keys: "auc" is the mean over the kinds
    where it is defined, each with the same weight. Key "auc/pooled" is over all rows, "auc/<kind>" over the rows of one
    kind. Undefined values are NaN.
    Raises ValueError for an unknown metric, a score that is NaN, and a kind called "pooled".
    """
    if "pooled" in kind_names:
        raise ValueError("a kind called 'pooled' has the name of the metrics over all rows: give it another name")
    metrics = {name: find_metric(name) for name in names}
    _refuse_nan(score)
    parts = [(score[rows], label[rows], user[rows]) for k in range(len(kind_names)) for rows in [kind == k]]
    out = {}
    for name, metric in metrics.items():
        values = [metric(*part) for part in parts]
        out[name] = _mean(np.array([v for v in values if not np.isnan(v)]))
        out[f"{name}/pooled"] = metric(score, label, user)
        out |= {f"{name}/{kind_name}": value for kind_name, value in zip(kind_names, values, strict=True)}
    return out


def _auc_of_groups(score: np.ndarray, positive: np.ndarray, group: np.ndarray) -> np.ndarray:
    """AUC of each group, NaN without positives or negatives; rows are sorted by group, then by score.

    Take the rows of one group with one score (a tie): P positives and N negatives. Each positive beats the negatives
    below the tie and ties with N. Wins are counted twice, in int64, so that a half is a whole number. No rows make
    one group.
    """
    new_group = group[1:] != group[:-1]
    tie, first = _starts(new_group | (score[1:] != score[:-1])), _starts(new_group)
    below = np.append(0, np.cumsum(~positive))  # negatives before row i, over all groups
    p, n = (_sums(rows, tie) for rows in (positive, ~positive))
    of_tie = np.searchsorted(first, tie, side="right") - 1
    wins = _sums(p * (2 * (below[tie] - below[first][of_tie]) + n), np.searchsorted(tie, first))
    pairs = 2 * _sums(positive, first) * _sums(~positive, first)
    return np.divide(wins, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0)


def _starts(new: np.ndarray) -> np.ndarray:
    """Where runs begin: row 0, and row i + 1 where ``new[i]``."""
    return np.append(0, np.flatnonzero(new) + 1)


def _sums(value: np.ndarray, start: np.ndarray) -> np.ndarray:
    """int64: the sum of each stretch of ``value`` from one start up to the next."""
    total = np.append(0, np.cumsum(value, dtype=np.int64))
    return np.diff(total[np.append(start, len(value))])


def _error(score: np.ndarray, label: np.ndarray) -> np.ndarray:
    _refuse_nan(score)
    return 0.5 * (1 + np.tanh(0.5 * score.astype(np.float64))) - label  # sigmoid without overflow


def _mean(value: np.ndarray) -> float:
    return float(np.mean(value)) if len(value) else float("nan")


def _refuse_nan(score: np.ndarray) -> None:
    if bad := int(np.sum(np.isnan(score))):
        raise ScoreError(f"{bad:,} of {len(score):,} scores are NaN: the model has diverged, or its input holds NaN")
