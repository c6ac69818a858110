"""Losses as functions of tensors; each docstring gives the equation it follows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint


def bce(logit: Tensor, label: Tensor) -> Tensor:
    """Binary cross-entropy of logits, mean over the batch (DURation, Eq. 7)."""
    return F.binary_cross_entropy_with_logits(logit, label)


def bpr(ahead: Tensor, weight: Tensor | None = None) -> Tensor:
    """-log sigmoid(x_ui - x_uj), mean over the batch (Rendle et al., BPR, UAI 2009, BPR-Opt without its norms).

    ahead float[B, pool]: x_uj - x_ui, by how much the scores of negatives are above that of the positive; the
    largest counts. weight float[B]: a factor of each row, None for 1.
    """
    of_rows = F.softplus(ahead.squeeze(1) if ahead.shape[1] == 1 else ahead.amax(1))
    return (of_rows if weight is None else weight * of_rows).mean()


LOGITS = 2**22
"""Logits of ``info_nce`` that are kept at once."""


def info_nce(one: Tensor, other: Tensor, temperature: float) -> Tensor:
    """Mean over both directions of -log softmax_b(cos(one_a, other_b) / temperature)[a] (InfoNCE), mean over the rows.

    one, other float[B, d]: two views of the same B users; the other rows of the batch are the negatives. The logits of
    some rows at a time are computed, and again for the gradient: at most LOGITS numbers, or one row of B.
    """
    a, b = F.normalize(_at_least_float32(one), dim=1), F.normalize(_at_least_float32(other), dim=1)
    return (_rows_of_nce(a, b, temperature) + _rows_of_nce(b, a, temperature)) / (2 * len(a))


def _rows_of_nce(a: Tensor, b: Tensor, temperature: float) -> Tensor:
    """Sum over the rows of the cross-entropy of a_i . b_j / temperature with j = i the right one."""

    def some(rows: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(rows @ b.T / temperature, target, reduction="sum")

    size = max(1, LOGITS // max(len(b), 1))
    target = torch.arange(len(a), device=a.device)
    if len(a) <= size:
        return some(a, target)
    chunks = zip(a.split(size), target.split(size), strict=True)
    return torch.stack([checkpoint(some, *c, use_reentrant=False, preserve_rng_state=False) for c in chunks]).sum()


def _in_full_precision(loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The same loss with mixed precision off: small differences of large sums are all that counts in it."""

    @wraps(loss)
    def call(*args: Any, **named: Any) -> Tensor:
        first = args[0] if isinstance(args[0], Tensor) else args[0][0]
        with torch.autocast(first.device.type, enabled=False):
            return loss(*args, **named)

    return call


@_in_full_precision
def alignment(samples: Sequence[Tensor], gamma: float | None = None) -> Tensor:
    """Distributional variance of P samples under an RBF kernel (DURation, Eq. 2-4); 0 when all are one sample.

    samples: P tensors [N_i, d], rows of one space. With k(x, y) = exp(-gamma |x - y|^2) and
    G_ij = mean of k over the N_i * N_j pairs of rows, the value is tr(G) / P - sum(G) / P^2: Eq. 4 with N_i the number
    of rows drawn; G_ii counts a row with itself, as in Eq. 4, so two different draws of one distribution give a little
    more than 0. Between 0 and (P - 1) / P. ``gamma`` None takes 1 over the mean squared distance of all pairs, so
    that the loss cannot be met by shrinking the space; no gradient flows through it.
    """
    x = _at_least_float32(torch.cat(list(samples)))
    x = x - x.mean(0).detach()  # distances are the same, their rounding errors are smaller
    square = x.square().sum(1)
    if gamma is None:
        mean_distance = (2 * (square.mean() - x.mean(0).square().sum())).detach()
        inverse_width: float | Tensor = 1 / mean_distance.clamp(min=1e-12)
    else:
        inverse_width = gamma
    distance = (square[:, None] + square[None, :] - 2 * x @ x.T).clamp(min=0)
    kernel = torch.exp(-inverse_width * distance)
    sizes = torch.tensor([len(s) for s in samples], device=x.device)
    share = torch.repeat_interleave(1 / sizes.to(x.dtype), sizes)
    kinds = len(samples)
    total = share @ kernel @ share  # sum of G
    trace, start = x.new_zeros(()), 0
    for s in samples:
        stop = start + len(s)
        trace = trace + kernel[start:stop, start:stop].mean()
        start = stop
    return trace / kinds - total / kinds**2


@_in_full_precision
def topology(raw: Tensor, mapped: Tensor, relative: bool = False) -> Tensor:
    """Distance of the sample-by-sample covariances of raw and mapped features (DURation, Eq. 5-6), one kind.

    raw [N, d], mapped [N, d']: rows are the same N items, widths may differ. C = (D D^T - (D 1)(D 1)^T / d) / (d - 1)
    over the d features of each sample, [N, N]. The value is |C_raw - C_mapped|_F^2 / (4 N). ``relative`` divides it by
    the value of a map to zero, |C_raw|_F^2 / (4 N), taken as a constant. Then 0 keeps all of the raw topology and 1
    none, for any scale of the features and any number of rows. If C_raw is 0, so is the value.

    C is a Gram matrix of rows centred over their features, and |A A^T - B B^T|_F^2 =
    |A^T A|_F^2 - 2 |A^T B|_F^2 + |B^T B|_F^2, so no N x N matrix is written.
    """
    a, b = _centred(raw), _centred(mapped)
    of_raw = (a.T @ a).square().sum()
    squared = (of_raw - 2 * (a.T @ b).square().sum() + (b.T @ b).square().sum()).clamp(min=0)
    if not relative:
        return squared / (4 * len(raw))
    whole = of_raw.detach()
    rounding = 1e-12 * _at_least_float32(raw.detach()).square().sum()
    return squared / torch.where(whole.sqrt() > rounding, whole, torch.inf)


def _centred(x: Tensor) -> Tensor:
    x = _at_least_float32(x)
    return (x - x.mean(1, keepdim=True)) / max(x.shape[1] - 1, 1) ** 0.5


def _at_least_float32(x: Tensor) -> Tensor:
    """Half precision is too coarse for sums of squares."""
    return x if x.dtype == torch.float64 else x.float()


def weighted_squares(score: Tensor, target: Tensor, a: float, b: float) -> Tensor:
    """Sum over the cells of a block of c (R - score)^2, c = a where R = 1 and b where R = 0 (DualNet, Eq. 4).

    score, target: [..., ...] of one shape; target holds R, 1 or 0.
    """
    return ((b + (a - b) * target) * (target - score).square()).sum()


def weighted_logistic(score: Tensor, target: Tensor, a: float, b: float) -> Tensor:
    """The same with the cross-entropy of ``score`` as a logit (DualNet, "Unsuccessful tactics")."""
    target = target.to(score.dtype)
    cost = F.binary_cross_entropy_with_logits(score, target, reduction="none")
    return ((b + (a - b) * target) * cost).sum()


@_in_full_precision
def weighted_squares_of_all(user: Tensor, item: Tensor, cells: tuple[Tensor, Tensor], a: float, b: float) -> Tensor:
    """``weighted_squares`` of all pairs of rows of user [B, d] and item [n, d], scores their inner products.

    cells: (row in ``user``, row in ``item``) of each R = 1, int64[cells] both. As if all cells were 0, and then each 1
    set right: b sum_ij s_ij^2 + sum over the ones of a (1 - s)^2 - b s^2, where sum_ij s_ij^2 =
    tr(U^T U V^T V). The product of B x n is never written: (B + n) d^2 multiplications instead of B n d.
    """
    u, v = _at_least_float32(user), _at_least_float32(item)
    of_ones = (u.index_select(0, cells[0]) * v.index_select(0, cells[1])).sum(1)
    return b * ((u.T @ u) * (v.T @ v)).sum() + (a * (1 - of_ones).square() - b * of_ones.square()).sum()
