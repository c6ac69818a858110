"""What the models of this folder share: items as vectors, the next item at each position, and its losses."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from typing import Literal, Self

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveFloat, model_validator
from torch import Tensor, nn

from hrec.datasets.queries import Queries
from hrec.datasets.recdata import TrainData
from hrec.datasets.sequence_samplers import NextItem
from hrec.datasets.sequences import SequenceBatch
from hrec.models.base import InnerProductModel, Reads
from hrec.models.layers.bags import DENSE_UP_TO, EmbeddingTable
from hrec.models.layers.full_softmax import full_softmax
from hrec.models.layers.user_sequences import UserSequences
from hrec.models.layers.vector_adapter import Scale, VectorAdapter
from hrec.settings import NegativeSettings, SequenceSettings, Settings


class ItemSettings(Settings):
    """How a model of sequences reads an item."""

    ids: bool = True
    """Each item has its own trained vector."""
    item_vectors: str | None = None
    """A column of vectors of items (of a text, an image), which a trained matrix maps to the model's width; added to
    the trained vectors, or with ids false in their place. null: none."""
    vector_scale: Scale = "unit"
    """What is read of them: unit: each has length 1; standard: each number has mean 0 and deviation 1; max: numbers
    over the largest; raw: as in the file."""
    init_std: PositiveFloat = 0.02
    """Standard deviation of the first weights."""

    @model_validator(mode="after")
    def _something_of_an_item(self) -> Self:
        if not self.ids and self.item_vectors is None:
            raise ValueError("'ids' false leaves nothing of an item; name a column of vectors in 'item_vectors'")
        return self


class SequentialSettings(ItemSettings):
    """Settings that models of sequences share."""

    sequences: SequenceSettings = SequenceSettings()
    """How long a sequence the model reads."""
    loss: Literal["ce", "bce", "bpr", "top1"] = "ce"
    """ce: softmax over all items; the others set the next item against drawn ones."""
    negatives: NegativeSettings = NegativeSettings(same_kind=False)
    """The items that are drawn, for all losses but ce. All of a pool count."""
    shared_items: bool = True
    """One table of items is both read and compared with; false: two tables."""
    dropout: float = Field(0.2, ge=0, lt=1)
    """Chance that a number is set to 0 in training."""


class SequentialModel(InnerProductModel):
    """score(u, i) = h_u . e_i, with h_u the hidden state at the newest entry of the user's sequence.

    A subclass gives ``hidden``. Of a user without a sequence h_u is 0.
    """

    class Config(SequentialSettings):
        """Settings that every model of sequences has."""

    reads = Reads(user={"sequence"}, item={"id", "columns"})
    config: SequentialSettings

    def __init__(self, config: SequentialSettings, data: TrainData, width: int) -> None:
        super().__init__(config, data)
        self.sequences = UserSequences(data, config.sequences.max_length)
        whole = config.loss == "ce"  # every step reads the whole table
        self.items = ItemTable(data, config, width, whole)
        self.compared = None if config.shared_items else ItemTable(data, config, width, whole)
        self.remarks += _remarks(data, config.item_vectors)

    @abstractmethod
    def hidden(self, vectors: Tensor, mask: Tensor) -> Tensor:
        """The hidden state at each position, of it and the positions before it; vectors float[B, L, d], 0 for padding;
        mask bool[B, L], True for an entry. -> float[B, L, d]; what it holds for padding is not used."""

    def sampler(self, data: TrainData) -> NextItem:
        c = self.config
        negatives = None if c.loss == "ce" else c.negatives
        return NextItem(data, c.sequences.max_length, self.device, c.sequences.stride, negatives)

    def loss(self, batch: SequenceBatch) -> dict[str, Tensor]:
        """The mean over the positions."""
        name = self.config.loss
        return {name: self._full(batch) if name == "ce" else self._sampled(batch, SAMPLED[name])}

    def _full(self, batch: SequenceBatch) -> Tensor:
        assert batch.target is not None
        table = self.items(self._all)
        state = self._states(F.embedding(batch.item, table), batch.mask)[batch.mask]
        outputs = table if self.compared is None else self.compared(self._all)
        return full_softmax(state, outputs, batch.target[batch.mask])

    def _sampled(self, batch: SequenceBatch, loss: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """Over the positions that have negatives."""
        assert batch.target is not None and batch.negative is not None
        drawn = batch.negative[:, :, 0] >= 0
        read, outputs = self._read(batch.item, torch.cat([batch.target[drawn][:, None], batch.negative[drawn]], 1))
        state = self._states(read, batch.mask)[drawn]
        score = (outputs @ state[:, :, None]).squeeze(2)
        return loss(score[:, :1], score[:, 1:]).sum() / max(score[:, 1:].numel(), 1)

    def _read(self, item: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
        """The vectors of the items read and of those compared with; of one table in one lookup, with one gradient."""
        if self.compared is not None:
            return self.items(item), self.compared(other)
        both = self.items(torch.cat([item.flatten(), other.flatten()]))
        read, outputs = both.split([item.numel(), other.numel()])
        return read.unflatten(0, item.shape), outputs.unflatten(0, other.shape)

    def _states(self, vectors: Tensor, mask: Tensor) -> Tensor:
        """``hidden``, 0 for padding. Padding reads zeros, so the item whose index it has gets no gradient."""
        return self.hidden(vectors * mask[:, :, None], mask) * mask[:, :, None]

    @property
    def _all(self) -> Tensor:
        return torch.arange(self.n_items, device=self.device)

    def query_vectors(self, queries: Queries) -> Tensor:
        """h of the histories of the queries, or of the training rows of known users."""
        batch = self.sequences.of_queries(queries).padded(self.config.sequences.max_length)
        return self._states(self.items(batch.item), batch.mask)[:, -1]

    def user_vectors(self, user: Tensor) -> Tensor:
        return self.query_vectors(Queries(user))

    def item_vectors(self, item: Tensor) -> Tensor:
        return (self.items if self.compared is None else self.compared)(item)


class ItemTable(nn.Module):
    """item int64[...] -> float[..., width]: a trained vector, a mapped one of the item's own, or their sum.

    whole: every step reads all rows, so the gradient is dense.
    """

    def __init__(self, data: TrainData, settings: ItemSettings, width: int, whole: bool) -> None:
        super().__init__()
        std, column = settings.init_std, settings.item_vectors
        dense = math.inf if whole else DENSE_UP_TO
        self.table = EmbeddingTable(data.n_items, width, std, dense) if settings.ids else None
        self.adapter = None
        if column is not None:
            scale = settings.vector_scale
            self.adapter = VectorAdapter.of(data, column, scale, width, std, "model.item_vectors")

    def forward(self, item: Tensor) -> Tensor:
        parts = [] if self.table is None else [self.table.rows(item.flatten()).unflatten(0, item.shape)]
        parts += [] if self.adapter is None else [self.adapter(item)]
        return parts[0] if len(parts) == 1 else parts[0] + parts[1]


def _remarks(data: TrainData, read: str | None) -> list[str]:
    """The columns of items that are not read, in words."""
    names = dict.fromkeys(name for table in data.kinds.values() for name in table.columns if name != read)
    return [f"columns of items are not read: {', '.join(names)}"] if names else []


def bce(positive: Tensor, negative: Tensor) -> Tensor:
    """-log sigmoid(r_p) - log(1 - sigmoid(r_n)) (SASRec, Eq. 7); scores float[M, 1] and float[M, pool]."""
    return F.softplus(-positive) + F.softplus(negative)


def bpr(positive: Tensor, negative: Tensor) -> Tensor:
    """-log sigmoid(r_p - r_n) (GRU4Rec, section 3.1.3)."""
    return F.softplus(negative - positive)


def top1(positive: Tensor, negative: Tensor) -> Tensor:
    """sigmoid(r_n - r_p) + sigmoid(r_n^2) (GRU4Rec, section 3.1.3)."""
    return torch.sigmoid(negative - positive) + torch.sigmoid(negative.square())


SAMPLED: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"bce": bce, "bpr": bpr, "top1": top1}
"""Losses of pairs of a next item and a drawn one, float[M, pool]; their mean is minimised."""
