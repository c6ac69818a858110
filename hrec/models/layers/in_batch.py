"""The contrastive loss of rows whose negatives are the other rows of the batch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def in_batch(logit: Tensor, *same: Tensor) -> Tensor:
    """Cross-entropy of each row's own column, mean over the rows. logit float[B, B + more]: row b's own is column b.

    same: int64[B] each. Columns of other rows with the same number are no negatives: their logit is -inf.
    """
    rows = len(logit)
    out = torch.zeros_like(logit, dtype=torch.bool)
    for number in same:
        out[:, :rows] |= number[:, None] == number
    out[:, :rows].fill_diagonal_(False)
    own = torch.arange(rows, device=logit.device)
    return F.cross_entropy(logit.masked_fill(out, -torch.inf), own)
