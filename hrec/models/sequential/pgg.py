"""PGG: vectors of items from the graph of items that occur together in purified sets. A reading of an abstract.

He et al., KDD 2021, reference 12 of UniEmbedding (CIKM 2024).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field, PositiveInt
from torch import Tensor

from hrec.datasets.batches import Draw, ItemPairs
from hrec.datasets.recdata import TrainData
from hrec.datasets.samplers import positive_rows
from hrec.datasets.sequence_samplers import WithinSequence
from hrec.models.base import Stage
from hrec.models.layers.skip_gram import SkipGram, SkipGramSettings, skip_gram_pairs
from hrec.models.sequential._item_to_item import ItemToItem


class PGG(ItemToItem):
    """Score: the cosine of the vectors of two items (PGG-style).

    Only the abstract was available, so this is our reading of it, and tables call it "PGG-style". The abstract has
    a confidence of each user and item, sets of items sampled again by it, and vectors learnt without labels from
    the graph of the items. Here:

    1. Skip-gram vectors are learnt from pairs of items of one user.
    2. A row has a confidence: exp(cos(v_i, m)) over its sum over the rows of the user. m is the sum of the vectors
       of the user's other rows. The rows of each user with the smallest confidence are dropped.
    3. The graph of the remaining sets S_u has the edge weight sum_u 1 / (|S_u| - 1). Its vectors have LINE's
       second-order proximity (Tang et al., WWW 2015): skip-gram on edges drawn by weight. That is one other item of
       the set for each row.
    """

    class Config(SkipGramSettings):
        """Settings of PGG."""

        embedding_size: PositiveInt = 128
        """Width of the vectors."""
        kept: float = Field(0.8, gt=0, le=1)
        """Share of a user's rows that stay, rounded up, two at least."""

    stage_groups = ("pretrain", "train")
    config: Config

    def __init__(self, config: Config, data: TrainData) -> None:
        super().__init__(config, data)
        self.raw, self.purified = (SkipGram(data, config.embedding_size) for _ in range(2))

    def stages(self, data: TrainData) -> Iterator[Stage]:
        """The vectors for the confidence, then those of the purified sets."""
        pairs = skip_gram_pairs(data, self.config, self.device)
        raw = list(self.raw.parameters())
        yield Stage("raw", self._raw_loss, pairs, raw, group="pretrain", measured=False)
        yield Stage("train", self.loss, Purified(self, data), list(self.purified.parameters()))

    def _raw_loss(self, batch: ItemPairs) -> dict[str, Tensor]:
        return {"raw": self.raw.loss(batch)}

    def loss(self, batch: ItemPairs) -> dict[str, Tensor]:
        return {"purified": self.purified.loss(batch)}

    def item_vectors(self, item: Tensor) -> Tensor:
        """Of length 1, or zeros."""
        return self.purified(item)

    @torch.no_grad()
    def without_doubtful(self, data: TrainData) -> TrainData:
        """The data with the positive rows whose confidence is among the largest of their user."""
        row = positive_rows(data)
        x = data.interactions.take(row)
        unit = self.raw(torch.from_numpy(x.item.astype(np.int64)).to(self.device))
        user = torch.from_numpy(x.user.astype(np.int64)).to(self.device)
        kept = most_confident(unit, user, data.n_users, self.config.kept)
        return data.with_interactions(x.take(np.flatnonzero(kept.cpu().numpy())))


class Purified:
    """Pairs of the purified sets; these are found when the first epoch begins, with the vectors of the stage before."""

    def __init__(self, model: PGG, data: TrainData) -> None:
        self.model, self.data = model, data
        self.pairs: WithinSequence | None = None

    def epoch(self, draw: Draw) -> Iterator[ItemPairs]:
        if self.pairs is None:
            self.pairs = skip_gram_pairs(self.model.without_doubtful(self.data), self.model.config, draw.device)
        return self.pairs.epoch(draw)


def most_confident(unit: Tensor, user: Tensor, n_users: int, share: float) -> Tensor:
    """bool[N]: the ceil(share * n), at least two, of the n rows of each user with the largest confidence.

    unit float[N, d], of length 1; user int64[N]. Within a user the order of exp(cos(v, m)) / sum is that of cos(v, m).
    Of equal ones the first row stays.
    """
    total = torch.zeros(n_users, unit.shape[1], dtype=unit.dtype, device=unit.device).index_add_(0, user, unit)
    others = F.normalize(total[user] - unit, dim=1)
    confidence = (unit * others).sum(1)
    order = confidence.argsort(descending=True, stable=True)
    order = order[user[order].argsort(stable=True)]
    count = torch.bincount(user, minlength=n_users)
    place = torch.arange(len(user), device=user.device) - (count.cumsum(0) - count)[user[order]]
    most = (share * count.double() - 1e-9).ceil().long().clamp(min=2)
    kept = torch.zeros(len(user), dtype=torch.bool, device=user.device)
    kept[order] = place < most[user[order]]
    return kept
