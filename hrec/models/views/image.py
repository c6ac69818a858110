"""The view of images, and of any other vectors of items: a decoder predicts the vector (JRL, section 3.3, Eq. 4).

    L_2 = sum over R of |ELU(A p_v + b) - x_v|^2,  A [D, K]

lambda_2 belongs to the paper's 4,096 numbers: for D numbers it is 1e-4 * 4096 / D unless ``weight`` says another.
Items without a vector are not in L_2; the authors' program trains their decoder towards 0.
"""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from pydantic import NonNegativeFloat
from torch import Tensor, nn

from hrec.datasets.batches import Pairs
from hrec.datasets.recdata import TrainData
from hrec.models.layers.item_vectors import ItemVectors, VectorSettings, item_vectors, vector_columns
from hrec.models.views.of_items import ItemView
from hrec.models.views.view import Shared, ViewSettings, named

PUBLISHED = 1e-4 * 4096
"""lambda_2 times the width of the vectors, in the paper."""


class ImageSettings(ViewSettings):
    """Settings of a view of item vectors."""

    column: str | None = None
    """Column of items with the vectors; null: the only one with vectors."""
    scale: Literal["unit", "standard", "max", "raw"] = "standard"
    """standard: each number has mean 0 and deviation 1 over the items, as lambda_2 assumes; unit: vectors of length 1;
    max: numbers are divided by the largest of their column; raw: as in the file (the paper)."""
    weight: NonNegativeFloat | None = None  # type: ignore[assignment]
    """lambda_2; null: 1e-4 * 4096 / D for vectors of D numbers."""


class ImageView(ItemView):
    """View V_2."""

    Config = ImageSettings
    config: ImageSettings

    def __init__(self, name: str, config: ImageSettings, data: TrainData, shared: Shared) -> None:
        vectors = _vectors(name, config, data)
        super().__init__(name, config, data, shared, vectors.known.numpy())
        self.vectors = vectors
        self.decoder = nn.Linear(shared.size, vectors.width)
        if config.weight is None:
            self.config = config.model_copy(update={"weight": PUBLISHED / vectors.width})

    @classmethod
    def found_in(cls, data: TrainData) -> dict[str, ViewSettings]:
        views = named("image", vector_columns(data))
        return {name: ImageSettings(of="image", column=column) for name, column in views.items()}

    def own_loss(self, batch: Pairs) -> Tensor:
        item = batch.positive[self.known[batch.positive]]
        miss = F.elu(self.decoder(self.entities.rows(item))) - self.vectors(item)
        return miss.square().sum() / len(batch)

    @property
    def remark(self) -> str:
        return str(self.vectors)


def _vectors(name: str, config: ImageSettings, data: TrainData) -> ItemVectors:
    """The vectors of the view. Raises ValueError if there are none, or several columns of them."""
    columns = None if config.column is None else (config.column,)
    found = item_vectors(data, VectorSettings(columns=columns, scale=config.scale), f"model.views.{name}.column")
    if len(found) != 1:
        there = ", ".join(v.name for v in found) or "none"
        raise ValueError(
            f"model.views.{name} needs one column of item vectors, and '{data.name}' has {there}; name one in "
            f"model.views.{name}.column, or leave the view out"
        )
    return found[0]
