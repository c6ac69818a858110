"""AutoInt: crosses of fields by layers of self-attention.

Song et al., AutoInt: Automatic Feature Interaction Learning via Self-Attentive Neural Networks, CIKM 2019.
"""

from __future__ import annotations

from typing import Self

import torch
from pydantic import PositiveInt, model_validator
from torch import Tensor, nn

from hrec.datasets.recdata import TrainData
from hrec.models.context._base import ContextModel
from hrec.models.layers.context import ContextSettings
from hrec.models.layers.mlp import MLP
from hrec.settings import LayerCount


class AutoInt(ContextModel):
    """score = first order + w^T [e_1^Res, ..., e_F^Res] + b (Eq. 9); with an MLP added, AutoInt+ (section 5.5).

    The first order, LR's weights of the fields, is in all models of this folder but DSSM; Eq. 9 does not have it.
    """

    class Config(ContextSettings):
        """Settings of AutoInt; widths as in DURation's Table 6."""

        embedding_size: PositiveInt = 64
        attention_size: PositiveInt = 16
        """Width of all heads of a layer together."""
        n_layers: LayerCount = 3
        num_heads: PositiveInt = 2
        mlp_hidden_size: tuple[PositiveInt, ...] = (128, 128)
        """Of the MLP added to the attention; empty for none."""
        dropout_probs: tuple[float, float, float] = (0.2, 0.2, 0.2)
        """Of the attention's weights, of the MLP's inputs, and of the vectors."""

        @model_validator(mode="after")
        def _whole_heads(self) -> Self:
            if self.attention_size % self.num_heads:
                raise ValueError(f"attention_size must be a multiple of num_heads, got {self.attention_size}")
            if not all(0 <= p < 1 for p in self.dropout_probs):
                raise ValueError(f"dropout_probs must be at least 0 and below 1, got {list(self.dropout_probs)}")
            return self

    config: Config

    def __init__(self, config: Config, data: TrainData) -> None:
        super().__init__(config, data)
        fields, width, of_heads = self.fields.count, config.embedding_size, config.attention_size
        weights, inputs, vectors = config.dropout_probs
        self.layers = nn.Sequential(
            *(
                FieldAttention(width if layer == 0 else of_heads, of_heads, config.num_heads, weights)
                for layer in range(config.n_layers)
            )
        )
        self.last = nn.Linear(fields * of_heads, 1)
        self.mlp = MLP([fields * width, *config.mlp_hidden_size, 1], inputs) if config.mlp_hidden_size else None
        self.dropout = nn.Dropout(vectors)

    def higher(self, vectors: Tensor) -> Tensor:
        vectors = self.dropout(vectors)
        logit = self.last(self.layers(vectors).flatten(1)).squeeze(1)
        return logit if self.mlp is None else logit + self.mlp(vectors.flatten(1)).squeeze(1)


class FieldAttention(nn.Module):
    """One interacting layer: float[B, F, width_in] -> float[B, F, width_out].

    Per head h: a_mk = softmax over k of <W_Q e_m, W_K e_k> (Eq. 5, not scaled), e~_m = sum_k a_mk W_V e_k (Eq. 6); the
    heads one behind the other, plus W_Res e_m, through a ReLU (Eq. 8).
    """

    def __init__(self, width_in: int, width_out: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.project = nn.Linear(width_in, 4 * width_out, bias=False)  # W_Q, W_K, W_V and W_Res in one product
        self.dropout = nn.Dropout(dropout)

    def forward(self, vectors: Tensor) -> Tensor:
        query, key, value, residual = self.project(vectors).chunk(4, dim=2)
        q, k, v = (x.unflatten(2, (self.heads, -1)).transpose(1, 2) for x in (query, key, value))  # [B, heads, F, .]
        weight = self.dropout((q @ k.transpose(2, 3)).softmax(3))
        return torch.relu((weight @ v).transpose(1, 2).flatten(2) + residual)
