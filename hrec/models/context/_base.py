"""What the models of this folder share: fields in, a logit of first order and higher out, cross-entropy."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from hrec.datasets.batches import Points
from hrec.datasets.recdata import TrainData
from hrec.datasets.samplers import Pointwise
from hrec.models.base import BaseModel, Needs
from hrec.models.layers.context import ContextSettings, PairFields
from hrec.models.losses import bce

UNUSED: dict[str, str] = {
    "user_emb_size": "the user is a field like any other, of width embedding_size",
    "item_emb_size": "the item is a field like any other, of width embedding_size",
}
"""Keys of the published config files of these models that never had an effect."""


class ContextModel(BaseModel):
    """score(u, i) = w_0 + sum of the fields' weights + ``higher(their vectors)``; cross-entropy on labelled pairs.

    A subclass gives ``higher``, and ``regularisation`` where its paper has one.
    """

    class Config(ContextSettings):
        """Settings that every model of columns has."""

    needs = Needs(labels=True)
    published_unused: ClassVar[dict[str, str]] = UNUSED
    config: ContextSettings

    def __init__(self, config: ContextSettings, data: TrainData) -> None:
        super().__init__(config, data)
        self.fields = PairFields(data, config)
        self.remarks += self.fields.remarks
        self.constant = nn.Parameter(torch.zeros(1))

    def sampler(self, data: TrainData) -> Pointwise:
        return Pointwise(data)

    def loss(self, batch: Points) -> dict[str, Tensor]:
        return {"bce": bce(self.score(batch.user, batch.item), batch.label)} | self.regularisation()

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        vectors, first_order = self.fields(user, item)
        return self.constant + first_order + self.higher(vectors)

    @abstractmethod
    def higher(self, vectors: Tensor) -> Tensor:
        """The part of the logit beyond first order. vectors float[B, F, d] -> float[B]."""

    def regularisation(self) -> dict[str, Tensor]:
        """Terms of the loss on the weights themselves, by name."""
        return {}


def pairwise_sum(vectors: Tensor) -> Tensor:
    """Sum over i < j of <v_i, v_j>, in time linear in F: float[B, F, d] -> float[B] (Rendle 2010, Lemma 3.1)."""
    return 0.5 * (vectors.sum(1).square() - vectors.square().sum(1)).sum(1)
