"""WMF: matrix factorisation of all cells, those that are liked with more weight, solved exactly in turns.

Hu, Koren and Volinsky, Collaborative Filtering for Implicit Feedback Datasets, ICDM 2008, with the two weights of Xiong
et al., Collaborative Deep Embedding via Dual Networks, 2017 (DualNet), Eq. 1, where WMF is a baseline.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor

from hrec.datasets.histories import liked_history, transposed
from hrec.datasets.recdata import RecData
from hrec.models.base import InnerProductModel, Stage
from hrec.models.layers.bags import RaggedRows, Table
from hrec.models.layers.least_squares import best_rows, cost_of_all
from hrec.settings import CellWeights


class WMF(InnerProductModel):
    """Score u_i . v_j of the U and V that minimise DualNet's Eq. 1:

    sum_ij c_ij (R_ij - u_i . v_j)^2 + l_u |U|^2 + l_v |V|^2, c_ij = a where R_ij = 1 and b where it is 0.

    One sweep solves for all items, then for all users (Eq. 2), in this order so that each user's vector is the best
    beside the items as they are left, for a new user too. Who has no row in the training part gets the vector 0.
    """

    class Config(CellWeights):
        """Settings of WMF."""

        embedding_size: PositiveInt = 64
        """Width of the vectors; DualNet's tables have 300 and 450."""
        l_u: PositiveFloat = 1.0
        """Weight of the squared norms of the users' vectors."""
        l_v: PositiveFloat = 1.0
        """The same of the items."""
        cg_steps: PositiveInt | None = None
        """null: Cholesky, exact; else so many steps of conjugate gradients for each vector in each sweep."""
        init_std: PositiveFloat = 0.01
        """Standard deviation of the first vectors; only those of the users count where the solution is exact."""

    stage_groups = ("solve",)
    reads_columns = False
    config: Config

    def __init__(self, config: Config, data: RecData) -> None:
        super().__init__(config, data)
        liked = liked_history(data)
        self.of_user, self.of_item = RaggedRows.of(liked), RaggedRows.of(transposed(liked))
        self.users = Table(data.n_users, config.embedding_size, config.init_std)
        self.items = Table(data.n_items, config.embedding_size, config.init_std)

    def stages(self, data: RecData) -> Iterator[Stage]:
        """One; each of its epochs is a sweep."""
        yield Stage("solve", data, solve=self.solve, group="solve")

    def solve(self) -> float:
        """One sweep; the objective after it."""
        self.solve_items()
        self.solve_users()
        return self.objective()

    def fold_in(self) -> None:
        self.users.weight.data.zero_()  # where conjugate gradients begin
        self.solve_users()

    @torch.no_grad()
    def solve_users(self) -> None:
        """The best U beside V."""
        c, u, v = self.config, self.users.weight, self.items.weight
        u.copy_(best_rows(self.of_user, v, (c.a, c.b), c.l_u, start=u, cg_steps=c.cg_steps))

    @torch.no_grad()
    def solve_items(self) -> None:
        """The best V beside U."""
        c, u, v = self.config, self.users.weight, self.items.weight
        v.copy_(best_rows(self.of_item, u, (c.a, c.b), c.l_v, start=v, cg_steps=c.cg_steps))

    @torch.no_grad()
    def objective(self) -> float:
        """Eq. 1, over all cells."""
        c, u, v = self.config, self.users.weight, self.items.weight
        size = [float(torch.linalg.vector_norm(w, dtype=torch.float64)) ** 2 for w in (u, v)]
        return cost_of_all(self.of_user, u, v, (c.a, c.b)) + c.l_u * size[0] + c.l_v * size[1]

    def user_vectors(self, user: Tensor) -> Tensor:
        """u_i"""
        return self.users.rows(user)

    def item_vectors(self, item: Tensor) -> Tensor:
        """v_j"""
        return self.items.rows(item)
