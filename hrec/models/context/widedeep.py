"""WideDeep: a linear model and a multilayer perceptron.

Cheng et al., Wide & Deep Learning for Recommender Systems, DLRS 2016.
"""

from __future__ import annotations

from pydantic import Field, PositiveInt
from torch import Tensor

from hrec.datasets.recdata import TrainData
from hrec.models.context._base import ContextModel
from hrec.models.layers.context import ContextSettings
from hrec.models.layers.mlp import MLP


class WideDeep(ContextModel):
    """score = w_wide^T x + w_deep^T a^(l) + b (Eq. 3), trained together.

    The wide part holds the fields without cross products (Eq. 1): which ones to cross is a choice by hand, and the
    DURation paper names none.
    """

    class Config(ContextSettings):
        """Settings of WideDeep; widths as in DURation's Table 6."""

        embedding_size: PositiveInt = 64
        mlp_hidden_size: tuple[PositiveInt, ...] = (256, 64, 8)
        dropout_prob: float = Field(0.1, ge=0, lt=1)
        """Chance that an input of a linear layer is left out in training."""

    config: Config

    def __init__(self, config: Config, data: TrainData) -> None:
        super().__init__(config, data)
        widths = [self.fields.count * config.embedding_size, *config.mlp_hidden_size, 1]
        self.mlp = MLP(widths, config.dropout_prob)

    def higher(self, vectors: Tensor) -> Tensor:
        return self.mlp(vectors.flatten(1)).squeeze(1)
