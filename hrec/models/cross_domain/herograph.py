"""HeroGRAPH: vectors of each kind, and shared ones that a graph of all kinds makes from a node's neighbours.

Cui, Wei, Zhang and Zhang, HeroGRAPH: A Heterogeneous Graph Framework for Multi-Target Cross-Domain Recommendation,
ORSUM at RecSys 2020. Only the summary of the paper and the README of its repository (no code) could be obtained, so
tables call the model "HeroGRAPH-style". They say: Users and items have their own vectors in each domain, and shared
ones on the graph of all domains. A "recurrent attention" collects the neighbours. The score has both. Each step has a
batch of every domain, and their losses are summed.

Our reading is the rest. The score is u^k . i^k + u^g . i^g. The first part has tables of each kind, the second
``Neighbours`` (hrec/models/layers/neighbours.py), where "recurrent" means that all hops share their weights. The loss
is BPR over pairs of all kinds in one batch, with negatives of the same kind. There, the batch sizes of the domains give
each the same number of batches; here, a batch of all kinds has them in the same proportions.

``light``, in tables "HeroGRAPH-L-style", stands for the row HeroGRAPH-L of the CAT-ART slides, which they do not
explain: the shared vectors are those of LightGCN (He et al., SIGIR 2020) on the same graph.
"""

from __future__ import annotations

import torch
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn

from hrec.datasets.batches import Pairs
from hrec.datasets.histories import History, positive_history
from hrec.datasets.recdata import TrainData
from hrec.models.cross_domain._slots import SlotModel, SlotSettings, squared_norms
from hrec.models.layers.bags import EmbeddingTable
from hrec.models.layers.graph import Graph, smoothed
from hrec.models.layers.kept import Kept
from hrec.models.layers.kinds import ByKind
from hrec.models.layers.neighbours import Neighbours
from hrec.models.layers.pairs import compared, items_of
from hrec.models.losses import bpr
from hrec.settings import LayerCount


class HeroGRAPH(SlotModel):
    """Score u^k . i^k + u^g . i^g for item i of kind k."""

    class Config(SlotSettings):
        """Settings of HeroGRAPH."""

        hops: LayerCount = 2
        """Steps over the graph."""
        neighbours: PositiveInt = 10
        """Neighbours that a node reads at each hop in training, at most; without training it reads all."""
        light: bool = False
        """Shared vectors as in LightGCN, the mean over the hops of sums of all neighbours without weights."""
        init_std: PositiveFloat = 0.1
        """Standard deviation of the first vectors."""

    config: Config

    def __init__(self, config: Config, data: TrainData) -> None:
        super().__init__(config, data)
        d, std = config.embedding_size, config.init_std
        self.users = ByKind({kind: EmbeddingTable(data.n_users, d, std) for kind in data.kinds})
        self.items = ByKind({kind: EmbeddingTable(table.count, d, std) for kind, table in data.kinds.items()})
        likes = positive_history(data)
        self.shared: Light | Neighbours = (
            Light(likes, d, config.hops, std)
            if config.light
            else Neighbours(likes, d, config.hops, config.neighbours, std)
        )
        self.n_users = data.n_users
        self._kept: Kept[Tensor] = Kept(self)

    def loss(self, batch: Pairs) -> dict[str, Tensor]:
        """BPR of the pairs and the norms of their vectors, of several negatives with the one that scores highest."""
        user, items = self.of_pairs(batch)
        ahead, positive, negative = compared(user, items, batch)
        terms = {"bpr": bpr(ahead)}
        if self.config.reg_weight:
            terms["norm"] = self.config.reg_weight * squared_norms(user, positive, negative)
        return terms

    def of_pairs(self, batch: Pairs) -> tuple[Tensor, Tensor]:
        """Vectors of the users and of ``items_of(batch)``, with one walk over the graph for both."""
        item = items_of(batch)
        shared = self._of_graph(torch.cat([batch.user, item + self.n_users]))
        of_user, of_item = shared.split([len(batch), len(item)])
        user = torch.cat([self._user_table(batch.user, self.kinds.index(batch.positive)), of_user], 1)
        return user, torch.cat([self._item_table(item), of_item], 1)

    def user_part(self, user: Tensor, kind: Tensor) -> Tensor:
        """[u^k, u^g]"""
        return torch.cat([self._user_table(user, kind), self._of_graph(user)], 1)

    def item_part(self, item: Tensor) -> Tensor:
        """[i^k, i^g]"""
        return torch.cat([self._item_table(item), self._of_graph(item + self.n_users)], 1)

    def _of_graph(self, node: Tensor) -> Tensor:
        """Shared vectors of nodes, int64[B]; from sampled neighbours in training alone."""
        if self.training and torch.is_grad_enabled():
            return self.shared(node)
        return self._kept(self.shared.all)[node]

    def _user_table(self, user: Tensor, kind: Tensor) -> Tensor:
        def of_kind(name: str, at: Tensor) -> Tensor:
            return self.users[name].rows(user[at])

        return self.kinds.each_of(kind, of_kind, self.config.embedding_size, every=self.training)

    def _item_table(self, item: Tensor) -> Tensor:
        def of_kind(kind: str, at: Tensor) -> Tensor:
            return self.items[kind].rows(self.kinds.row(kind, item[at]))

        return self.kinds.each(item, of_kind, self.config.embedding_size, every=self.training)


class Light(nn.Module):
    """LightGCN's vectors: the mean over layers 0 to K of steps over the graph (its Eq. 3 and 4)."""

    def __init__(self, likes: History, width: int, hops: int, std: float) -> None:
        super().__init__()
        self.graph = Graph(likes)
        self.users, self.items = (nn.Embedding(n, width) for n in (len(likes), likes.width))
        for table in (self.users, self.items):
            nn.init.normal_(table.weight, std=std)
        self.hops = hops

    def forward(self, node: Tensor) -> Tensor:
        """int64[B] -> float[B, width]"""
        return self.all()[node]

    def all(self) -> Tensor:
        """Of all nodes: user u is node u, item i is node n_users + i."""
        return torch.cat(smoothed(self.graph, self.users.weight, self.items.weight, self.hops))
