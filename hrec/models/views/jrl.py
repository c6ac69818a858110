"""JRL: joint representation learning over views of heterogeneous information.

Zhang, Ai, Chen and Croft, Joint Representation Learning for Top-N Recommendation with Heterogeneous Information
Sources, CIKM 2017. Eq. 8, with signs turned so that it is minimised, as means over the batch:

    sum over (u, v+) in R of  sigmoid(u . v- - u . v+)  +  sum_k lambda_k L_k,    u = [u_1 u_2 u_3], v = [v_1 v_2 v_3]

each positive against one item v- that the user has no training row with. A view (hrec/models/views) has its own
entities, loss L_k and vectors; users and items only meet in the ranking term. Choices where the paper is silent or
contradicts itself, each a setting:

- Eq. 9 says that no gradient of the ranking term reaches the entities. Eq. 8 says otherwise (``entity_gradient``).
- The entity of a training positive is part of both its user and its item (Fig. 1), so the score of the pair holds the
  entity's own norm. ``exclude_target`` leaves it out in training.
- Entities start uniform in +-0.5 / K, as words in word2vec.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, SerializeAsAny, field_validator
from torch import Tensor, nn

from hrec.config import validate
from hrec.datasets.batches import Pairs
from hrec.datasets.queries import Queries
from hrec.datasets.recdata import TrainData
from hrec.datasets.samplers import Pairwise
from hrec.models.base import InnerProductModel, Reads
from hrec.models.layers.bags import Cells
from hrec.models.layers.fold_in import best_by_pairs
from hrec.models.layers.pairs import compared
from hrec.models.views import find_view
from hrec.models.views.view import NAME, EntityGradient, Shared, View, ViewSettings
from hrec.settings import NegativeSettings, Settings

OF_THE_PAPER = ("review", "image", "rating")


class JRLSettings(Settings):
    """Settings of JRL and eJRL."""

    views: dict[str, SerializeAsAny[ViewSettings]] | None = Field(None, min_length=1)
    """Views by name, each with its own settings; {} takes the defaults. null: reviews, vectors of items and ratings, as
    far as the data has them. "of" names the view that another name is one of:
    {"front": {"of": "image", "column": "front"}}."""
    embedding_size: PositiveInt = 64
    """K, the width of each view's vectors. The paper has 300."""
    ranking: Literal["sigmoid", "log_sigmoid"] = "sigmoid"
    """g: the sigmoid of the difference of the scores (Eq. 8), or its logarithm, as in BPR."""
    exclude_target: bool = True
    """In training leave the pair's own entity out of its user and item. The paper leaves it in."""
    entity_gradient: EntityGradient = "full"
    """full: the ranking term moves entities too (Eq. 8); own_loss: only L_k moves them (Eq. 9 taken literally)."""
    reg_weight: NonNegativeFloat = 0.0
    """lambda of lambda / 2 (|u|^2 + |v+|^2 + |v-|^2), mean over the batch."""
    negatives: NegativeSettings = NegativeSettings()
    """The negative of each positive."""
    init_half_width: PositiveFloat | None = None
    """Half of the width of the uniform distribution of the first entities; null: 0.5 / K."""

    @field_validator("views", mode="before")
    @classmethod
    def _each_of_its_class(cls, value: Any) -> Any:
        """Each view's settings as those of its class. Raises ValueError for all problems of all views."""
        if not isinstance(value, dict):
            return value
        parsed, problems = {}, []
        for name, given in value.items():
            try:
                parsed[name], more = _view_settings(str(name), given)
                problems += more
            except ValueError as error:
                problems.append(str(error))
        if problems:
            raise ValueError("; ".join(problems))
        return parsed


class JRL(InnerProductModel):
    """Score u . v of the merged vectors."""

    class Config(JRLSettings):
        """Settings of JRL."""

        merge: Literal["concatenation", "average"] = "concatenation"
        """f in Eq. 7: how the vectors of the views make one."""

    reads = Reads(user={"id"}, item={"id", "columns"}, interaction={"texts"})
    config: Config

    def __init__(self, config: JRLSettings, data: TrainData) -> None:
        super().__init__(config, data)
        width = config.init_half_width or 0.5 / config.embedding_size
        shared = Shared(config.embedding_size, width, config.exclude_target, config.entity_gradient)
        chosen = config.views or _found_in(data, type(self).__name__)
        self.names = list(chosen)
        self.views = nn.ModuleDict(
            {_key(name): _built(name, settings, data, shared) for name, settings in chosen.items()}
        )
        self.has_rows = torch.from_numpy(np.unique(data.interactions.user)).long()
        for name, view in zip(self.names, self.views.values(), strict=True):
            self.remarks += [f"view '{name}': {view.remark}"] if view.remark else []

    def view(self, name: str) -> View:
        """The view of this name."""
        found = self.views[_key(name)]
        assert isinstance(found, View)
        return found

    @property
    def scoring(self) -> Sequence[str]:
        """The views that make the score."""
        return self.names

    def sampler(self, data: TrainData) -> Pairwise:
        return Pairwise(data, self.config.negatives, self.device)

    def loss(self, batch: Pairs) -> dict[str, Tensor]:
        """The ranking term of the merged vectors, and each view's lambda_k L_k."""
        vectors = [self.view(name).vectors_of(batch) for name in self.names]
        user, items = (self.merged(side) for side in zip(*vectors, strict=True))
        return self.ranking_terms("", user, items, batch) | self.own_terms(self.names, batch)

    def ranking_terms(self, view: str, user: Tensor, items: Tensor, batch: Pairs) -> dict[str, Tensor]:
        """g of the pairs, mean over the batch, and the norms of their vectors; view: '<name> ' before their names."""
        ahead, positive, negative = compared(user, items, batch)
        terms = {f"{view}ranking": GAINS[self.config.ranking](ahead.amax(1)).mean()}
        if self.config.reg_weight:
            norm = torch.stack([v.square().sum(1) for v in (user, positive, negative)]).sum(0)
            terms[f"{view}norm"] = self.config.reg_weight / 2 * norm.mean()
        return terms

    def own_terms(self, names: Iterable[str], batch: Pairs) -> dict[str, Tensor]:
        """lambda_k L_k of these views, but of those whose lambda_k is 0."""
        views = {name: self.view(name) for name in names}
        return {name: view.config.weight * view.own_loss(batch) for name, view in views.items() if view.config.weight}

    def merged(self, vectors: Sequence[Tensor]) -> Tensor:
        """Eq. 7: one vector from those of the views, each [B, K]."""
        if self._averages:
            return torch.stack(list(vectors)).mean(0)
        return torch.cat(list(vectors), 1)

    @property
    def _averages(self) -> bool:
        return self.config.merge == "average"

    def user_vectors(self, user: Tensor) -> Tensor:
        return self.merged([self.view(name).user_vectors(user) for name in self.scoring])

    def item_vectors(self, item: Tensor) -> Tensor:
        return self.merged([self.view(name).item_vectors(item) for name in self.scoring])

    def query_vectors(self, queries: Queries) -> Tensor:
        """An unknown user, or one with another history, has the vector that fits the history best, items fixed."""
        if queries.history is None:
            return self.user_vectors(queries.known())
        history = Cells(*queries.history.cells(positives=True))
        return self.fitted(history, self.user_vectors, self.item_vectors)

    def fitted(self, history: Cells, users: Any, items: Any) -> Tensor:
        """``best_by_pairs`` with the vectors that these functions give; the prior is that of users with rows."""
        everything = torch.arange(self.n_items, device=self.device)
        known = self.has_rows.to(self.device)
        with torch.no_grad():
            vectors = [
                torch.cat([of(part) for part in index.split(self.rows_at_once)])
                for of, index in ((items, everything), (users, known))
            ]
        return best_by_pairs(history, *vectors)


GAINS: dict[str, Callable[[Tensor], Tensor]] = {"sigmoid": torch.sigmoid, "log_sigmoid": F.softplus}
"""What is minimised of the difference of the scores, the negative's less the positive's."""


def _key(name: str) -> str:
    """A name that torch takes for a module."""
    return f"view_{name}"


def _view_settings(name: str, given: Any) -> tuple[ViewSettings | None, list[str]]:
    """Settings of a view of its class, and problems. Raises ValueError for a name that is of no view."""
    if not NAME.fullmatch(name):
        raise ValueError(f"a view's name is made of letters, digits and _, got {name!r}")
    if isinstance(given, ViewSettings):
        return given, []
    kind = given.get("of") if isinstance(given, dict) else None
    return validate(find_view(str(kind or name)).Config, given, name)


def _found_in(data: TrainData, model: str) -> dict[str, ViewSettings]:
    """The paper's views, as far as the data has them. Raises ValueError where it has none."""
    found: dict[str, ViewSettings] = {}
    for kind in OF_THE_PAPER:
        found |= find_view(kind).found_in(data)
    if not found:
        raise ValueError(f"{model} needs reviews, vectors of items or ratings, and '{data.name}' has none of them")
    return found


def stream_of(name: str) -> int:
    """The number that seeds what a view draws, from its name."""
    return zlib.crc32(name.encode())


def _built(name: str, settings: ViewSettings, data: TrainData, shared: Shared) -> View:
    """The view, its first weights drawn from the run's seed and its own name, whichever views there are."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_mixed(torch.initial_seed(), stream_of(name)))
        return find_view(settings.of or name)(name, settings, data, shared)


def _mixed(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)
