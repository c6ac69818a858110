"""LR: logistic regression on the fields; the line below which no model of columns should fall.

Richardson, Dominowska and Ragno, Predicting Clicks: Estimating the Click-Through Rate for New Ads, WWW 2007.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from hrec.models.context._base import ContextModel
from hrec.models.layers.context import ContextSettings


class LR(ContextModel):
    """score(u, i) = w_0 + sum over the fields f of w_f."""

    class Config(ContextSettings):
        """Settings of LR."""

        embedding_size: Literal[0] = 0
        """A field has a weight and no vector."""

    config: Config

    def higher(self, vectors: Tensor) -> Tensor:
        return vectors.new_zeros(len(vectors))
