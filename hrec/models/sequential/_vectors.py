"""What the sequence models share that read vectors of items: a causal Transformer, and cosines with all items."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Literal, Self

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveFloat, PositiveInt, model_validator
from torch import Tensor, nn

from hrec.datasets.queries import Queries
from hrec.datasets.recdata import TrainData
from hrec.datasets.sequence_samplers import NextItem
from hrec.datasets.sequences import SequenceBatch
from hrec.models.base import InnerProductModel, Reads
from hrec.models.layers.bags import DENSE_UP_TO, EmbeddingTable
from hrec.models.layers.full_softmax import full_softmax
from hrec.models.layers.in_batch import in_batch
from hrec.models.layers.item_vectors import ItemVectors, VectorSettings, coverage, required_vectors
from hrec.models.layers.rows import Rows, declare_rows
from hrec.models.layers.user_sequences import UserSequences
from hrec.models.sequential.sasrec import Block, attended
from hrec.settings import LayerCount, SequenceSettings


class EncoderSettings(VectorSettings):
    """The Transformer and what it reads; widths and dropout as in UniSRec's code."""

    sequences: SequenceSettings = SequenceSettings()
    """How long a sequence the model reads."""
    ids: bool = False
    """Each item has a trained vector too."""
    embedding_size: PositiveInt = 300
    """d, the width of the vectors of items and of the Transformer."""
    n_layers: LayerCount = 2
    """Blocks of the Transformer."""
    num_heads: PositiveInt = 2
    """Heads of an attention, each on a part of d."""
    inner_size: PositiveInt = 256
    """Width within the two-layer perceptrons."""
    dropout: float = Field(0.5, ge=0, lt=1)
    """Chance that a number is set to 0 in training."""
    temperature: PositiveFloat = 0.07
    """tau: cosines are divided by it."""
    init_std: PositiveFloat = 0.02
    """Standard deviation of the first vectors of ids, codes and positions."""

    @model_validator(mode="after")
    def _whole_heads(self) -> Self:
        if self.embedding_size % self.num_heads:
            raise ValueError(f"embedding_size must be a multiple of num_heads, got {self.embedding_size}")
        return self


class VectorSequenceSettings(EncoderSettings):
    """Settings that the models share whose score is one cosine."""

    loss: Literal["ce", "in_batch"] = "ce"
    """ce: softmax over all items, at every position, for training from scratch and fine-tuning. in_batch: one drawn
    position of each sequence against the targets of the other sequences of the batch, the papers' pretraining."""


class Positions(nn.Module):
    """float[B, L, d] plus a trained vector of each position, counted from the newest entry; then dropout."""

    def __init__(self, config: EncoderSettings) -> None:
        super().__init__()
        length = config.sequences.max_length
        self.weight = nn.Parameter(torch.empty(length, config.embedding_size).normal_(std=config.init_std))
        declare_rows(self.weight, [Rows("position", length)])
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(x + self.weight[len(self.weight) - x.shape[1] :])


def blocks_of(config: EncoderSettings) -> nn.ModuleList:
    """The blocks of a Transformer."""
    c = config
    return nn.ModuleList(Block(c.embedding_size, c.num_heads, c.inner_size, c.dropout) for _ in range(c.n_layers))


class VectorSequential(InnerProductModel):
    """score(u, i) = cos(h_u, e_i) / tau, e_i = f(x_i) [+ id_i], h_u the state at the newest entry of u's sequence.

    A subclass gives ``content``, which makes f, a module of int64[B] -> float[B, d], of the vectors x of the items. The
    Transformer is SASRec's. Of a user without a sequence h_u is 0.
    """

    class Config(VectorSequenceSettings):
        """Settings of the model."""

    reads = Reads(user={"sequence"}, item={"id", "columns"})
    config: VectorSequenceSettings

    def __init__(self, config: VectorSequenceSettings, data: TrainData) -> None:
        super().__init__(config, data)
        width, whole = config.embedding_size, config.loss == "ce"  # ce reads the whole table at every step
        vectors = required_vectors(data, config, type(self).__name__)
        self.remarks += coverage(vectors)
        self.sequences = UserSequences(data, config.sequences.max_length)
        self.of_vectors = self.content(vectors, data)
        dense = math.inf if whole else DENSE_UP_TO
        self.table = EmbeddingTable(data.n_items, width, config.init_std, dense) if config.ids else None
        self.positions, self.blocks, self.norm = Positions(config), blocks_of(config), nn.LayerNorm(width)

    @abstractmethod
    def content(self, vectors: list[ItemVectors], data: TrainData) -> nn.Module:
        """f, int64[B] -> float[B, d]; called once, while the model is built."""

    def inputs(self, item: Tensor) -> Tensor:
        """e, int64[B] -> float[B, d]"""
        content = self.of_vectors(item)
        return content if self.table is None else content + self.table.rows(item)

    def states(self, vectors: Tensor, mask: Tensor) -> Tensor:
        """h of each position and those before it, of length 1, 0 for padding; vectors float[B, L, d]; mask bool[B, L].
        -> float[B, L, d]"""
        x, allowed = self.positions(vectors * mask[:, :, None]), attended(mask)
        for block in self.blocks:
            x = block(x, allowed)
        return F.normalize(self.norm(x), dim=2) * mask[:, :, None]

    def sampler(self, data: TrainData) -> NextItem:
        c = self.config.sequences
        return NextItem(data, c.max_length, self.device, c.stride)

    def loss(self, batch: SequenceBatch) -> dict[str, Tensor]:
        return {"ce": self._full(batch)} if self.config.loss == "ce" else self.contrasts(batch)

    def _full(self, batch: SequenceBatch) -> Tensor:
        """Mean over the positions."""
        assert batch.target is not None
        table = self.inputs(torch.arange(self.n_items, device=self.device))
        state = self.states(F.embedding(batch.item, table), batch.mask)[batch.mask]
        return full_softmax(state / self.config.temperature, F.normalize(table, dim=1), batch.target[batch.mask])

    def contrasts(self, batch: SequenceBatch) -> dict[str, Tensor]:
        """The terms of the loss "in_batch"."""
        at = drawn_position(batch)
        state, target = self.states(self._read(batch), batch.mask)[at], self._target(batch, at)
        return {"seq_item": in_batch(self.logits(state, target), target)}

    def logits(self, state: Tensor, target: Tensor) -> Tensor:
        """cos / tau of all pairs; state float[B, d], of length 1; target int64[B] -> float[B, B]"""
        return state @ F.normalize(self.inputs(target), dim=1).T / self.config.temperature

    def _read(self, batch: SequenceBatch) -> Tensor:
        """float[B, L, d]; an item that is there several times is computed once."""
        item, place = torch.unique(batch.item, return_inverse=True)
        return F.embedding(place, self.inputs(item))

    @staticmethod
    def _target(batch: SequenceBatch, at: tuple[Tensor, Tensor]) -> Tensor:
        assert batch.target is not None
        return batch.target[at]

    def query_vectors(self, queries: Queries) -> Tensor:
        """h / tau of the histories of the queries, or of the training rows of known users."""
        batch = self.sequences.of_queries(queries).padded(self.config.sequences.max_length)
        return self.states(self._read(batch), batch.mask)[:, -1] / self.config.temperature

    def user_vectors(self, user: Tensor) -> Tensor:
        return self.query_vectors(Queries(user))

    def item_vectors(self, item: Tensor) -> Tensor:
        """e, of length 1"""
        return F.normalize(self.inputs(item), dim=1)


def drawn_position(batch: SequenceBatch) -> tuple[Tensor, Tensor]:
    """(row, position) int64[B] each: one entry of each sequence, each as likely."""
    at = torch.multinomial(batch.mask.float(), 1).squeeze(1)
    return torch.arange(len(batch), device=at.device), at
