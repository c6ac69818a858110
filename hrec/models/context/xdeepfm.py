"""xDeepFM: crosses of whole vectors by a compressed interaction network, and a multilayer perceptron.

Lian, Zhou, Zhang, Chen, Xie and Sun, xDeepFM: Combining Explicit and Implicit Feature Interactions for Recommender
Systems, KDD 2018.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import torch
from pydantic import Field, NonNegativeFloat, PositiveInt, model_validator
from torch import Tensor, nn

from hrec.datasets.recdata import TrainData
from hrec.models.context._base import ContextModel
from hrec.models.layers.context import ContextSettings
from hrec.models.layers.mlp import MLP


class xDeepFM(ContextModel):
    """score = linear + CIN + MLP (Eq. 9), each on the same vectors."""

    class Config(ContextSettings):
        """Settings of xDeepFM; widths as in DURation's Table 6."""

        embedding_size: PositiveInt = 10
        mlp_hidden_size: tuple[PositiveInt, ...] = (128, 128, 128)
        dropout_prob: float = Field(0.2, ge=0, lt=1)
        """Chance that an input of a linear layer is left out in training."""
        cin_layer_size: tuple[PositiveInt, ...] = Field((100, 100, 100), min_length=1)
        direct: bool = False
        """Every map of a layer goes to the output and to the next layer. false: half of them to each."""
        reg_weight: NonNegativeFloat = 0.0005
        """Weight of the squared norm of the weights of both networks, divided by two."""

        @model_validator(mode="after")
        def _halves(self) -> Self:
            if not self.direct and any(size % 2 for size in self.cin_layer_size[:-1]):
                raise ValueError(f"cin_layer_size must be even where direct is false, got {list(self.cin_layer_size)}")
            return self

    config: Config
    rows_at_once = 2_048  # of evaluation: the maps of a pair take d * H * F numbers

    def __init__(self, config: Config, data: TrainData) -> None:
        super().__init__(config, data)
        fields = self.fields.count
        self.cin = CompressedInteraction(fields, config.cin_layer_size, config.direct)
        self.last = nn.Linear(self.cin.width_out, 1)
        self.mlp = MLP([fields * config.embedding_size, *config.mlp_hidden_size, 1], config.dropout_prob)

    def higher(self, vectors: Tensor) -> Tensor:
        return self.last(self.cin(vectors)).squeeze(1) + self.mlp(vectors.flatten(1)).squeeze(1)

    def regularisation(self) -> dict[str, Tensor]:
        if not self.config.reg_weight:
            return {}
        weights = [p for module in (self.cin, self.mlp, self.last) for p in module.parameters() if p.dim() > 1]
        return {"reg": 0.5 * self.config.reg_weight * torch.stack([w.square().sum() for w in weights]).sum()}


class CompressedInteraction(nn.Module):
    """vectors float[B, F, d] -> float[B, width_out]: sums over d of every map that goes to the output.

    X^k_h = sum_ij W^k_hij (X^{k-1}_i * X^0_j) (Eq. 6), the map h of layer k. A map that goes on is one product of all
    crosses of each coordinate; of one that goes to the output alone the sum over d is wanted, sum_ij W^k_hij
    <X^{k-1}_i, X^0_j>, which inner products give in a d-th of the work.
    """

    def __init__(self, fields: int, sizes: Sequence[int], direct: bool) -> None:
        super().__init__()
        self.weights = nn.ParameterList()
        self.kept: list[int] = []  # maps of each layer that go on to the next
        before = fields
        for index, size in enumerate(sizes):
            weight = torch.empty(before, size, fields)
            self.weights.append(nn.Parameter(nn.init.normal_(weight, std=(before * fields) ** -0.5)))
            last = index == len(sizes) - 1
            before = 0 if last else size if direct else size // 2
            self.kept.append(before)
        self.direct = direct
        self.width_out = sum(sizes) if direct else sum(s - k for s, k in zip(sizes, self.kept, strict=True))

    def forward(self, vectors: Tensor) -> Tensor:
        first = vectors.transpose(1, 2).contiguous()  # [B, d, F]: a row for each coordinate
        x, out = first, []
        for weight, kept in zip(self.weights, self.kept, strict=True):
            of_pairs = weight.transpose(1, 2).flatten(0, 1)  # [before * F, size]
            inner = (x.transpose(1, 2) @ first).flatten(1)
            out.append(inner @ of_pairs[:, 0 if self.direct else kept :])
            if kept:
                x = (x[..., :, None] * first[..., None, :]).flatten(2) @ of_pairs[:, :kept]
        return torch.cat(out, 1)
