"""One side of a two-tower model: an MLP, and a number of its own that is added to the inner product."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hrec.models.layers.mlp import MLP


class Tower(nn.Module):
    """[B, width_in] -> [B, widths[-1]], or two columns more with ``bias``.

    With a bias the score is <u, x> + b_u(input) + b_x(input), both linear, written as one inner product:
    the left tower gives [u, b_u, 1] and the right one [x, 1, b_x].
    """

    def __init__(self, width_in: int, widths: Sequence[int], dropout: float, last_relu: bool, bias: bool) -> None:
        super().__init__()
        self.mlp = MLP([width_in, *widths], dropout, last_relu)
        self.bias = nn.Linear(width_in, 1) if bias else None
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


def same_width(user: Sequence[int], item: Sequence[int]) -> None:
    """Raises ValueError when the two sides of an inner product differ in width."""
    if not user or not item or user[-1] != item[-1]:
        raise ValueError(
            "user_hidden_size_list and item_hidden_size_list must end in the same width for an inner product, "
            f"got {list(user)} and {list(item)}"
        )
