"""A trained linear map of the vectors that items bring with them."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from hrec.datasets.recdata import TrainData
from hrec.models.layers.item_vectors import ItemVectors, VectorSettings, item_vectors

Scale = Literal["unit", "standard", "max", "raw"]
"""As ``VectorSettings.scale``."""


class VectorAdapter(nn.Module):
    """item int64[...] -> float[..., width]: W v of the item's vector v, a trained vector for an item without one.

    Kinds whose vectors have other widths have their own W. std: the deviation of the numbers of the first W v.
    """

    def __init__(self, vectors: list[ItemVectors], width: int, std: float) -> None:
        super().__init__()
        self.vectors = nn.ModuleList(vectors)
        self.maps = nn.ModuleList(nn.Linear(v.width, width, bias=False) for v in vectors)
        self.missing = nn.Parameter(torch.empty(width).normal_(std=std))
        with torch.no_grad():
            for v, linear in zip(vectors, self.maps, strict=True):
                nn.init.normal_(linear.weight)  # type: ignore[arg-type]
                size = v.value[v.known].square().sum(1).mean().sqrt() if bool(v.known.any()) else 0.0
                linear.weight.mul_(std / max(float(size), 1e-12))  # type: ignore[operator]

    @classmethod
    def of(cls, data: TrainData, column: str, scale: Scale, width: int, std: float, setting: str) -> VectorAdapter:
        """Of one column. Raises ValueError, with the name of the setting, where no kind has it or it has no vectors."""
        return cls(vectors_of(data, column, scale, setting), width, std)

    def forward(self, item: Tensor) -> Tensor:
        known = torch.stack([v.known[item] for v in self.vectors]).any(0)  # type: ignore[index]
        mapped = [linear(v(item)) for v, linear in zip(self.vectors, self.maps, strict=True)]
        return torch.stack(mapped).sum(0) + (~known)[..., None] * self.missing


def vectors_of(data: TrainData, column: str, scale: Scale, setting: str) -> list[ItemVectors]:
    """The vectors of one column, one block for kinds with vectors of the same width."""
    return item_vectors(data, VectorSettings(columns=(column,), scale=scale), setting)
