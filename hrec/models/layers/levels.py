"""A stack of layers over a wide input whose every level can be read, and the decoders that pretrain it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hrec.models.layers.bags import Cells
from hrec.models.layers.wide import Wide, WideLinear, masked

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "relu": torch.relu,
    "linear": lambda x: x,
}
"""What stands behind a linear layer, by its name in the settings."""


@dataclass(frozen=True)
class Shape:
    """What the layers of a stack look like, from the bottom up.

    gain: about the deviation of the first sums of the lowest level. row_gradient: see WideLinear.sparse_gradient.
    """

    widths: Sequence[int]
    activation: str = "tanh"
    dropout: float = 0.0
    batch_norm: bool = False
    gain: float = 1.0
    row_gradient: bool = True


class Levels(nn.Module):
    """Level 1 reads rows of a wide input, each level above reads the one below; dropout stands before those."""

    def __init__(self, wide: Wide, shape: Shape) -> None:
        super().__init__()
        self.widths = tuple(shape.widths)
        self.first = WideLinear(wide, shape.widths[0], shape.gain, shape.row_gradient)
        self.above = nn.ModuleList(_linear(a, b) for a, b in pairwise(shape.widths))
        self.norms = nn.ModuleList(_norm(width, shape) for width in shape.widths)
        self.dropout = nn.Dropout(shape.dropout)
        self.activation = ACTIVATIONS[shape.activation]

    def forward(self, row: Tensor, depth: int, noise: float = 0.0, hidden: Tensor | None = None) -> list[Tensor]:
        """The sums of the lowest ``depth`` levels before their activation, [B, width] each; the rest as WideLinear."""
        return self._upwards(self.first(row, noise, hidden), depth)

    def of_cells(self, cells: Cells, depth: int) -> list[Tensor]:
        """The same for cells of rows that need not be rows of the input; without noise."""
        return self._upwards(self.first.of_cells(cells), depth)

    def _upwards(self, lowest: Tensor, depth: int) -> list[Tensor]:
        sums = [self.norms[0](lowest)]
        for level in range(1, depth):
            sums.append(self.sum_above(level, self.dropout(self.activation(sums[-1]))))
        return sums

    def clean(self, row: Tensor, depth: int) -> Tensor:
        """The activations of level ``depth``, counted from 1, without noise and dropout, [B, width]."""
        code = self.activation(self.norms[0](self.first(row)))
        for level in range(1, depth):
            code = self.activation(self.sum_above(level, code))
        return code

    def sum_above(self, level: int, below: Tensor) -> Tensor:
        """The sum of level ``level``, counted from 0, at least 1, out of the activations below it."""
        return self.norms[level](self.above[level - 1](below))

    def parts(self, depth: int) -> list[nn.Parameter]:
        """The weights of the lowest ``depth`` levels."""
        return [p for level in range(depth) for p in self.level_parts(level)]

    def level_parts(self, level: int) -> list[nn.Parameter]:
        """The weights of one level, counted from 0."""
        layer = self.above[level - 1] if level else self.first
        return [*layer.parameters(), *self.norms[level].parameters()]


class Decoders(nn.Module):
    """For each level a linear map back to what the level reads, to pretrain it as a denoising autoencoder.

    Vincent et al., Stacked Denoising Autoencoders, JMLR 2010, section 3: greedy, level by level, masking noise on what
    a level reads, squared error of what it makes of it.
    """

    def __init__(self, levels: Levels, output: str = "linear") -> None:
        super().__init__()
        self.maps = nn.ModuleList(_linear(b, a) for a, b in pairwise((levels.first.wide.width, *levels.widths)))
        self.output = ACTIVATIONS[output]

    def loss(self, levels: Levels, level: int, row: Tensor, noise: float) -> Tensor:
        """Squared error of level ``level``, counted from 0, summed over what it reads, mean over the rows int64[B].

        The levels below are frozen. The target is their clean output: noise and dropout are applied to the input only.
        """
        if level == 0:
            wanted, out = levels.first.wide.dense(row), self.output
            (here,) = levels(row, 1, noise)
        else:
            with torch.no_grad():
                wanted, out = levels.clean(row, level), levels.activation
            here = levels.sum_above(level, levels.dropout(masked(wanted, noise)))
        made = out(self.maps[level](levels.dropout(levels.activation(here))))
        return (made - wanted).square().sum() / len(row)

    def forward(self, levels: Levels, code: Tensor) -> Tensor:
        """From the activations of the top level all the way down, [B, widths[-1]] -> [B, width of the input]."""
        for level in range(len(self.maps) - 1, 0, -1):
            code = levels.activation(self.maps[level](levels.dropout(code)))
        return self.output(self.maps[0](levels.dropout(code)))


def _linear(a: int, b: int) -> nn.Linear:
    """Glorot and Bengio's first weights, AISTATS 2010, Eq. 16; the bias is 0."""
    layer = nn.Linear(a, b)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


class _BatchNorm(nn.BatchNorm1d):
    """Of a batch of one row, which has no variance, the running one is taken."""

    def forward(self, x: Tensor) -> Tensor:
        if self.training and len(x) == 1:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(x)


def _norm(width: int, shape: Shape) -> nn.Module:
    if not shape.batch_norm:
        return nn.Identity()
    norm = _BatchNorm(width)
    nn.init.constant_(norm.weight, shape.gain)
    return norm
