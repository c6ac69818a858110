"""Random walks over the graph of users and their positives, all walks of a batch at once.

Grover and Leskovec, node2vec: Scalable Feature Learning for Networks, KDD 2016, section 3.2.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np
import torch
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor

from hrec.datasets.batches import Draw, Walks
from hrec.datasets.histories import edges_of_nodes, positive_history
from hrec.datasets.recdata import TrainData
from hrec.settings import Settings


class WalkSettings(Settings):
    """Random walks, and how vectors of nodes are learnt from them."""

    length: PositiveInt = 10
    """Nodes of a walk."""
    window: PositiveInt = 4
    """Nodes of a walk with at most this many steps between them are trained to be similar."""
    negatives: PositiveInt = 5
    """Nodes drawn for each node of a walk, by (edges of the node) ** 0.75 as in word2vec; its contexts share them."""
    p: PositiveFloat = 1.0
    """Return parameter: a walk goes back to where it came from with weight 1 / p."""
    q: PositiveFloat = 1.0
    """In-out parameter: it goes to any other neighbour with weight 1 / q."""
    init_std: PositiveFloat = 0.1
    """Standard deviation of the first vectors."""


class RandomWalks:
    """One walk from every node with an edge per epoch, in a new order, as Walks.

    Node u is user u, and node n_users + i is item i. No two neighbours of a node of this graph are neighbours of each
    other, so a step has only the weights 1 / p and 1 / q. Batches are drawn on the CPU.
    """

    def __init__(self, data: TrainData, settings: WalkSettings) -> None:
        self.data, self.settings = data, settings

    @cached_property
    def _edges(self) -> tuple[Tensor, Tensor, Tensor]:
        """offset int64[nodes + 1]; index int64[edges], the neighbours of each node; key, ascending: node * nodes +
        neighbour."""
        edges = edges_of_nodes(positive_history(self.data))
        offset, index = torch.from_numpy(edges.offset), torch.from_numpy(edges.index.astype(np.int64))
        owner = torch.repeat_interleave(torch.arange(len(edges)), offset.diff())
        return offset, index, owner * len(edges) + index

    @cached_property
    def _chance(self) -> Tensor:
        """Cumulated chances of the nodes as negatives, float64[nodes]."""
        return self._edges[0].diff().double().pow(0.75).cumsum(0)

    def epoch(self, draw: Draw) -> Iterator[Walks]:
        start = self._edges[0].diff().nonzero().squeeze(1)
        start = start[torch.randperm(len(start), generator=draw.generator)]
        for first, own in zip(range(0, len(start), draw.batch_size), draw.slices(len(start)), strict=True):
            # drawn for whole batches on every process, so that several train on what one would
            node = self.walks(start[first : first + draw.batch_size], draw.generator)
            negative = self._negatives(node, draw.generator)
            mine = slice(own.start - first, own.stop - first, own.step)
            yield Walks(node[mine].to(draw.device), negative[mine].to(draw.device))

    def walks(self, start: Tensor, generator: torch.Generator) -> Tensor:
        """int64[B, length]: walks from these nodes, int64[B], each with an edge."""
        walk = [start]
        for _ in range(self.settings.length - 1):
            walk.append(self._next(walk[-1], walk[-2] if len(walk) > 1 else None, generator))
        return torch.stack(walk, 1)

    def _next(self, node: Tensor, before: Tensor | None, generator: torch.Generator) -> Tensor:
        """A neighbour of each node; ``before`` is where the walk came from, None at its start."""
        offset, index, key = self._edges
        start = offset[node]
        degree = offset[node + 1] - start
        if before is None:
            return index[start + _below(degree, generator)]
        # the neighbour to return to is left out of the draw of another one
        place = torch.searchsorted(key, node * (len(offset) - 1) + before) - start
        other = _below((degree - 1).clamp(min=1), generator)
        other += other >= place
        s = self.settings
        back = (
            torch.rand(len(node), generator=generator, dtype=torch.float64) * (1 / s.p + (degree - 1) / s.q) < 1 / s.p
        )
        return index[start + torch.where(back, place, other)]

    def _negatives(self, node: Tensor, generator: torch.Generator) -> Tensor:
        """int64[B, length, negatives]"""
        point = torch.rand((*node.shape, self.settings.negatives), generator=generator, dtype=torch.float64)
        return torch.searchsorted(self._chance, point * self._chance[-1], right=True)


def _below(end: Tensor, generator: torch.Generator) -> Tensor:
    """A whole number from 0 up to below each, as likely as any other: int64[B] -> int64[B]."""
    return (torch.rand(len(end), generator=generator, dtype=torch.float64) * end).long()
