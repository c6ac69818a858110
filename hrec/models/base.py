"""What every model is: settings, needs, a score, a loss, and the stages that train it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from hrec.datasets.batches import Draw, Sampler
from hrec.datasets.recdata import RecData, Table
from hrec.settings import Settings

Loss = Callable[[Any], dict[str, Tensor]]


@dataclass(frozen=True)
class Needs:
    """What a model must find in the data before it can be built."""

    labels: bool = False
    """Rows labelled 1 and 0, or implicit rows with drawn negatives."""
    ratings: bool = False
    min_kinds: int = 1
    item_columns: tuple[str, ...] = ()
    """Columns that every kind must have, by name."""

    def missing_from(self, data: RecData) -> list[str]:
        """One sentence for each thing that the data lacks; empty when nothing is missing."""
        out = []
        if len(data.kinds) < self.min_kinds:
            kinds = ", ".join(data.kinds)
            out.append(f"at least {self.min_kinds} kinds of item; '{data.name}' has {len(data.kinds)} ({kinds})")
        if self.labels and data.interactions.label is None and not data.negatives:
            out.append("a label: name the column in data.LABEL_FIELD, or make one with data.label")
        if self.ratings and data.interactions.rating is None:
            out.append("ratings: name the column in data.RATING_FIELD")
        for name in self.item_columns:
            without = [kind for kind, table in data.kinds.items() if name not in table.columns]
            if without:
                out.append(f"item column '{name}', which these kinds lack: {', '.join(without)}")
        return out


@dataclass(frozen=True)
class Stage:
    """One stretch of training: which batches, which loss, which weights move.

    A stage that is solved rather than descended gives ``solve`` (one sweep; returns its loss) and no ``loss``.
    ``group`` names the stage in the settings; ``monitor`` is the metric watched, None for the one in the settings;
    ``each_epoch`` is called before the first batch of every epoch of a descended stage (a closed-form step between
    epochs of descent, say); what it changes must be in the model's state, because a run resumed in the middle of an
    epoch does not call it again. ``then`` is called once the stage is over and its best weights are back in place.
    ``measured`` False: the score means nothing yet (pretraining without labels), so the stage trains for its epochs
    without evaluation, early stopping or choice of the best weights.
    """

    name: str
    data: RecData
    loss: Loss | None = None
    sample: Sampler | None = None
    params: Iterable[nn.Parameter] = ()
    solve: Callable[[], float] | None = None
    group: str = "train"
    monitor: str | None = None
    each_epoch: Callable[[], None] = lambda: None
    then: Callable[[], None] = lambda: None
    measured: bool = True


class BaseModel(nn.Module, ABC):
    """Parent of every model. A subclass sets ``Config``, ``needs`` and ``sample`` and gives ``loss`` and ``score``.

    A model is built from its own settings and the training part alone, so no validation or test row can reach it.
    What a subclass adds to ``remarks`` while it is built (the columns it left out, say) goes to the log.
    """

    class Config(Settings):
        """No settings of its own."""

    needs: ClassVar[Needs] = Needs()
    sample: ClassVar[staticmethod[[RecData, Draw], Iterator[Any]]]
    """The batches of one epoch, one of the samplers: ``sample = staticmethod(pointwise)``."""
    reads_columns: ClassVar[bool] = True
    """Whether the model has a use for columns of items; one without says what it leaves unread."""
    reads_user_columns: ClassVar[bool] = True
    """Whether a model that reads columns has a use for those of users too."""
    reads_cells: ClassVar[bool] = False
    """Whether the model reads cells of histories as data.inter_matrix_type has them, so that ratings matter."""
    approximates_users: bool = False
    """Whether known users have weights that are near to what ``fold_in`` would work out for them, and not the same;
    then a new user's scores are not compared with those of a known one. A model may set it by its settings."""
    keeps_kinds_apart: ClassVar[bool] = False
    """Whether the model treats each kind of its own; such a model belongs to train_hete.py alone."""
    rows_at_once: ClassVar[int] = 16_384
    """Pairs that evaluation scores at once; a score does not depend on it."""
    stage_groups: ClassVar[tuple[str, ...]] = ("train",)
    one_epoch: ClassVar[bool] = False
    """Whether the model is solved exactly in one epoch, so that another one would come to the same."""
    new_user_takes_mean: ClassVar[tuple[str, ...]] = ()
    """Weights with a row for each user of which a user unknown to training takes the mean of all rows; by their names
    in state_dict(). A model with other rows for users knows nothing of a new one; one without answers from the
    history."""
    published_unused: ClassVar[Mapping[str, str]] = {}
    """Keys of the published config files that never had an effect: name -> what to use instead."""

    def __init__(self, config: Settings, data: RecData) -> None:
        super().__init__()
        if lacks := self.needs.missing_from(data):
            raise ValueError(f"{type(self).__name__} needs " + "; and ".join(lacks))
        self.config = config
        self.n_items = data.n_items
        unread = [] if self.reads_columns and self.reads_user_columns else [data.users]
        unread += [] if self.reads_columns else data.kinds.values()
        self.remarks: list[str] = _unread(unread)

    def stages(self, data: RecData) -> Iterator[Stage]:
        """The stages of training, in order. A plain model has one, over all its weights."""
        yield Stage("train", data, self.loss, type(self).sample, list(self.parameters()))

    def loss(self, batch: Any) -> dict[str, Tensor]:
        """Named terms; their sum is minimised and each is logged."""
        raise NotImplementedError

    @abstractmethod
    def score(self, user: Tensor, item: Tensor) -> Tensor:
        """Higher means that the user likes the item more. user, item: int64[B] -> float[B], a logit where it can be."""

    def fold_in(self) -> None:
        """Work out the weights that users unknown to training have of their own, beside all others as they are.

        Called on a model that is built from such users' rows and holds the trained weights; their own are NaN. A model
        that reads histories, or that knows no new users, leaves it.
        """

    def ranker(self) -> Callable[[Tensor], Tensor]:
        """A function of users, int64[B], that scores every item for them, float[B, n_items].

        What does not depend on the user is worked out once, here; the weights must not move while it is in use.
        """
        item = torch.arange(self.n_items, device=self.device)
        rows = self.rows_at_once

        def scores_of_all(user: Tensor) -> Tensor:
            out = []
            for few in user.split(max(1, rows // max(self.n_items, 1))):
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

    def ranker(self) -> Callable[[Tensor], Tensor]:
        item = torch.arange(self.n_items, device=self.device)
        vectors = torch.cat([self.item_vectors(part) for part in item.split(self.rows_at_once)])
        return lambda user: self.user_vectors(user) @ vectors.T
