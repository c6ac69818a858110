"""Attention over the sampled neighbours of the nodes of a graph, a step for each hop."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hrec.datasets.histories import History, edges_of_nodes
from hrec.datasets.recdata import Table as ItemTable
from hrec.models.layers.bags import Cells, RaggedRows
from hrec.models.layers.nodes import NodeTable

NODES = 8192
"""Nodes computed at once where all are."""


class Neighbours(nn.Module):
    """Vectors of the nodes of a graph of users and items, from those of their neighbours.

    h_v(0) is a row of a table, and with N(v) at most ``sampled`` neighbours of v

        a_vw = softmax over w in N(v) of (Q h_v . K h_w) / sqrt(d)
        h_v(l) = U [h_v(l - 1); sum over w of a_vw h_w(l - 1)] + b

    with a ReLU after all hops but the last, the same Q, K, U and b at every hop, and 0 as the sum of a node without
    neighbours. The neighbours are drawn again for each node, hop and batch in training. ``all`` takes all neighbours.
    """

    def __init__(self, likes: History, width: int, hops: int, sampled: int, std: float) -> None:
        super().__init__()
        self.first = NodeTable(len(likes), ItemTable(likes.width), width, std)
        self.edges = RaggedRows.of(edges_of_nodes(likes))
        self.query, self.key = nn.Linear(width, width, bias=False), nn.Linear(width, width, bias=False)
        self.update = nn.Linear(2 * width, width)
        self.hops, self.sampled = hops, sampled

    def forward(self, node: Tensor) -> Tensor:
        """int64[B] -> float[B, width], from a sample of the neighbours."""
        return self._at(node, self.hops)

    def all(self) -> Tensor:
        """Of all nodes, from all neighbours."""
        node = torch.arange(len(self.edges.offset) - 1, device=self.edges.offset.device)
        h = self.first.rows(node)
        for hop in range(1, self.hops + 1):
            parts = [self._step(h, some, self.edges(some), hop) for some in node.split(NODES)]
            h = torch.cat(parts)
        return h

    def _at(self, node: Tensor, hop: int) -> Tensor:
        if not hop:
            return self.first.rows(node)
        near = self.sample(node)
        every, place = torch.unique(torch.cat([node, near.column]), return_inverse=True)
        own, others = place.split([len(node), len(near.column)])
        return self._step(self._at(every, hop - 1), own, near._replace(column=others), hop)

    def sample(self, node: Tensor) -> Cells:
        """At most ``sampled`` different neighbours of each node; each neighbour is as likely.

        Every (degree // sampled)-th neighbour from a random one on, round in a circle.
        """
        first, degree = self.edges.offset[node], self.edges.length(node)
        taken = degree.clamp(max=self.sampled)
        start = (torch.rand(len(node), device=node.device, dtype=torch.float64) * degree).long()
        step = torch.arange(self.sampled, device=node.device) * (degree // self.sampled).clamp(min=1)[:, None]
        at = first[:, None] + (start[:, None] + step) % degree.clamp(min=1)[:, None]
        at = at[torch.arange(self.sampled, device=node.device) < taken[:, None]]
        return Cells(taken, self.edges.index[at].long(), self.edges.value[at])

    def _step(self, h: Tensor, own: Tensor, near: Cells, hop: int) -> Tensor:
        """The vectors of the rows ``own`` of h after a hop; near.column: rows of h, the neighbours of each."""
        mine = h.index_select(0, own)
        query, key = self.query(mine).index_select(0, near.owner), self.key(h).index_select(0, near.column)
        logit = (query * key).sum(1) / h.shape[1] ** 0.5
        weight = softmax_of_rows(logit, near).to(h.dtype)
        pooled = F.embedding_bag(near.column.long(), h, near.start, mode="sum", per_sample_weights=weight)
        new = self.update(torch.cat([mine, pooled], 1)).to(h.dtype)  # mixed precision gives half of it
        return new if hop == self.hops else F.relu(new)


def softmax_of_rows(logit: Tensor, cells: Cells) -> Tensor:
    """Softmax of the logits of the cells of each row, float[total]."""
    owner, n = cells.owner, len(cells.length)
    top = logit.new_zeros(n).scatter_reduce(0, owner, logit.detach(), "amax", include_self=False)
    power = torch.exp(logit - top[owner])
    return power / power.new_zeros(n).index_add(0, owner, power)[owner]
