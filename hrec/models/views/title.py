"""The view of texts of items, titles or descriptions: PV-DBOW, one document for each item that has words.

The loss is that of the reviews (JRL, Eq. 3); the connections are those of the images, as a text belongs to its item.
"""

from __future__ import annotations

import numpy as np
from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor

from hrec.datasets.batches import Pairs
from hrec.datasets.columns import Tokens
from hrec.datasets.recdata import TrainData
from hrec.models.views.of_items import ItemView
from hrec.models.views.view import Shared, ViewSettings
from hrec.models.views.words import Words


class TitleSettings(ViewSettings):
    """Settings of a view of item texts."""

    column: str | None = None
    """Column of items with the text; null: the only one with texts."""
    weight: NonNegativeFloat = 0.005
    """lambda_1, of the sum over the words of a text."""
    negatives: PositiveInt = 5
    """t in Eq. 3, the weight of the negative words of each word."""
    noise: PositiveInt = 64
    """Negative words that are drawn at each step to estimate the expectation in Eq. 3."""


class TitleView(ItemView):
    """A view like V_1, of items."""

    Config = TitleSettings
    config: TitleSettings

    def __init__(self, name: str, config: TitleSettings, data: TrainData, shared: Shared) -> None:
        texts = _texts(name, config, data)
        super().__init__(name, config, data, shared, np.diff(texts.offset) > 0)
        self.words = Words(texts, shared.table(max(len(texts.vocabulary), 1)), config.negatives, config.noise)

    def own_loss(self, batch: Pairs) -> Tensor:
        item = batch.positive[self.known[batch.positive]]
        return self.words.loss(self.entities.rows(item), item) / len(batch)

    @property
    def remark(self) -> str:
        return f"{int(self.known.sum()):,} of {len(self.known):,} items have words"


def _texts(name: str, config: TitleSettings, data: TrainData) -> Tokens:
    """The texts of all items; empty for kinds without the column. Raises ValueError if there are none."""
    columns = {key: None for t in data.kinds.values() for key, c in t.columns.items() if isinstance(c, Tokens)}
    wanted = config.column or (next(iter(columns)) if len(columns) == 1 else "")
    if wanted not in columns:
        there = f"columns of items with texts: {', '.join(columns) or 'none'}"
        what = f"column '{config.column}'" if config.column else "one column of items with texts"
        remedy = f"name one in model.views.{name}.column, or leave the view out"
        raise ValueError(f"model.views.{name} needs {what}; '{data.name}' has {there}; {remedy}")
    return _of_all_items(wanted, data)


def _of_all_items(column: str, data: TrainData) -> Tokens:
    """The texts of the kinds one after another, over one vocabulary."""
    nothing = np.zeros(0, np.int32)
    found = [
        c
        if isinstance(c := t.columns.get(column), Tokens)
        else Tokens(np.zeros(t.count + 1, np.int64), nothing, np.array([], object))
        for t in data.kinds.values()
    ]
    values, place = np.unique(np.concatenate([t.vocabulary.astype(object) for t in found]), return_inverse=True)
    start = np.cumsum([0, *(len(t.vocabulary) for t in found)])
    word = np.concatenate([place[first + t.word] for first, t in zip(start, found, strict=False)])
    length = np.concatenate([np.diff(t.offset) for t in found])
    return Tokens(np.concatenate([[0], np.cumsum(length)]), word.astype(np.int32), values)
