"""FM: factorisation machine of degree two.

Rendle, Factorization Machines, ICDM 2010.
"""

from __future__ import annotations

from torch import Tensor

from hrec.models.context._base import ContextModel, pairwise_sum
from hrec.models.layers.context import ContextSettings


class FM(ContextModel):
    """score = w_0 + sum_f w_f x_f + sum_{f < g} <v_f, v_g> x_f x_g (Eq. 1)."""

    class Config(ContextSettings):
        """Settings of FM."""

    config: Config

    def higher(self, vectors: Tensor) -> Tensor:
        return pairwise_sum(vectors)
