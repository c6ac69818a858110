"""One half of alternating least squares: the best vector of every row while those of the columns are fixed.

Hu, Koren and Volinsky, Collaborative Filtering for Implicit Feedback Datasets, ICDM 2008, section 4, with a confidence
``a`` where a row has a cell and ``b`` elsewhere, and the prior mean f_i of Wang and Blei, KDD 2011, Eq. 9. For row i
with cells S and the vectors V of all columns

    u_i = argmin sum_{j in S} a (1 - u.v_j)^2 + sum_{j not in S} b (u.v_j)^2 + l |u - f_i|^2
        = (G + (a - b) V_S^T V_S)^-1 (a V_S^T 1 + l f_i),     G = b V^T V + l I the same for every row.

With G = L L^T, W = V L^-T, p_i = l L^-1 f_i and c = a - b, u_i = L^-T (p_i + y_i) where t = a 1 - c W_S p_i and
y_i = (I + c W_S^T W_S)^-1 W_S^T t. That is W_S^T (I + c W_S W_S^T)^-1 t too: a system as large as the vectors are wide,
or as the row has cells, whichever is smaller. Both are exact, and rows of similar length go through one batched
Cholesky factorisation. Conjugate gradients need y_i -> W_S^T W_S y_i alone, which is two products of all rows with
their cells, and no row of W is copied for it.

Where each row has its own weight l_i, so has G; but all have the eigenvectors Q of b V^T V = Q diag(s) Q^T. So
L_i = Q diag(s + l_i)^1/2: the columns are turned by Q once, and scaled for each row.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hrec.models.layers.bags import RaggedRows

BUDGET = 2**15
"""Vectors that a batch of rows gathers at once; 39 MB at 300 float32 each."""
TOGETHER = 2**24
"""Numbers of the rows that take steps of conjugate gradients together; 67 MB of float32."""
PIECE = 2**12
"""Rows of a Gram matrix that are multiplied at once."""


class _Root(NamedTuple):
    """L_i^-T = turn diag(scale_i) of each row, and L_i = back diag(scale_i)^-1; the scale is None where it is 1."""

    turn: Tensor
    back: Tensor
    scale: Tensor | None

    @classmethod
    def of(cls, columns: Tensor, b: float, l2: float | Tensor) -> _Root:
        """Of G_i = b V^T V + l_i I, worked out in float64; columns: V float[n, d]."""
        squared, q = torch.linalg.eigh(gram(columns).mul_(b))
        squared.clamp_(min=0.0)
        if isinstance(l2, Tensor):
            q = q.to(columns.dtype)
            return cls(q, q, (squared + l2.double()[:, None]).rsqrt().to(columns.dtype))
        root = (squared + l2).sqrt()
        return cls((q / root).to(columns.dtype), (q * root).to(columns.dtype), None)

    def scaled(self, y: Tensor, some: Tensor | slice) -> Tensor:
        """diag(scale_i) y_i of ``some`` rows: y [rows, d], or [rows, cells, d]."""
        if self.scale is None:
            return y
        scale = self.scale[some]
        return y * (scale[:, None] if y.ndim == 3 else scale)

    def over_scale(self, y: Tensor, some: slice) -> Tensor:
        """diag(scale_i)^-1 y_i"""
        return y if self.scale is None else y / self.scale[some]


@torch.no_grad()
def best_rows(
    rows: RaggedRows,
    columns: Tensor,
    confidence: tuple[float, float],
    l2: float | Tensor,
    prior: Tensor | None = None,
    start: Tensor | None = None,
    cg_steps: int | None = None,
) -> Tensor:
    """float[rows, d]: for each row the best vector for fixed ``columns`` float[n, d].

    confidence: (a, b), 0 <= b <= a.
    l2: l > 0 of all rows, or float[rows].
    prior: f float[rows, d], None for 0. A row without cells gets l G^-1 f.
    cg_steps: None solves exactly; else each row takes this many steps of conjugate gradients, preconditioned by G. Each
    step lowers the objective, and the result is exact after d steps, or after as many as the row has cells.
    start: float[rows, d], where the steps begin; None: at 0.
    """
    a, b = confidence
    root, n = _Root.of(columns, b, l2), len(rows.offset) - 1
    p = None
    if prior is not None:
        l_each = l2.to(prior.dtype)[:, None] if isinstance(l2, Tensor) else l2
        p = root.scaled(l_each * prior @ root.turn, slice(n))
    if cg_steps is None:
        return _exact(rows, columns, root, p, (a, a - b))
    parts = []
    w, none = columns @ root.turn, columns.new_zeros(1, 1)
    for first, cells in _pieces(rows, w, root.scale):
        some = slice(first, first + cells.count)
        own = none.expand(cells.count, w.shape[1]) if p is None else p[some]
        began = none.expand_as(own) if start is None else root.over_scale(start[some] @ root.back, some) - own
        solved = own + _conjugate_gradients(cells, own, began, (a, a - b), cg_steps)
        parts.append(root.scaled(solved, some) @ root.turn.T)
    return torch.cat(parts) if parts else columns.new_zeros(0, columns.shape[1])


def _exact(rows: RaggedRows, columns: Tensor, root: _Root, p: Tensor | None, confidence: tuple[float, float]) -> Tensor:
    """L_i^-T (p_i + y_i) of each row by batched Cholesky; confidence: (a, c)."""
    a, c = confidence
    n, wide = len(rows.offset) - 1, columns.shape[1]
    w = columns.new_zeros(len(columns) + 1, wide)
    torch.mm(columns, root.turn, out=w[:-1])
    out = columns.new_zeros(n, wide) if p is None else root.scaled(p, slice(n)) @ root.turn.T
    for row, index in padded(rows, none=len(columns)):
        x = root.scaled(F.embedding(index, w), row)
        own = columns.new_zeros(len(row), wide) if p is None else p[row]
        t = a - c * (x @ own[:, :, None]).squeeze(2)  # a cell that fills up is 0 in x, whatever t is there
        out.index_copy_(0, row, root.scaled(own + _solved(x, t, c), row) @ root.turn.T)
    return out


def gram(x: Tensor) -> Tensor:
    """X^T X float64[d, d] of x float[n, d], multiplied piece by piece as x is given and added up in float64.

    Its error is a few 1e-8 for float32, less than what one number of x has, and x is not copied into float64.
    """
    pieces = (piece.T @ piece for piece in x.split(PIECE))
    return sum((product.double() for product in pieces), x.new_zeros(x.shape[1], x.shape[1], dtype=torch.float64))


def padded(rows: RaggedRows, none: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of the rows that have cells: (rows int64[B], index int64[B, k]), filled up with ``none``.

    In each batch the longest row has at most a third more cells than the shortest, and a row has at most ``BUDGET``
    cells unless it is alone.
    """
    length, order = torch.sort(torch.diff(rows.offset), descending=True, stable=True)
    shortness = -length.cpu().numpy()  # ascending
    start, stop = 0, int(np.searchsorted(shortness, 0))
    while start < stop:
        k = -int(shortness[start])
        end = min(start + max(1, BUDGET // k), int(np.searchsorted(shortness, -(3 * k // 4))))
        row = order[start:end]
        place = torch.arange(k, device=row.device)
        inside = place < length[start:end, None]
        at = (rows.offset[row, None] + place).clamp_(max=len(rows.index) - 1)
        yield row, torch.where(inside, rows.index[at].long(), none)
        start = end


def _factor(system: Tensor) -> Tensor:
    """Cholesky's factor. Raises FloatingPointError where the system is too near to singular."""
    factor, failed = torch.linalg.cholesky_ex(system)
    if bool(failed.any()):
        raise FloatingPointError(
            "a least-squares step cannot be solved: the weights of the norms are too small (l_u, l_v, and what "
            "l_exponent makes of them; CDL: lambda_u, lambda_v)"
        )
    return factor


def _solved(x: Tensor, t: Tensor, c: float) -> Tensor:
    """y of each row: x float[B, k, d], t float[B, k] -> [B, d]"""
    fewer_cells = x.shape[1] <= x.shape[2]
    system, right = (x @ x.mT, t[:, :, None]) if fewer_cells else (x.mT @ x, x.mT @ t[:, :, None])
    # a cell that fills up adds 1 on the diagonal and nothing else: it moves no other
    system.mul_(c).diagonal(dim1=1, dim2=2).add_(1.0)
    solved = torch.cholesky_solve(right, _factor(system))
    return (solved.mT @ x if fewer_cells else solved.mT).squeeze(1)


class _Cells:
    """The cells (i, j) of some rows, and the vectors w_j float[n, d] of their columns: products with all of them.

    A row reads w_j as diag(scale_i) w_j; scale: float[rows, d], None for 1.
    """

    def __init__(self, offset: Tensor, index: Tensor, w: Tensor, scale: Tensor | None = None) -> None:
        self.count, self.w, self.index = len(offset) - 1, w, index
        self.scale = scale
        self.offset = (offset - offset[0]).to(index.dtype)
        with warnings.catch_warnings():  # torch says once that CSR tensors are in beta
            warnings.simplefilter("ignore", UserWarning)
            shape = (self.count, len(w))
            self.pattern = torch.sparse_csr_tensor(self.offset, index, w.new_zeros(len(index)), shape)

    def dots(self, y: Tensor) -> Tensor:
        """w_j . y_i of each cell: y float[rows, d] -> float[cells]"""
        y = y if self.scale is None else y * self.scale
        return torch.sparse.sampled_addmm(self.pattern, y, self.w.T, beta=0.0).values()

    def sums(self, value: Tensor) -> Tensor:
        """Sum over each row's cells of value w_j: float[cells] -> float[rows, d]"""
        out = F.embedding_bag(self.index, self.w, self.offset[:-1], mode="sum", per_sample_weights=value)
        return out if self.scale is None else out.mul_(self.scale)


def _pieces(rows: RaggedRows, w: Tensor, scale: Tensor | None = None) -> Iterator[tuple[int, _Cells]]:
    """The first of some rows one after another, and their cells; so many at once that their vectors are ``TOGETHER``
    numbers."""
    n, at_once = len(rows.offset) - 1, max(1, TOGETHER // w.shape[1])
    for first in range(0, n, at_once):
        last = min(first + at_once, n)
        offset = rows.offset[first : last + 1]
        own = None if scale is None else scale[first:last]
        yield first, _Cells(offset, rows.index[int(offset[0]) : int(offset[-1])], w, own)


def _conjugate_gradients(
    cells: _Cells, own: Tensor, start: Tensor, confidence: tuple[float, float], steps: int
) -> Tensor:
    """y of each row by steps of conjugate gradients from ``start`` float[rows, d] on (Hestenes and Stiefel, 1952); own:
    p_i, confidence: (a, c)."""
    a, c = confidence

    def times(y: Tensor) -> Tensor:
        return cells.sums(cells.dots(y)).mul_(c).add_(y)

    # W^T t and what start makes of it in one go: a 1 - c W (p + y), less y
    y = start
    rest = cells.sums(a - c * cells.dots(own + y)) - y
    way, squared = rest, rest.square().sum(1, keepdim=True)
    tiny = torch.finfo(y.dtype).tiny  # a row that is solved no longer changes
    for step in range(steps):
        bent = times(way)
        length = squared / (way * bent).sum(1, keepdim=True).clamp(min=tiny)
        y = y + length * way
        if step + 1 == steps:
            break
        rest = rest - length * bent
        before, squared = squared, rest.square().sum(1, keepdim=True)
        way = rest + squared / before.clamp(min=tiny) * way
    return y


@torch.no_grad()
def cost_of_all(rows: RaggedRows, vectors: Tensor, columns: Tensor, confidence: tuple[float, float]) -> float:
    """sum_ij c_ij (R_ij - u_i.v_j)^2 over all cells, R 1 and c ``a`` in the rows' own, R 0 and c ``b`` elsewhere.

    vectors float[rows, d], columns float[n, d]. Of all cells sum (u_i.v_j)^2 is tr(U^T U V^T V), so no matrix of rows
    by columns is written: the cells of the rows alone are looked at one by one.
    """
    a, b = confidence
    total = b * (gram(vectors) * gram(columns)).sum()
    for first, cells in _pieces(rows, columns):
        s = cells.dots(vectors[first : first + cells.count]).double()
        total += (a * (1 - s).square() - b * s.square()).sum()
    return float(total)
