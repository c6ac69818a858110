"""The view of reviews: PV-DBOW over the training reviews, linked to their users and items (JRL, section 3.2, Eq. 2-3).

``connection`` is how the vectors of users and items come from reviews:

    edges       the paper: a vector d_uv for each review, u_1 = sum_v a_uv d_uv and v_1 = sum_u b_uv d_uv. The scalars a
                and b are learned and start at the mean
    documents   the authors' default program: u_1 and v_1 are free, and each predicts the words of its reviews
    chain       their full program: u_1 and v_1 predict which reviews are theirs, and each review predicts its words

With edges the score of a training positive holds a_uv b_uv |d_uv|^2, which no negative and no held-out pair has.
``exclude_target`` leaves the pair's own review out of both sides in training.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor, nn

from hrec.datasets.batches import Pairs
from hrec.datasets.columns import Tokens
from hrec.datasets.recdata import TrainData
from hrec.models.layers.pairs import items_of
from hrec.models.views.edges import NONE, Edges
from hrec.models.views.view import Shared, View, ViewSettings, masked, named, occurring, positives, required_row
from hrec.models.views.words import Words


class ReviewSettings(ViewSettings):
    """Settings of the view of reviews."""

    column: str | None = None
    """Column of interactions with the text; null: the only one with texts."""
    connection: Literal["edges", "documents", "chain"] = "edges"
    """How users and items are linked to reviews: the paper's scalars, or what the authors' programs do."""
    weight: NonNegativeFloat = 0.005
    """lambda_1, of the sum over the words of a review. The paper has 1, far too much for reviews of many words."""
    negatives: PositiveInt = 5
    """t in Eq. 3, the weight of the negative words of each word."""
    noise: PositiveInt = 64
    """Negative words (for chain also reviews) that are drawn at each step to estimate the expectation in Eq. 3."""


class ReviewView(View):
    """View V_1."""

    Config = ReviewSettings
    config: ReviewSettings
    document: Tensor

    def __init__(self, name: str, config: ReviewSettings, data: TrainData, shared: Shared) -> None:
        super().__init__(name, config, data, shared)
        texts = _texts(name, config, data)
        row, user, item = positives(data)
        has = np.diff(texts.offset)[row] > 0
        row, user, item = row[has], user[has], item[has]
        self.n_rows = len(data.interactions)
        document = np.full(self.n_rows, NONE)
        document[row] = np.arange(len(row))
        self.register_buffer("document", torch.from_numpy(document), persistent=False)
        kept = texts.take(row)
        self.words = Words(kept, shared.table(max(len(kept.vocabulary), 1)), config.negatives, config.noise)
        make = CONNECTIONS[config.connection]
        self.connection = make(Ends(user, item, data.n_users, data.n_items), shared, self.words, config)

    @classmethod
    def found_in(cls, data: TrainData) -> dict[str, ViewSettings]:
        views = named("review", texts_of(data))
        return {name: ReviewSettings(of="review", column=column) for name, column in views.items()}

    def user_vectors(self, user: Tensor) -> Tensor:
        return self.connection.users(user)

    def item_vectors(self, item: Tensor) -> Tensor:
        return self.connection.items(item)

    def vectors_of(self, batch: Pairs) -> tuple[Tensor, Tensor]:
        return self.connection.vectors_of(batch, self.document[required_row(batch)])

    def own_loss(self, batch: Pairs) -> Tensor:
        document = self.document[required_row(batch)]
        there = document >= 0
        return self.connection.loss(batch.user[there], batch.positive[there], document[there]) / len(batch)

    @property
    def remark(self) -> str:
        count = int((self.document >= 0).sum())
        return f"{count:,} training reviews of positives have words, {len(self.words.documents.index):,} in all"


def texts_of(data: TrainData) -> dict[str, Tokens]:
    """Columns of interactions with texts."""
    return {key: c for key, c in data.interactions.columns.items() if isinstance(c, Tokens)}


def _texts(name: str, config: ReviewSettings, data: TrainData) -> Tokens:
    """The reviews, one for each training row. Raises ValueError if there are none, or several columns of them."""
    columns = texts_of(data)
    wanted = config.column or (next(iter(columns)) if len(columns) == 1 else "")
    if wanted in columns:
        return columns[wanted]
    there = f"columns of interactions with texts: {', '.join(columns) or 'none'}"
    what = f"column '{config.column}'" if config.column else "one column of interactions with texts"
    remedy = f"name one in model.views.{name}.column, or leave the view out"
    raise ValueError(f"model.views.{name} needs {what}; '{data.name}' has {there}; {remedy}")


class Ends(NamedTuple):
    """Whose review each is, and of what: user, item int64[n]."""

    user: np.ndarray
    item: np.ndarray
    n_users: int
    n_items: int


class Connection(nn.Module, ABC):
    """How u_1 and v_1 come from the reviews."""

    def __init__(self, ends: Ends, shared: Shared, words: Words, config: ReviewSettings) -> None:
        super().__init__()
        self.shared, self.config = shared, config
        self.predict = words.loss  # bound, not a module: its weights are the view's

    @abstractmethod
    def users(self, user: Tensor) -> Tensor:
        """u_1, int64[B] -> [B, K]"""

    @abstractmethod
    def items(self, item: Tensor) -> Tensor:
        """v_1, int64[B] -> [B, K]"""

    @abstractmethod
    def loss(self, user: Tensor, item: Tensor, document: Tensor) -> Tensor:
        """Sum of -L_1 over these reviews, int64[B] each."""

    def vectors_of(self, batch: Pairs, document: Tensor) -> tuple[Tensor, Tensor]:
        """As ``View.vectors_of``; document int64[B] are the pairs' own reviews, NONE if there is none."""
        user, items = self.users(batch.user), self.items(items_of(batch))
        return (user.detach(), items.detach()) if self.shared.fixed else (user, items)


class ByEdges(Connection):
    """u_1 = sum_v a_uv d_uv and v_1 = sum_u b_uv d_uv (the paper)."""

    def __init__(self, ends: Ends, shared: Shared, words: Words, config: ReviewSettings) -> None:
        super().__init__(ends, shared, words, config)
        self.reviews = shared.table(max(len(ends.user), 1))
        review = np.arange(len(ends.user))
        self.to_user, self.to_item = Edges(ends.user, ends.n_users, review), Edges(ends.item, ends.n_items, review)

    def users(self, user: Tensor) -> Tensor:
        return self.to_user(user, self.reviews)

    def items(self, item: Tensor) -> Tensor:
        return self.to_item(item, self.reviews)

    def loss(self, user: Tensor, item: Tensor, document: Tensor) -> Tensor:
        return self.predict(self.reviews.rows(document), document)

    def vectors_of(self, batch: Pairs, document: Tensor) -> tuple[Tensor, Tensor]:
        fixed = self.shared.fixed
        user = self.to_user(batch.user, self.reviews, fixed)
        items = self.to_item(items_of(batch), self.reviews, fixed)
        if self.shared.exclude_target:
            user = user - self.to_user.one(document, self.reviews, fixed)
            own = self.to_item.one(document, self.reviews, fixed)
            items = torch.cat([items[: len(own)] - own, items[len(own) :]])
        return user, items


class ByDocuments(Connection):
    """u_1 and v_1 are free, and 0 without a review; each predicts the words of its reviews."""

    has_user: Tensor
    has_item: Tensor

    def __init__(self, ends: Ends, shared: Shared, words: Words, config: ReviewSettings) -> None:
        super().__init__(ends, shared, words, config)
        self.of_user, self.of_item = shared.table(ends.n_users), shared.table(ends.n_items)
        self.register_buffer("has_user", occurring(ends.user, ends.n_users), persistent=False)
        self.register_buffer("has_item", occurring(ends.item, ends.n_items), persistent=False)

    def users(self, user: Tensor) -> Tensor:
        return masked(self.of_user.rows(user), self.has_user[user])

    def items(self, item: Tensor) -> Tensor:
        return masked(self.of_item.rows(item), self.has_item[item])

    def loss(self, user: Tensor, item: Tensor, document: Tensor) -> Tensor:
        return self.predict(self.of_user.rows(user), document) + self.predict(self.of_item.rows(item), document)


class ByChain(ByDocuments):
    """u_1 and v_1 are free; each predicts its reviews among all, and a review its words."""

    def __init__(self, ends: Ends, shared: Shared, words: Words, config: ReviewSettings) -> None:
        super().__init__(ends, shared, words, config)
        self.reviews = shared.table(max(len(ends.user), 1))

    def loss(self, user: Tensor, item: Tensor, document: Tensor) -> Tensor:
        own = self.reviews.rows(document)
        both = torch.cat([self.of_user.rows(user), self.of_item.rows(item)])
        drawn = torch.randint(len(self.reviews.weight), (self.config.noise,), device=both.device)
        noise = F.softplus(both @ self.reviews.rows(drawn).T).mean(1).sum()
        found = F.softplus(-(both * torch.cat([own, own])).sum(1)).sum()
        return self.predict(own, document) + found + self.config.negatives * noise


CONNECTIONS: dict[str, type[Connection]] = {"edges": ByEdges, "documents": ByDocuments, "chain": ByChain}
