"""Item2Vec: skip-gram with negative sampling on the items of a user, as word2vec on the words of a sentence.

Barkan and Koenigstein, Item2Vec: Neural Item Embedding for Collaborative Filtering, MLSP 2016, section 3. Departures:
an anchor is paired with one positive of its window per epoch, each as likely, where the paper takes all pairs of a set;
negatives are items that the user has no training row with.
"""

from __future__ import annotations

from pydantic import PositiveInt
from torch import Tensor

from hrec.datasets.batches import ItemPairs
from hrec.datasets.recdata import TrainData
from hrec.datasets.sequence_samplers import WithinSequence
from hrec.models.layers.skip_gram import SkipGram, SkipGramSettings, skip_gram_pairs
from hrec.models.sequential._item_to_item import ItemToItem


class Item2Vec(ItemToItem):
    """Score: the cosine of the input vectors of two items; 0 for an item without a training row."""

    class Config(SkipGramSettings):
        """Settings of Item2Vec."""

        embedding_size: PositiveInt = 128
        """Width of the vectors."""

    config: Config

    def __init__(self, config: Config, data: TrainData) -> None:
        super().__init__(config, data)
        self.skip_gram = SkipGram(data, config.embedding_size)

    def sampler(self, data: TrainData) -> WithinSequence:
        return skip_gram_pairs(data, self.config, self.device)

    def loss(self, batch: ItemPairs) -> dict[str, Tensor]:
        return {"skip_gram": self.skip_gram.loss(batch)}

    def item_vectors(self, item: Tensor) -> Tensor:
        """Of length 1, or zeros."""
        return self.skip_gram(item)
