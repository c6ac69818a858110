"""DeepCoNN: one network reads all reviews of the user, another all of the item, and a factorisation machine joins them.

Zheng, Noroozi and Yu, Joint Deep Modeling of Users and Items Using Reviews for Recommendation, WSDM 2017, section 3:

    z_u = ReLU(F c(D_u) + g),   c = the maximum over time of ReLU(convolution of the words of the document D_u)
    z_i the same with other weights, and z = [z_u, z_i]
    score(u, i) = w_0 + w . z + sum over j < k of <v_j, v_k> z_j z_k,   loss (score - rating)^2

The machine over both parts is an inner product. With V_u, V_i the rows v_j of each part and
own(z) = w . z + (|V^T z|^2 - sum_j |v_j|^2 z_j^2) / 2,

    score(u, i) = w_0 + own(z_u) + own(z_i) + (V_u^T z_u) . (V_i^T z_i)

so every item is ranked for every user at the cost of the documents. Departures: a document holds training reviews
alone. In training it lacks the review of the pair itself, which no held-out pair has (``exclude_target``). It is cut at
``length_quantile``. Word vectors are trained from random ones. Pairs with negatives can replace ratings (``loss``).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor, nn

from hrec.datasets.batches import Pairs, Points
from hrec.datasets.columns import slices
from hrec.datasets.recdata import TrainData
from hrec.datasets.samplers import Pairwise, Pointwise, positive_rows
from hrec.datasets.tokens import chosen_texts, rows_by, texts_of
from hrec.models.base import InnerProductModel, Needs, Reads
from hrec.models.layers.bags import EmbeddingTable
from hrec.models.layers.pairs import compared, items_of
from hrec.models.layers.rows import Rows, declare_rows
from hrec.models.layers.text_cnn import NO_WORD, TextCNN
from hrec.models.losses import bpr
from hrec.settings import NegativeSettings, Settings


class DeepCoNN(InnerProductModel):
    """A factorisation machine over what two text networks read."""

    class Config(Settings):
        """Settings of DeepCoNN."""

        column: str | None = None
        """Column of the interactions with the reviews; null: the only one with texts."""
        loss: Literal["rating", "bpr"] = "rating"
        """Squared error of the ratings, or positives above negatives. Documents hold reviews of rows with a rating, or
        of positives."""
        exclude_target: bool = True
        """In training, leave the review of the pair itself out of both documents."""
        length_quantile: Annotated[float, Field(gt=0, le=1)] = 0.85
        """Documents are cut at the length that this share of those with words does not exceed."""
        word_size: PositiveInt = 300
        """Width of the word vectors."""
        width: PositiveInt = 3
        """Words that a window of the convolution holds."""
        kernels: PositiveInt = 100
        """Kernels of the convolution."""
        latent_size: PositiveInt = 50
        """Width of z_u and z_i."""
        factors: PositiveInt = 8
        """Width of the vectors v of the factorisation machine."""
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
        """Chance that a number of c is left out in training."""
        init_std: PositiveFloat = 0.1
        """Standard deviation of the first word vectors and v."""
        negatives: NegativeSettings = NegativeSettings()
        """The negatives of a positive, for bpr."""

    needs = Needs(texts=True)
    reads = Reads(user=frozenset(), item=frozenset(), interaction={"texts"})
    config: Config

    def __init__(self, config: Config, data: TrainData) -> None:
        super().__init__(config, data)
        column = chosen_texts(data, config.column)
        vocabulary = texts_of(data, column).vocabulary
        self.words = EmbeddingTable(max(len(vocabulary), 1), config.word_size, config.init_std)
        declare_rows(self.words.weight, [Rows(f"word of {column}", len(self.words.weight), None, vocabulary, 0)])
        rows = _rows_of_loss(config, data)
        of_rating = config.loss == "rating"
        self.user = Side(Documents(data, rows, "user", column, config.length_quantile), config, of_rating)
        self.item = Side(Documents(data, rows, "item", column, config.length_quantile), config, True)
        rating = data.interactions.rating
        self.mean = nn.Parameter(torch.tensor(float(rating[rows].mean()))) if of_rating and rating is not None else None
        self.remarks += [f"documents of {side.documents}" for side in (self.user, self.item)]

    def sampler(self, data: TrainData) -> Pointwise | Pairwise:
        if self.config.loss == "bpr":
            return Pairwise(data, self.config.negatives, self.device)
        rows = _rows_of_loss(self.config, data)
        rated = replace(data, feedback=replace(data.feedback, negatives=0))
        return Pointwise(rated.with_interactions(data.interactions.take(rows)), rows, rating=True)

    def loss(self, batch: Points | Pairs) -> dict[str, Tensor]:
        """Squared error of the ratings, mean over the batch; or BPR-Opt."""
        row = batch.row if self.config.exclude_target else None
        user = self._user(self._read(self.user, batch.user, row))
        if isinstance(batch, Pairs):
            items = self._item(self._read(self.item, items_of(batch), row))
            return {"bpr": bpr(compared(user, items, batch)[0])}
        score = (user * self._item(self._read(self.item, batch.item, row))).sum(1)
        assert batch.rating is not None
        return {"rating": F.mse_loss(score, batch.rating)}

    def user_vectors(self, user: Tensor) -> Tensor:
        """[V_u^T z_u, own(z_u) + w_0, 1]; w_0 for ratings alone"""
        return self._user(self._read(self.user, user))

    def item_vectors(self, item: Tensor) -> Tensor:
        """[V_i^T z_i, 1, own(z_i)]"""
        return self._item(self._read(self.item, item))

    def _read(self, side: Side, owner: Tensor, row: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """``Side`` without the reviews ``row`` of the first owners; if none is left out, each owner is read once."""
        if row is not None:
            return side(self.words, owner, F.pad(row, (0, len(owner) - len(row)), value=NO_ROW))
        distinct, place = torch.unique(owner, return_inverse=True)
        vectors, own = side(self.words, distinct)
        return F.embedding(place, vectors), F.embedding(place, own)

    def _user(self, read: tuple[Tensor, Tensor]) -> Tensor:
        vectors, own = read
        return torch.cat([vectors, own if self.mean is None else own + self.mean, torch.ones_like(own)], 1)

    def _item(self, read: tuple[Tensor, Tensor]) -> Tensor:
        vectors, own = read
        return torch.cat([vectors, torch.ones_like(own), own], 1)


NO_ROW = -1
"""In the place of the row of a pair that has no review."""


def _rows_of_loss(config: DeepCoNN.Config, data: TrainData) -> np.ndarray:
    """int64: the training rows that the loss is about. Raises ValueError where no row has a rating."""
    if config.loss == "bpr":
        return positive_rows(data)
    rating = data.interactions.rating
    rows = np.flatnonzero(np.isfinite(rating)) if rating is not None else np.zeros(0, np.int64)
    if len(data.interactions) and not len(rows):
        raise ValueError("model.loss 'rating' needs ratings: name their column in data.RATING_FIELD, or set it to bpr")
    return rows


class Documents(nn.Module):
    """The words of the reviews of each user or item, one review after another, and the row that each word is of.

    by: "user" or "item". rows: the training rows whose reviews are read. The arrays come from the data, so they are not
    saved with the weights.
    """

    offset: Tensor
    word: Tensor
    row: Tensor

    def __init__(self, data: TrainData, rows: np.ndarray, by: str, column: str, quantile: float) -> None:
        super().__init__()
        read = data.with_interactions(data.interactions.take(rows))
        texts = texts_of(read, column)
        of_owner, order = rows_by(read, by)
        of_text, at = slices(texts.offset, order)
        offset = of_text[of_owner]
        length = np.diff(offset)
        self.by, self.longest = by, int(np.quantile(length[length > 0], quantile)) if len(at) else 0
        kept = np.arange(len(at)) - np.repeat(offset[:-1], length) < self.longest
        row = np.repeat(rows[order], np.diff(of_text))
        cut = np.concatenate([[0], np.cumsum(np.minimum(length, self.longest))])
        for name, array in (("offset", cut), ("word", texts.word[at][kept]), ("row", row[kept])):
            self.register_buffer(name, torch.from_numpy(array.astype(np.int64)), persistent=False)

    def forward(self, owner: Tensor, row: Tensor | None = None) -> Tensor:
        """int64[B, L], each document, then NO_WORD up to the longest; NO_WORD too for the words of ``row`` int64[B]."""
        first = self.offset[owner]
        length = self.offset[owner + 1] - first
        place = torch.arange(int(length.max()) if len(owner) else 0, device=owner.device)
        at = (first[:, None] + place).clamp(max=max(len(self.word) - 1, 0))
        there = place < length[:, None]
        if row is not None:
            there = there & (self.row[at] != row[:, None])
        return torch.where(there, self.word[at], NO_WORD)

    def __str__(self) -> str:
        return f"{self.by}s: {len(self.word):,} words, at most {self.longest:,} in each"


class Side(nn.Module):
    """The network of users or of items, and its part of the factorisation machine.

    first_order: whether there is a w; for the users of pairs it would cancel.
    """

    def __init__(self, documents: Documents, config: DeepCoNN.Config, first_order: bool) -> None:
        super().__init__()
        self.documents = documents
        self.cnn = TextCNN(config.word_size, config.kernels, config.width)
        self.dropout = nn.Dropout(config.dropout)
        self.latent = nn.Linear(config.kernels, config.latent_size)
        self.factors = nn.Parameter(config.init_std * torch.randn(config.latent_size, config.factors))
        self.first_order = nn.Parameter(torch.zeros(config.latent_size)) if first_order else None

    def forward(self, words: EmbeddingTable, owner: Tensor, row: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(V^T z float[B, factors], own(z) float[B, 1]) of these owners, without the reviews ``row`` int64[B]."""
        z = F.relu(self.latent(self.dropout(self.cnn(words, self.documents(owner, row)))))
        vectors = z @ self.factors
        own = (vectors.square().sum(1) - z.square() @ self.factors.square().sum(1)) / 2
        own = own if self.first_order is None else own + z @ self.first_order
        return vectors, own[:, None]
