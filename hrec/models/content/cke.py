"""CKE: matrix factorisation by pairs, whose item vectors also come from a knowledge graph, texts and item vectors.

Zhang, Yuan, Lian, Xie and Ma, Collaborative Knowledge Base Embedding for Recommender Systems, KDD 2016, sections 4 and
5:

    x_ui = u . e_i,   e_i = q_i + v_i + enc_text(t_i) + sum_m enc_m(f_im)
    minimise mean -ln sigmoid(x_ui - x_uj) + norms + the loss of TransR, which v is of, + the reconstruction of t and f

Each part is a setting and is left out if the data lacks it. Without graph, texts and vectors CKE is BPRMF. With the
graph alone it is RecBole's CKE. Departures: Item vectors replace pixels, and a denoising network of linear layers
replaces the convolutional one. An item's vector holds its code; the paper has a Gaussian around it. Terms are means
over their own rows, as in RecBole.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field, NonNegativeFloat, PositiveInt
from torch import Tensor, nn

from hrec.datasets.batches import Joint, Pairs, Triples
from hrec.datasets.queries import Queries
from hrec.datasets.recdata import TrainData
from hrec.datasets.samplers import Items, Jointly, Pairwise, Triplewise
from hrec.models.base import InnerProductModel, Reads
from hrec.models.layers.autoencoders import Activation, VectorAutoencoder, WideAutoencoder
from hrec.models.layers.bags import Cells, EmbeddingTable
from hrec.models.layers.content import ContentSettings, Scale, content, describe_all_items, text_columns
from hrec.models.layers.fold_in import best_by_pairs
from hrec.models.layers.item_vectors import VectorSettings, coverage, item_vectors, once_each
from hrec.models.layers.pairs import compared, items_of
from hrec.models.layers.transr import TransR
from hrec.models.losses import bpr
from hrec.settings import NegativeSettings, Settings


class GraphPart(Settings):
    """TransR over the triples of data.relations."""

    embedding_size: PositiveInt = 64
    """Width of a relation's space."""
    weight: NonNegativeFloat = 1.0
    """Weight of the loss of the triples."""
    reg_weight: NonNegativeFloat = 0.0
    """lambda of lambda / 2 times the squares of the mapped entities and the relation of a triple."""
    normalised: bool = True
    """Relations and mapped entities have length 1 in the loss, as in RecBole; the paper has none of it."""


class TextPart(ContentSettings):
    """The autoencoder of texts: columns of words, sparse vectors, lists and categories."""

    scale: Scale = "tfidf"
    """As in CDL (``ContentSettings.scale``)."""
    widths: tuple[PositiveInt, ...] = (200,)
    """Hidden layers between the input and the code."""
    activation: Activation = "sigmoid"
    """Of the hidden layers and the code."""
    weight: NonNegativeFloat = 1.0
    """Weight of the reconstruction, the squared error of an item."""


class VectorPart(VectorSettings):
    """The autoencoders of item vectors, one for each column."""

    hidden: PositiveInt = 512
    """Width of the hidden layer between the vector and the code."""
    weight: NonNegativeFloat = 1.0
    """Weight of the reconstruction, the squared error of an item."""


class CKE(InnerProductModel):
    """Score u . e_i."""

    class Config(Settings):
        """Settings of CKE."""

        embedding_size: PositiveInt = 64
        """Width of u, q, v and the codes."""
        graph: GraphPart | None = GraphPart()
        """The part of the knowledge graph; null: without it."""
        text: TextPart | None = TextPart()
        """The part of the texts; null: without it."""
        vectors: VectorPart | None = VectorPart()
        """The part of the item vectors; null: without it."""
        noise: Annotated[float, Field(ge=0, lt=1)] = 0.3
        """Share of an autoencoder's inputs that are set to 0 in training."""
        all_items: bool = False
        """Reconstruct items without a training row too; out-matrix prediction is not to know them."""
        reg_weight: NonNegativeFloat = 0.0
        """lambda of lambda / 2 (|u|^2 + |e_i|^2 + |e_j|^2), mean over the pairs."""
        negatives: NegativeSettings = NegativeSettings()
        """The negatives of a positive."""

    reads = Reads(user={"id"}, item={"id", "columns"})
    config: Config

    def __init__(self, config: Config, data: TrainData) -> None:
        super().__init__(config, data)
        size = config.embedding_size
        self.users, self.items = (
            EmbeddingTable(n, size, (2 / (n + size)) ** 0.5) for n in (data.n_users, data.n_items)
        )
        self.graph, self.text = _graph(config, data), _text(config, data)
        found = item_vectors(data, config.vectors, "model.vectors.columns") if config.vectors else []
        hidden, std = config.vectors.hidden if config.vectors else 1, (2 / (data.n_items + size)) ** 0.5
        self.vectors = nn.ModuleList(VectorAutoencoder(v, hidden, size, config.noise, std) for v in found)
        self.remarks += [*_parts(self), *coverage(found), *describe_all_items(data, config.all_items)]

    def sampler(self, data: TrainData) -> Jointly:
        items = Items(data, self.config.all_items) if self.text is not None or len(self.vectors) else None
        triples = None if self.graph is None else Triplewise(data, self.device)
        return Jointly(Pairwise(data, self.config.negatives, self.device), items, triples)

    def loss(self, batch: Joint) -> dict[str, Tensor]:
        """BPR of the pairs and their norms, the reconstructions of the items, TransR of the triples."""
        terms = self._of_pairs(batch.pairs)
        if batch.items is not None:
            terms |= _times(batch.weight(batch.items), self._reconstructions(batch.items.row))
        if batch.triples is not None:
            terms |= _times(batch.weight(batch.triples), self._of_triples(batch.triples))
        return terms

    def _of_pairs(self, batch: Pairs) -> dict[str, Tensor]:
        user = self.users.rows(batch.user)
        ahead, positive, counted = compared(user, self.item_vectors(items_of(batch)), batch)
        terms = {"bpr": bpr(ahead)}
        if self.config.reg_weight:
            norm = torch.stack([v.square().sum(1) for v in (user, positive, counted)]).sum(0)
            terms["norm"] = self.config.reg_weight / 2 * norm.mean()
        return terms

    def _reconstructions(self, item: Tensor) -> dict[str, Tensor]:
        terms = {}
        if self.text is not None and self.config.text is not None:
            terms["text"] = self.config.text.weight * self.text.loss(item)
        if len(self.vectors) and self.config.vectors is not None:
            missed = [part.loss(item) for part in self.vectors]  # type: ignore[operator]
            terms["vectors"] = self.config.vectors.weight * torch.stack(missed).sum()
        return terms

    def _of_triples(self, batch: Triples) -> dict[str, Tensor]:
        assert self.graph is not None and self.config.graph is not None
        wrong, norm = self.graph.loss(batch)
        terms = {"graph": self.config.graph.weight * wrong}
        if self.config.graph.reg_weight:
            terms["graph_norm"] = self.config.graph.reg_weight / 2 * norm
        return terms

    def user_vectors(self, user: Tensor) -> Tensor:
        """u"""
        return self.users.rows(user)

    def query_vectors(self, queries: Queries) -> Tensor:
        """An unknown user, or one with another history, has the vector that fits the history best, items fixed."""
        if queries.history is None:
            return self.user_vectors(queries.known())
        history = Cells(*queries.history.cells(positives=True))
        items = self.item_vectors(torch.arange(self.n_items, device=self.device))
        return best_by_pairs(history, items, self.users.weight)

    def item_vectors(self, item: Tensor) -> Tensor:
        """e_i"""
        vectors = self.items.rows(item)
        if self.graph is not None:
            vectors = vectors + self.graph(item)
        for part in (self.text, *self.vectors):
            if part is not None:
                vectors = vectors + once_each(part, item, self.n_items)
        return vectors


def _times(factor: float, terms: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: factor * term for name, term in terms.items()}


def _graph(config: CKE.Config, data: TrainData) -> TransR | None:
    part, relations = config.graph, data.relations
    if part is None or relations is None or not len(relations):
        return None
    return TransR(relations, config.embedding_size, part.embedding_size, part.normalised)


def _text(config: CKE.Config, data: TrainData) -> WideAutoencoder | None:
    part = config.text
    if part is None:
        return None
    found = text_columns(data)
    for name in part.columns or ():
        if any(name in table.columns for table in data.kinds.values()) and name not in found:
            raise ValueError(
                f"model.text.columns: column '{name}' holds no words. Columns of words: {', '.join(found)}"
            )
    part = part.model_copy(update={"columns": found if part.columns is None else part.columns})
    if not part.columns:
        return None
    wide = content(data, part, setting="model.text.columns")
    return WideAutoencoder(wide, (*part.widths, config.embedding_size), part.activation, config.noise)


def _parts(model: CKE) -> list[str]:
    """What to say of the parts."""
    there = {"a knowledge graph": model.graph is not None, "texts": model.text is not None}
    there["item vectors"] = len(model.vectors) > 0
    without = [name for name, has in there.items() if not has]
    return [f"trained without {', '.join(without)}"] if without else []
