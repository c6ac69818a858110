"""GA-MTCDR: vectors of the graph of each kind, and for each kind an element-wise attention over a user's vectors.

Zhu, Wang, Chen, Liu and Zheng, A Unified Framework for Cross-Domain and Cross-System Recommendations, TKDE 2021, which
generalises GA-DTCDR (IJCAI 2020) from two domains to several. Its equations for more than two domains could not be
obtained. What is here is read from the authors' code of GA-DTCDR, so tables call the model "GA-MTCDR-style":

1. Node2vec (Grover and Leskovec, KDD 2016) on the graph of each kind gives x_u^k and x_i^k, which are then frozen.
2. Input: z_u^k = W_k x_u^k, and z_i = V_t x_i for items of kind t.
3. Attention: h_u^t = MLP_t(sum over k of w_u^tk * z_u^k), * element by element.
4. Score: y = max(1e-6, cos(h_u^t, MLP'_t(z_i))).
5. Loss: -r / R log y - (1 - r / R) log(1 - y), R the largest rating of the kind, r = 0 for negatives, plus lambda / 2
   of the squared lengths of both outputs.

Our reading: w_u^tk = softmax over k of free vectors of the user, one of each pair of kinds, -inf for a kind in which
the user has no positive. In the code for two domains w_u^tt is free around 0 without a softmax, the other weight is
1 - w_u^tt, and it has vectors of common users only. Departures: The graphs have the positives alone, as no text
joins users. Without ratings r / R is 1. Weights of the MLPs begin as in He et al. (N(0, .01) there, over six
layers). The largest y is 1 - 1e-6. The contexts of a node share skip-gram's negatives. The code reads node2vec's
vectors in the order of frequency, so a user has those of another node; here they are the user's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field, NonNegativeFloat, PositiveInt
from torch import Tensor, nn

from hrec.datasets.batches import Pairs, Walks
from hrec.datasets.recdata import TrainData
from hrec.datasets.walks import RandomWalks, WalkSettings
from hrec.models.base import Stage
from hrec.models.cross_domain._slots import SlotModel, SlotSettings
from hrec.models.layers.bags import EmbeddingTable
from hrec.models.layers.kinds import ByKind
from hrec.models.layers.mlp import MLP
from hrec.models.layers.nodes import WalkVectors
from hrec.settings import NegativeSettings

LEAST = 1e-6
"""A cosine counts as at least this in the loss, and as at most 1 less this."""


class GAMTCDR(SlotModel):
    """Score cos(h_u^t, h_i) for item i of kind t. Stages: walk/<kind> for each kind, and train."""

    class Config(SlotSettings):
        """Settings of GA-MTCDR."""

        hidden: tuple[PositiveInt, ...] = Field((2, 4, 8, 4, 2, 1), min_length=1)
        """Widths of the layers of each MLP, in multiples of embedding_size."""
        walk: WalkSettings = WalkSettings()
        """Random walks, and skip-gram on them."""
        negatives: NegativeSettings = NegativeSettings(pool=7)
        """The negatives of the same kind; all of the pool count."""
        reg_weight: NonNegativeFloat = 1e-3
        """lambda of lambda / 2 (|h_u|^2 + |h_i|^2), mean over the pairs."""
        by_rating: bool = True
        """A positive counts r / R of its rating. false, or without ratings: 1."""

    stage_groups: ClassVar[tuple[str, ...]] = ("walk", "train")
    config: Config
    target: Tensor

    def __init__(self, config: Config, data: TrainData) -> None:
        super().__init__(config, data)
        k, kinds = config.embedding_size, data.kinds
        self.walks = ByKind(
            {kind: WalkVectors(data.n_users, table, k, config.walk.init_std) for kind, table in kinds.items()}
        )
        linear, mlp = partial(nn.Linear, k, k, bias=False), partial(MLP, [k, *(k * h for h in config.hidden)])
        self.user_inputs, self.item_inputs = (ByKind({kind: linear() for kind in kinds}) for _ in range(2))
        self.attention = ByKind({kind: EmbeddingTable(data.n_users, len(kinds) * k, 0.01) for kind in kinds})
        self.user_mlps, self.item_mlps = (ByKind({kind: mlp(last_relu=True) for kind in kinds}) for _ in range(2))
        self.register_buffer("target", torch.from_numpy(_targets(data, config.by_rating)), persistent=False)

    def stages(self, data: TrainData) -> Iterator[Stage]:
        """The walks of each kind that has a positive, and then all other weights."""
        for index, kind in enumerate(data.kinds):
            if bool(self.degree[:, index].any()):
                walks = RandomWalks(data.only(kind), self.config.walk)
                loss, params = partial(self._walk_loss, kind), list(self.walks[kind].parameters())
                yield Stage(f"walk/{kind}", loss, walks, params, group="walk", measured=False)
        frozen = {id(p) for p in self.walks.parameters()}
        yield Stage("train", self.loss, self.sampler(data), [p for p in self.parameters() if id(p) not in frozen])

    def _walk_loss(self, kind: str, batch: Walks) -> dict[str, Tensor]:
        return {"skip_gram": self.walks[kind].loss(batch, self.config.walk.window)}

    def loss(self, batch: Pairs) -> dict[str, Tensor]:
        """Normalised cross-entropy and the lengths of the outputs, mean over the positives and negatives."""
        pool = batch.negative.shape[1]
        user = self._users(batch.user, self.kinds.index(batch.positive))
        item, place = torch.unique(torch.cat([batch.positive[:, None], batch.negative], 1), return_inverse=True)
        items = self._items(item)
        cosine = (F.normalize(user, dim=1)[:, None] * F.normalize(items, dim=1)[place]).sum(2)
        target = torch.zeros_like(cosine)
        target[:, 0] = 1.0 if batch.row is None else self.target[batch.row].to(cosine.dtype)
        y = cosine.clamp(LEAST, 1 - LEAST)
        terms = {"cross_entropy": -(target * torch.log(y) + (1 - target) * torch.log1p(-y)).mean()}
        if self.config.reg_weight:
            squares = user.square().sum() * (1 + pool) + items.square().sum(1)[place].sum()
            terms["norm"] = self.config.reg_weight / 2 * squares / cosine.numel()
        return terms

    def user_part(self, user: Tensor, kind: Tensor) -> Tensor:
        return F.normalize(self._users(user, kind), dim=1)

    def item_part(self, item: Tensor) -> Tensor:
        return F.normalize(self._items(item), dim=1)

    def _users(self, user: Tensor, kind: Tensor) -> Tensor:
        """h_u^t before its length is set to 1: float[B, K of the last layer]"""
        z = torch.stack([self.user_inputs[k](self._frozen(k, "users")[user]) for k in self.kinds.names], 1)
        present = self.degree[user] > 0

        def of_kind(t: str, here: Tensor) -> Tensor:
            logit = self.attention[t].rows(user[here]).view(len(here), *z.shape[1:])
            return self.user_mlps[t](attended(z[here], logit, present[here]))

        return self.kinds.each_of(kind, of_kind, self._width, every=self.training)

    def _items(self, item: Tensor) -> Tensor:
        """The output of the items before its length is set to 1."""

        def of_kind(kind: str, here: Tensor) -> Tensor:
            x = self._frozen(kind, "items")[self.kinds.row(kind, item[here])]
            return self.item_mlps[kind](self.item_inputs[kind](x))

        return self.kinds.each(item, of_kind, self._width, every=self.training)

    def _frozen(self, kind: str, side: str) -> Tensor:
        """x of all users, or of all items of the kind."""
        return getattr(self.walks[kind].center, side).weight.detach()

    @property
    def _width(self) -> int:
        return self.config.embedding_size * self.config.hidden[-1]


def attended(vectors: Tensor, logit: Tensor, present: Tensor) -> Tensor:
    """Sum over the kinds of vectors, each element with its own softmax of the logits over the kinds that are present.

    vectors, logit float[B, n, d]; present bool[B, n] -> float[B, d]; 0 where no kind is present.
    """
    some = present.any(1)[:, None, None]
    # a row without a kind would be NaN, and so would its gradient
    weight = torch.softmax(logit.masked_fill(~present[:, :, None] & some, -torch.inf), 1)
    return torch.where(some, weight * vectors, 0).sum(1)


def _targets(data: TrainData, by_rating: bool) -> np.ndarray:
    """float32[N]: r / R of each training row, R the largest rating of its kind, between 0 and 1; 1 without a rating."""
    x = data.interactions
    if not by_rating or x.rating is None:
        return np.ones(len(x), np.float32)
    largest = np.zeros(len(data.kinds))
    np.fmax.at(largest, x.kind, x.rating)
    share = np.nan_to_num(x.rating / np.maximum(largest[x.kind], 1e-12), nan=1.0)
    return np.clip(share, 0, 1).astype(np.float32)
