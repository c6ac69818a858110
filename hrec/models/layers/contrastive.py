"""CAT: the contrastive autoencoder over a user's vectors of all kinds (CAT-ART, Li et al., WSDM 2023)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hrec.models.losses import info_nce


class ContrastiveAutoencoder(nn.Module):
    """g = Enc([e^1; ...; e^n]), widths n d -> 5 d -> 3 d -> d with PReLU between them, and Dec as its mirror image.

    The slot of a kind that a user lacks holds the mask vector p, or with ``pad`` false zeros.
    """

    def __init__(self, n: int, width: int, pad: bool, std: float) -> None:
        super().__init__()
        widths = [n * width, 5 * width, 3 * width, width]
        self.encoder, self.decoder = _layers(widths), _layers(widths[::-1])
        self.mask = nn.Parameter(torch.empty(width))
        nn.init.normal_(self.mask, std=std)
        self.pad = pad

    def forward(self, vectors: Tensor, present: Tensor) -> Tensor:
        """g float[B, d]; vectors float[B, n, d], present bool[B, n]."""
        return self.encode(self.filled(vectors, present))

    def filled(self, vectors: Tensor, present: Tensor) -> Tensor:
        """The vectors with the values in the slots of kinds that are absent."""
        return torch.where(present[:, :, None], vectors, self.mask if self.pad else torch.zeros_like(self.mask))

    def encode(self, x: Tensor) -> Tensor:
        """float[B, n, d] -> float[B, d]"""
        return self.encoder(x.flatten(1))

    def error(self, g: Tensor, vectors: Tensor, present: Tensor) -> Tensor:
        """Mean squared error of Dec(g) over the slots of kinds that are present; 0 if there is none."""
        square = (self.decoder(g).view_as(vectors) - vectors).square().mean(2)
        return (square * present).sum() / present.sum().clamp(min=1)

    def reconstruction(self, vectors: Tensor, present: Tensor) -> dict[str, Tensor]:
        """MSE(Dec(Enc(x)), x) alone: the ablation +Autoencoder."""
        return {"reconstruction": self.error(self(vectors, present), vectors, present)}

    def loss(
        self, vectors: Tensor, present: Tensor, hidden: Tensor, weights: tuple[float, float], temperature: float
    ) -> dict[str, Tensor]:
        """w_1 InfoNCE(g, g*) + w_2 MSE(Dec(g), x) + w_2 MSE(Dec(g*), x).

        hidden int64[B]: the kind whose vector is replaced by the mask vector in x*, of which g* = Enc(x*). Both
        reconstructions are of the unmasked x. Users with fewer than two kinds take part in the first one alone.
        """
        x = self.filled(vectors, present)
        g = self.encode(x)
        terms = {"reconstruction": weights[1] * self.error(g, vectors, present)}
        some = (present.sum(1) > 1).nonzero().squeeze(1)
        if len(some):
            masked = F.one_hot(hidden[some], present.shape[1]).bool()
            seen = self.encode(torch.where(masked[:, :, None], self.mask, x[some]))
            terms["masked"] = weights[1] * self.error(seen, vectors[some], present[some])
            terms["contrastive"] = weights[0] * info_nce(g[some], seen, temperature)
        return terms


def one_of(present: Tensor) -> Tensor:
    """One present kind of each user, each as likely: bool[B, n] -> int64[B]."""
    return torch.rand(present.shape, device=present.device).masked_fill(~present, -1.0).argmax(1)


def _layers(widths: Sequence[int]) -> nn.Sequential:
    """Linear layers with PReLU between them, none behind the last."""
    layers: list[nn.Module] = []
    for a, b in pairwise(widths):
        layers += [nn.Linear(a, b), nn.PReLU()]
    return nn.Sequential(*layers[:-1])
