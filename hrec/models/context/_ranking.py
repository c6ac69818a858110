"""What models of clicks share that have no first order: fields one after another, pretrained vectors, cross-entropy."""

from __future__ import annotations

import math
from typing import Self

import torch
from pydantic import Field, NonNegativeFloat, PositiveInt, model_validator
from torch import Tensor

from hrec.datasets.batches import Points
from hrec.datasets.recdata import TrainData
from hrec.datasets.samplers import Pointwise
from hrec.models.base import BaseModel, Needs
from hrec.models.layers.context import ContextSettings, PairFields
from hrec.models.layers.pretrained import PretrainedSettings, PretrainedVectors, without_item_column
from hrec.models.losses import bce


class RankingModelSettings(ContextSettings):
    """Settings that models of clicks share."""

    embedding_size: PositiveInt = 10
    pretrained: PretrainedSettings | None = None
    """Vectors of items that were trained elsewhere; null: none."""
    reg_weight: NonNegativeFloat = 0.0
    """lambda of lambda / 2 |E|^2 over all vectors of fields, in every step, as in FuxiCTR."""
    batch_norm: bool = False
    """Batch normalisation in the perceptrons."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Chance that a number behind a layer is set to 0 in training."""

    @model_validator(mode="after")
    def _pretrained_stands_with_an_id(self) -> Self:
        if self.pretrained is not None and not self.ids:
            raise ValueError("'pretrained' gives vectors to the ids of items; set ids to true")
        return self


class RankingModel(BaseModel):
    """A subclass gives ``score`` from ``users`` and ``items``, the fields of one side one after another."""

    class Config(RankingModelSettings):
        """Settings that every model of clicks has."""

    needs = Needs(labels=True)
    config: RankingModelSettings

    def __init__(self, config: RankingModelSettings, data: TrainData) -> None:
        super().__init__(config, data)
        given = config.pretrained
        others = data if given is None else without_item_column(data, given.column)
        self.fields = PairFields(others, config, first_order=False)
        if config.reg_weight:  # of the whole matrix
            self.fields.table.weight.dense_up_to = math.inf  # type: ignore[attr-defined]
        self.remarks += self.fields.remarks
        self.pretrained = None if given is None else PretrainedVectors(data, self.fields, given, config.init_std)
        added = 0 if self.pretrained is None else self.pretrained.width
        self.widths = {side: len(names) * self.fields.width for side, names in self.fields.names.items()}
        self.widths["item"] += added

    def users(self, user: Tensor) -> Tensor:
        """int64[B] -> float[B, widths["user"]]"""
        return self.fields.of("user", user).flatten(1)

    def items(self, item: Tensor) -> Tensor:
        """int64[B] -> float[B, widths["item"]]"""
        x = self.fields.of("item", item).flatten(1)
        return x if self.pretrained is None else self.pretrained(x, item)

    def pairs(self, user: Tensor, item: Tensor) -> Tensor:
        """Both sides, float[B, width]"""
        return torch.cat([self.users(user), self.items(item)], 1)

    @property
    def width(self) -> int:
        return sum(self.widths.values())

    def sampler(self, data: TrainData) -> Pointwise:
        return Pointwise(data)

    def loss(self, batch: Points) -> dict[str, Tensor]:
        return self.losses(self.score(batch.user, batch.item), batch.label)

    def losses(self, logit: Tensor, label: Tensor) -> dict[str, Tensor]:
        """Cross-entropy, and the norm of the fields' vectors."""
        terms = {"bce": bce(logit, label)}
        if self.config.reg_weight:
            terms["norm"] = self.config.reg_weight / 2 * self.fields.table.weight.square().sum()
        return terms
