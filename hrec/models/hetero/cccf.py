"""CCCFNet: a collaborative and a content view of users and items, whose scores are added.

Lian, Zhang, Xie and Sun, CCCFNet: A Content-Boosted Collaborative Filtering Neural Network for Cross Domain Recommender
Systems, WWW 2017 Companion; several kinds of item and the widths as in DURation's section 5.2.3 and Table 6.
"""

from __future__ import annotations

from typing import Self

import torch
from pydantic import Field, PositiveFloat, model_validator
from torch import Tensor, nn

from hrec.datasets.batches import Points
from hrec.datasets.recdata import Table, TrainData
from hrec.datasets.samplers import PerKind
from hrec.models.base import InnerProductModel, Needs, Reads
from hrec.models.layers.bags import EmbeddingTable
from hrec.models.layers.fields import Fields, FieldSettings
from hrec.models.layers.kinds import ByKind, Kinds, joined, split, summed_bce
from hrec.models.layers.mlp import mlp_or_constant
from hrec.models.layers.towers import TowerWidths


class CCCF(InnerProductModel):
    """Score of user u and item i of kind k: <p_u, q_i> + <f(a_u), g_k(a_i)> + b_u + b_i.

    All kinds share p_u, b_u and f, the tower over the user's columns a_u: through them the kinds help each other. g_k
    is the tower over the columns of kind k. Departures from the paper: Labels and cross-entropy replace ratings and
    squared error, summed over the kinds as in DURation. A ReLU is between the layers of a tower. Biases are learnt. The
    bias of each kind, which the paper takes from the mean rating, is in the towers' last layers. The penalty on the
    weights is the optimiser's weight decay.

    If users, or the items of a kind, have no columns, one trained vector replaces f or g_k.
    """

    class Config(TowerWidths, FieldSettings):
        """Settings of CCCF; widths as published."""

        dropout: float = Field(0.0, ge=0, lt=1)
        """Chance that an input of a tower's linear layer is left out in training."""
        init_std: PositiveFloat = 0.01
        """Standard deviation of the first weights of all embeddings."""

        @model_validator(mode="after")
        def _same_embedding_size(self) -> Self:
            if self.user_emb_size != self.item_emb_size:
                raise ValueError(
                    "user_emb_size and item_emb_size must be the same for an inner product, "
                    f"got {self.user_emb_size} and {self.item_emb_size}"
                )
            return self

    needs = Needs(labels=True)
    reads = Reads(per_kind=True)
    config: Config

    def __init__(self, config: Config, data: TrainData) -> None:
        super().__init__(config, data)
        self.kinds = Kinds(data)
        # the last number of each row is its bias
        self.users = EmbeddingTable(data.n_users, config.user_emb_size + 1, config.init_std)
        self.items = EmbeddingTable(data.n_items, config.item_emb_size + 1, config.init_std)
        self.user_content = _content(data.users, config, user=True)
        self.item_content = ByKind({kind: _content(table, config) for kind, table in data.kinds.items()})

    def sampler(self, data: TrainData) -> PerKind:
        return PerKind(data)

    def loss(self, batch: dict[str, Points]) -> dict[str, Tensor]:
        """Binary cross-entropy, summed over the kinds."""
        points = joined(batch)
        return {"bce": summed_bce(split(self.score(points.user, points.item), batch), batch)}

    def user_vectors(self, user: Tensor) -> Tensor:
        """[p_u, b_u, 1, f(a_u)], int64[B] -> float[B, d + 2 + d']"""
        own = self.users.rows(user)
        return torch.cat([own, torch.ones_like(own[:, :1]), self.user_content(user)], 1)

    def item_vectors(self, item: Tensor) -> Tensor:
        """[q_i, 1, b_i, g_k(a_i)], int64[B], of any kinds -> float[B, d + 2 + d']"""
        own = self.items.rows(item)
        embedding, bias = own[:, :-1], own[:, -1:]
        return torch.cat([embedding, torch.ones_like(bias), bias, self.described(item)], 1)

    def described(self, item: Tensor) -> Tensor:
        """The content view g_k(a_i), int64[B], of any kinds -> float[B, d']"""

        def describe(kind: str, here: Tensor) -> Tensor:
            return self.item_content[kind](self.kinds.row(kind, item[here]))

        return self.kinds.each(item, describe, self.config.item_hidden_size_list[-1])


def _content(table: Table, config: CCCF.Config, user: bool = False) -> nn.Sequential:
    """A tower over columns: row int64[B] -> float[B, d']"""
    fields = Fields(table, config.token_emb_size, config.init_std, buckets=config.buckets)
    widths = config.user_hidden_size_list if user else config.item_hidden_size_list
    return nn.Sequential(fields, mlp_or_constant([fields.width, *widths], config.dropout, config.init_std))
