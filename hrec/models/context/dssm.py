"""DSSM: two towers on the columns of user and item, compared by their angle.

Huang, He, Gao, Deng, Acero and Heck, Learning Deep Structured Semantic Models for Web Search using Clickthrough Data,
CIKM 2013.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveFloat, PositiveInt, model_validator
from torch import Tensor, nn

from hrec.datasets.batches import Points
from hrec.datasets.recdata import TrainData
from hrec.datasets.samplers import Pointwise
from hrec.models.base import InnerProductModel, Needs
from hrec.models.context._base import UNUSED
from hrec.models.layers.context import ContextSettings, PairFields
from hrec.models.layers.mlp import MLP
from hrec.models.losses import bce


class DSSM(InnerProductModel):
    """score = gamma cos(MLP(user fields), MLP(item fields)) + constant; a user and an item for a query and a document.

    cos as in Eq. 4; gamma is the smoothing factor of Eq. 5. The paper's softmax over clicked and drawn documents is a
    cross-entropy here, on labels. The published code leaves gamma out: then no probability lies outside of
    0.27 and 0.73 (variant 'paper'). A ReLU stands between the layers, as in DURation's other MLPs, and nothing on the
    last; the paper has tanh on all.
    """

    class Config(ContextSettings):
        """Settings of DSSM; widths as in DURation's Table 6."""

        variant: Literal["hrec", "paper"] = "hrec"
        """paper: the bare cosine, as published with DURation; a key that is given wins over the variant."""
        embedding_size: PositiveInt = 10
        mlp_hidden_size: tuple[PositiveInt, ...] = Field((256, 256, 256), min_length=1)
        dropout_prob: float = Field(0.3, ge=0, lt=1)
        """Chance that an input of a linear layer is left out in training."""
        gamma: PositiveFloat = 10.0
        """What the cosine is multiplied with, at the start of training."""
        train_gamma: bool = True
        """gamma and the constant are weights."""

        @model_validator(mode="before")
        @classmethod
        def _fill_variant(cls, values: Any) -> Any:
            if isinstance(values, dict) and values.get("variant") == "paper":
                return {"gamma": 1.0, "train_gamma": False} | values
            return values

    needs = Needs(labels=True)
    published_unused: ClassVar[dict[str, str]] = UNUSED | {"double_tower": "there are always two towers"}
    config: Config

    def __init__(self, config: Config, data: TrainData) -> None:
        super().__init__(config, data)
        self.fields = PairFields(data, config, first_order=False)
        self.remarks += self.fields.remarks
        self.towers = nn.ModuleDict(
            {
                side: MLP([len(names) * config.embedding_size, *config.mlp_hidden_size], config.dropout_prob)
                for side, names in self.fields.names.items()
            }
        )
        for name, value in (("log_gamma", torch.tensor(config.gamma).log()), ("constant", torch.zeros(()))):
            if config.train_gamma:
                self.register_parameter(name, nn.Parameter(value))
            else:
                self.register_buffer(name, value)

    log_gamma: Tensor
    constant: Tensor

    def sampler(self, data: TrainData) -> Pointwise:
        return Pointwise(data)

    def loss(self, batch: Points) -> dict[str, Tensor]:
        return {"bce": bce(self.score(batch.user, batch.item), batch.label)}

    def user_vectors(self, user: Tensor) -> Tensor:
        vector = self.log_gamma.exp() * self._direction("user", user)
        return torch.cat([vector, torch.ones_like(vector[:, :1])], 1)

    def item_vectors(self, item: Tensor) -> Tensor:
        vector = self._direction("item", item)
        return torch.cat([vector, self.constant.expand(len(vector), 1)], 1)

    def _direction(self, side: str, index: Tensor) -> Tensor:
        """float[B, width], of length 1."""
        return F.normalize(self.towers[side](self.fields.of(side, index).flatten(1)), dim=1)
