"""Vectors of the nodes of a graph of users and items, and skip-gram on random walks over it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hrec.datasets.batches import Walks
from hrec.datasets.recdata import Table as ItemTable
from hrec.models.layers.bags import EmbeddingTable


class NodeTable(nn.Module):
    """A vector for each user and for each item of a range: node u is user u, node n_users + i is item i."""

    def __init__(self, n_users: int, items: ItemTable, width: int, std: float) -> None:
        super().__init__()
        self.users, self.items = EmbeddingTable(n_users, width, std), EmbeddingTable(items.count, width, std)
        self.first_item = n_users + items.start

    def rows(self, node: Tensor) -> Tensor:
        """int64[B] -> float[B, width]"""
        user, item = ((node < self.first_item) == side for side in (True, False))
        user, item = user.nonzero().squeeze(1), item.nonzero().squeeze(1)
        both = torch.cat([self.users.rows(node[user]), self.items.rows(node[item] - self.first_item)])
        return both.index_select(0, torch.argsort(torch.cat([user, item])))


def skip_gram(center: Tensor, context: Tensor, negative: Tensor, window: int) -> Tensor:
    """Skip-gram with negative samples (Mikolov et al., NIPS 2013, Eq. 4), mean over the pairs of the window.

    center, context float[B, L, d]: the two vectors of the nodes of B walks; negative float[B, L, k, d]: context vectors
    of drawn nodes. A pair (i, j) with 0 < |i - j| <= window costs softplus(-c_i . x_j) + sum_k softplus(c_i . n_ik).
    """
    length = center.shape[1]
    place = torch.arange(length, device=center.device)
    distance = (place[:, None] - place).abs()
    inside = ((distance > 0) & (distance <= window)).to(center.dtype)
    near = F.softplus(-(center @ context.mT)) * inside
    far = F.softplus(torch.einsum("bld,blkd->blk", center, negative)).sum(2) * inside.sum(1)
    return (near.sum() + far.sum()) / (len(center) * inside.sum()).clamp(min=1)


class WalkVectors(nn.Module):
    """Node2vec's vectors of the users and of the items of one kind: ``center`` are the result."""

    def __init__(self, n_users: int, items: ItemTable, width: int, std: float) -> None:
        super().__init__()
        self.center = NodeTable(n_users, items, width, std)
        self.context = NodeTable(n_users, items, width, std)

    def loss(self, batch: Walks, window: int) -> Tensor:
        """Skip-gram of the walks."""
        walk, k = batch.node.flatten(), batch.negative.shape[2]
        center = self.center.rows(walk).view(*batch.node.shape, -1)
        # one lookup: one gradient of the table
        rows = self.context.rows(torch.cat([walk, batch.negative.flatten()]))
        context, negative = rows.split([len(walk), batch.negative.numel()])
        return skip_gram(center, context.view_as(center), negative.view(*batch.node.shape, k, -1), window)
