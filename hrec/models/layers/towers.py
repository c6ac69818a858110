"""Two-tower models: their settings, and a tower, an MLP with its own number that is added to the score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn

from hrec.models.layers.histories import HistorySettings
from hrec.models.layers.mlp import MLP
from hrec.settings import Settings


class TowerWidths(Settings):
    """Widths of embeddings and of two towers that end in an inner product (DURation's Table 6)."""

    user_emb_size: PositiveInt = 64
    item_emb_size: PositiveInt = 64
    user_hidden_size_list: tuple[PositiveInt, ...] = (64, 64)
    item_hidden_size_list: tuple[PositiveInt, ...] = (64, 64)

    @model_validator(mode="after")
    def _same_width(self) -> Self:
        left, right = self.user_hidden_size_list, self.item_hidden_size_list
        if not left or not right or left[-1] != right[-1]:
            raise ValueError(
                "user_hidden_size_list and item_hidden_size_list must end in the same width for an inner product, "
                f"got {list(left)} and {list(right)}"
            )
        return self


class TwoTowerSettings(TowerWidths):
    """Settings that two-tower models on histories share; widths as published (DURation's Table 6)."""

    variant: Literal["hrec", "paper"] = "hrec"
    """paper: ReLU on the last layer, no bias, no dropout, plain sums; a key that is given wins over the variant."""
    dropout: float = Field(0.2, ge=0, lt=1)
    """Chance that an input of a tower's linear layer is left out in training."""
    last_relu: bool = False
    """ReLU on the last layer of both towers; then no score without a bias is negative."""
    bias: bool = True
    """Each tower adds its own number to the score."""
    history: HistorySettings = HistorySettings()

    paper: ClassVar[dict[str, Any]] = {
        "last_relu": True,
        "bias": False,
        "dropout": 0.0,
        "history": {"scale": "sum", "summary": False, "dropout": 0.0},
    }
    """What the variant 'paper' fills in."""

    @model_validator(mode="before")
    @classmethod
    def _fill_variant(cls, values: Any) -> Any:
        if not isinstance(values, dict) or values.get("variant") != "paper":
            return values
        filled = cls.paper | values
        if isinstance(filled["history"], dict):
            filled["history"] = cls.paper["history"] | filled["history"]
        return filled


class Tower(nn.Module):
    """[B, width_in] -> [B, widths[-1]], or two columns more with ``bias``.

    With a bias the score is <u, x> + b_u(input) + b_x(input), both linear, written as one inner product:
    the left tower gives [u, b_u, 1] and the right one [x, 1, b_x].
    """

    def __init__(self, width_in: int, widths: Sequence[int], settings: TwoTowerSettings) -> None:
        super().__init__()
        self.mlp = MLP([width_in, *widths], settings.dropout, settings.last_relu)
        self.bias = nn.Linear(width_in, 1) if settings.bias else None
        if self.bias is not None:
            nn.init.zeros_(self.bias.weight)
            nn.init.zeros_(self.bias.bias)

    def as_left(self, x: Tensor) -> Tensor:
        """The vectors of the left side of the inner product."""
        if self.bias is None:
            return self.mlp(x)
        own = self.bias(x)
        return torch.cat([self.mlp(x), own, torch.ones_like(own)], 1)

    def as_right(self, x: Tensor) -> Tensor:
        """The vectors of the right side of the inner product."""
        if self.bias is None:
            return self.mlp(x)
        own = self.bias(x)
        return torch.cat([self.mlp(x), torch.ones_like(own), own], 1)
