"""Perceptrons as models of clicks have them: batch normalisation, ReLU or Dice, dropout behind each layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Activation = Literal["relu", "dice"]


class BatchNorm(nn.BatchNorm1d):
    """Batch normalisation; a batch of one row or none has no deviation, and is measured as in evaluation."""

    def forward(self, x: Tensor) -> Tensor:
        if len(x) > 1:
            return super().forward(x)
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)


class Dice(nn.Module):
    """p x + (1 - p) alpha x, p = sigmoid((x - E[x]) / sqrt(Var[x] + eps)), float[B, width] (DIN, "data adaptive
    activation function").

    alpha is trained, of each number, and begins at 0. E and Var are those of the batch; in evaluation, of training.
    """

    def __init__(self, width: int, eps: float = 1e-9) -> None:
        super().__init__()
        self.norm = BatchNorm(width, eps=eps, affine=False)
        self.alpha = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        p = torch.sigmoid(self.norm(x))
        return p * x + (1 - p) * self.alpha * x


ACTIVATIONS: dict[str, Callable[[int], nn.Module]] = {"relu": lambda width: nn.ReLU(), "dice": Dice}


class Deep(nn.Module):
    """float[B, widths[0]] -> float[B, widths[-1]]: linear, batch normalisation, activation and dropout for each width.

    Weights: Xavier's deviation, biases 0. Of a single width it is the identity.
    """

    def __init__(
        self,
        widths: Sequence[int],
        activation: Activation = "relu",
        batch_norm: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for a, b in pairwise(widths):
            layers.append(xavier(nn.Linear(a, b)))
            layers += [BatchNorm(b)] if batch_norm else []
            layers += [ACTIVATIONS[activation](b), nn.Dropout(dropout)]
        self.layers = nn.Sequential(*layers)
        self.width_out = widths[-1]

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def xavier(linear: nn.Linear) -> nn.Linear:
    """The layer with Xavier's normal weights and biases 0."""
    nn.init.xavier_normal_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear
