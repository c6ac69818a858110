"""Negative transfer as a verdict: gain, tie or loss against another model, per kind, paired over users and seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hrec.experiments.lists import of_users
from hrec.experiments.runs import Done

DRAWS = 2000
"""Bootstrap samples of the users."""


@dataclass(frozen=True)
class Transfer:
    """The mean difference over users, its 95 % bootstrap interval, and the differences of the seeds."""

    difference: float
    low: float
    high: float
    seeds: tuple[float, ...]

    @property
    def verdict(self) -> str:
        """gain or loss if the interval over users excludes 0 and all seeds agree in sign, else tie."""
        if self.low > 0 and min(self.seeds) > 0:
            return "gain"
        return "loss" if self.high < 0 and max(self.seeds) < 0 else "tie"

    def __str__(self) -> str:
        return f"{100 * self.difference:+.2f} ({self.verdict})"


def transfer(model: Sequence[Done], baseline: Sequence[Done], metric: str, seed: int = 0) -> Transfer:
    """``model`` against ``baseline`` on a test metric such as 'ndcg@10/book'; runs are paired in the order of seeds."""
    a, b = of_users(model, metric), of_users(baseline, metric)
    difference = (a - b)[np.isfinite(a - b)]
    rng = np.random.default_rng(seed)
    n = len(difference)
    means = [difference[rng.integers(n, size=n)].mean() for _ in range(DRAWS)] if n else [0.0]
    low, high = np.quantile(means, (0.025, 0.975))
    seeds = tuple(x.result["test"][metric] - y.result["test"][metric] for x, y in zip(model, baseline, strict=True))
    return Transfer(float(difference.mean()) if len(difference) else 0.0, float(low), float(high), seeds)
