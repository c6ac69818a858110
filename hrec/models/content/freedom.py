"""FREEDOM: LightGCN on a pruned graph of users and items, and a frozen graph of similar items.

Zhou and Shen, A Tale of Two Graphs: Freezing and Denoising Graph Structures for Multimodal Recommendation, MM 2023,
section 3. Equations are numbered as there. With e the trained vectors of users and items:

    S = sum_m a_m S^m, the graph of the items nearest by the vectors of modality m, frozen (Eq. 1 to 4)
    pruned graph: in each epoch a share of the edges is left out; edge (u, i) stays with a chance in proportion to
        1 / sqrt(d_u d_i) (Eq. 5 and 6)
    h_u, g_i = LightGCN on the pruned graph in training, on the whole one afterwards;  h_i = g_i + S^L e_i (Eq. 7 to 9)
    minimise BPR(h_u, h_i, h_j) + lambda sum_m BPR(h_u, W_m x_i + b_m, W_m x_j + b_m) (Eq. 10 and 11)

x_i is the item's vector of modality m. Items without one have no edge in S^m, and a pair counts for modality m if both
of its items have one. The authors' code also trains x (``train_vectors``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field, NonNegativeFloat, PositiveInt
from torch import Tensor, nn

from hrec.datasets.batches import Pairs
from hrec.datasets.histories import History, positive_history
from hrec.datasets.recdata import TrainData
from hrec.datasets.samplers import positive_rows
from hrec.models.base import Reads, Stage
from hrec.models.general.lightgcn import LightGCN
from hrec.models.layers.graph import Graph, Product, smoothed
from hrec.models.layers.item_graph import chosen_edges, item_graph
from hrec.models.layers.item_vectors import ItemVectors, VectorSettings, coverage, once_each, required_vectors
from hrec.settings import LayerCount


class FREEDOM(LightGCN):
    """Score h_u . h_i."""

    class Config(LightGCN.Config, VectorSettings):
        """Settings of FREEDOM, as published."""

        n_layers: LayerCount = 2
        """Steps over the graph of users and items."""
        reg_weight: NonNegativeFloat = 0.0
        """As LightGCN's; the authors have no norms."""
        item_layers: LayerCount = 1
        """L, steps over the graph of items."""
        neighbours: PositiveInt = 10
        """Items nearest to an item, itself among them, by each modality."""
        modality_weights: tuple[NonNegativeFloat, ...] | None = None
        """a_m, in the order of ``columns``; null: all equal. The authors have .1 for images and .9 for texts."""
        pruned: Annotated[float, Field(ge=0, lt=1)] = 0.8
        """Share of the edges that an epoch leaves out."""
        modality_loss: NonNegativeFloat = 0.001
        """lambda, the weight of the modalities' own terms."""
        train_vectors: bool = False
        """Train the x of the modalities' own terms too; the graph of items stays frozen."""

    reads = Reads(user={"id"}, item={"id", "columns"})
    config: Config
    prune_seed: Tensor

    def __init__(self, config: Config, data: TrainData) -> None:
        super().__init__(config, data)
        vectors = required_vectors(data, config, "FREEDOM")
        self.remarks += coverage(vectors)
        self.modalities = nn.ModuleList(_Modality(v, config.embedding_size, config.train_vectors) for v in vectors)
        self.item_graph = Product(item_graph(vectors, config.neighbours, _weights(config.modality_weights, vectors)))
        self.edges = _Edges(data)
        self.register_buffer("prune_seed", torch.zeros((), dtype=torch.int64))
        # the seed is the state: a run that is resumed within an epoch trains on the graph that the epoch began with
        self.register_load_state_dict_post_hook(_pruned_as_loaded)
        self.prune()

    def stages(self, data: TrainData) -> Iterator[Stage]:
        for stage in super().stages(data):
            yield replace(stage, each_epoch=self.draw_graph)

    def draw_graph(self) -> None:
        """Leave out other edges than before."""
        self.prune_seed.fill_(int(torch.randint(2**62, ())))
        self.prune()

    def prune(self) -> None:
        """The graph that ``prune_seed`` leaves becomes the one of training."""
        self.left = self.graph
        if self.config.pruned and len(self.edges):
            left = Graph(self.edges.left(1 - self.config.pruned, int(self.prune_seed)))
            self.left = left.to(self.users.device, self.users.dtype)

    def propagated(self) -> tuple[Tensor, Tensor]:
        """All users' and all items' h."""
        graph = self.left if self.training else self.graph
        users, items = smoothed(graph, self.users, self.items, self.config.n_layers)
        near: Tensor = self.items
        for _ in range(self.config.item_layers):
            near = self.item_graph(near)
        return users, items + near

    def loss(self, batch: Pairs) -> dict[str, Tensor]:
        """LightGCN's terms, and lambda times the modalities' own."""
        users, items = self.propagated()
        terms, worst = self.pair_terms(batch, users, items)
        if self.config.modality_loss:
            own = [m.loss(users[batch.user], batch.positive, worst) for m in self.modalities]  # type: ignore[operator]
            terms["modalities"] = self.config.modality_loss * torch.stack(own).sum()
        return terms


def _pruned_as_loaded(model: FREEDOM, _: object) -> None:
    model.prune()


def _weights(weights: tuple[float, ...] | None, vectors: Sequence[ItemVectors]) -> Sequence[float]:
    """a_m of each modality. Raises ValueError where their number is another, or none is above 0."""
    if weights is None:
        return [1.0] * len(vectors)
    if len(weights) != len(vectors) or not any(weights):
        names = ", ".join(v.name for v in vectors)
        raise ValueError(f"model.modality_weights: give {len(vectors)} numbers, not all 0, for {names}")
    return weights


class _Modality(nn.Module):
    """W x_i + b of one modality, and its term of the loss."""

    def __init__(self, vectors: ItemVectors, size: int, trained: bool) -> None:
        super().__init__()
        self.vectors = vectors
        self.map = nn.Linear(vectors.width, size)
        self.trained = nn.Parameter(vectors.value.clone()) if trained else None

    def forward(self, item: Tensor) -> Tensor:
        """item int64[B] -> float[B, size]"""
        return self.map(self.vectors(item) if self.trained is None else self.trained.index_select(0, item))

    def loss(self, user: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        """BPR, mean over the pairs; 0 for a pair with an item that has no vector. user float[B, size]."""
        both = self.vectors.known[positive] & self.vectors.known[negative]
        items = once_each(self, torch.cat([positive, negative]), len(self.vectors.known))
        better, worse = items.split(len(user))
        return (F.softplus((user * (worse - better)).sum(1)) * both).mean()


class _Edges:
    """The edges of users and the items they like, in the order of the training rows: indices have no meaning."""

    def __init__(self, data: TrainData) -> None:
        rows = positive_rows(data)
        x = data.interactions.take(rows)
        pair = x.user.astype(np.int64) * data.n_items + x.item
        self.data, self.row = data, rows[np.sort(np.unique(pair, return_index=True)[1])]
        x = data.interactions.take(self.row)
        of_user, of_item = np.bincount(x.user), np.bincount(x.item)
        self.chance = torch.from_numpy(1 / np.sqrt(of_user[x.user] * of_item[x.item]))

    def __len__(self) -> int:
        return len(self.row)

    def left(self, share: float, seed: int) -> History:
        """This share of the edges, at least one, by user."""
        at = chosen_edges(self.chance, max(1, int(share * len(self))), seed).numpy()
        return positive_history(self.data.with_interactions(self.data.interactions.take(self.row[at])))
