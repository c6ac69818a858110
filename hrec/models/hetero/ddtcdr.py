"""DDTCDR: a recommender network per kind of item, each also asked about a user carried over from the other kinds.

Li and Tuzhilin, DDTCDR: Deep Dual Transfer Cross Domain Recommendation, WSDM 2020, sections 3.2 and 3.3, and 3.5 for
more than two kinds; so extended in DURation's section 5.2.3, whose Table 6 gives the widths.
"""

from __future__ import annotations

from functools import partial
from itertools import combinations

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn

from hrec.datasets.batches import Points
from hrec.datasets.recdata import TrainData
from hrec.datasets.samplers import PerKind
from hrec.models.base import BaseModel, Needs, Reads
from hrec.models.layers.bags import EmbeddingTable
from hrec.models.layers.fields import Fields, FieldSettings
from hrec.models.layers.kinds import ByKind, Kinds, summed_bce
from hrec.models.layers.mlp import MLP, mlp_or_constant


class DDTCDR(BaseModel):
    """(1 - alpha) RS_k(w_uk, v_i) + alpha mean over l != k of RS_l(X_kl w_uk, v_i) for user u and item i of kind k.

    RS_k is an MLP on [user; item], X_kl an orthogonal map from the users of kind k to those of kind l, with
    X_lk = X_kl^T. The latents are w_uk = e_uk + A_k(a_u) and v_i = e_i + B_k(a_i), with an embedding e and a linear
    layer on the columns a; where a table has no columns, one trained vector stands for the layer.

    Departures from the paper: Labels and cross-entropy replace ratings and squared error. The latents are learnt with
    the rest, not by an autoencoder beforehand. The map is linear without a bias, else its transpose would not be its
    inverse. Dropout comes before every linear layer. In the published code the dual loss is detached: here it reaches
    the maps. If a user has no training rows in kind k, e_uk was never trained. Then w_uk is the mean of X_lk w_ul over
    the kinds l in which the user has rows. A user without any rows keeps w_uk.
    """

    class Config(FieldSettings):
        """Settings of DDTCDR; widths and alpha as published."""

        latent_dim: PositiveInt = 32
        """Width of the latents of users and items."""
        layers: tuple[PositiveInt, ...] = (64, 32)
        """Widths of the hidden layers of each recommender network."""
        alpha: float = Field(0.03, ge=0, le=1)
        """Share of the other kinds' networks in the score."""
        orthogonality: NonNegativeFloat = 0.1
        """Weight of the sum over pairs of kinds of |X X^T - I|_F^2; the published code has 1e-6 times the sum of the
        absolute values of X X^T - I."""
        dropout: float = Field(0.1, ge=0, lt=1)
        """Chance that an input of a network's linear layer is left out in training."""
        init_std: PositiveFloat = 0.01
        """Standard deviation of the first weights of all embeddings."""

    needs = Needs(labels=True, min_kinds=2)
    reads = Reads(per_kind=True)
    config: Config
    seen: Tensor

    def __init__(self, config: Config, data: TrainData) -> None:
        super().__init__(config, data)
        self.kinds = Kinds(data)
        d, std = config.latent_dim, config.init_std
        self.users = ByKind({kind: EmbeddingTable(data.n_users, d, std) for kind in data.kinds})
        self.items = EmbeddingTable(data.n_items, d, std)
        fields_of = partial(Fields, width=config.token_emb_size, init_std=std, buckets=config.buckets)
        self.user_fields = fields_of(data.users)
        self.user_maps = ByKind({kind: mlp_or_constant([self.user_fields.width, d]) for kind in data.kinds})
        fields = {kind: fields_of(table) for kind, table in data.kinds.items()}
        self.item_fields = ByKind(fields)
        self.item_maps = ByKind({kind: mlp_or_constant([f.width, d]) for kind, f in fields.items()})
        widths = [2 * d, *config.layers, 1]
        self.networks = ByKind({kind: MLP(widths, config.dropout) for kind in data.kinds})
        self.pair = {pair: index for index, pair in enumerate(combinations(data.kinds, 2))}
        self.maps = nn.Parameter(torch.stack([nn.init.orthogonal_(torch.empty(d, d)) for _ in self.pair]))
        seen = torch.zeros(data.n_users, len(data.kinds), dtype=torch.bool)
        x = data.interactions
        seen[torch.from_numpy(x.user).long(), torch.from_numpy(x.kind).long()] = True
        self.register_buffer("seen", seen, persistent=False)

    def sampler(self, data: TrainData) -> PerKind:
        return PerKind(data)

    def loss(self, batch: dict[str, Points]) -> dict[str, Tensor]:
        """bce, summed over the kinds, and orthogonality, weighted and summed over the pairs of kinds."""
        logits = {kind: self.score_of(kind, b.user, b.item) for kind, b in batch.items()}
        orthogonality = self.config.orthogonality * _not_orthogonal(self.maps)
        return {"bce": summed_bce(logits, batch), "orthogonality": orthogonality}

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        return self.kinds.each(item, lambda kind, here: self.score_of(kind, user[here], item[here]))

    def score_of(self, kind: str, user: Tensor, item: Tensor) -> Tensor:
        """Logits of items that are all of one kind; user, item int64[B] -> float[B]"""
        w, v = self.user_latent(kind, user), self.item_latent(kind, item)
        within = self._network(kind, w, v)
        others = [other for other in self.kinds.names if other != kind]
        across = torch.stack([self._network(other, self.carried(w, kind, other), v) for other in others]).mean(0)
        return (1 - self.config.alpha) * within + self.config.alpha * across

    def carried(self, w: Tensor, kind: str, other: str) -> Tensor:
        """X_kl w: latents of users in one kind, [B, d], as users of another, [B, d]."""
        if (kind, other) in self.pair:
            return w @ self.maps[self.pair[kind, other]].T
        return w @ self.maps[self.pair[other, kind]]  # X_kl = X_lk^T

    def user_latent(self, kind: str, user: Tensor) -> Tensor:
        """w_uk, or where the user has no training row in this kind its stand-in from the others; int64[B] -> [B, d]"""
        own = self._own_latent(kind, user)
        seen = self.seen[user]
        here = (seen.any(1) & ~seen[:, self.kinds.names.index(kind)]).nonzero().squeeze(1)
        if not len(here):  # always so in training
            return own
        total = torch.zeros_like(own[here])
        for index, other in enumerate(self.kinds.names):
            if other != kind:
                moved = self.carried(self._own_latent(other, user[here]), other, kind)
                total = total + seen[here, index, None] * moved
        return own.index_copy(0, here, total / seen[here].sum(1, keepdim=True))

    def item_latent(self, kind: str, item: Tensor) -> Tensor:
        """v_i of items that are all of one kind, int64[B] -> [B, d]"""
        return self.items.rows(item) + self.item_maps[kind](self.item_fields[kind](self.kinds.row(kind, item)))

    def _own_latent(self, kind: str, user: Tensor) -> Tensor:
        return self.users[kind].rows(user) + self.user_maps[kind](self.user_fields(user))

    def _network(self, kind: str, user: Tensor, item: Tensor) -> Tensor:
        """RS_k, [B, d] each -> [B]"""
        return self.networks[kind](torch.cat([user, item], 1)).squeeze(1)


def _not_orthogonal(maps: Tensor) -> Tensor:
    """|X X^T - I|_F^2, summed over the maps, [n, d, d]; in full precision, as the difference is all that counts."""
    with torch.autocast(maps.device.type, enabled=False):
        return (maps @ maps.mT - torch.eye(maps.shape[1], device=maps.device)).square().sum()
