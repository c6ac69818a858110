"""SASRec: a causal Transformer over the items of a user predicts the next one.

Kang and McAuley, Self-Attentive Sequential Recommendation, ICDM 2018; settings of section 4.
"""

from __future__ import annotations

from typing import Self

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn

from hrec.datasets.recdata import TrainData
from hrec.models.layers.rows import Rows, declare_rows
from hrec.models.sequential._base import SequentialModel, SequentialSettings
from hrec.settings import LayerCount, SequenceSettings


class SASRec(SequentialModel):
    """h of the items s_1 .. s_L: x_t = e_(s_t) + p_t (Eq. 1), then blocks of attention and a two-layer perceptron.

    x <- x + Dropout(SA(LN(x))), x <- x + Dropout(FFN(LN(x))) (section 3.3); score h_L . e_i (Eq. 6). Position p counts
    from the newest entry, so that it does not depend on the length of the sequence. The paper's loss is "bce" with one
    uniform negative; "ce" is the softmax over all items, better in later comparisons (Klenitskiy and Vasilev, Turning
    Dross Into Gold Loss, RecSys 2023).
    """

    class Config(SequentialSettings):
        """Settings of SASRec, as published for the sparse data sets (dropout .2 for the dense one) but for the loss."""

        sequences: SequenceSettings = SequenceSettings(max_length=50)
        embedding_size: PositiveInt = 50
        """d."""
        n_layers: LayerCount = 2
        """Blocks."""
        num_heads: PositiveInt = 1
        """Heads of an attention, each on a part of d."""
        inner_size: PositiveInt | None = None
        """Width within the two-layer perceptron; null: d."""
        last_norm: bool = True
        """Normalise after the last block, as in the authors' code; the paper does not say so."""
        dropout: float = Field(0.5, ge=0, lt=1)

        @model_validator(mode="after")
        def _whole_heads(self) -> Self:
            if self.embedding_size % self.num_heads:
                raise ValueError(f"embedding_size must be a multiple of num_heads, got {self.embedding_size}")
            return self

    config: Config

    def __init__(self, config: Config, data: TrainData) -> None:
        width = config.embedding_size
        super().__init__(config, data, width)
        self.positions = nn.Parameter(torch.empty(config.sequences.max_length, width).normal_(std=config.init_std))
        declare_rows(self.positions, [Rows("position", config.sequences.max_length)])
        inner = config.inner_size or width
        self.blocks = nn.ModuleList(
            Block(width, config.num_heads, inner, config.dropout) for _ in range(config.n_layers)
        )
        self.norm = nn.LayerNorm(width) if config.last_norm else nn.Identity()
        self.dropout = nn.Dropout(config.dropout)

    def hidden(self, vectors: Tensor, mask: Tensor) -> Tensor:
        length = mask.shape[1]
        x = self.dropout(vectors + self.positions[len(self.positions) - length :])
        allowed = attended(mask)
        for block in self.blocks:
            x = block(x, allowed)
        return self.norm(x)


def attended(mask: Tensor) -> Tensor:
    """bool[B, 1, L, L]: which positions (last) each position reads: entries at or before it.

    Padding reads itself, as a softmax over nothing has no value; its states are not used.
    """
    length = mask.shape[1]
    one = torch.ones(length, length, dtype=torch.bool, device=mask.device)
    return ((one.tril() & mask[:, None, :]) | torch.eye(length, dtype=torch.bool, device=mask.device))[:, None]


class Block(nn.Module):
    """float[B, L, d] -> float[B, L, d]: attention (Eq. 2-3) and a perceptron of two layers (Eq. 4), each on normalised
    inputs and added to them."""

    def __init__(self, width: int, heads: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.chance = heads, dropout
        self.before_attention, self.before_perceptron = nn.LayerNorm(width), nn.LayerNorm(width)
        self.project = nn.Linear(width, 3 * width, bias=False)  # W^Q, W^K and W^V in one product
        self.perceptron = nn.Sequential(
            nn.Linear(width, inner), nn.ReLU(), nn.Dropout(dropout), nn.Linear(inner, width), nn.Dropout(dropout)
        )
        self.dropout = nn.Dropout(dropout)
        for linear in self.modules():
            if isinstance(linear, nn.Linear):
                nn.init.xavier_uniform_(linear.weight)

    def forward(self, x: Tensor, allowed: Tensor) -> Tensor:
        """allowed bool[B, 1, L, L]: a logit where it is False is -inf."""
        x = x + self.dropout(self._attend(self.before_attention(x), allowed))
        return x + self.perceptron(self.before_perceptron(x))

    def _attend(self, x: Tensor, allowed: Tensor) -> Tensor:
        q, k, v = (a.unflatten(2, (self.heads, -1)).transpose(1, 2) for a in self.project(x).chunk(3, dim=2))
        chance = self.chance if self.training else 0.0
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=allowed, dropout_p=chance)
        return out.transpose(1, 2).flatten(2)
