"""A multilayer perceptron."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn


class MLP(nn.Module):
    """Linear layers of the given widths with ReLU between them; ``last_relu`` puts one after the last too.

    Dropout stands before each linear layer, as in the published code. Weights: He initialisation, biases zero.
    """

    def __init__(self, widths: Sequence[int], dropout: float = 0.0, last_relu: bool = False) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for i, (a, b) in enumerate(pairwise(widths)):
            if dropout:
                layers.append(nn.Dropout(dropout))
            linear = nn.Linear(a, b)
            nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
            nn.init.zeros_(linear.bias)
            layers.append(linear)
            if last_relu or i < len(widths) - 2:
                layers.append(nn.ReLU())
        self.layers = nn.Sequential(*layers)
        self.width_in, self.width_out = widths[0], widths[-1]

    def forward(self, x: Tensor) -> Tensor:
        """[B, widths[0]] -> [B, widths[-1]]"""
        return self.layers(x)


class Constant(nn.Module):
    """One trained vector for every row, in the place of an MLP if there is nothing to read.

    std: deviation of its first numbers. The product of two vectors that are 0 gives neither a gradient.
    """

    def __init__(self, width: int, std: float = 0.0) -> None:
        super().__init__()
        self.vector = nn.Parameter(torch.zeros(width))
        if std:
            nn.init.normal_(self.vector, std=std)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 0] -> [B, width]"""
        return self.vector.expand(len(x), -1)


def mlp_or_constant(
    widths: Sequence[int], dropout: float = 0.0, std: float = 0.0, last_relu: bool = False
) -> MLP | Constant:
    """An MLP of these widths, or where the first is 0 a ``Constant`` of the last, with ``std``."""
    return MLP(widths, dropout, last_relu) if widths[0] else Constant(widths[-1], std)
