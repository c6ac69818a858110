"""UAE: users by what they listened to and items by their content, brought together by metric learning. A reading of an
abstract.

Chen et al., ICASSP 2021 (arXiv 2010.15389), reference 6 of UniEmbedding (CIKM 2024).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor, nn

from hrec.datasets.batches import Pairs
from hrec.datasets.histories import user_history
from hrec.datasets.queries import Queries
from hrec.datasets.recdata import TrainData
from hrec.datasets.samplers import Pairwise
from hrec.models.base import InnerProductModel, Reads
from hrec.models.layers.bags import EmbeddingTable
from hrec.models.layers.histories import HistoryLinear, HistorySettings
from hrec.models.layers.in_batch import in_batch
from hrec.models.layers.item_vectors import VectorSettings, coverage, required_vectors
from hrec.models.layers.mlp import MLP
from hrec.models.layers.side_by_side import SideBySide
from hrec.settings import NegativeSettings


class UAE(InnerProductModel):
    """score(u, i) = cos(g(H_u), f(x_i)) / tau (UAE-style).

    Only the abstract was available, so this is our reading of it, and tables call it "UAE-style". H_u is the mean
    of trained vectors of the items in the user's history. g is a perceptron of it. f is a perceptron of x, the
    item's vectors of all columns as one. The loss is the cross-entropy of a user's item among the items of the
    batch and its drawn negatives. Other rows of the same item or the same user are no negatives: their logit is
    -inf. In training, the item itself is left out of the history.
    """

    class Config(VectorSettings):
        """Settings of UAE."""

        embedding_size: PositiveInt = 128
        """Width of the space of users and items."""
        hidden: tuple[PositiveInt, ...] = (256,)
        """Widths of the hidden layers of f."""
        user_hidden: tuple[PositiveInt, ...] = ()
        """Widths of the hidden layers of g."""
        history: HistorySettings = HistorySettings(scale="mean", summary=False)
        """How H is read."""
        ids: bool = False
        """Each item has a trained vector, added to f."""
        temperature: PositiveFloat = 0.07
        """tau."""
        negatives: NegativeSettings = NegativeSettings(same_kind=False)
        """Drawn negatives of a positive; all of a pool count."""
        dropout: float = Field(0.0, ge=0, lt=1)
        """Dropout before each layer of f and g."""
        init_std: PositiveFloat = 0.02
        """Standard deviation of the first vectors of items."""

    reads = Reads(user={"cells"}, item={"id", "columns"})
    config: Config

    def __init__(self, config: Config, data: TrainData) -> None:
        super().__init__(config, data)
        vectors, width = required_vectors(data, config, "UAE"), config.embedding_size
        self.remarks += coverage(vectors)
        self.content = SideBySide(vectors)
        self.history = HistoryLinear(user_history(data), width, config.history)
        self.users = MLP((self.history.width, *config.user_hidden, width), config.dropout)
        self.items = MLP((self.content.width, *config.hidden, width), config.dropout)
        self.missing = nn.Parameter(torch.empty(width).normal_(std=config.init_std))
        self.table = EmbeddingTable(data.n_items, width, config.init_std) if config.ids else None

    def sampler(self, data: TrainData) -> Pairwise:
        return Pairwise(data, self.config.negatives, self.device)

    def loss(self, batch: Pairs) -> dict[str, Tensor]:
        leave_out = batch.positive if self.config.history.leave_target_out else None
        user = self._user(self.history(batch.user, leave_out))
        items = torch.cat([batch.positive, batch.negative.flatten()])
        positive, negative = self.item_vectors(items).split([len(batch), batch.negative.numel()])
        drawn = (negative.unflatten(0, batch.negative.shape) @ user[:, :, None]).squeeze(2)
        return {"contrast": in_batch(torch.cat([user @ positive.T, drawn], 1), batch.positive, batch.user)}

    def _user(self, history: Tensor) -> Tensor:
        return F.normalize(self.users(history), dim=1) / self.config.temperature

    def user_vectors(self, user: Tensor) -> Tensor:
        return self._user(self.history(user))

    def query_vectors(self, queries: Queries) -> Tensor:
        return self._user(self.history.of_queries(queries))

    def item_vectors(self, item: Tensor) -> Tensor:
        """f, of length 1; an item without content has a trained vector in its place"""
        x, known = self.content(item)
        made = torch.where(known, self.items(x), self.missing)
        return F.normalize(made if self.table is None else made + self.table.rows(item), dim=1)
