"""Who comes across which item, and when, in planted data: known probabilities to draw from and to rank by."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.random import Generator


@dataclass(frozen=True, eq=False)
class Choice:
    """How users come across the items of one kind in the G periods of their time.

    A row of user u is of item i, in period g, with the probability

        P(i, g | u) ~ popularity_i sum_c mix_ic factor_guc

    This is a mixture over C components: draw the component by user, then the item by component.
    mix: float64[n, C], rows sum to 1. popularity: float64[n]. factor: float64[G, users, C], positive.
    """

    mix: np.ndarray
    popularity: np.ndarray
    factor: np.ndarray

    @cached_property
    def weight(self) -> np.ndarray:
        """float64[C, n]"""
        return (self.mix * self.popularity[:, None]).T

    @cached_property
    def _by_user(self) -> np.ndarray:
        """float64[users, C]: cumulative weights of the components over all periods."""
        return np.cumsum(self.weight.sum(1) * self.factor.sum(0), axis=1)

    @cached_property
    def _shares(self) -> np.ndarray:
        """Cumulative shares of the items: those of component c lie in (c, c + 1], so one sorted array serves all."""
        by_component = np.cumsum(self.weight, axis=1)
        return (by_component / by_component[:, -1:] + np.arange(len(by_component))[:, None]).ravel()

    def find(self, rng: Generator, user: np.ndarray) -> np.ndarray:
        """An item for each user, int[m] -> int64[m], drawn over all periods."""
        drawn = rng.random(len(user)) * self._by_user[user, -1]
        component = np.sum(self._by_user[user, :-1] <= drawn[:, None], axis=1)
        position = np.searchsorted(self._shares, component + rng.random(len(user)), side="right")
        # a component + a number below 1 may round up to the next component
        return np.minimum(position - component * len(self.popularity), len(self.popularity) - 1)

    def period(self, rng: Generator, user: np.ndarray, item: np.ndarray) -> np.ndarray:
        """int64[m]: the period of pairs that ``find`` gave, drawn from P(g | u, i)."""
        chance = np.cumsum([np.sum(self.mix[item] * factor[user], axis=1) for factor in self.factor], axis=0)
        return np.sum(chance[:-1] <= rng.random(len(user)) * chance[-1], axis=0)

    def chance(self, user: np.ndarray) -> np.ndarray:
        """float64[B, n]: P(i | u) over all periods; rows sum to 1."""
        factor = self.factor.sum(0)[user]
        return (factor / (factor @ self.weight.sum(1))[:, None]) @ self.weight

    def mean_over_periods(self, value: np.ndarray) -> np.ndarray:
        """float64[users, n]: sum over g of P(g | u, i) value_gu, of values float64[G, users]."""
        weighted = np.sum(value[:, :, None] * self.factor, axis=0)
        return (weighted @ self.mix.T) / (self.factor.sum(0) @ self.mix.T)


def distinct_pairs(
    rng: Generator, first: np.ndarray, activity: np.ndarray, choice: Choice, total: int
) -> tuple[np.ndarray, np.ndarray]:
    """``total`` different (user, item): one for each user in ``first``, the others by activity."""
    share = np.cumsum(activity)
    share /= share[-1]
    user, item = first, choice.find(rng, first)
    while missing := total - len(user):
        more = np.searchsorted(share, rng.random(missing + missing // 4 + 64), side="right")
        user, item = np.concatenate([user, more]), np.concatenate([item, choice.find(rng, more)])
        _, earliest = np.unique(user * (item.max() + 1) + item, return_index=True)
        kept = np.sort(earliest)[:total]
        user, item = user[kept], item[kept]
    return user, item
