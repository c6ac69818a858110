"""TextVectors: the vectors that items bring with them, unchanged, as a baseline of item-to-item matching.

The row "CLIP" of Dai et al., UniEmbedding, CIKM 2024, Table 1: vectors of a text, averaged with those of an image, and
the item that is nearest to the newest one of the user.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hrec.datasets.recdata import TrainData
from hrec.models.base import Reads, Stage
from hrec.models.layers.item_vectors import ItemVectors, VectorSettings, coverage, required_vectors
from hrec.models.sequential._item_to_item import ItemToItem


class TextVectors(ItemToItem):
    """Score: the cosine of two items' vectors; 0 for an item without one. Nothing is trained."""

    class Config(VectorSettings):
        """Settings of TextVectors."""

        modalities: Literal["mean", "concat"] = "mean"
        """What becomes of several columns. mean: the vectors of an item are averaged over the columns that it has, for
        encoders of one space such as CLIP; concat: they stand one behind the other, so that their cosines add up."""

    stage_groups = ("solve",)
    reads = Reads(user={"sequence"}, item={"columns"})
    one_epoch = True
    config: Config

    def __init__(self, config: Config, data: TrainData) -> None:
        super().__init__(config, data)
        self.parts = nn.ModuleList(found := required_vectors(data, config, "TextVectors"))
        self.remarks += coverage(found)
        width = sum(v.width for v in found) if config.modalities == "concat" else _one_width(found)
        self.vectors = nn.Parameter(torch.zeros(data.n_items, width))

    def stages(self, data: TrainData) -> Iterator[Stage]:
        """One sweep."""
        yield Stage("copy", solve=self.solve, group="solve")

    @torch.no_grad()
    def solve(self) -> float:
        """Take over the vectors. There is no loss: 0."""
        values: list[Tensor] = [part.value for part in self.parts]  # type: ignore[misc]
        joined = torch.cat(values, 1) if self.config.modalities == "concat" else torch.stack(values).sum(0)
        self.vectors.copy_(F.normalize(joined, dim=1))
        return 0.0

    def item_vectors(self, item: Tensor) -> Tensor:
        """Of length 1, or zeros."""
        return self.vectors[item]


def _one_width(vectors: Sequence[ItemVectors]) -> int:
    """The width that all have. Raises ValueError where they differ."""
    if len({v.width for v in vectors}) > 1:
        widths = ", ".join(f"{v.name} {v.width}" for v in vectors)
        raise ValueError(
            f"model.modalities: vectors of different widths have no mean ({widths}). Set it to concat, or name one "
            "column in model.columns"
        )
    return vectors[0].width
