"""The vector of a user that training did not know, from the user's history, for models that rank by pairs."""

from __future__ import annotations

import torch
from torch import Tensor

from hrec.models.layers.bags import Cells, RaggedRows

PAIRS = 256
"""Pairs of a positive and a negative that stand for the history of a query."""
STEPS = 8
"""Newton steps; the objective is convex and smooth, and converges in fewer."""


@torch.no_grad()
def best_by_pairs(history: Cells, items: Tensor, users: Tensor, bias: Tensor | None = None) -> Tensor:
    """float[Q, d]: the most probable vectors given the histories, items fixed.

    history: the positive items S_q of each query; items float[n_items, d], bias float[n_items] the trained items; users
    float[n_users, d] the trained users, whose mean m and variance v are the prior. Each vector minimises

        |S| mean_(i, j) softplus(-(p . (q_i - q_j) + b_i - b_j)) + sum_k (p_k - m_k)^2 / (2 v_k)

    (BPR-Opt, Rendle et al. 2009, Eq. 4, with the prior learnt from the trained users) over ``PAIRS`` pairs: positives
    in turn, negatives from one fixed sample of the catalogue. So a query's vector does not depend on other queries. A
    query without a positive item gets the mean.
    """
    mean, precision = users.mean(0), 1 / users.var(0, unbiased=False).clamp(min=1e-8)
    rows = RaggedRows.of_cells(history)
    negative = torch.randint(len(items), (PAIRS,), generator=torch.Generator().manual_seed(0)).to(items.device)
    at_once = max(1, 2**24 // (PAIRS * items.shape[1]))
    query = torch.arange(len(history.length), device=items.device)
    solved = [_newton(rows(few), negative, items, bias, (mean, precision)) for few in query.split(at_once)]
    return torch.cat(solved) if solved else items.new_zeros(0, items.shape[1])


def _newton(
    history: Cells, negative: Tensor, items: Tensor, bias: Tensor | None, prior: tuple[Tensor, Tensor]
) -> Tensor:
    mean, precision = prior
    length = history.length
    turn = torch.arange(PAIRS, device=items.device)
    at = (history.start[:, None] + turn % length.clamp(min=1)[:, None]).clamp(max=max(len(history.column) - 1, 0))
    if not len(history.column):
        return mean.expand(len(length), -1).clone()
    positive = history.column.long()[at]  # [Q, PAIRS]
    z = items[positive] - items[negative]
    offset = z.new_zeros(()) if bias is None else bias[positive] - bias[negative]
    own = torch.zeros(len(length), len(items), dtype=torch.bool, device=items.device)
    own[history.owner, history.column.long()] = True
    counted = (~own[:, negative]) & (length > 0)[:, None]
    weight = counted * (length / counted.sum(1).clamp(min=1))[:, None]
    p = mean.expand(len(length), -1).clone()
    for _ in range(STEPS):
        miss = torch.sigmoid(-((z @ p[:, :, None]).squeeze(2) + offset))
        gradient = (p - mean) * precision - (z.mT @ (weight * miss)[:, :, None]).squeeze(2)
        hessian = z.mT @ (z * (weight * miss * (1 - miss))[:, :, None])
        hessian.diagonal(dim1=1, dim2=2).add_(precision)
        p = p - torch.linalg.solve(hessian, gradient)
    return p
