"""WMF: matrix factorisation of all cells, positives with more weight, solved exactly in turns.

Hu, Koren and Volinsky, Collaborative Filtering for Implicit Feedback Datasets, ICDM 2008, with the two weights of Xiong
et al., Collaborative Deep Embedding via Dual Networks, 2017 (DualNet), Eq. 1, where WMF is a baseline. As a setting,
norms that weigh by frequency: Rendle, Krichene, Zhang and Koren, Revisiting the Performance of iALS on Item
Recommendation Benchmarks, RecSys 2022.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor

from hrec.datasets.histories import positive_history, transposed
from hrec.datasets.queries import Queries
from hrec.datasets.recdata import TrainData
from hrec.models.base import InnerProductModel, Reads, Stage
from hrec.models.layers.bags import Cells, EmbeddingTable, RaggedRows
from hrec.models.layers.least_squares import best_rows, cost_of_all
from hrec.settings import CellWeights


class WMF(InnerProductModel):
    """Score u_i . v_j of the U and V that minimise DualNet's Eq. 1:

    sum_ij c_ij (R_ij - u_i . v_j)^2 + l_u |U|^2 + l_v |V|^2, c_ij = a where R_ij = 1 and b where it is 0.

    One sweep solves for all items, then for all users (Eq. 2), in this order so that each user's vector is the best
    for the items in their final state, for a new user too. Who has no row in the training part gets the vector 0.
    """

    class Config(CellWeights):
        """Settings of WMF."""

        embedding_size: PositiveInt = 64
        """Width of the vectors; DualNet's tables have 300 and 450."""
        l_u: PositiveFloat = 1.0
        """Weight of the squared norms of the users' vectors."""
        l_v: PositiveFloat = 1.0
        """The same of the items."""
        l_exponent: NonNegativeFloat = 0.0
        """Row i's norm has the weight l (c_i / c)^l_exponent. c_i is the sum of the weights of its cells, c the mean of
        c_i over rows with a positive. 0 in Hu et al.; 1 weighs a norm as its row's cells (Rendle et al.)."""
        cg_steps: PositiveInt | None = None
        """null: Cholesky, exact; else so many steps of conjugate gradients for each vector in each sweep. Users
        unknown to training are solved exactly either way."""
        init_std: PositiveFloat = 0.01
        """Standard deviation of the first vectors; only those of the users count where the solution is exact."""

    stage_groups = ("solve",)
    reads = Reads(user={"id"}, item={"id"})
    config: Config
    mean_weight: Tensor

    def __init__(self, config: Config, data: TrainData) -> None:
        super().__init__(config, data)
        positive = positive_history(data)
        self.of_user, self.of_item = RaggedRows.of(positive), RaggedRows.of(transposed(positive))
        self.users = EmbeddingTable(data.n_users, config.embedding_size, config.init_std)
        self.items = EmbeddingTable(data.n_items, config.embedding_size, config.init_std)
        if config.l_exponent:  # saved, as the mean of new users is another
            of_both = (self._weights(self.of_user, data.n_items), self._weights(self.of_item, data.n_users))
            self.register_buffer("mean_weight", torch.stack([weight.nanmean() for weight in of_both]))

    def stages(self, data: TrainData) -> Iterator[Stage]:
        """One; each of its epochs is a sweep."""
        yield Stage("solve", solve=self.solve, group="solve")

    def solve(self) -> float:
        """One sweep; the objective after it."""
        self.solve_items()
        self.solve_users()
        return self.objective()

    def solve_users(self) -> None:
        """The best U for fixed V, or a U nearer to it."""
        self._solve_users(self.config.cg_steps)

    @torch.no_grad()
    def _solve_users(self, cg_steps: int | None) -> None:
        c, u, v = self.config, self.users.weight, self.items.weight
        u.copy_(best_rows(self.of_user, v, (c.a, c.b), self._l_of_users(), start=u, cg_steps=cg_steps))

    @torch.no_grad()
    def solve_items(self) -> None:
        """The best V for fixed U, or a V nearer to it."""
        c, u, v = self.config, self.users.weight, self.items.weight
        v.copy_(best_rows(self.of_item, u, (c.a, c.b), self._l_of_items(), start=v, cg_steps=c.cg_steps))

    @torch.no_grad()
    def objective(self) -> float:
        """Eq. 1, over all cells."""
        c, u, v = self.config, self.users.weight, self.items.weight
        squared = [torch.linalg.vector_norm(w, dim=1, dtype=torch.float64).square() for w in (u, v)]
        norms = (self._l_of_users() * squared[0]).sum() + (self._l_of_items() * squared[1]).sum()
        return cost_of_all(self.of_user, u, v, (c.a, c.b)) + float(norms)

    def _l_of_users(self) -> float | Tensor:
        return self.config.l_u * self._relative(self.of_user, self.n_items, 0)

    def _l_of_items(self) -> float | Tensor:
        return self.config.l_v * self._relative(self.of_item, len(self.users.weight), 1)

    def _relative(self, rows: RaggedRows, columns: int, side: int) -> float | Tensor:
        """(c_i / c)^l_exponent of the rows, 1 of those without a cell: float64[rows], or 1.0 where all are 1."""
        if not self.config.l_exponent:
            return 1.0
        weight = self._weights(rows, columns) / self.mean_weight[side]
        return weight.nan_to_num(1.0).pow(self.config.l_exponent)

    def _weights(self, rows: RaggedRows, columns: int) -> Tensor:
        """c_i, the sum of the weights of a row's cells, those that are 0 too; NaN of a row without a cell: float64."""
        c, cells = self.config, torch.diff(rows.offset).double()
        return torch.where(cells > 0, c.a * cells + c.b * (columns - cells), torch.nan)

    def user_vectors(self, user: Tensor) -> Tensor:
        """u_i"""
        return self.users.rows(user)

    def query_vectors(self, queries: Queries) -> Tensor:
        """A history is solved exactly (Eq. 2), V fixed."""
        if queries.history is None:
            return self.user_vectors(queries.known())
        c, rows = self.config, RaggedRows.of_cells(Cells(*queries.history.cells(positives=True)))
        l2 = c.l_u * self._relative(rows, self.n_items, 0)
        return best_rows(rows, self.items.weight, (c.a, c.b), l2)

    def item_vectors(self, item: Tensor) -> Tensor:
        """v_j"""
        return self.items.rows(item)
