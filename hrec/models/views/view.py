"""The parent of every view: its own entities, its own loss L_k, its own vectors of users and items."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import NonNegativeFloat
from torch import Tensor, nn

from hrec.datasets.batches import Pairs
from hrec.datasets.recdata import TrainData
from hrec.datasets.samplers import positive_rows
from hrec.models.layers.bags import EmbeddingTable
from hrec.models.layers.pairs import items_of
from hrec.settings import Settings

NAME = re.compile(r"\w+")
"""Of a view."""
EntityGradient = Literal["full", "own_loss"]


class ViewSettings(Settings):
    """What every view may be given."""

    of: str | None = None
    """The registered view that this is an instance of; null: the one of the same name."""
    weight: NonNegativeFloat = 1.0
    """lambda_k, the weight of the view's own loss L_k."""


@dataclass(frozen=True)
class Shared:
    """What all views of a model have in common. size: K. half_width: of the uniform first entities."""

    size: int
    half_width: float
    exclude_target: bool
    entity_gradient: EntityGradient

    @property
    def fixed(self) -> bool:
        """Whether the ranking loss leaves the entities as they are (Eq. 9 taken literally)."""
        return self.entity_gradient == "own_loss"

    def table(self, rows: int) -> EmbeddingTable:
        """Vectors of width K, uniform around 0."""
        table = EmbeddingTable(rows, self.size, 0.0)
        nn.init.uniform_(table.weight, -self.half_width, self.half_width)
        return table


class View(nn.Module, ABC):
    """One view V_k. A user or item without an entity has the vector 0: score 0 in this view, and no gradient."""

    Config: ClassVar[type[ViewSettings]] = ViewSettings

    def __init__(self, name: str, config: ViewSettings, data: TrainData, shared: Shared) -> None:
        super().__init__()
        self.name, self.config, self.settings, self.shared = name, config, config, shared

    @classmethod
    def found_in(cls, data: TrainData) -> dict[str, ViewSettings]:
        """The views of this class that the data can give, by name; what ``views: null`` takes."""
        return {}

    @abstractmethod
    def own_loss(self, batch: Pairs) -> Tensor:
        """L_k of the pairs, to be minimised: a mean over the batch, without lambda_k. float[]"""

    @abstractmethod
    def user_vectors(self, user: Tensor) -> Tensor:
        """u_k, int64[B] -> float[B, K]"""

    @abstractmethod
    def item_vectors(self, item: Tensor) -> Tensor:
        """v_k, int64[B] -> float[B, K]"""

    def vectors_of(self, batch: Pairs) -> tuple[Tensor, Tensor]:
        """u_k of the pairs' users [B, K], and v_k of ``items_of(batch)`` [B + B * pool, K], as training reads them."""
        user, items = self.user_vectors(batch.user), self.item_vectors(items_of(batch))
        return (user.detach(), items.detach()) if self.shared.fixed else (user, items)

    @property
    def remark(self) -> str:
        """One line for the log about what the view found in the data; empty for nothing."""
        return ""


def named(name: str, columns: Iterable[str]) -> dict[str, str]:
    """Column by name of view: ``name`` for a single one, else the column's name where it can be one."""
    found = list(columns)
    if len(found) == 1:
        return {name: found[0]}
    return {column if NAME.fullmatch(column) else f"{name}{i}": column for i, column in enumerate(found, 1)}


def positives(data: TrainData) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(row, user, item) int64 of the positive training rows, R in the paper."""
    row = positive_rows(data).astype(np.int64)
    return row, data.interactions.user[row].astype(np.int64), data.interactions.item[row].astype(np.int64)


def occurring(index: np.ndarray, n: int) -> Tensor:
    """bool[n]: which of 0 to n occur in ``index``."""
    return torch.from_numpy(np.bincount(index, minlength=n) > 0)


def required_row(batch: Pairs) -> Tensor:
    """The training rows of the positives, int64[B]."""
    assert batch.row is not None
    return batch.row


def masked(vectors: Tensor, known: Tensor) -> Tensor:
    """The vectors, 0 where ``known`` bool[B] is False."""
    return torch.where(known[:, None], vectors, vectors.new_zeros(()))
