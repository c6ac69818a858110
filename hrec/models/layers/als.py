"""Rows of a weighted factorisation solved exactly, many at once: Hu et al.'s alternating step, with a prior mean."""

from __future__ import annotations

import torch
from torch import Tensor

from hrec.models.layers.bags import RaggedRows

AT_ONCE = 1 << 24
"""Numbers that the matrices of one batch of rows may hold together."""


@torch.no_grad()
def solve_rows(
    liked: RaggedRows, others: Tensor, a: float, b: float, ridge: float, prior: Tensor | None = None
) -> Tensor:
    """For each row i the u that makes sum_j c_ij (R_ij - u . v_j)^2 + ridge |u - prior_i|^2 smallest, float[n, d].

    liked: row i holds the j with R_ij = 1 and c_ij = a; elsewhere R_ij = 0 and c_ij = b, 0 <= b <= a. others: the v_j,
    float[m, d]. ridge > 0. prior: float[n, d], None for 0. Hu, Koren and Volinsky, ICDM 2008, Eq. 4, with the prior of
    Wang and Blei, KDD 2011, Eq. 9: (b V^T V + (a - b) V_i^T V_i + ridge I) u = a V_i^T 1 + ridge prior_i, V_i the rows
    of ``others`` that row i likes.

    All rows share M = b V^T V + ridge I. With k cells in row i, the Woodbury identity needs a k x k system beside M^-1,
    the plain form a d x d one: each row takes the smaller. Rows of like length are padded to one length and their
    systems solved by Cholesky in one batch, of at most ``AT_ONCE`` numbers.
    """
    n, d = len(liked.offset) - 1, others.shape[1]
    shared = b * others.T @ others + ridge * torch.eye(d, dtype=others.dtype, device=others.device)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(shared))
    base = others.new_zeros(n, d) if prior is None else ridge * prior.to(others.dtype)
    out = base @ inverse
    length = torch.diff(liked.offset)
    order = torch.argsort(length)
    for rows in _batches(order[length[order] > 0], length, d):
        own, scale = _gathered(liked, rows, others), a - b  # own [B, k, d], zeros behind the end of a row
        wanted = base[rows] + a * own.sum(1)
        if own.shape[1] < d:
            out[rows] = _by_woodbury(own, scale, inverse, wanted)
        else:
            out[rows] = _solved(shared + scale * own.mT @ own, wanted)
    return out


def _by_woodbury(own: Tensor, scale: float, inverse: Tensor, wanted: Tensor) -> Tensor:
    """(M + s V^T V)^-1 y = M^-1 y - s M^-1 V^T (I + s V M^-1 V^T)^-1 V M^-1 y; rows of zeros in V change nothing."""
    mapped, start = own @ inverse, wanted @ inverse
    system = scale * mapped @ own.mT + torch.eye(own.shape[1], dtype=own.dtype, device=own.device)
    inner = _solved(system, (own @ start[:, :, None]).squeeze(2))
    return start - scale * (inner[:, None] @ mapped).squeeze(1)


def _solved(system: Tensor, wanted: Tensor) -> Tensor:
    """system [B, k, k], symmetric and positive; wanted [B, k] -> [B, k]"""
    return torch.cholesky_solve(wanted[:, :, None], torch.linalg.cholesky(system)).squeeze(2)


def _gathered(liked: RaggedRows, rows: Tensor, others: Tensor) -> Tensor:
    """The vectors that each row likes, [B, k, d] with k the length of the longest, zeros behind the end of the others.

    rows int64[B], none of them empty.
    """
    start, length = liked.offset[rows], liked.offset[rows + 1] - liked.offset[rows]
    place = torch.arange(int(length.max()), device=rows.device)
    there = place < length[:, None]
    cell = (start[:, None] + place).where(there, start[:, None])
    return others[liked.index[cell].long()] * there[:, :, None]


def _batches(order: Tensor, length: Tensor, d: int) -> list[Tensor]:
    """Rows of ascending length, cut so that a batch's padded vectors and systems keep to ``AT_ONCE``."""
    out, stop = [], len(order)
    while stop:  # from the longest, whose length is that of the batch
        k = int(length[order[stop - 1]])
        system = min(k, d) ** 2 * 2
        start = max(0, stop - max(1, AT_ONCE // (2 * k * d + system)))
        out.append(order[start:stop])
        stop = start
    return out
