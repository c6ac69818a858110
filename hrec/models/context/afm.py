"""AFM: a factorisation machine that weighs the products of fields by attention.

Xiao, Ye, He, Zhang, Wu and Chua, Attentional Factorization Machines, IJCAI 2017.
"""

from __future__ import annotations

import torch
from pydantic import Field, NonNegativeFloat, PositiveInt
from torch import Tensor, nn

from hrec.datasets.recdata import TrainData
from hrec.models.context._base import ContextModel
from hrec.models.layers.context import ContextSettings


class AFM(ContextModel):
    """score = w_0 + sum_f w_f + p^T sum_{f < g} a_fg (v_f * v_g) (Eq. 6).

    a_fg = softmax over the pairs of h^T ReLU(W (v_f * v_g) + b) (Eq. 5). In Eq. 8 lambda |W|^2 is added to a sum over
    the training rows, so for their mean, which is taken here, it is divided by their number. Dropout is on the
    pooled vector, as in the authors' code; the paper has it on the pairs.
    """

    class Config(ContextSettings):
        """Settings of AFM; widths as in DURation's Table 6."""

        embedding_size: PositiveInt = 10
        attention_size: PositiveInt = 25
        dropout_prob: float = Field(0.3, ge=0, lt=1)
        """Chance that a number of the pooled products is left out in training."""
        reg_weight: NonNegativeFloat = 2.0
        """lambda, of the squared norm of the attention's matrix."""

    config: Config
    pairs: Tensor

    def __init__(self, config: Config, data: TrainData) -> None:
        super().__init__(config, data)
        width = config.embedding_size
        self.attention = nn.Linear(width, config.attention_size)
        self.heat = nn.Parameter(torch.empty(config.attention_size).normal_(std=config.attention_size**-0.5))
        self.projection = nn.Parameter(torch.ones(width))  # all ones is the plain factorisation machine
        self.dropout = nn.Dropout(config.dropout_prob)
        self.rows = max(len(data.interactions) * (1 + data.feedback.negatives), 1)
        count = self.fields.count
        self.register_buffer("pairs", torch.triu_indices(count, count, offset=1), persistent=False)

    def higher(self, vectors: Tensor) -> Tensor:
        product = vectors.index_select(1, self.pairs[0]) * vectors.index_select(1, self.pairs[1])  # [B, pairs, d]
        weight = (torch.relu(self.attention(product)) @ self.heat).softmax(1)
        pooled = torch.einsum("bp,bpd->bd", weight, product)
        return self.dropout(pooled) @ self.projection

    def regularisation(self) -> dict[str, Tensor]:
        if not self.config.reg_weight:
            return {}
        return {"reg": self.config.reg_weight * self.attention.weight.square().sum() / self.rows}
