"""Whether one model is better than another: paired tests over seeds and over users, and Holm's correction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from hrec.pipeline.metrics import auc_of_users

PerSeed = Sequence[float] | np.ndarray


@dataclass(frozen=True)
class Comparison:
    """A against B: mean difference, and p-values of the two-sided tests (NaN where a test cannot be made)."""

    difference: float
    p_seeds: float
    """Paired t-test over the seeds."""
    difference_users: float = float("nan")
    """Mean over the users of their differences, each user's value being the mean over the seeds."""
    ranks_users: float = float("nan")
    """What the test over users sees: the sum of the ranks of differences above 0 less that of those below, over both
    (matched-pairs rank-biserial correlation, -1 to 1). It may point the other way than the mean."""
    p_users: float = float("nan")
    """Wilcoxon signed-rank test over the users."""


def compare(a: PerSeed, b: PerSeed, users_a: np.ndarray | None = None, users_b: np.ndarray | None = None) -> Comparison:
    """a, b: one metric for each seed, paired. users_a, users_b: float[users], NaN where a user has no value."""
    x, y = np.asarray(a, float), np.asarray(b, float)
    p_seeds = float("nan")
    if len(x) > 1 and np.ptp(x - y) > 0:
        p_seeds = float(stats.ttest_rel(x, y).pvalue)
    return Comparison(float((x - y).mean()), p_seeds, *_over_users(users_a, users_b))


def _over_users(a: np.ndarray | None, b: np.ndarray | None) -> tuple[float, float, float]:
    """(mean difference, signed ranks, p) of Wilcoxon's test; NaN if there is nothing to test."""
    difference = np.zeros(0) if a is None or b is None else (a - b)[np.isfinite(a - b)]
    if not np.any(difference != 0):
        return (0.0 if len(difference) else float("nan"), float("nan"), float("nan"))
    moved = difference[difference != 0]
    ranks = stats.rankdata(np.abs(moved)) * np.sign(moved)
    return float(difference.mean()), float(ranks.sum() / np.abs(ranks).sum()), float(stats.wilcoxon(difference).pvalue)


def holm(p: Mapping[str, float]) -> dict[str, float]:
    """Holm's step-down correction of several p-values; NaN stays NaN and is not counted.

    p_(i) becomes max over j <= i of min(1, (m - j + 1) p_(j)), p_(1) the smallest (Holm, 1979).
    """
    known = sorted((value, name) for name, value in p.items() if np.isfinite(value))
    out, running = dict(p), 0.0
    for place, (value, name) in enumerate(known):
        running = max(running, min(1.0, (len(known) - place) * value))
        out[name] = running
    return out


def auc_by_user(score: np.ndarray, label: np.ndarray, user: np.ndarray, users: int) -> np.ndarray:
    """float[users]: AUC of the rows of each user, NaN for a user without positives or without negatives."""
    out = np.full(users, np.nan)
    who, value, _ = auc_of_users(score, label, user)
    out[who] = value
    return out


def verdict(claim: str, difference: float, p: float, ranks: float | None = None, level: float = 0.05) -> str:
    """One line for a claim that something is larger: holds, does not hold, or not decided, with the p-value.

    ranks: which way a test of ranks points. Where that is not the way of the difference, nothing is decided.
    """
    decided = "holds" if difference > 0 else "does not hold"
    against = ranks is not None and np.isfinite(ranks) and ranks * difference < 0
    word = decided if np.isfinite(p) and p < level and not against else "not decided"
    shown = f"p = {p:.2g}" if np.isfinite(p) else "no test possible"
    doubt = ", but most ranks point the other way" if against else ""
    return f"{word}: {claim} (difference {difference:+.4f}{doubt}, {shown})"
