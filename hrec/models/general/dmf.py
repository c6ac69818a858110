"""DMF (DeepMF): two towers over the rows and columns of the interaction matrix.

Xue et al., Deep Matrix Factorization Models for Recommender Systems, IJCAI 2017; hyper-parameters of DURation's
Table 6. As there, the score is an inner product trained with binary cross-entropy; the 2017 paper has a cosine and a
normalised cross-entropy over ratings.
"""

from __future__ import annotations

from torch import Tensor

from hrec.datasets.batches import Points
from hrec.datasets.histories import item_history, user_history
from hrec.datasets.queries import Queries
from hrec.datasets.recdata import TrainData
from hrec.datasets.samplers import Pointwise
from hrec.models.base import InnerProductModel, Needs, Reads
from hrec.models.layers.histories import HistoryLinear
from hrec.models.layers.towers import Tower, TwoTowerSettings
from hrec.models.losses import bce


class DMF(InnerProductModel):
    """u = MLP(Y_u), x = MLP(Y_i), score <u, x>; Y holds all kinds, or the one kind that the data is cut down to."""

    class Config(TwoTowerSettings):
        """Settings of DMF: those of every two-tower model on histories."""

    reads = Reads(user={"cells"}, item={"cells"})
    needs = Needs(labels=True)
    config: Config

    def __init__(self, config: Config, data: TrainData) -> None:
        super().__init__(config, data)
        self.users = HistoryLinear(user_history(data), config.user_emb_size, config.history)
        self.items = HistoryLinear(item_history(data), config.item_emb_size, config.history)
        self.user_tower = Tower(self.users.width, config.user_hidden_size_list, config)
        self.item_tower = Tower(self.items.width, config.item_hidden_size_list, config)

    def sampler(self, data: TrainData) -> Pointwise:
        return Pointwise(data)

    def loss(self, batch: Points) -> dict[str, Tensor]:
        """Binary cross-entropy of the pairs; each pair's own cell may be left out of both of its histories."""
        out = self.config.history.leave_target_out
        user = self.user_vectors(batch.user, leave_out=batch.item if out else None)
        item = self.item_vectors(batch.item, leave_out=batch.user if out else None)
        return {"bce": bce((user * item).sum(1), batch.label)}

    def user_vectors(self, user: Tensor, leave_out: Tensor | None = None) -> Tensor:
        return self.user_tower.as_left(self.users(user, leave_out))

    def query_vectors(self, queries: Queries) -> Tensor:
        return self.user_tower.as_left(self.users.of_queries(queries))

    def item_vectors(self, item: Tensor, leave_out: Tensor | None = None) -> Tensor:
        return self.item_tower.as_right(self.items(item, leave_out))
