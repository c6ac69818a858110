"""Pairs of a positive and its negatives, of models whose score is an inner product."""

from __future__ import annotations

import torch
from torch import Tensor

from hrec.datasets.batches import Pairs


def items_of(batch: Pairs) -> Tensor:
    """All positives, then all negatives: int64[B + B * pool]. One lookup gives one gradient of each table."""
    return torch.cat([batch.positive, batch.negative.flatten()])


def compared(user: Tensor, items: Tensor, batch: Pairs) -> tuple[Tensor, Tensor, Tensor]:
    """(x_uj - x_ui float[B, pool], vectors of the positives, vectors of the negatives that score highest).

    user float[B, d]; items float[B + B * pool, d], the vectors of ``items_of(batch)``.
    """
    positive, negative = items.split([len(user), batch.negative.numel()])
    negative = negative.view(*batch.negative.shape, -1)
    # the difference of the vectors, as that of the scores would multiply twice
    ahead = (user[:, None] * (negative - positive[:, None])).sum(2)
    return ahead, positive, negative[torch.arange(len(user), device=user.device), ahead.argmax(1)]
