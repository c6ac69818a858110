"""Attention over ragged histories: a logit and an inner product for each (target, cell), and their pooling.

The cells of all pairs stand one after another, so nothing is padded and nothing is as wide as the catalogue. Vectors
of cells live for one block of whole pairs at a time, which stays in the cache: there a pass over [cells, 64] costs a
tenth of what it costs in memory. Of each cell two numbers are kept, and for the gradient which hidden units were
active; the rest is computed again. Adding gradients to rows by index_add_ is slow in memory and quick in a block.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK = {"cpu": 4096, "cuda": 2**20}
"""Cells computed at once: as many as fit the cache of a core, or enough to fill a GPU."""
ACTIVITY = torch.bfloat16
"""Holds the 0 or 1 of each hidden unit: half the memory of float32, and far quicker to turn into it than bool."""


class Cells(NamedTuple):
    """The cells of B pairs one after another: pair b has ``row[offset[b]:offset[b + 1]]``, or none.

    offset int64[B + 1]; pair int64[E], which pair a cell belongs to; row int64[E], the cell's row of the vectors q.
    """

    offset: Tensor
    pair: Tensor
    row: Tensor

    def blocks(self) -> Iterator[tuple[slice, slice]]:
        """The pairs and the cells of each block: whole pairs, together about BLOCK cells."""
        size = BLOCK.get(self.row.device.type, BLOCK["cuda"])
        marks = torch.arange(0, len(self.row), size, device=self.offset.device)
        first = torch.searchsorted(self.offset, marks, right=True) - 1
        first = torch.unique_consecutive(first)
        at = [*self.offset[first].tolist(), len(self.row)]
        pairs = [*first.tolist(), len(self.offset) - 1]
        for i in range(len(first)):
            yield slice(pairs[i], pairs[i + 1]), slice(at[i], at[i + 1])

    def sum_of_block(self, rows: Tensor, pairs: slice) -> Tensor:
        """Sum of the rows [cells of the block, d] of each pair of the block. -> [pairs, d]"""
        start = self.offset[pairs] - self.offset[pairs.start]
        return F.embedding_bag(torch.arange(len(rows), device=rows.device), rows, start, mode="sum")


class _Product(torch.autograd.Function):
    """dot = p . q and logit = h . ReLU(W (p * q) + b) of every cell."""

    @staticmethod
    def forward(
        ctx: Any, p: Tensor, q: Tensor, weight: Tensor, bias: Tensor, h: Tensor, cells: Cells, learns: bool
    ) -> tuple[Tensor, Tensor]:
        dot, logit = p.new_empty(2, len(cells.row))
        active = p.new_empty(len(cells.row) if learns else 0, len(h), dtype=ACTIVITY)
        for _, here in cells.blocks():
            x = q.index_select(0, cells.row[here]).mul_(p.index_select(0, cells.pair[here]))
            torch.sum(x, 1, out=dot[here])
            hidden = torch.addmm(bias, x, weight.T).relu_()
            torch.mv(hidden, h, out=logit[here])
            if learns:
                active[here] = hidden.sign_()
        ctx.save_for_backward(p, q, weight, bias, h, active)
        ctx.cells = cells
        return dot, logit

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """With M the activity (0 or 1), G = M^T diag(g_logit) X and c = M^T g_logit hold all that W, b and h need."""
        p, q, weight, bias, h, active = ctx.saved_tensors
        g_dot, g_logit = (g.contiguous()[:, None] for g in gradients)
        cells: Cells = ctx.cells
        outer, count, scaled = torch.zeros_like(weight), torch.zeros_like(h), h[:, None] * weight
        g_p, g_q = torch.zeros_like(p), torch.zeros_like(q)
        for pairs, here in cells.blocks():
            row = cells.row[here]
            left, right = p.index_select(0, cells.pair[here]), q.index_select(0, row)
            units = active[here].to(p.dtype).mul_(g_logit[here])
            g_x = torch.mm(units, scaled).add_(g_dot[here])
            g_q.index_add_(0, row, g_x * left)
            g_p[pairs] = cells.sum_of_block(g_x.mul_(right), pairs)
            outer.addmm_(units.T, left.mul_(right))
            count += units.sum(0)
        g_h = (weight * outer).sum(1) + bias * count
        return g_p, g_q, h[:, None] * outer, h * count, g_h, None, None


class _Concat(torch.autograd.Function):
    """dot = p . q and logit = h . ReLU(a + c) of every cell; p, a belong to the pair, q, c to the row."""

    @staticmethod
    def forward(
        ctx: Any, p: Tensor, q: Tensor, a: Tensor, c: Tensor, h: Tensor, cells: Cells, learns: bool
    ) -> tuple[Tensor, Tensor]:
        dot, logit = p.new_empty(2, len(cells.row))
        active = p.new_empty(len(cells.row) if learns else 0, len(h), dtype=ACTIVITY)
        for _, here in cells.blocks():
            pair, row = cells.pair[here], cells.row[here]
            torch.sum(q.index_select(0, row).mul_(p.index_select(0, pair)), 1, out=dot[here])
            hidden = c.index_select(0, row).add_(a.index_select(0, pair)).relu_()
            torch.mv(hidden, h, out=logit[here])
            if learns:
                active[here] = hidden.sign_()
        ctx.save_for_backward(p, q, a, c, h, active)
        ctx.cells = cells
        return dot, logit

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """With M the activity (0 or 1), sums of g_logit M over pairs and over rows hold all that a, c and h need."""
        p, q, a, c, h, active = ctx.saved_tensors
        g_dot, g_logit = (g.contiguous()[:, None] for g in gradients)
        cells: Cells = ctx.cells
        g_p, g_q, of_pairs, of_rows = (torch.zeros_like(x) for x in (p, q, a, c))
        for pairs, here in cells.blocks():
            row = cells.row[here]
            g_q.index_add_(0, row, p.index_select(0, cells.pair[here]).mul_(g_dot[here]))
            g_p[pairs] = cells.sum_of_block(q.index_select(0, row).mul_(g_dot[here]), pairs)
            units = active[here].to(p.dtype).mul_(g_logit[here])
            of_rows.index_add_(0, row, units)
            of_pairs[pairs] = cells.sum_of_block(units, pairs)
        g_h = (a * of_pairs).sum(0) + (c * of_rows).sum(0)
        return g_p, g_q, h * of_pairs, h * of_rows, g_h, None, None


class _Pool(torch.autograd.Function):
    """S_b = sum over the cells e of pair b of value_e dot_e exp(logit_e - beta L_b), L the log of the sum of exp.

    dS/d dot = value exp(logit - beta L), and dS/d logit = value dot exp(logit - beta L) - beta exp(logit - L) S.
    """

    @staticmethod
    def forward(ctx: Any, dot: Tensor, logit: Tensor, value: Tensor, beta: float, cells: Cells) -> Tensor:
        pair, n = cells.pair, len(cells.offset) - 1
        top = logit.new_zeros(n).scatter_reduce_(0, pair, logit, "amax", include_self=False)
        power = (logit - top[pair]).exp_()
        total = logit.new_zeros(n).index_add_(0, pair, power).clamp_(min=torch.finfo(power.dtype).tiny)
        # with the largest logit m of a pair, logit - beta L is (logit - m) - beta (L - m) + (1 - beta) m
        weight = (power * value).mul_(((1 - beta) * top - beta * total.log()).exp_()[pair])
        pooled = logit.new_zeros(n).index_add_(0, pair, weight * dot)
        ctx.save_for_backward(dot, weight, power, total, pooled)
        ctx.beta, ctx.pair = beta, pair
        return pooled

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        dot, weight, power, total, pooled = ctx.saved_tensors
        g_dot = gradients[0][ctx.pair] * weight
        g_logit = g_dot * dot - power * (ctx.beta * gradients[0] * pooled / total)[ctx.pair]
        return g_dot, g_logit, None, None, None


def attend_product(
    p: Tensor, q: Tensor, weight: Tensor, bias: Tensor, h: Tensor, cells: Cells
) -> tuple[Tensor, Tensor]:
    """p . q and h . ReLU(W (p * q) + b) of every cell, float[E] each; p [B, d], q [rows, d], W [w, d], b and h [w]."""
    return _Product.apply(p, q, weight, bias, h, cells, torch.is_grad_enabled())


def attend_concat(p: Tensor, q: Tensor, weight: Tensor, bias: Tensor, h: Tensor, cells: Cells) -> tuple[Tensor, Tensor]:
    """p . q and h . ReLU(W [p; q] + b) of every cell, float[E] each; W [w, 2 d].

    W [p; q] = W_1 p + W_2 q: the first is computed for each pair, the second for each row of q, none for each cell.
    """
    ours, theirs = weight.split(p.shape[1], 1)
    return _Concat.apply(p, q, F.linear(p, ours, bias), F.linear(q, theirs), h, cells, torch.is_grad_enabled())


def pool(dot: Tensor, logit: Tensor, value: Tensor, beta: float, cells: Cells) -> Tensor:
    """Sum of value * a * dot over the cells of each pair, a = exp(logit) / (sum of exp(logit))^beta. -> float[B]

    Computed as exp(logit - beta log sum exp), so no sum overflows; a pair without cells gives 0.
    """
    return _Pool.apply(dot, logit, value, beta, cells)
