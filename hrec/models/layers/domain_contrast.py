"""The multi-domain contrastive loss of UniEmbedding (Eq. 4), with memory linear in the batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

LOGITS = 2**22
"""Logits of anchors and negatives that are held at once: 16 MB."""


@dataclass(frozen=True, eq=False)
class Candidates:
    """The distinct items of a batch, from which negatives come.

    vectors: float[U, d]. count: [U], in how many sequences of the batch each was drawn, 0 for one that is no candidate.
    owner, column: int64[total], the items that the user of row ``owner`` has; none of them is a negative for this row.
    """

    vectors: Tensor
    count: Tensor
    owner: Tensor
    column: Tensor


def multi_domain_contrast(
    anchor: Tensor,
    place: Tensor,
    mask: Tensor,
    candidates: Candidates,
    temperature: float,
    positives_too: bool = False,
    cells: int = LOGITS,
) -> Tensor:
    """-1 / |P_a| sum_p log [exp(E_ua . E_p / tau) / sum_n exp(E_ua . E_n / tau)] (Eq. 4), mean over the anchors.

    anchor float[B, m, d], E_ua of each drawn item; place int64[B, m], its row in ``candidates``; mask bool[B, m]. P_a:
    the other drawn items of the sequence. N_a: the drawn items of other sequences, each as often as it was drawn, but
    none that the user has. ``positives_too``: the sum below the line has P_a too. Anchors without a positive or without
    a negative are left out; 0 if none is left. At most ``cells`` logits of negatives are held at once, or one row.
    """
    with torch.autocast(anchor.device.type, enabled=False):
        anchor, vectors = _at_least_float32(anchor), _at_least_float32(candidates.vectors)
        logit = (anchor @ vectors[place].transpose(1, 2) / temperature)[mask]  # float[A, m]
        pair = (mask[:, None, :] & (place[:, :, None] != place[:, None, :]))[mask]
        of_positives = torch.where(pair, logit, 0).sum(1) / pair.sum(1).clamp(min=1)
        own = _own_of_anchors(mask, candidates)
        rows = max(1, cells // max(len(vectors), 1))
        below = _LogSums.apply(anchor[mask] / temperature, vectors, candidates.count.to(vectors).log(), *own, rows)
        usable = (below > -torch.inf) & pair.any(1)
        if positives_too:
            there = pair | ~usable[:, None]  # a sum over nothing has no gradient
            below = torch.logaddexp(torch.where(usable, below, 0), logit.where(there, -torch.inf).logsumexp(1))
        return torch.where(usable, below - of_positives, 0).sum() / usable.sum().clamp(min=1)


def _at_least_float32(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


def _own_of_anchors(mask: Tensor, candidates: Candidates) -> tuple[Tensor, Tensor]:
    """(anchor, column), int64 each: the items that the user of each anchor has; anchors are the cells of ``mask``, row
    by row, and ascend."""
    count = mask.sum(1)
    length = count[candidates.owner]
    before = length.cumsum(0) - length
    first = (count.cumsum(0) - count)[candidates.owner] - before
    anchor = torch.arange(int(length.sum()), device=mask.device) + first.repeat_interleave(length)
    anchor, order = torch.sort(anchor)
    return anchor, candidates.column.repeat_interleave(length)[order]


class _LogSums(torch.autograd.Function):
    """log sum_n exp(a . v_n + bias_n) over the rows v_n that are not the anchor's own, float[A]; -inf where none is.

    anchor float[A, d], vectors float[U, d], bias float[U]; owner (ascending), column int64[total]: the pairs that are
    left out. ``rows`` anchors at a time; the logits are computed again for the gradient.
    """

    @staticmethod
    def forward(
        ctx: Any, anchor: Tensor, vectors: Tensor, bias: Tensor, owner: Tensor, column: Tensor, rows: int
    ) -> Tensor:
        out = anchor.new_empty(len(anchor))
        for here, logit in _logits(anchor, vectors, bias, owner, column, rows):
            torch.logsumexp(logit, 1, out=out[here])
        ctx.save_for_backward(anchor, vectors, bias, owner, column, out)
        ctx.rows = rows
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        anchor, vectors, bias, owner, column, out = ctx.saved_tensors
        top = out.masked_fill(out == -torch.inf, 0)  # a sum over nothing has no gradient
        of_anchor, of_vectors = torch.empty_like(anchor), torch.zeros_like(vectors)
        for here, logit in _logits(anchor, vectors, bias, owner, column, ctx.rows):
            share = logit.sub_(top[here, None]).exp_()
            of_anchor[here] = (share @ vectors).mul_(gradients[0][here, None])
            of_vectors.addmm_(share.T, anchor[here] * gradients[0][here, None])
        return of_anchor, of_vectors, None, None, None, None


def _logits(
    anchor: Tensor, vectors: Tensor, bias: Tensor, owner: Tensor, column: Tensor, rows: int
) -> Iterator[tuple[slice, Tensor]]:
    """(which, float[rows, U]), -inf for the anchor's own items."""
    starts = range(0, len(anchor), rows)
    edges = torch.searchsorted(owner, torch.tensor([*starts, len(anchor)], device=owner.device)).tolist()
    for index, start in enumerate(starts):
        here, its = slice(start, start + rows), slice(edges[index], edges[index + 1])
        logit = torch.addmm(bias, anchor[here], vectors.T)
        logit[owner[its] - start, column[its]] = -torch.inf
        yield here, logit
