"""LightGCN: vectors of users and items smoothed over the graph of who likes what, and nothing else.

He, Deng, Wang, Li, Zhang and Wang, LightGCN: Simplifying and Powering Graph Convolution Network for Recommendation,
SIGIR 2020, section 3. The vectors begin as Xavier's uniform, as in the paper.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor, nn

from hrec.datasets.batches import Pairs
from hrec.datasets.histories import positive_history
from hrec.datasets.queries import Queries
from hrec.datasets.recdata import TrainData
from hrec.datasets.samplers import Pairwise
from hrec.models.base import InnerProductModel, Reads
from hrec.models.layers.graph import Graph, smoothed
from hrec.models.layers.kept import Kept
from hrec.models.losses import bpr
from hrec.settings import LayerCount, NegativeSettings, Settings


class LightGCN(InnerProductModel):
    """Score e_u . e_i (Eq. 5), e the mean over layers 0 to K (Eq. 4) of the vectors of K steps over the graph (Eq. 3).

    The graph has the items of all kinds, so that what a user likes in one kind reaches the others. The whole graph is
    walked once for each batch in training, and once for all scores of the same weights after it.
    """

    class Config(Settings):
        """Settings of LightGCN, as published."""

        embedding_size: PositiveInt = 64
        """Width of the vectors."""
        n_layers: LayerCount = 3
        """K."""
        reg_weight: NonNegativeFloat = 1e-4
        """lambda of lambda / 2 |e^(0)|^2 for the user, the positive and the negative of a pair, mean over the batch;
        Eq. 15 with the rows that a pair uses, as in the authors' code."""
        negatives: NegativeSettings = NegativeSettings()
        """Negatives drawn for each positive."""

    reads = Reads(user={"id"}, item={"id"})
    config: Config
    users_of_item: Tensor

    def __init__(self, config: Config, data: TrainData) -> None:
        super().__init__(config, data)
        history = positive_history(data)
        self.graph = Graph(history)
        count = torch.bincount(torch.from_numpy(history.index).long(), minlength=data.n_items).float()
        self.register_buffer("users_of_item", count, persistent=False)
        self.users = nn.Parameter(torch.empty(data.n_users, config.embedding_size))
        self.items = nn.Parameter(torch.empty(data.n_items, config.embedding_size))
        for table in (self.users, self.items):
            nn.init.xavier_uniform_(table)
        self._kept: Kept[tuple[Tensor, Tensor]] = Kept(self)

    def sampler(self, data: TrainData) -> Pairwise:
        return Pairwise(data, self.config.negatives, self.device)

    def loss(self, batch: Pairs) -> dict[str, Tensor]:
        """BPR of the pairs, and the mean of the norms of their own vectors."""
        return self.pair_terms(batch, *self.propagated())[0]

    def pair_terms(self, batch: Pairs, users: Tensor, items: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """The terms, given all users' and items' vectors, and the negative of each pair that counts, int64[B]."""
        user = users[batch.user]
        positive = (user * items[batch.positive]).sum(1)
        negative = torch.einsum("bd,bnd->bn", user, items[batch.negative])
        terms = {"bpr": bpr(negative - positive[:, None])}
        worst = batch.negative.gather(1, negative.argmax(1, keepdim=True)).squeeze(1)
        if self.config.reg_weight:
            own = [self.users[batch.user], self.items[batch.positive], self.items[worst]]
            terms["norm"] = self.config.reg_weight / 2 * torch.stack([v.square().sum(1) for v in own]).sum(0).mean()
        return terms, worst

    def user_vectors(self, user: Tensor) -> Tensor:
        """e_u"""
        return self.vectors()[0][user]

    def query_vectors(self, queries: Queries) -> Tensor:
        """An unknown user is a new node of the graph: its e^(k) are sums over its items (Eq. 3), e^(0) the mean."""
        if queries.history is None:
            return self.user_vectors(queries.known())
        length, item, _ = queries.history.cells(positives=True)
        start = length.cumsum(0) - length
        sums = F.embedding_bag(item.long(), self._smoothed_items(), start, mode="sum")
        own = self.users.mean(0) + sums / length.clamp(min=1).to(sums.dtype).sqrt()[:, None]
        return own / (self.config.n_layers + 1)

    def _smoothed_items(self) -> Tensor:
        """sum over k < K of e_i^(k) / sqrt(users of i): what an item passes on to a user, up to the user's degree."""
        users, items = self.users, self.items
        sums = items
        for _ in range(self.config.n_layers - 1):
            users, items = self.graph(users, items)
            sums = sums + items
        return sums / self.users_of_item.clamp(min=1).sqrt()[:, None]

    def item_vectors(self, item: Tensor) -> Tensor:
        """e_i"""
        return self.vectors()[1][item]

    def propagated(self) -> tuple[Tensor, Tensor]:
        """All users' and all items' e (Eq. 3 and 4)."""
        return smoothed(self.graph, self.users, self.items, self.config.n_layers)

    def vectors(self) -> tuple[Tensor, Tensor]:
        """``propagated``; without gradients it is kept until the weights move."""
        return self._kept(self.propagated)
