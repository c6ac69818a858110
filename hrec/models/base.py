"""What every model is: settings, needs, a score, a loss, and the stages that train it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from hrec.datasets import PROBABILITY
from hrec.datasets.queries import Queries
from hrec.datasets.recdata import Table, TrainData
from hrec.datasets.samplers import Sampler
from hrec.datasets.tokens import text_columns_of_rows
from hrec.settings import Settings

Loss = Callable[[Any], dict[str, Tensor]]
Ranker = Callable[[Queries], Tensor]
"""queries -> scores of the catalogue, float[Q, n_items]; the caller may overwrite them."""


@dataclass(frozen=True)
class Needs:
    """What a model must find in the data before it can be built."""

    labels: bool = False
    """Rows labelled 1 and 0, or implicit rows with drawn negatives."""
    ratings: bool = False
    texts: bool = False
    """Texts of the interactions, such as reviews."""
    min_kinds: int = 1
    item_columns: tuple[str, ...] = ()
    """Columns that every kind must have, by name."""

    def missing_from(self, data: TrainData) -> list[str]:
        """One sentence for each thing that the data lacks; empty when nothing is missing."""
        out = []
        if len(data.kinds) < self.min_kinds:
            kinds = ", ".join(data.kinds)
            out.append(f"at least {self.min_kinds} kinds of item; '{data.name}' has {len(data.kinds)} ({kinds})")
        if self.labels and data.interactions.label is None and not data.feedback.negatives:
            out.append("a label: name the column in data.LABEL_FIELD, or make one with data.label")
        if self.ratings and data.interactions.rating is None:
            out.append("ratings: name the column in data.RATING_FIELD")
        if self.texts and not text_columns_of_rows(data):
            out.append(
                'texts of the interactions, such as reviews: name their column in data.feat with "type": "tokens" and '
                '"source": "interaction"'
            )
        for name in self.item_columns:
            without = [kind for kind, table in data.kinds.items() if name not in table.columns]
            if without:
                out.append(f"item column '{name}', which these kinds lack: {', '.join(without)}")
        return out


@dataclass(frozen=True)
class Reads:
    """What of the data a model uses; columns that it does not use are named in the log.

    user, item: Some of "id", "history", "cells", "sequence" and "columns". "id" is a trained vector or bias. "history"
    is the positive rows. "cells" is all rows, with the values of data.inter_matrix_type. "sequence" is the order of
    rows. "columns" is the features.
    interaction: "texts" if the model reads columns of interactions with texts, such as reviews.
    per_kind: Whether the model treats each kind separately; such a model belongs to train_hete.py.
    """

    user: Set[str] = frozenset({"id", "columns"})
    item: Set[str] = frozenset({"id", "columns"})
    interaction: Set[str] = frozenset()
    per_kind: bool = False


@dataclass(frozen=True)
class Stage:
    """One part of training: its batches, its loss, its trainable weights.

    params: The weights that the optimiser updates.
    group: The name of the stage in the settings.
    solve: One sweep of a stage that is solved and not descended; returns its loss. Such a stage has no ``loss``.
    kind: Early stopping watches the metric that the settings give this kind. None: that of all kinds.
    alone: One process trains the stage as if there were no other. Successive stages of one group that are ``alone`` do
    not depend on each other, and processes share them (hrec/pipeline/spread.py).
    each_epoch: Called before the first batch of every epoch of a descended stage, for a closed-form step, say. What it
    changes must be in the model's state: a run resumed in the middle of an epoch does not call it again.
    then: Called once the stage is over and its best weights are restored.
    measured: False if the score means nothing yet (pretraining without labels). The stage then trains for its epochs
    without evaluation, early stopping or choice of the best weights.
    stream: Seeds what the stage draws in place of its position, so that it draws the same in any position.
    """

    name: str
    loss: Loss | None = None
    sampler: Sampler | None = None
    params: Iterable[nn.Parameter] = ()
    group: str = "train"
    solve: Callable[[], float] | None = None
    kind: str | None = None
    alone: bool = False
    each_epoch: Callable[[], None] = lambda: None
    then: Callable[[], None] = lambda: None
    measured: bool = True
    stream: int | None = None


class BaseModel(nn.Module, ABC):
    """Parent of every model. A subclass sets ``Config`` and ``needs`` and gives ``sampler``, ``loss`` and ``score``.

    A model is built from its own settings and the training part alone, so no validation or test row can reach it.
    What a subclass adds to ``remarks`` while it is built (the columns it left out, say) goes to the log.
    """

    class Config(Settings):
        """No settings."""

    needs: ClassVar[Needs] = Needs()
    reads: ClassVar[Reads] = Reads()
    rows_at_once: ClassVar[int] = 16_384
    """Pairs that evaluation scores at once; a score does not depend on it."""
    stage_groups: ClassVar[tuple[str, ...]] = ("train",)
    groups_of_kinds: ClassVar[tuple[str, ...]] = ()
    """The stage groups with a stage for each kind that has a positive; each watches the metric of its kind."""
    one_epoch: ClassVar[bool] = False
    """Whether the model is solved exactly in one epoch, so that another one would give the same."""
    published_unused: ClassVar[Mapping[str, str]] = {}
    """Keys of the published config files that never had an effect: name -> what to use instead."""

    def __init__(self, config: Settings, data: TrainData) -> None:
        super().__init__()
        if lacks := self.needs.missing_from(data):
            raise ValueError(f"{type(self).__name__} needs " + "; and ".join(lacks))
        self.config = config
        self.n_items = data.n_items
        unread = [] if "columns" in self.reads.user else [data.users]
        unread += [] if "columns" in self.reads.item else data.kinds.values()
        self.remarks: list[str] = [*_unread(unread), *_of_interactions(self.reads, data)]

    def stages(self, data: TrainData) -> Iterator[Stage]:
        """The stages of training, in order. A plain model has one, over all its weights."""
        yield Stage("train", self.loss, self.sampler(data), list(self.parameters()))

    def sampler(self, data: TrainData) -> Sampler:
        """The batches that ``loss`` is given: ``return Pointwise(data)``. A model without descent has none."""
        raise NotImplementedError

    def loss(self, batch: Any) -> dict[str, Tensor]:
        """Named terms; their sum is minimised and each is logged."""
        raise NotImplementedError

    @abstractmethod
    def score(self, user: Tensor, item: Tensor) -> Tensor:
        """Higher means that the user likes the item more. user, item: int64[B] -> float[B], a logit where it can be."""

    def ranker(self) -> Ranker:
        """A function of queries that scores every item of the catalogue for them, float[Q, n_items].

        What does not depend on the query is computed once, here; the weights must not change while it is in use. The
        function raises UnknownUserError for unknown users that the model cannot answer.
        """
        item = torch.arange(self.n_items, device=self.device)
        rows = self.rows_at_once

        def scores_of_all(queries: Queries) -> Tensor:
            out = []
            for few in queries.known().split(max(1, rows // max(self.n_items, 1))):
                pairs = few.repeat_interleave(self.n_items), item.repeat(len(few))
                scores = [self.score(u, i) for u, i in zip(*(side.split(rows) for side in pairs), strict=True)]
                out.append(torch.cat(scores).view(len(few), -1))
            return torch.cat(out)

        return scores_of_all

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device


def _unread(tables: Iterable[Table]) -> list[str]:
    """The columns that a model leaves aside, in words."""
    names = list(dict.fromkeys(name for table in tables for name in table.columns))
    return [f"columns are not read: {', '.join(names)}"] if names else []


def _of_interactions(reads: Reads, data: TrainData) -> list[str]:
    """What a model leaves aside of the interactions, and what it takes for their order where they have no times."""
    read = {PROBABILITY, *(text_columns_of_rows(data) if "texts" in reads.interaction else ())}
    names = [name for name in data.interactions.columns if name not in read]
    out = [f"columns of interactions are not read: {', '.join(names)}"] if names else []
    if "sequence" in reads.user and data.interactions.time is None:
        out.append(
            f"'{data.name}' has no times, so the order of its rows counts as the order of time; "
            "name their column in data.TIME_FIELD"
        )
    return out


class InnerProductModel(BaseModel):
    """A model whose score is the inner product of a user's and an item's vector.

    Such a model gets fast evaluation, full ranking, export and nearest neighbours from its vectors.
    """

    @abstractmethod
    def user_vectors(self, user: Tensor) -> Tensor:
        """user int64[B] -> float[B, d]"""

    @abstractmethod
    def item_vectors(self, item: Tensor) -> Tensor:
        """item int64[B], of any kinds -> float[B, d]"""

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        return (self.user_vectors(user) * self.item_vectors(item)).sum(1)

    def query_vectors(self, queries: Queries) -> Tensor:
        """float[Q, d]; here the vectors of known users. A model that reads histories answers for unknown users too."""
        return self.user_vectors(queries.known())

    def ranker(self) -> Ranker:
        item = torch.arange(self.n_items, device=self.device)
        vectors = torch.cat([self.item_vectors(part) for part in item.split(self.rows_at_once)])
        return lambda queries: self.query_vectors(queries) @ vectors.T
