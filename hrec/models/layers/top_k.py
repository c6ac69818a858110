"""The k largest of each row, the same ones on every device."""

from __future__ import annotations

import torch
from torch import Tensor


def top_k(scores: Tensor, k: int) -> Tensor:
    """int64[B, k]: the places of the k largest of each row, best first, of equal ones the first.

    scores: float[B, n]; -1 stands where only -inf is left. The result is the same on every device, which torch.topk
    alone does not promise for ties.
    """
    rows, n = scores.shape
    width = min(k, n)
    value, place = torch.topk(scores, min(width + 1, n), dim=1)
    best = _ties_in_order(value[:, :width], place[:, :width])
    if width < n:  # where the cut goes through a tie, any of the tied may have come up
        cut = torch.nonzero((value[:, width - 1] == value[:, width]) & (value[:, width] > -torch.inf)).squeeze(1)
        for some in cut.split(max(1, rows // 4)):
            best[some] = _with_first_of_tied(best[some], value[some, :width], scores[some])
    best = torch.where(torch.gather(scores, 1, best) == -torch.inf, -1, best)
    return torch.nn.functional.pad(best, (0, k - width), value=-1)


def _ties_in_order(value: Tensor, place: Tensor) -> Tensor:
    """``place`` by value, and by place where values are equal."""
    place, order = torch.sort(place, dim=1)
    again = torch.sort(torch.gather(value, 1, order), dim=1, descending=True, stable=True).indices
    return torch.gather(place, 1, again)


def _with_first_of_tied(best: Tensor, value: Tensor, scores: Tensor) -> Tensor:
    """``best`` [B, width] with the first places in ``scores`` [B, n] of those that equal the last of ``value``."""
    bar, (n, width) = value[:, -1:], (scores.shape[1], value.shape[1])
    # float32 represents whole numbers exactly up to 2^24
    earlier_is_larger = torch.arange(
        n, 0, -1, dtype=torch.float32 if n < 2**24 else torch.float64, device=scores.device
    )
    first = torch.topk(torch.where(scores == bar, earlier_is_larger, 0), width, dim=1).indices
    slot = torch.arange(width, device=scores.device) - (value > bar).sum(1, keepdim=True)
    return torch.where(slot < 0, best, torch.gather(first, 1, slot.clamp(min=0)))
