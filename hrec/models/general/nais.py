"""NAIS: FISM whose sum over the history is weighted by an attention of the target on each item.

He, He, Song, Liu, Jiang and Chua, NAIS: Neural Attentive Item Similarity Model for Recommendation, TKDE 2018,
section 3; hyper-parameters of DURation's Table 6.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn

from hrec.datasets.batches import Points
from hrec.datasets.histories import thinned, user_history
from hrec.datasets.queries import Queries
from hrec.datasets.recdata import TrainData
from hrec.datasets.samplers import Pointwise
from hrec.models.base import BaseModel, Needs, Ranker, Reads
from hrec.models.layers.attention import Cells, attend_concat, attend_product, pool
from hrec.models.layers.bags import Cells as History
from hrec.models.layers.bags import EmbeddingTable, RaggedRows
from hrec.models.losses import bce
from hrec.settings import Settings

CHUNK = 400_000
"""Cells scored at once in evaluation."""
PAIRS = 2**25
"""Pairs of items whose attention is worked out before lists are made; a catalogue with more is scored pair by pair."""
LOWEST = 1e-30
"""Of the weight of an item relative to the largest: what is lower is too near to underflow to sum."""


class NAIS(BaseModel):
    """Score b_u + b_i + n^-alpha sum_j a_ij v_uj p_i . q_j over the n cells j of user u's history.

    a_ij = exp f(p_i, q_j) / [sum_j exp f(p_i, q_j)]^beta (Eq. 9), with f = h . ReLU(W (p_i * q_j) + b), or of
    [p_i; q_j] in place of the product (Eq. 7); v_uj is what a cell holds, 1 in the paper (data.inter_matrix_type
    "01"). In training the cell of the pair itself is left out, so n is one less. Where negatives are drawn, or
    negatives have no cells, a pair without one of its own loses one at random, or their number reveals the label.
    """

    class Config(Settings):
        """Settings of NAIS, as published."""

        algorithm: Literal["prod", "concat"] = "prod"
        """What the attention reads: the product p * q or both vectors, [p; q]."""
        embedding_size: PositiveInt = 64
        """Width of p and q."""
        weight_size: PositiveInt = 64
        """Hidden units of the attention."""
        alpha: NonNegativeFloat = 0.0
        """The sum over n cells is divided by n ** alpha."""
        beta: Annotated[float, Field(ge=0, le=1)] = 0.5
        """Power of the sum that divides the weights: 1 is a softmax, less lets long histories count for more."""
        reg_weights: tuple[NonNegativeFloat, NonNegativeFloat, NonNegativeFloat] = (1e-7, 1e-7, 1e-5)
        """Weights of |p_i|^2, of the sum of |q_j|^2 over the history, both the mean over the batch, and of |W|^2."""
        max_history: PositiveInt | None = 100
        """At most this many cells of a user, chosen once at random; null: all."""
        global_bias: bool = False
        """Add one number for all pairs, as ``FISM.Config.global_bias`` does."""
        init_std: PositiveFloat = 0.01
        """Standard deviation of the first p and q; biases begin at 0."""

    reads = Reads(user={"id", "cells"}, item={"id"})
    needs = Needs(labels=True)
    published_unused: ClassVar[dict[str, str]] = {
        "split_to": "it cut evaluation into pieces to save memory; the pieces here are always small",
        "pretrain_path": "training starts from random weights",
    }
    config: Config

    def __init__(self, config: Config, data: TrainData) -> None:
        super().__init__(config, data)
        history = user_history(data)
        # a pair with a cell loses it, so a pair without one must lose a cell too, or their number reveals the label
        self.pairs_without_cell = data.feedback.negatives > 0 or len(history.index) < len(data.interactions)
        self.rows = RaggedRows.of(thinned(history, config.max_history))
        self.targets = EmbeddingTable(data.n_items, config.embedding_size, config.init_std)
        self.history = EmbeddingTable(data.n_items, config.embedding_size, config.init_std)
        self.user_bias, self.item_bias = EmbeddingTable(data.n_users, 1, 0.0), EmbeddingTable(data.n_items, 1, 0.0)
        self.bias = nn.Parameter(torch.zeros(1)) if config.global_bias else None
        both = 1 if config.algorithm == "prod" else 2
        self.hidden = nn.Linear(both * config.embedding_size, config.weight_size)
        self.h = nn.Parameter(torch.empty(config.weight_size))
        nn.init.normal_(self.h, std=config.weight_size**-0.5)

    def sampler(self, data: TrainData) -> Pointwise:
        return Pointwise(data)

    def loss(self, batch: Points) -> dict[str, Tensor]:
        """Binary cross-entropy of the pairs without their own cells, and the penalty."""
        cells, value, used = self._cells(self.rows(batch.user), batch.item, leave_out=True)
        p, q = self.targets.rows(batch.item), self.history.rows(used)
        logit = self._attended(p, q, cells, value) + self._biases(self.user_bias.rows(batch.user), batch.item)
        terms = {"bce": bce(logit, batch.label)}
        of_p, of_q, of_w = self.config.reg_weights
        if of_p or of_q or of_w:
            times = torch.bincount(cells.row, minlength=len(used)).to(q.dtype)
            norms = of_p * p.square().sum() + of_q * (times * q.square().sum(1)).sum()
            terms["norm"] = norms / len(batch) + of_w * self.hidden.weight.square().sum()
        return terms

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        """Whole histories, in chunks of whole pairs with about CHUNK cells each."""
        return self._of_pairs(self.rows, user, item) + self._biases(self.user_bias.rows(user), item)

    def _of_pairs(self, rows: RaggedRows, row: Tensor, item: Tensor) -> Tensor:
        """The attended sums of pairs of a history and an item, both int64[B], without biases."""
        last = rows.length(row).cumsum(0)
        sizes = torch.unique_consecutive(last // CHUNK, return_counts=True)[1].tolist() or [0]
        return torch.cat([self._whole(rows, r, i) for r, i in zip(row.split(sizes), item.split(sizes), strict=True)])

    def ranker(self) -> Ranker:
        """The attention of an item on an item is the same for every user: it is computed once for each pair."""
        if self.n_items**2 > PAIRS:
            return self._ranker_by_pairs()
        power, weighted, top = self._attention_of_all()
        if float(power.min()) < LOWEST:
            return self._ranker_by_pairs()
        beta, bias = self.config.beta, self.item_bias.weight.squeeze(1)
        if self.bias is not None:
            bias = bias + self.bias

        def scores_of_all(queries: Queries) -> Tensor:
            length, used, value = cells = self.rows.of_queries(queries)
            start = cells.start.to(used.dtype)
            total = F.embedding_bag(used, power, start, mode="sum")
            pooled = F.embedding_bag(used, weighted, start, mode="sum", per_sample_weights=value.to(total.dtype))
            pooled *= torch.exp((1 - beta) * top) * total.clamp_(min=torch.finfo(total.dtype).tiny).pow_(-beta)
            return self._over_length(pooled, length[:, None]) + self.user_bias.rows_or_mean(queries.user) + bias

        return scores_of_all

    def _ranker_by_pairs(self) -> Ranker:
        item = torch.arange(self.n_items, device=self.device)

        def scores_of_all(queries: Queries) -> Tensor:
            rows, bias = RaggedRows.of_cells(self.rows.of_queries(queries)), self.user_bias.rows_or_mean(queries.user)
            out = bias.new_empty(len(queries), self.n_items)
            row = torch.arange(len(queries), device=item.device)
            for few in row.split(max(1, self.rows_at_once // self.n_items)):
                pairs = few.repeat_interleave(self.n_items), item.repeat(len(few))
                scores = self._of_pairs(rows, *pairs) + self._biases(bias[pairs[0]], pairs[1])
                out[few] = scores.view(len(few), -1)
            return out

        return scores_of_all

    def _attention_of_all(self) -> tuple[Tensor, Tensor, Tensor]:
        """With f_ij of Eq. 7 and m_i its largest over j: exp(f_ij - m_i), that times p_i . q_j, both [j, i], and m."""
        n, q = self.n_items, self.history.weight
        power, weighted = (q.new_empty(n, n) for _ in range(2))
        top = q.new_empty(n)
        row = torch.arange(n, device=q.device)
        for few in row.split(max(1, CHUNK // n)):
            pair = torch.arange(len(few), device=q.device)
            cells = Cells(F.pad((pair + 1) * n, (1, 0)), pair.repeat_interleave(n), row.repeat(len(few)))
            dot, logit = (x.view(-1, n) for x in self._attend(self.targets.weight[few], q, cells))
            top[few] = logit.max(1).values
            power[:, few] = torch.exp(logit - top[few, None]).T
            weighted[:, few] = power[:, few] * dot.T
        return power, weighted, top

    def _whole(self, rows: RaggedRows, row: Tensor, item: Tensor) -> Tensor:
        cells, value, used = self._cells(rows(row), item, leave_out=False)
        p, q = self.targets.rows(item), self.history.rows(used)
        return self._attended(p, q, cells, value)

    def _biases(self, of_user: Tensor, item: Tensor) -> Tensor:
        """of_user float[B, 1]"""
        own = (of_user + self.item_bias.rows(item)).squeeze(1)
        return own if self.bias is None else own + self.bias

    def _cells(self, history: History, item: Tensor, leave_out: bool) -> tuple[Cells, Tensor, Tensor]:
        """The cells of each pair, their values float[E], and the items in them, int64[k] ascending."""
        length, column, value = history
        pair = history.owner
        if leave_out:
            own = column == item.to(column.dtype)[pair]
            if self.pairs_without_cell:
                own |= _one_of_pairs_without(own, pair, length)
            keep = (~own).nonzero().squeeze(1)
            column, value, pair = column[keep], value[keep], pair[keep]
            length = torch.bincount(pair, minlength=len(item))
        there = torch.zeros(len(self.history.weight), dtype=torch.int64, device=item.device)
        there[column] = 1
        row = (there.cumsum(0) - 1)[column]
        return Cells(F.pad(length.cumsum(0), (1, 0)), pair, row), value, there.nonzero().squeeze(1)

    def _attended(self, p: Tensor, q: Tensor, cells: Cells, value: Tensor) -> Tensor:
        """n^-alpha sum_j a_ij v_uj p_i . q_j; p [B, d] of the targets, q [k, d] of the items in the cells."""
        with torch.autocast(p.device.type, enabled=False):  # sums over long histories are too coarse in half precision
            dot, logit = self._attend(p, q, cells)
            pooled = pool(dot, logit, value, self.config.beta, cells)
        return self._over_length(pooled, torch.diff(cells.offset))

    def _attend(self, p: Tensor, q: Tensor, cells: Cells) -> tuple[Tensor, Tensor]:
        """p_i . q_j and f(p_i, q_j) of every cell."""
        attend = attend_product if self.config.algorithm == "prod" else attend_concat
        return attend(p, q, self.hidden.weight, self.hidden.bias, self.h, cells)

    def _over_length(self, pooled: Tensor, length: Tensor) -> Tensor:
        """Times n^-alpha, n >= 1."""
        return pooled / length.clamp(min=1).to(pooled.dtype).pow(self.config.alpha) if self.config.alpha else pooled


def _one_of_pairs_without(own: Tensor, pair: Tensor, length: Tensor) -> Tensor:
    """bool[E]: a random cell of each pair that has cells but none of its ``own``; length int64[B], cells of each."""
    without = (torch.bincount(pair[own], minlength=len(length)) == 0) & (length > 0)
    rank = torch.minimum((torch.rand(len(length), device=length.device) * length).long(), length - 1)
    chosen = torch.zeros_like(own)
    chosen[((length.cumsum(0) - length) + rank)[without]] = True
    return chosen
