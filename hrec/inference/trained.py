"""A finished run, ready for queries: its model with the best weights, its data, its settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from hrec.config import LoadedConfig
from hrec.datasets import one_kind
from hrec.datasets.recdata import RecData, Split
from hrec.models.base import BaseModel, InnerProductModel, Ranker
from hrec.pipeline.devices import pick_device
from hrec.pipeline.finished import load_finished
from hrec.pipeline.topn import Masked


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained model, in evaluation mode, and its data.

    data: all rows, also those that the split dropped. None of their items is recommended to its user. parts: the
    splits. The model reads ``parts.train``. Costly values are computed once, at first use.
    """

    model: BaseModel
    data: RecData
    parts: Split
    config: LoadedConfig

    @property
    def name(self) -> str:
        """The model's name in the settings."""
        return str(self.config.run.model["name"])

    @cached_property
    def ranker(self) -> Ranker:
        """queries -> scores of all items, float[Q, n_items]."""
        with torch.no_grad():
            if isinstance(self.model, InnerProductModel):
                model, vectors = self.model, self.item_vectors
                return lambda queries: model.query_vectors(queries) @ vectors.T
            return self.model.ranker()

    @cached_property
    def item_vectors(self) -> Tensor:
        """float[n_items, d]; of an inner-product model only."""
        assert isinstance(self.model, InnerProductModel)
        return all_vectors(self.model.item_vectors, self.data.n_items, self.model)

    @cached_property
    def interacted(self) -> Masked:
        """The items that each user has interacted with, in any split."""
        x = self.data.interactions
        return Masked.of(x.user, x.item, self.data.n_users, self.model.device)


@torch.no_grad()
def all_vectors(of: Callable[[Tensor], Tensor], count: int, model: BaseModel) -> Tensor:
    """The vectors of indices 0 to ``count``, in chunks: float[count, d] on the model's device."""
    index = torch.arange(count, device=model.device)
    return torch.cat([of(some) for some in index.split(model.rows_at_once)])


def load_run(folder: str | Path, device: str = "auto", log: Callable[[str], None] = lambda line: None) -> Trained:
    """The model of a finished run folder, on ``device`` (as --device), with its data read again.

    Raises as ``load_finished``.
    """
    run = load_finished(Path(folder), pick_device(device), log)
    return Trained(run.model, one_kind(run.whole, run.config.run.data), run.parts, run.config)
