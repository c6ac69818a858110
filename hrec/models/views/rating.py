"""The view of ratings: two ELU layers predict the rating from r_u * r_v (JRL, section 3.4, Eq. 5-6).

    r^ = ELU(U_2 ELU(U_1 (r_u * r_v) + c_1) + c_2),  L_3 = sum over R of (r^ - r)^2,  u_3 = r_u, v_3 = r_v

U_1 is [K, K], as the paper does not give its rows; c_2 begins at the mean rating. A user or item without a positive
training row has the vector 0.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hrec.datasets.batches import Pairs
from hrec.datasets.recdata import TrainData
from hrec.models.views.view import Shared, View, ViewSettings, masked, occurring, positives, required_row


class RatingView(View):
    """View V_3."""

    Config = ViewSettings
    rating: Tensor
    has_user: Tensor
    has_item: Tensor

    def __init__(self, name: str, config: ViewSettings, data: TrainData, shared: Shared) -> None:
        super().__init__(name, config, data, shared)
        if data.interactions.rating is None:
            raise ValueError(
                f"model.views.{name} needs ratings: name the column in data.RATING_FIELD, or leave the view out"
            )
        row, user, item = positives(data)
        rating = np.asarray(data.interactions.rating, np.float32)
        self.register_buffer("rating", torch.from_numpy(rating.copy()), persistent=False)
        self.register_buffer("has_user", occurring(user, data.n_users), persistent=False)
        self.register_buffer("has_item", occurring(item, data.n_items), persistent=False)
        self.users, self.items = shared.table(data.n_users), shared.table(data.n_items)
        self.hidden, self.out = nn.Linear(shared.size, shared.size), nn.Linear(shared.size, 1)
        known = rating[row][np.isfinite(rating[row])]
        nn.init.constant_(self.out.bias, float(known.mean()) if len(known) else 0.0)

    @classmethod
    def found_in(cls, data: TrainData) -> dict[str, ViewSettings]:
        return {} if data.interactions.rating is None else {"rating": ViewSettings()}

    def user_vectors(self, user: Tensor) -> Tensor:
        return masked(self.users.rows(user), self.has_user[user])

    def item_vectors(self, item: Tensor) -> Tensor:
        return masked(self.items.rows(item), self.has_item[item])

    def own_loss(self, batch: Pairs) -> Tensor:
        rating = self.rating[required_row(batch)]
        there = torch.isfinite(rating)
        miss = self.predicted(batch.user[there], batch.positive[there]) - rating[there]
        return miss.square().sum() / len(batch)

    def predicted(self, user: Tensor, item: Tensor) -> Tensor:
        """r^, int64[B] both -> float[B]"""
        inner = F.elu(self.hidden(self.users.rows(user) * self.items.rows(item)))
        return F.elu(self.out(inner)).squeeze(1)
