"""CB2CF: a network that turns the content of an item into its collaborative vector. A reading of an abstract.

Barkan, Koenigstein, Yogev and Katz, CB2CF: A Neural Multiview Content-to-Collaborative Filtering Model for Completely
Cold Item Recommendations, RecSys 2019.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveInt
from torch import Tensor

from hrec.datasets.batches import ItemPairs, Rows
from hrec.datasets.recdata import TrainData
from hrec.datasets.samplers import Items
from hrec.models.base import Reads, Stage
from hrec.models.layers.item_vectors import VectorSettings, coverage, required_vectors
from hrec.models.layers.mlp import MLP
from hrec.models.layers.side_by_side import SideBySide
from hrec.models.layers.skip_gram import SkipGram, SkipGramSettings, skip_gram_pairs
from hrec.models.sequential._item_to_item import ItemToItem


class CB2CF(ItemToItem):
    """Score: the cosine of the vectors z = f(x) of two items (CB2CF-style).

    Only the abstract was available, so this is our reading of it, and tables call it "CB2CF-style". First, Item2Vec
    (Barkan and Koenigstein, 2016) learns a vector v of each item with a training row. Here, v has length 1. Then f, a
    perceptron of the item's vectors x, all columns as one, learns v. It minimises mean |f(x_i) - v_i|^2 over the items
    that have both. An item without content has z = v.
    """

    class Config(VectorSettings, SkipGramSettings):
        """Settings of CB2CF."""

        embedding_size: PositiveInt = 128
        """Width of the collaborative vectors."""
        hidden: tuple[PositiveInt, ...] = (256,)
        """Widths of the hidden layers of f."""
        dropout: float = Field(0.0, ge=0, lt=1)
        """Dropout before each layer of f."""
        cosine: bool = False
        """Minimise 1 - cos(f(x), v) instead of the squared error."""
        own_vectors: bool = False
        """z_i of an item with a training row is v_i, so that f serves new items alone."""

    reads = Reads(user={"sequence"}, item={"id", "columns"})
    stage_groups = ("pretrain", "train")
    config: Config
    mapped: Tensor
    learnt: Tensor

    def __init__(self, config: Config, data: TrainData) -> None:
        super().__init__(config, data)
        vectors = required_vectors(data, config, "CB2CF")
        self.remarks += coverage(vectors)
        self.content, seen = SideBySide(vectors), torch.from_numpy(data.has_rows())
        known = self.content.known
        self.register_buffer("mapped", known & ~seen if config.own_vectors else known, persistent=False)
        self.register_buffer("learnt", known & seen, persistent=False)
        self.item2vec = SkipGram(data, config.embedding_size)
        widths = (self.content.width, *config.hidden, config.embedding_size)
        self.network = MLP(widths, config.dropout)

    def stages(self, data: TrainData) -> Iterator[Stage]:
        """The collaborative vectors, then the network that learns them."""
        pairs, first = skip_gram_pairs(data, self.config, self.device), list(self.item2vec.parameters())
        yield Stage("item2vec", self._item2vec_loss, pairs, first, group="pretrain", measured=False)
        yield Stage("train", self.loss, Items(data), list(self.network.parameters()))

    def _item2vec_loss(self, batch: ItemPairs) -> dict[str, Tensor]:
        return {"item2vec": self.item2vec.loss(batch)}

    def loss(self, batch: Rows) -> dict[str, Tensor]:
        """Mean over the items of the batch that have content."""
        made, wanted = self.network(self.content.value[batch.row]), self.item2vec(batch.row).detach()
        missed = 1 - F.cosine_similarity(made, wanted, dim=1) if self.config.cosine else (made - wanted).square().sum(1)
        learnt = self.learnt[batch.row]
        return {"regression": (missed * learnt).sum() / learnt.sum().clamp(min=1)}

    def item_vectors(self, item: Tensor) -> Tensor:
        """z, of length 1"""
        own = self.item2vec(item)
        return F.normalize(torch.where(self.mapped[item][:, None], self.network(self.content.value[item]), own), dim=1)
