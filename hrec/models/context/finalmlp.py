"""FinalMLP: two perceptrons on differently gated fields, whose outputs are multiplied.

Mao, Zhu, Su, Cai, Li and Dong, FinalMLP: An Enhanced Two-Stream MLP Model for CTR Prediction, AAAI 2023.
"""

from __future__ import annotations

from typing import Self

import torch
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn

from hrec.datasets.recdata import TrainData
from hrec.models.context._ranking import RankingModel, RankingModelSettings
from hrec.models.layers.deep import Deep, xavier


class FinalMLP(RankingModel):
    """logit = b + w_1^T o_1 + w_2^T o_2 + sum_k o_1k^T W_k o_2k, o_s = MLP_s(g_s * x), x all fields.

    g_s = 2 sigmoid(MLP(the fields of context s)), of each number of x ("stream-specific feature selection"); without a
    context, of a trained vector. The sum over heads k is "stream-level interaction aggregation". In FuxiCTR a gate has
    its own table for the fields of its context; here it reads the vectors in x.
    """

    class Config(RankingModelSettings):
        """Settings of FinalMLP; widths as BARS's for Frappe, which has batch_norm and dropout .4 besides."""

        mlp1_hidden_size: tuple[PositiveInt, ...] = Field((400,), min_length=1)
        """Of the first stream."""
        mlp2_hidden_size: tuple[PositiveInt, ...] = Field((100,), min_length=1)
        """Of the second stream."""
        num_heads: PositiveInt = 5
        """Parts of the streams' outputs, of which each has a W_k."""
        feature_selection: bool = True
        """Gates; false: both streams read x itself."""
        gate_hidden_size: tuple[PositiveInt, ...] = (400,)
        """Of the perceptrons of the gates."""
        context1: tuple[str, ...] = ("user id",)
        """The fields, by the names in the log, that the first gate reads; empty: a trained vector."""
        context2: tuple[str, ...] = ("item id",)
        """The same of the second gate."""
        dropout2: float | None = Field(None, ge=0, lt=1)
        """Of the second stream; null: dropout."""

        @model_validator(mode="after")
        def _whole_heads(self) -> Self:
            for name, widths in (
                ("mlp1_hidden_size", self.mlp1_hidden_size),
                ("mlp2_hidden_size", self.mlp2_hidden_size),
            ):
                if widths[-1] % self.num_heads:
                    raise ValueError(f"the last of {name} must be a multiple of num_heads, got {widths[-1]}")
            return self

    config: Config

    def __init__(self, config: Config, data: TrainData) -> None:
        super().__init__(config, data)
        chances = (config.dropout, config.dropout if config.dropout2 is None else config.dropout2)
        streams = zip((config.mlp1_hidden_size, config.mlp2_hidden_size), chances, strict=True)
        self.streams = nn.ModuleList(
            Deep([self.width, *widths], batch_norm=config.batch_norm, dropout=chance) for widths, chance in streams
        )
        self.fusion = Fusion(config.mlp1_hidden_size[-1], config.mlp2_hidden_size[-1], config.num_heads)
        self.gates: nn.ModuleList | None = None
        if config.feature_selection:
            contexts = {"context1": config.context1, "context2": config.context2}
            self.gates = nn.ModuleList(self._gate(setting, names) for setting, names in contexts.items())

    def _gate(self, setting: str, names: tuple[str, ...]) -> Gate:
        """The gate that reads these fields. Raises ValueError for a field that is not there."""
        known = [*self.fields.names["user"], *self.fields.names["item"]]
        if unknown := [name for name in names if name not in known]:
            raise ValueError(f"model.{setting}: no field '{unknown[0]}'. Fields: {', '.join(known)}")
        fields = [i for i, name in enumerate(known) if name in names]
        return Gate(fields, self.fields.width, self.config.gate_hidden_size, self.width)

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        x = self.pairs(user, item)
        gated = [x, x] if self.gates is None else [x * gate(x) for gate in self.gates]
        return self.fusion(*(stream(part) for stream, part in zip(self.streams, gated, strict=True)))


class Gate(nn.Module):
    """x float[B, width] -> 2 sigmoid(MLP(some fields of x)), float[B, width]; between 0 and 2, about 1 at first.

    fields: which fields, of ``size`` numbers each; none: a trained vector of ``size``.
    """

    at: Tensor

    def __init__(self, fields: list[int], size: int, hidden: tuple[int, ...], width: int) -> None:
        super().__init__()
        at = [place for field in fields for place in range(field * size, (field + 1) * size)]
        self.register_buffer("at", torch.tensor(at, dtype=torch.int64), persistent=False)
        self.vector = None if at else nn.Parameter(torch.empty(size).normal_())
        self.mlp = Deep([len(at) or size, *hidden])
        self.last = xavier(nn.Linear(self.mlp.width_out, width))

    def forward(self, x: Tensor) -> Tensor:
        context = x[:, self.at] if self.vector is None else self.vector.expand(len(x), -1)
        return 2 * torch.sigmoid(self.last(self.mlp(context)))


class Fusion(nn.Module):
    """float[B, d_1], float[B, d_2] -> b + w_1^T x + w_2^T y + sum_k x_k^T W_k y_k, float[B], x_k and y_k the
    parts of K heads; weight float[K, d_1 / K, d_2 / K]."""

    def __init__(self, first: int, second: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.of_first, self.of_second = (xavier(nn.Linear(width, 1)) for width in (first, second))
        a, b = first // heads, second // heads
        # Xavier's deviation of one long row, as in FuxiCTR: the sum has as many terms, and is no larger than w^T o
        self.weight = nn.Parameter(torch.empty(heads, a, b).normal_(std=(2 / (heads * a * b + 1)) ** 0.5))

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        x, y = (part.unflatten(1, (self.heads, -1)) for part in (first, second))
        product = torch.einsum("bki,kij,bkj->b", x, self.weight, y)
        return (self.of_first(first) + self.of_second(second)).squeeze(1) + product
