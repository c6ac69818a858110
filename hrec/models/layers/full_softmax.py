"""Cross-entropy of a softmax over all items, in chunks: no more than CELLS logits are held at once."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

CELLS = 2**22
"""Logits that are held at once: 16 MB."""


def full_softmax(query: Tensor, item: Tensor, target: Tensor, cells: int = CELLS) -> Tensor:
    """-log softmax(query . item)_target over all rows of ``item``, mean over the queries, in float32 at least.

    query float[M, d]; item float[n, d]; target int64[M], rows of ``item``. 0 if there is no query. The gradients are
    computed with the loss, chunk by chunk, so that the memory is that of the inputs and of ``cells`` logits.
    """
    with torch.autocast(query.device.type, enabled=False):
        rows = max(1, cells // max(len(item), 1))
        return _FullSoftmax.apply(_at_least_float32(query), _at_least_float32(item), target, rows)


def _at_least_float32(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


class _FullSoftmax(torch.autograd.Function):
    """With P the softmax and Y the one-hot targets, the gradients are (P - Y) V / M and (P - Y)^T Q / M."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, item: Tensor, target: Tensor, rows: int) -> Tensor:
        of_query, of_item = torch.empty_like(query), torch.zeros_like(item)
        total = query.new_zeros(())
        for q, own, gradient in zip(query.split(rows), target.split(rows), of_query.split(rows), strict=True):
            logit = q @ item.T
            top = logit.logsumexp(1, keepdim=True)
            total += (top - logit.gather(1, own[:, None])).sum()
            error = logit.sub_(top).exp_()
            error.scatter_add_(1, own[:, None], torch.full_like(top, -1))
            torch.mm(error, item, out=gradient)
            of_item.addmm_(error.T, q)
        count = max(len(query), 1)
        ctx.save_for_backward(of_query.div_(count), of_item.div_(count))
        return total / count

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        of_query, of_item = ctx.saved_tensors
        return of_query * gradients[0], of_item * gradients[0], None, None
