"""DeepFM: a factorisation machine and a multilayer perceptron on the same vectors.

Guo, Tang, Ye, Li and He, DeepFM: A Factorization-Machine based Neural Network for CTR Prediction, IJCAI 2017.
"""

from __future__ import annotations

from pydantic import Field, PositiveInt
from torch import Tensor

from hrec.datasets.recdata import TrainData
from hrec.models.context._base import ContextModel, pairwise_sum
from hrec.models.layers.context import ContextSettings
from hrec.models.layers.mlp import MLP


class DeepFM(ContextModel):
    """score = y_FM + y_DNN (Eq. 1): y_FM of Eq. 2, y_DNN an MLP on all vectors one behind the other (Eq. 3-4)."""

    class Config(ContextSettings):
        """Settings of DeepFM; widths as in DURation's Table 6."""

        embedding_size: PositiveInt = 64
        mlp_hidden_size: tuple[PositiveInt, ...] = (128, 128, 128)
        dropout_prob: float = Field(0.2, ge=0, lt=1)
        """Chance that an input of a linear layer is left out in training."""

    config: Config

    def __init__(self, config: Config, data: TrainData) -> None:
        super().__init__(config, data)
        widths = [self.fields.count * config.embedding_size, *config.mlp_hidden_size, 1]
        self.mlp = MLP(widths, config.dropout_prob)

    def higher(self, vectors: Tensor) -> Tensor:
        return pairwise_sum(vectors) + self.mlp(vectors.flatten(1)).squeeze(1)
