"""TransR: entities of a knowledge graph whose vectors, mapped into a relation's space, differ by the relation's."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hrec.datasets.batches import Triples
from hrec.datasets.relations import Relations
from hrec.models.layers.bags import EmbeddingTable


class TransR(nn.Module):
    """Lin et al., Learning Entity and Relation Embeddings for Knowledge Graph Completion, AAAI 2015, section 3.

    d(h, r, t) = |v_h M_r + r - v_t M_r|^2; the loss of a triple and a false tail t' is -ln sigmoid(d(h, r, t') -
    d(h, r, t)) (CKE, Zhang et al., KDD 2016, Eq. 3). normalised: as in RecBole, r and the mapped vectors have length 1.
    """

    def __init__(self, relations: Relations, width: int, relation_width: int, normalised: bool) -> None:
        super().__init__()
        self.width, self.normalised = width, normalised
        self.entities = _xavier(relations.n_entities, width)
        self.relations = _xavier(relations.n_relations, relation_width)
        self.maps = _xavier(relations.n_relations, width * relation_width)

    def forward(self, item: Tensor) -> Tensor:
        """v of entities, of which the items come first: int64[B] -> float[B, width]"""
        return self.entities.rows(item)

    def loss(self, batch: Triples) -> tuple[Tensor, Tensor]:
        """The loss of the triples and the sum of the squares of their mapped vectors and relations, both a mean."""
        vectors = self.entities.rows(torch.cat([batch.head, batch.tail, batch.negative]))
        relation, maps = self.relations.rows(batch.relation), self.maps.rows(batch.relation)
        ends = vectors.view(3, len(batch), 1, self.width) @ maps.view(len(batch), self.width, -1)
        head, tail, false = ends.squeeze(2)
        if self.normalised:
            head, relation, tail, false = (F.normalize(x, dim=1) for x in (head, relation, tail, false))
        near, far = ((head + relation - end).square().sum(1) for end in (tail, false))
        norm = torch.stack([x.square().sum(1) for x in (head, relation, tail, false)]).sum(0)
        return F.softplus(near - far).mean(), norm.mean()


def _xavier(rows: int, width: int) -> EmbeddingTable:
    """A table whose gradient is dense: a step reads it twice."""
    return EmbeddingTable(rows, width, math.sqrt(2 / (rows + width)), math.inf)
