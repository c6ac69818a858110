"""DIN: each item of the user's history counts as much as it has to do with the item asked about.

Zhou, Zhu, Song, Fan, Zhu, Ma, Yan, Jin, Li and Gai, Deep Interest Network for Click-Through Rate Prediction, KDD 2018.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from hrec.datasets.batches import Points
from hrec.datasets.queries import Queries
from hrec.datasets.recdata import TrainData
from hrec.datasets.sequences import SequenceBatch, Sequences
from hrec.models.base import Ranker, Reads
from hrec.models.context._ranking import RankingModel, RankingModelSettings
from hrec.models.layers.deep import Activation, Deep, xavier
from hrec.models.layers.user_sequences import UserSequences


class DIN(RankingModel):
    """logit = MLP([fields of u, v_i, sum_j a(v_j, v_i) v_j]), j over the newest items of u's history.

    v are the fields of an item one after another, a the activation unit: an MLP of v_i, v_j, v_i - v_j and v_i * v_j
    (section 4.3), not normalised as in the paper, or with ``softmax``. In training the history of a pair is of the
    user's positive rows, earlier and later ones, without the pair's own item. A pair whose item is not in it loses an
    item drawn at random, or the length would reveal the label.
    """

    class Config(RankingModelSettings):
        """Settings of DIN; widths as BARS's for AmazonElectronics."""

        max_length: PositiveInt = 100
        """Items of a history, the newest."""
        attention_hidden_size: tuple[PositiveInt, ...] = Field((512, 256), min_length=1)
        """Of the activation unit."""
        attention_activation: Activation = "dice"
        attention_dropout: float = Field(0.1, ge=0, lt=1)
        softmax: bool = False
        """The weights of a history sum to 1, by a softmax over its items."""
        mlp_hidden_size: tuple[PositiveInt, ...] = Field((1024, 512, 256), min_length=1)
        activation: Activation = "dice"
        """Of the perceptron."""
        dropout: float = Field(0.1, ge=0, lt=1)

    reads = Reads(user=frozenset({"id", "columns", "sequence"}))
    rows_at_once: ClassVar[int] = 1024
    config: Config

    def __init__(self, config: Config, data: TrainData) -> None:
        super().__init__(config, data)
        self.histories = UserSequences(data, config.max_length + 1, once=True)  # in training one is left out
        size = self.widths["item"]
        self.attention = ActivationUnit(
            size, config.attention_hidden_size, config.attention_activation, config.attention_dropout, config.softmax
        )
        widths = [self.width + size, *config.mlp_hidden_size]
        self.mlp = Deep(widths, config.activation, config.batch_norm, config.dropout)
        self.last = xavier(nn.Linear(self.mlp.width_out, 1))

    def loss(self, batch: Points) -> dict[str, Tensor]:
        history = self.histories(batch.user).padded(self.config.max_length + 1)
        history = SequenceBatch(history.item, history.kind, without_one(history, batch.item))
        return self.losses(self._logit(batch.user, batch.item, history), batch.label)

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        return self._logit(user, item, self._newest(self.histories(user)))

    def ranker(self) -> Ranker:
        """Of known users; a history that a query brings replaces that of the training rows."""
        item = torch.arange(self.n_items, device=self.device)

        def scores_of_all(queries: Queries) -> Tensor:
            user, histories = queries.known(), self.histories.of_queries(queries)
            pair = torch.arange(len(user) * self.n_items, device=item.device)
            scores = []
            for some in pair.split(self.rows_at_once):
                row, i = some // self.n_items, item[some % self.n_items]
                scores.append(self._logit(user[row], i, self._newest(histories.take(row))))
            return torch.cat(scores).view(len(user), -1) if scores else item.new_zeros(0, self.n_items).float()

        return scores_of_all

    def _newest(self, histories: Sequences) -> SequenceBatch:
        return histories.padded(self.config.max_length)

    def _logit(self, user: Tensor, item: Tensor, history: SequenceBatch) -> Tensor:
        of_item = self.items(item)
        interest = self.attention(of_item, self.items(history.item[history.mask]), history.mask)
        x = torch.cat([self.users(user), of_item, interest], 1)
        return self.last(self.mlp(x)).squeeze(1)


def without_one(history: SequenceBatch, item: Tensor) -> Tensor:
    """The mask bool[B, L] without the item of each pair, int64[B]; where that is not in its history, without a random
    entry. The items of a history are distinct."""
    own = history.mask & (history.item == item[:, None])
    count = history.mask.sum(1)
    place = (torch.rand(len(count), device=count.device) * count).long() + history.mask.shape[1] - count
    drawn = torch.arange(history.mask.shape[1], device=count.device) == place[:, None]
    return history.mask & ~torch.where(own.any(1, keepdim=True), own, drawn)


class ActivationUnit(nn.Module):
    """target float[B, d], entries float[E, d] of the True places of mask bool[B, L], row by row -> sum_j w_j v_j,
    float[B, d]; 0 for a row without an entry.

    w_j = MLP([v_i, v_j, v_i - v_j, v_i * v_j]); softmax: over the entries of the row, where the logit of padding is
    -inf. The perceptron reads the entries alone, so that Dice does not measure padding.
    """

    def __init__(
        self, size: int, hidden: tuple[int, ...], activation: Activation, dropout: float, softmax: bool
    ) -> None:
        super().__init__()
        self.softmax = softmax
        self.mlp = Deep([4 * size, *hidden], activation, dropout=dropout)
        self.last = xavier(nn.Linear(self.mlp.width_out, 1))

    def forward(self, target: Tensor, entries: Tensor, mask: Tensor) -> Tensor:
        row = mask.nonzero()[:, 0]
        own = target[row]
        unit = self.last(self.mlp(torch.cat([own, entries, own - entries, own * entries], 1))).squeeze(1)
        weight = masked_softmax(unit, mask) if self.softmax else unit
        out = torch.zeros(len(mask), entries.shape[1], dtype=weight.dtype, device=mask.device)
        return out.index_add(0, row, (weight[:, None] * entries).to(out.dtype))


def masked_softmax(logit: Tensor, mask: Tensor) -> Tensor:
    """float[E], of the True places of mask bool[B, L], row by row -> their softmax over each row, float[E]."""
    spread = torch.full(mask.shape, -torch.inf, dtype=logit.dtype, device=mask.device).masked_scatter(mask, logit)
    some = mask.any(1)
    return spread[some].softmax(1)[mask[some]]
