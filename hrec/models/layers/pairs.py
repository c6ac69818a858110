"""Pairs of a positive and its negatives, of models whose score is an inner product."""

from __future__ import annotations

import torch
from torch import Tensor

from hrec.datasets.batches import Pairs
from hrec.models.losses import bpr


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


def pair_terms(
    user: Tensor,
    items: Tensor,
    batch: Pairs,
    reg_weight: float,
    own: Tensor | None = None,
    weight: Tensor | None = None,
) -> dict[str, Tensor]:
    """BPR, and with ``reg_weight`` the mean over the pairs of lambda / 2 (|p|^2 + |q_i|^2 + |q_j|^2).

    user, items: as in ``compared``; q_j is the negative that scores highest. own float[B, d']: what of the user is
    penalised, None for ``user``. weight float[B]: a factor of each pair in both terms, None for 1.
    """
    ahead, positive, negative = compared(user, items, batch)
    terms = {"bpr": bpr(ahead, weight)}
    if reg_weight:
        parts = (user if own is None else own, positive, negative)
        norm = torch.stack([v.square().sum(1) for v in parts]).sum(0)
        terms["norm"] = reg_weight / 2 * (norm if weight is None else weight * norm).mean()
    return terms
