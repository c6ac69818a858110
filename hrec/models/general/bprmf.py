"""BPRMF: matrix factorisation that ranks what a user likes above what the user has not seen.

Rendle, Freudenthaler, Gantner and Schmidt-Thieme, BPR: Bayesian Personalized Ranking from Implicit Feedback, UAI 2009,
section 4.3.1. As in RecBole, against which it is measured, vectors begin with Xavier's deviation and there is no bias.
"""

from __future__ import annotations

import torch
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor

from hrec.datasets.batches import Pairs
from hrec.datasets.queries import Queries
from hrec.datasets.recdata import TrainData
from hrec.datasets.samplers import Pairwise
from hrec.models.base import InnerProductModel, Reads
from hrec.models.layers.bags import Cells, EmbeddingTable
from hrec.models.layers.fold_in import best_by_pairs
from hrec.models.layers.pairs import items_of, pair_terms
from hrec.settings import NegativeSettings, Settings


class BPRMF(InnerProductModel):
    """Score p_u . q_i, with ``item_bias`` + b_i; a bias of the user would cancel from every pair."""

    class Config(Settings):
        """Settings of BPRMF."""

        embedding_size: PositiveInt = 64
        """Width of p and q."""
        item_bias: bool = False
        """Add a number of the item's own to its score."""
        negatives: NegativeSettings = NegativeSettings()
        """Negatives drawn for each positive."""
        reg_weight: NonNegativeFloat = 0.0
        """lambda of lambda / 2 (|p_u|^2 + |q_i|^2 + |q_j|^2), mean over the batch: the norms of BPR-Opt with one lambda
        for all; q_j is the negative that counts."""
        init_std: PositiveFloat | None = None
        """Standard deviation of the first vectors; null: Xavier's sqrt(2 / (rows + width)) of each table."""

    reads = Reads(user={"id"}, item={"id"})
    config: Config

    def __init__(self, config: Config, data: TrainData) -> None:
        super().__init__(config, data)
        self.users, self.items = (
            EmbeddingTable(n, config.embedding_size, config.init_std or (2 / (n + config.embedding_size)) ** 0.5)
            for n in (data.n_users, data.n_items)
        )
        self.bias = EmbeddingTable(data.n_items, 1, 0.0) if config.item_bias else None

    def sampler(self, data: TrainData) -> Pairwise:
        return Pairwise(data, self.config.negatives, self.device)

    def loss(self, batch: Pairs) -> dict[str, Tensor]:
        """BPR-Opt of the pairs, and the mean of their norms."""
        user = self.user_vectors(batch.user)
        items, own = self.item_vectors(items_of(batch)), user[:, : self.config.embedding_size]
        return pair_terms(user, items, batch, self.config.reg_weight, own, self.pair_weight(batch))

    def pair_weight(self, batch: Pairs) -> Tensor | None:
        """float[B]: a factor of each pair in the loss; None for 1."""
        return None

    def user_vectors(self, user: Tensor) -> Tensor:
        """p_u, with ``item_bias`` [p_u, 1]"""
        p = self.users.rows(user)
        return p if self.bias is None else torch.cat([p, torch.ones_like(p[:, :1])], 1)

    def query_vectors(self, queries: Queries) -> Tensor:
        """An unknown user, or one with another history, has the vector that fits the history best, items fixed."""
        if queries.history is None:
            return self.user_vectors(queries.known())
        bias = None if self.bias is None else self.bias.weight.squeeze(1)
        history = Cells(*queries.history.cells(positives=True))
        p = best_by_pairs(history, self.items.weight, self.users.weight, bias)
        return p if bias is None else torch.cat([p, torch.ones_like(p[:, :1])], 1)

    def item_vectors(self, item: Tensor) -> Tensor:
        """q_i, with ``item_bias`` [q_i, b_i]"""
        q = self.items.rows(item)
        return q if self.bias is None else torch.cat([q, self.bias.rows(item)], 1)
