"""Adapters of the vectors that items bring with them: mixtures of experts of the kind and experts of all kinds."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from pydantic import PositiveInt
from torch import Tensor, nn

from hrec.models.layers.item_vectors import ItemVectors
from hrec.models.layers.kinds import ByKind, Kinds
from hrec.settings import Settings


class ExpertSettings(Settings):
    """The experts of an adapter."""

    of_kind: PositiveInt = 2
    """n_j, experts of each kind."""
    shared: PositiveInt = 4
    """n_s, experts of all kinds."""


class Experts(nn.Module):
    """``count`` perceptrons, in - hidden - out with GELU between, each with its own weights."""

    def __init__(self, count: int, widths: tuple[int, int, int], dropout: float) -> None:
        super().__init__()
        width, hidden, size = widths
        self.count, self.hidden = count, hidden
        self.first = nn.Linear(width, count * hidden)
        self.dropout = nn.Dropout(dropout)
        self.second, self.bias = nn.Parameter(torch.empty(count, hidden, size)), nn.Parameter(torch.zeros(count, size))
        nn.init.kaiming_normal_(self.first.weight, nonlinearity="relu")
        nn.init.zeros_(self.first.bias)
        nn.init.normal_(self.second, std=hidden**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        """float[B, in] -> float[B, count, out]"""
        inner = self.dropout(F.gelu(self.first(x))).unflatten(1, (self.count, self.hidden))
        return torch.einsum("bkh,kho->bko", inner, self.second) + self.bias


class Adapter(nn.Module):
    """E = [E^j_1(m); ..; E^S_1(m); ..] softmax(G^j(m)) of the vector m of an item of kind j (UniEmbedding, Eq. 1).

    G^j is linear. Without ``experts`` one perceptron maps the vectors of all kinds. A kind of which no item has a
    vector has no experts, and its items have zeros. m is multiplied by one number for all items, so that the mean
    square of its numbers is 1. The first weights expect that: of shorter vectors all items would begin nearly the same.
    """

    scale: Tensor

    def __init__(
        self,
        vectors: ItemVectors,
        kinds: Kinds,
        experts: ExpertSettings | None,
        hidden: int,
        size: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.vectors, self.kinds, self.size = vectors, kinds, size
        square = vectors.value[vectors.known].square().mean()
        self.register_buffer("scale", torch.rsqrt(square).nan_to_num(1.0, 1.0, 1.0), persistent=False)
        widths, own = (vectors.width, hidden, size), experts.of_kind if experts else 0
        self.shared = Experts(experts.shared if experts else 1, widths, dropout)
        there = kinds.index(vectors.known.nonzero().squeeze(1)).unique().tolist() if experts else []
        names = [kinds.names[number] for number in there]
        self.own = ByKind({kind: Experts(own, widths, dropout) for kind in names})
        self.gates = ByKind({kind: nn.Linear(vectors.width, own + self.shared.count) for kind in names})

    def forward(self, item: Tensor) -> Tensor:
        """item int64[B] -> float[B, size]"""
        m = self.vectors(item) * self.scale
        shared = self.shared(m)
        if not self.own.index:
            return shared.squeeze(1)

        def of_kind(kind: str, here: Tensor) -> Tensor:
            if kind not in self.own.index:
                return shared.new_zeros(len(here), self.size)
            outputs = torch.cat([self.own[kind](m[here]), shared[here]], 1)
            return (self.gates[kind](m[here]).softmax(1)[:, :, None] * outputs).sum(1)

        return self.kinds.each(item, of_kind, self.size, every=True)
