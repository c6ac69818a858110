"""JRL's Eq. 8 as it is written: a loop over the reviews, and within each over what the three views sum up.

Eq. 3 draws its own negative words for each word. Rows of tables are read with sparse gradients, as dense ones would
write whole tables for each review.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from hrec.datasets.batches import Pairs
from hrec.models.layers.bags import EmbeddingTable
from hrec.models.views.edges import Edges
from hrec.models.views.jrl import JRL


class LiteralJRL(JRL):
    """JRL with the views review (edges), image and rating, whose loss is computed pair by pair."""

    def loss(self, batch: Pairs) -> dict[str, Tensor]:
        assert batch.row is not None
        columns = (batch.user, batch.positive, batch.negative[:, 0], batch.row)
        pairs = zip(*(column.tolist() for column in columns), strict=True)
        return {"loss": torch.stack([self._of_pair(*pair) for pair in pairs]).sum() / len(batch)}

    def _of_pair(self, user: int, item: int, negative: int, row: int) -> Tensor:
        review, image, rating = self._of_review(row), self._of_image(item), self._of_rating(user, item, row)
        vectors = (self._in_review(user, item, negative, row), self._in_image(user, item, negative, row))
        x = sum(u @ (lost - won) for u, won, lost in (*vectors, self._in_rating(user, item, negative)))
        return torch.sigmoid(torch.as_tensor(x)) + review + image + rating

    def _in_review(self, user: int, item: int, negative: int, row: int) -> tuple[Tensor, Tensor, Tensor]:
        """u_1, v_1+ and v_1-, without the pair's own review."""
        view: Any = self.view("review")
        by, own = view.connection, int(view.document[row])
        u, won, lost = (
            _sum(edges, n, by.reviews, own)
            for edges, n in ((by.to_user, user), (by.to_item, item), (by.to_item, negative))
        )
        return u, won, lost

    def _in_image(self, user: int, item: int, negative: int, row: int) -> tuple[Tensor, Tensor, Tensor]:
        """u_2 without the pair's own item, v_2+ and v_2-."""
        view: Any = self.view("image")
        won, lost = (_row(view.to_item, n) * _row(view.entities, n) for n in (item, negative))
        return _sum(view.to_user, user, view.entities, int(view.edge[row])), won, lost

    def _in_rating(self, user: int, item: int, negative: int) -> tuple[Tensor, Tensor, Tensor]:
        view: Any = self.view("rating")
        return _row(view.users, user), _row(view.items, item), _row(view.items, negative)

    def _of_review(self, row: int) -> Tensor:
        """lambda_1 L_1 of a review: each word against t negative words."""
        view: Any = self.view("review")
        own = int(view.document[row])
        words, table = view.words, view.words.vectors
        document = _row(view.connection.reviews, own)
        first, end = words.documents.offset[own : own + 2].tolist()
        seen = F.softplus(-(_rows(table, words.documents.index[first:end].long()) @ document)).sum()
        at = torch.rand((end - first) * words.negatives, dtype=words.share.dtype)
        drawn = torch.searchsorted(words.share, at, right=True).clamp_(max=len(words.share) - 1)
        return view.config.weight * (seen + F.softplus(_rows(table, drawn) @ document).sum())

    def _of_image(self, item: int) -> Tensor:
        """lambda_2 L_2 of an item."""
        view: Any = self.view("image")
        miss = F.elu(view.decoder(_row(view.entities, item))) - view.vectors(torch.tensor([item]))[0]
        return view.config.weight * miss.square().sum()

    def _of_rating(self, user: int, item: int, row: int) -> Tensor:
        """lambda_3 L_3 of a pair."""
        view: Any = self.view("rating")
        inner = F.elu(view.hidden(_row(view.users, user) * _row(view.items, item)))
        return view.config.weight * (F.elu(view.out(inner))[0] - view.rating[row]).square()


def _rows(table: EmbeddingTable, index: Tensor) -> Tensor:
    return F.embedding(index, table.weight, sparse=True)


def _row(table: EmbeddingTable, index: int) -> Tensor:
    return _rows(table, torch.tensor(index))


def _sum(edges: Edges, node: int, entities: EmbeddingTable, left_out: int) -> Tensor:
    """The sum over the edges of a node of w_e times its entity, but for one edge."""
    first, end = edges.rows.offset[node : node + 2].tolist()
    edge = edges.rows.index[first:end].long()
    edge = edge[edge != left_out]
    return (_rows(edges.weight, edge) * _rows(entities, edges.entity[edge].long())).sum(0)
