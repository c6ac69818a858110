"""ART: what a target kind takes from the other kinds and the global vector (CAT-ART, Li et al., WSDM 2023)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SourceMaps(nn.Module):
    """A_s e^s + b_s for each source kind s."""

    def __init__(self, sources: int, width: int, zero: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(sources, width, width))
        self.bias = nn.Parameter(torch.zeros(sources, width))
        if not zero:
            nn.init.uniform_(self.weight, -(width**-0.5), width**-0.5)  # as nn.Linear does

    def forward(self, vectors: Tensor) -> Tensor:
        """float[B, s, d] -> float[B, s, d]"""
        return torch.einsum("bsd,sed->bse", vectors, self.weight) + self.bias


class Attention(nn.Module):
    """W_o sum_s w_s W_v A_s e^s with w = softmax_s(W_q e^t . W_k A_s e^s / sqrt(d)) over the sources that are present.

    One head; dropout on w. 0 where no source is present. W_k has no bias, as it would cancel from the softmax, and W_o
    none, as the map of the global vector has one. ``zero``: W_o starts at 0.
    """

    def __init__(self, sources: int, width: int, dropout: float, zero: bool) -> None:
        super().__init__()
        self.maps = SourceMaps(sources, width)
        self.query, self.value = nn.Linear(width, width), nn.Linear(width, width)
        self.key, self.out = nn.Linear(width, width, bias=False), nn.Linear(width, width, bias=False)
        self.dropout = nn.Dropout(dropout)
        if zero:
            nn.init.zeros_(self.out.weight)

    def forward(self, target: Tensor, vectors: Tensor, present: Tensor) -> Tensor:
        """target float[B, d], vectors float[B, s, d], present bool[B, s] -> float[B, d]"""
        sources = self.maps(vectors)
        weight = self.dropout(self.weights(target, sources, present))
        # rows of w sum to 1 and v has a bias: without a source the sum would not be 0
        return self.out((weight[:, :, None] * self.value(sources)).sum(1))

    def weights(self, target: Tensor, sources: Tensor, present: Tensor) -> Tensor:
        """w float[B, s]; a row without a source is 0."""
        logit = torch.einsum("bd,bsd->bs", self.query(target), self.key(sources)) / target.shape[1] ** 0.5
        logit = logit.masked_fill(~present, torch.finfo(logit.dtype).min)  # -inf would be NaN in a row of nothing else
        return torch.softmax(logit, 1) * present


class Mean(nn.Module):
    """The mean of A_s e^s over the sources that are present: the ablation -Attention. ``zero``: A_s starts at 0."""

    def __init__(self, sources: int, width: int, dropout: float, zero: bool) -> None:
        super().__init__()
        self.maps = SourceMaps(sources, width, zero)

    def forward(self, target: Tensor, vectors: Tensor, present: Tensor) -> Tensor:
        """target float[B, d], vectors float[B, s, d], present bool[B, s] -> float[B, d]"""
        share = present / present.sum(1, keepdim=True).clamp(min=1)
        return (share[:, :, None] * self.maps(vectors)).sum(1)


class Nothing(nn.Module):
    """No source: the ablations +Autoencoder and +Contrastive, which add the global vector alone."""

    def __init__(self, sources: int, width: int, dropout: float, zero: bool) -> None:
        super().__init__()

    def forward(self, target: Tensor, vectors: Tensor, present: Tensor) -> Tensor:
        """float[B, d], zeros"""
        return torch.zeros_like(target)


SOURCES: dict[str, type[Attention] | type[Mean] | type[Nothing]] = {
    "attention": Attention,
    "mean": Mean,
    "none": Nothing,
}


class Transfer(nn.Module):
    """a_u + W_g g_u + b of one target kind. ``zero``: W_g and b start at 0, so that it adds nothing at first."""

    def __init__(self, target: int, n: int, width: int, sources: str, dropout: float, zero: bool) -> None:
        super().__init__()
        self.target, self.others = target, [s for s in range(n) if s != target]
        self.sources = SOURCES[sources](n - 1, width, dropout, zero)
        self.map = nn.Linear(width, width)
        if zero:
            for p in self.map.parameters():
                nn.init.zeros_(p)

    def forward(self, target: Tensor, vectors: Tensor, present: Tensor, g: Tensor) -> Tensor:
        """target float[B, d]: the user's own vector; vectors float[B, n, d] and present bool[B, n] of all kinds, g
        float[B, d] -> float[B, d]"""
        return self.sources(target, vectors[:, self.others], present[:, self.others]) + self.map(g)
