"""DCNv2: crosses with a matrix, full or of low rank, under or next to a multilayer perceptron.

Wang, Shivanna, Cheng, Jain, Lin, Hong and Chi, DCN V2: Improved Deep & Cross Network and Practical Lessons for
Web-scale Learning to Rank Systems, WWW 2021.
"""

from __future__ import annotations

from typing import Self

import torch
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn

from hrec.datasets.recdata import TrainData
from hrec.models.context._ranking import RankingModel, RankingModelSettings
from hrec.models.layers.deep import Deep, xavier
from hrec.settings import LayerCount


class DCNv2(RankingModel):
    """x_(l+1) = x_0 * (W_l x_l + b_l) + x_l, * by number; with rank W = U V^T, with experts a mixture.

    Parallel: the logit is linear in [x_L, MLP(x_0)]; stacked: in MLP(x_L).
    """

    class Config(RankingModelSettings):
        """Settings of DCNv2; widths as BARS's for Frappe, which has batch_norm and dropout .4 besides."""

        cross_layers: LayerCount = 4
        rank: PositiveInt | None = None
        """Columns of U and V; null: W has full rank."""
        experts: PositiveInt | None = None
        """Low-rank crosses that a softmax mixes in each layer, with tanh within; null: one, without gate and tanh."""
        stacked: bool = False
        """The perceptron stands on the crosses, instead of next to them."""
        mlp_hidden_size: tuple[PositiveInt, ...] = Field((400, 400, 400), min_length=1)

        @model_validator(mode="after")
        def _experts_are_of_low_rank(self) -> Self:
            if self.experts is not None and self.rank is None:
                raise ValueError("'experts' are of low rank; set 'rank'")
            return self

    config: Config

    def __init__(self, config: Config, data: TrainData) -> None:
        super().__init__(config, data)
        self.crosses = nn.ModuleList(cross(self.width, config.rank, config.experts) for _ in range(config.cross_layers))
        widths = [self.width, *config.mlp_hidden_size]
        self.mlp = Deep(widths, batch_norm=config.batch_norm, dropout=config.dropout)
        self.last = xavier(nn.Linear(self.mlp.width_out + self.width * (not config.stacked), 1))

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        first = x = self.pairs(user, item)
        for layer in self.crosses:
            x = layer(first, x)
        x = self.mlp(x) if self.config.stacked else torch.cat([x, self.mlp(first)], 1)
        return self.last(x).squeeze(1)


def cross(width: int, rank: int | None, experts: int | None) -> nn.Module:
    """A layer x_0, x_l float[B, width] -> x_(l+1)."""
    if rank is None:
        return Cross(xavier(nn.Linear(width, width)))
    if experts is None:
        return Cross(nn.Sequential(nn.Linear(width, rank, bias=False), xavier(nn.Linear(rank, width))))
    return MixedCross(width, rank, experts)


class Cross(nn.Module):
    """x_0 * f(x_l) + x_l, f linear."""

    def __init__(self, linear: nn.Module) -> None:
        super().__init__()
        self.linear = linear

    def forward(self, first: Tensor, x: Tensor) -> Tensor:
        return first * self.linear(x) + x


class MixedCross(nn.Module):
    """sum_i G_i(x_l) E_i(x_l) + x_l, E_i = x_0 * (U_i g(C_i g(V_i^T x_l)) + b), g = tanh, G = softmax(W_g x_l)
    ("mixture of low-rank DCN").

    v float[K, width, rank], c float[K, rank, rank], u float[K, rank, width]
    """

    def __init__(self, width: int, rank: int, experts: int) -> None:
        super().__init__()
        self.v, self.c, self.u = (
            nn.Parameter(torch.empty(experts, a, b).normal_(std=(2 / (a + b)) ** 0.5))
            for a, b in ((width, rank), (rank, rank), (rank, width))
        )
        self.bias = nn.Parameter(torch.zeros(width))
        self.gate = nn.Linear(width, experts, bias=False)

    def forward(self, first: Tensor, x: Tensor) -> Tensor:
        inner = torch.tanh(torch.tanh(x @ self.v) @ self.c)  # [K, B, rank]
        each = first * (inner @ self.u + self.bias)
        return torch.einsum("bk,kbd->bd", self.gate(x).softmax(1), each) + x
