"""Denoising autoencoders of what items bring with them; their codes are parts of an item's vector."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from hrec.models.layers.item_vectors import ItemVectors
from hrec.models.layers.levels import Decoders, Levels, Shape
from hrec.models.layers.mlp import MLP
from hrec.models.layers.wide import Wide, masked

Activation = Literal["sigmoid", "relu", "tanh"]


class WideAutoencoder(nn.Module):
    """Of wide rows, such as bags of words: x -> widths -> x (Vincent et al., JMLR 2010; Zhang et al., KDD 2016, 4.2).

    widths: from the input to the code, which has the last; the decoder mirrors them and ends without an activation.
    noise: the chance that an input is set to 0 in training. An item without a cell has the code 0 and no loss.
    """

    known: Tensor

    def __init__(self, wide: Wide, widths: tuple[int, ...], activation: Activation, noise: float) -> None:
        super().__init__()
        self.encoder = Levels(wide, Shape(widths, activation, row_gradient=False))  # a step reads it twice
        self.decoder = Decoders(self.encoder)
        self.noise, self.depth = noise, len(widths)
        self.register_buffer("known", wide.rows.offset.diff() > 0, persistent=False)
        self._begin_at_the_mean()

    @torch.no_grad()
    def _begin_at_the_mean(self) -> None:
        """The first reconstruction is about the mean row: hidden layers of sigmoids make a large one of any."""
        last, wide = self.decoder.maps[0], self.encoder.first.wide
        assert isinstance(last, nn.Linear)
        nn.init.normal_(last.weight, std=0.1 / last.weight.numel() ** 0.5)
        last.bias.copy_(wide.column_sums() / max(int(self.known.sum()), 1))

    def forward(self, item: Tensor) -> Tensor:
        """The codes, int64[B] -> float[B, widths[-1]]"""
        return self._code(item) * self.known[item][:, None]

    def _code(self, item: Tensor) -> Tensor:
        noise = self.noise if self.training else 0.0
        return self.encoder.activation(self.encoder(item, self.depth, noise)[-1])

    def loss(self, item: Tensor) -> Tensor:
        """Squared error of a row, summed over its width, mean over the items int64[B]."""
        made, wanted = self.decoder(self.encoder, self._code(item)), self.encoder.first.wide.dense(item)
        return ((made - wanted).square().sum(1) * self.known[item]).mean()


class VectorAutoencoder(nn.Module):
    """Of item vectors: x -> hidden -> code -> hidden -> x, ReLU behind the hidden layers.

    noise: the chance that an input is set to 0 in training. An item without a vector has the code 0 and no loss. std:
    the deviation of the numbers of the first codes, so that they do not drown the vectors that they are added to.
    """

    def __init__(self, vectors: ItemVectors, hidden: int, size: int, noise: float, std: float) -> None:
        super().__init__()
        self.vectors, self.noise = vectors, noise
        self.encoder, self.decoder = MLP((vectors.width, hidden, size)), MLP((size, hidden, vectors.width))
        with torch.no_grad():
            first = self.encoder(vectors.value[vectors.known]).square().mean().sqrt()
            last = self.encoder.layers[-1]
            assert isinstance(last, nn.Linear)
            last.weight.mul_(std / first if first > 0 else 1.0)

    def forward(self, item: Tensor) -> Tensor:
        """The codes, int64[B] -> float[B, size]"""
        return self._code(item) * self.vectors.known[item][:, None]

    def _code(self, item: Tensor) -> Tensor:
        x = self.vectors(item)
        return self.encoder(masked(x, self.noise) if self.training and self.noise else x)

    def loss(self, item: Tensor) -> Tensor:
        """Squared error of a vector, summed over its numbers, mean over the items int64[B]."""
        missed = (self.decoder(self._code(item)) - self.vectors(item)).square().sum(1)
        return (missed * self.vectors.known[item]).mean()
