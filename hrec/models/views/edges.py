"""Connections W_k of entities with users or items: one learned scalar for each edge (JRL, section 3.1 and Fig. 1)."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hrec.models.layers.bags import EmbeddingTable, RaggedRows
from hrec.models.layers.rows import Rows, declare_rows

NONE = -1
"""In place of an edge that is not there."""


class Edges(nn.Module):
    """x_n = sum over the edges e of node n of w_e entity(e), the weights learned from the mean, 1 / degree, on.

    node, entity: int64[E], one edge each.
    """

    entity: Tensor

    def __init__(self, node: np.ndarray, n_nodes: int, entity: np.ndarray) -> None:
        super().__init__()
        degree = np.bincount(node, minlength=n_nodes)
        offset = np.concatenate([[0], np.cumsum(degree)])
        self.rows = RaggedRows(offset, np.argsort(node, kind="stable"), np.ones(len(node), np.float32))
        self.register_buffer("entity", torch.from_numpy(entity.astype(np.int32)), persistent=False)
        self.weight = EmbeddingTable(len(node), 1, 0.0)
        declare_rows(self.weight.weight, [Rows("edge", len(node))])
        with torch.no_grad():
            self.weight.weight[:, 0] = torch.from_numpy(1 / degree[node])

    def forward(self, node: Tensor, entities: EmbeddingTable, fixed: bool = False) -> Tensor:
        """int64[B] -> [B, K]; 0 for a node without an edge. fixed: the entities get no gradient.

        Each node is computed once. Memory grows with the edges of the nodes, not with edges times K.
        """
        distinct, place = torch.unique(node, return_inverse=True)
        cells = self.rows(distinct)
        value = self.weight.rows(cells.column).squeeze(1)
        entity, start = self.entity.index_select(0, cells.column), cells.start
        if fixed:
            weight = entities.weight.detach()
            summed = F.embedding_bag(entity, weight, start.int(), mode="sum", per_sample_weights=value)
        else:
            summed = entities.bags(entity, start, value)
        return rows_of(summed, place)

    def one(self, edge: Tensor, entities: EmbeddingTable, fixed: bool = False) -> Tensor:
        """w_e entity(e) of some edges, int64[B] -> [B, K]; 0 for NONE."""
        if not len(self.entity):
            return entities.weight.new_zeros(len(edge), entities.weight.shape[1])
        there = edge >= 0
        edge = edge.clamp(min=0)
        entity = self.entity.index_select(0, edge)
        vector = entities.weight.detach().index_select(0, entity) if fixed else entities.rows(entity)
        return (self.weight.rows(edge) * there[:, None]) * vector


def rows_of(matrix: Tensor, index: Tensor) -> Tensor:
    """matrix[index], with a gradient that has the same bits each time on every device."""
    return F.embedding(index, matrix) if matrix.is_cuda else matrix.index_select(0, index)
