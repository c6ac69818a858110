"""FISM: the similarity of items is the product of two small matrices, and a user is the items in the user's history.

Kabbur, Ning and Karypis, FISM: Factored Item Similarity Models for Top-N Recommender Systems, KDD 2013, section 4;
hyper-parameters of DURation's Table 6. As there, the loss is binary cross-entropy of labelled pairs; the 2013 paper
has a squared error over all cells (FISMrmse) and a ranking of pairs (FISMauc).
"""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn

from hrec.datasets.batches import Points
from hrec.datasets.histories import thinned, user_history
from hrec.datasets.queries import Queries
from hrec.datasets.recdata import TrainData
from hrec.datasets.samplers import Pointwise
from hrec.models.base import InnerProductModel, Needs, Reads
from hrec.models.layers.bags import EmbeddingTable
from hrec.models.layers.histories import HistoryLinear, HistorySettings, mean_squared_norm
from hrec.models.losses import bce
from hrec.settings import Settings


class FISM(InnerProductModel):
    """Score b_u + b_i + n^-alpha sum_j v_uj p_j . q_i over the n cells j of user u's history, v_uj what a cell holds.

    Eq. 6, and in training Eq. 8: the cell of the pair itself is left out, and n is one less; a pair without one, a
    drawn negative, loses an average cell (see HistoryLinear). The paper's v is 1: data.inter_matrix_type "01".
    """

    class Config(Settings):
        """Settings of FISM, as published."""

        embedding_size: PositiveInt = 64
        """Width of p and q."""
        alpha: NonNegativeFloat = 0.0
        """The sum over n cells is divided by n ** alpha: 0 is the plain sum, 1 the mean."""
        reg_weights: tuple[NonNegativeFloat, NonNegativeFloat] = (0.01, 0.01)
        """lambda and beta of the penalty on each pair, lambda / 2 (|q_i|^2 + sum_j |p_j|^2) + beta / 2 (b_u^2 + b_i^2),
        j over the user's history: Eq. 9 with the rows that a pair moves, as in the paper's Algorithm 1."""
        global_bias: bool = False
        """Add one number for all pairs, without a penalty. The paper has none: then the biases of users and items have
        to learn the share of positives first, those of rare ones last, which shuffles them (docs/log)."""
        max_history: PositiveInt | None = None
        """At most this many cells of a user, chosen once at random; null: all."""
        init_std: PositiveFloat = 0.01
        """Standard deviation of the first p and q; biases begin at 0."""

    reads = Reads(user={"id", "cells"}, item={"id"})
    needs = Needs(labels=True)
    published_unused: ClassVar[dict[str, str]] = {
        "split_to": "it cut evaluation into pieces to save memory; vectors of users and items need none"
    }
    config: Config

    def __init__(self, config: Config, data: TrainData) -> None:
        super().__init__(config, data)
        plain = HistorySettings(summary=False, dropout=0.0, init_std=config.init_std)
        history = thinned(user_history(data), config.max_history)
        self.users = HistoryLinear(history, config.embedding_size, plain, power=config.alpha)
        self.items = EmbeddingTable(data.n_items, config.embedding_size, config.init_std)
        self.user_bias, self.item_bias = EmbeddingTable(data.n_users, 1, 0.0), EmbeddingTable(data.n_items, 1, 0.0)
        self.bias = nn.Parameter(torch.zeros(1)) if config.global_bias else None

    def sampler(self, data: TrainData) -> Pointwise:
        return Pointwise(data)

    def loss(self, batch: Points) -> dict[str, Tensor]:
        """Binary cross-entropy of the pairs, and the mean of their penalties."""
        user, item = self.user_vectors(batch.user, leave_out=batch.item), self._item_vectors(batch.item)
        logit = (user * item).sum(1)
        terms = {"bce": bce(logit if self.bias is None else logit + self.bias, batch.label)}
        of_rows, of_biases = self.config.reg_weights
        if of_rows:
            q = item[:, : self.config.embedding_size].square().sum(1).mean()
            p = mean_squared_norm(self.users.rows, self.users.table, batch.user)
            terms["norm"] = of_rows / 2 * (p + q)
        if of_biases:
            terms["bias"] = of_biases / 2 * (user[:, -2].square() + item[:, -1].square()).mean()
        return terms

    def user_vectors(self, user: Tensor, leave_out: Tensor | None = None) -> Tensor:
        """[pooled history, b_u, 1]; leave_out int64[B] is the item whose cell each history goes without."""
        bias = self.user_bias.rows(user)
        return torch.cat([self.users(user, leave_out), bias, torch.ones_like(bias)], 1)

    def query_vectors(self, queries: Queries) -> Tensor:
        """As ``user_vectors``; an unknown user has the mean bias of all users."""
        bias = self.user_bias.rows_or_mean(queries.user)
        return torch.cat([self.users.of_queries(queries), bias, torch.ones_like(bias)], 1)

    def item_vectors(self, item: Tensor) -> Tensor:
        """[q_i, 1, b_i], b_i with the bias of all pairs if there is one"""
        vectors = self._item_vectors(item)
        return vectors if self.bias is None else torch.cat([vectors[:, :-1], vectors[:, -1:] + self.bias], 1)

    def _item_vectors(self, item: Tensor) -> Tensor:
        bias = self.item_bias.rows(item)
        return torch.cat([self.items.rows(item), torch.ones_like(bias), bias], 1)
