"""The graph of users and the items they like: each takes in the vectors of its neighbours."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hrec.datasets.histories import History, transposed
from hrec.models.layers.bags import RaggedRows


class Graph(nn.Module):
    """One step over the edges, each weighted 1 / sqrt(d_u d_i): (users, items) -> (A items, A^T users).

    ``history`` holds the edges by user; d counts the edges of a user or an item. Who has none gets 0. The step is
    symmetric, so the gradient of a step is a step with the gradients, and no other matrix is kept.
    """

    def __init__(self, history: History) -> None:
        super().__init__()
        of_user = np.diff(history.offset)
        of_item = np.bincount(history.index, minlength=history.width)
        by_edge = np.repeat(of_user, of_user) * of_item[history.index]
        edges = History(history.offset, history.index, (1 / np.sqrt(by_edge)).astype(np.float32), history.width)
        back = transposed(edges)
        self.of_user = RaggedRows.of(edges)
        self.of_item = RaggedRows.of(back)

    def forward(self, users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        """users float[n_users, d], items float[n_items, d] -> the same shapes"""
        return _Step.apply(users, items, self)


def smoothed(graph: Graph, users: Tensor, items: Tensor, layers: int) -> tuple[Tensor, Tensor]:
    """The mean of the vectors of 0 to ``layers`` steps over the graph (LightGCN, Eq. 3 and 4); shapes as given."""
    sums: tuple[Tensor, Tensor] = users, items
    for _ in range(layers):
        users, items = graph(users, items)
        sums = sums[0] + users, sums[1] + items
    share = 1 / (layers + 1)
    return sums[0] * share, sums[1] * share


class Product(nn.Module):
    """A constant sparse matrix M times a table: float[columns, d] -> float[rows, d]; the gradient is M^T's product."""

    def __init__(self, matrix: History) -> None:
        super().__init__()
        self.rows = RaggedRows.of(matrix)
        self.columns = RaggedRows.of(transposed(matrix))

    def forward(self, table: Tensor) -> Tensor:
        return _Product.apply(table, self)


class _Product(torch.autograd.Function):
    """M x, whose gradient is M^T g."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, product: Product) -> Tensor:
        ctx.product = product
        return _gathered(product.rows, table)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return _gathered(ctx.product.columns, gradients[0].contiguous()), None


def _gathered(rows: RaggedRows, table: Tensor) -> Tensor:
    offset = rows.offset.to(rows.index.dtype)
    return F.embedding_bag(
        rows.index, table, offset, mode="sum", per_sample_weights=rows.value, include_last_offset=True
    )


class _Step(torch.autograd.Function):
    """A step whose gradient is a step."""

    @staticmethod
    def forward(ctx: Any, users: Tensor, items: Tensor, graph: Graph) -> tuple[Tensor, Tensor]:
        ctx.graph = graph
        return _gathered(graph.of_user, items), _gathered(graph.of_item, users)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        of_users, of_items = (g.contiguous() for g in gradients)
        return _gathered(ctx.graph.of_user, of_items), _gathered(ctx.graph.of_item, of_users), None
