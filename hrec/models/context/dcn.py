"""DCN: explicit crosses of bounded degree and a multilayer perceptron.

Wang, Fu, Fu and Wang, Deep & Cross Network for Ad Click Predictions, ADKDD 2017.
"""

from __future__ import annotations

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from hrec.datasets.recdata import TrainData
from hrec.models.context._base import ContextModel
from hrec.models.layers.context import ContextSettings
from hrec.models.layers.mlp import MLP
from hrec.settings import LayerCount


class DCN(ContextModel):
    """x_{l+1} = x_0 (x_l^T w_l) + b_l + x_l (Eq. 3) and an MLP (Eq. 4), joined by a last linear layer (Eq. 5).

    As in all models of this folder but DSSM, the weights of the fields (LR) are added, which the paper does not have.
    """

    class Config(ContextSettings):
        """Settings of DCN."""

        embedding_size: PositiveInt = 10
        cross_layers: LayerCount = 3
        mlp_hidden_size: tuple[PositiveInt, ...] = Field((128, 128), min_length=1)
        dropout_prob: float = Field(0.2, ge=0, lt=1)
        """Chance that an input of a linear layer is left out in training."""

    config: Config

    def __init__(self, config: Config, data: TrainData) -> None:
        super().__init__(config, data)
        width = self.fields.count * config.embedding_size
        self.weight = nn.Parameter(torch.empty(config.cross_layers, width).normal_(std=width**-0.5))
        self.bias = nn.Parameter(torch.zeros(config.cross_layers, width))
        self.mlp = MLP([width, *config.mlp_hidden_size], config.dropout_prob, last_relu=True)
        self.last = nn.Linear(width + config.mlp_hidden_size[-1], 1)

    def higher(self, vectors: Tensor) -> Tensor:
        first = x = vectors.flatten(1)
        for weight, bias in zip(self.weight, self.bias, strict=True):
            x = first * (x @ weight)[:, None] + bias + x
        return self.last(torch.cat([x, self.mlp(first)], 1)).squeeze(1)
