"""eJRL: the extendable form of JRL, whose objective is a sum of functions of one view each.

Zhang, Ai, Chen and Croft, CIKM 2017, section 4.2, Eq. 14-15: with concatenation and g = sum_k sigmoid(x_k), where
x_k = u_k . (v_k+ - v_k-), the objective is

    sum_k [ sum over R of sigmoid(-x_k)  +  lambda_k L_k ]

so no view's gradient depends on another view, and a view is added without training the others again. Nothing else may
couple the views. So each view trains in its own stage: with its own gradient clipping, optimiser, schedule and early
stopping (by its own score). Its random numbers are seeded by the run's seed and the view's name. Views of one run, of
several runs, and of a run that is extended then have the same bits. The paper clips the gradient of all views by one
norm, which couples them; ``together`` does so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Self

import torch
from pydantic import field_validator, model_validator
from torch import Tensor

from hrec.datasets.batches import Pairs
from hrec.datasets.queries import Queries
from hrec.datasets.recdata import TrainData
from hrec.models.base import Stage
from hrec.models.layers.bags import Cells
from hrec.models.views.jrl import JRL, JRLSettings, stream_of


class eJRL(JRL):
    """Score sum_k u_k . v_k, the sum of the views' scores."""

    class Config(JRLSettings):
        """Settings of eJRL."""

        frozen: tuple[str, ...] = ()
        """Views that keep the weights of the run in init_from; ``--extend`` sets both."""
        together: bool = False
        """Train all views in one stage. Clipping, early stopping and random numbers are then shared, as in the paper,
        and what a view learns depends on the others."""
        merge: str = "concatenation"
        """Always concatenation: an average of views couples them."""

        @field_validator("merge")
        @classmethod
        def _only_concatenation_is_separable(cls, value: str) -> str:
            if value != "concatenation":
                raise ValueError(f"eJRL merges by concatenation, as an average couples the views; got '{value}'")
            return value

        @model_validator(mode="after")
        def _some_view_trains(self) -> Self:
            if self.views is not None and set(self.frozen) >= set(self.views):
                raise ValueError("frozen: every view is frozen, so there is nothing to train; leave one out")
            return self

    config: Config  # type: ignore[assignment]

    def __init__(self, config: Config, data: TrainData) -> None:
        super().__init__(config, data)
        if unknown := [name for name in config.frozen if name not in self.names]:
            raise ValueError(f"model.frozen: no view called '{unknown[0]}'; views: {', '.join(self.names)}")
        self._measured: str | None = None

    @property
    def scoring(self) -> Sequence[str]:
        """All views, but the one in training while its stage is measured."""
        return self.names if self._measured is None else [self._measured]

    def stages(self, data: TrainData) -> Iterator[Stage]:
        """A stage for each view that trains, or one for all of them."""
        trained = [name for name in self.names if name not in self.config.frozen]
        if self.config.together:
            params = [p for name in trained for p in self.view(name).parameters()]
            yield Stage("train", partial(self._loss, trained), self.sampler(data), params)
            return
        for name in trained:
            self._measured = name
            loss, params = partial(self._loss, [name]), list(self.view(name).parameters())
            yield Stage(
                f"train/{name}", loss, self.sampler(data), params, then=self._measure_all, stream=stream_of(name)
            )
        self._measure_all()

    def _measure_all(self) -> None:
        self._measured = None

    def loss(self, batch: Pairs) -> dict[str, Tensor]:
        """Eq. 14, with its sign turned."""
        return self._loss(self.names, batch)

    def _loss(self, names: Sequence[str], batch: Pairs) -> dict[str, Tensor]:
        terms: dict[str, Tensor] = {}
        for name in names:
            terms |= self.ranking_terms(f"{name} ", *self.view(name).vectors_of(batch), batch)
        return terms | self.own_terms(names, batch)

    @property
    def _averages(self) -> bool:
        return False

    def query_vectors(self, queries: Queries) -> Tensor:
        """As JRL's, each view's part fitted alone."""
        if queries.history is None:
            return self.user_vectors(queries.known())
        history = Cells(*queries.history.cells(positives=True))
        views = [self.view(name) for name in self.scoring]
        return torch.cat([self.fitted(history, v.user_vectors, v.item_vectors) for v in views], 1)
