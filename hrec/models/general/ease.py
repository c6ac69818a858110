"""EASE: a linear model from the items that a user likes to all items, in closed form.

Steck, Embarrassingly Shallow Autoencoders for Sparse Data, WWW 2019, section 3.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn

from hrec.datasets.histories import positive_history
from hrec.datasets.queries import Queries
from hrec.datasets.recdata import TrainData
from hrec.memory import require_memory
from hrec.models.base import BaseModel, Ranker, Reads, Stage
from hrec.models.layers.bags import RaggedRows
from hrec.models.layers.cooccurrence import cooccurrences
from hrec.settings import Settings

COPIES = 3
"""Matrices of n_items^2 float32 that live at once: B, the Gram matrix, and what its factorisation works on."""


class EASE(BaseModel):
    """Score X_u . B_i over the items X_u that the user likes (Eq. 1), B of |X - X B|^2 + l2 |B|^2 with diag(B) = 0.

    B_ij = -P_ij / P_jj off the diagonal, P = (X^T X + l2 I)^-1 (Eq. 7 and 8).
    """

    class Config(Settings):
        """Settings of EASE."""

        l2: PositiveFloat = 250.0
        """lambda of Eq. 2; the more rows, the larger."""
        memory_mb: PositiveInt = 4096
        """Refuse data whose items need more than this: three matrices of items by items."""

    stage_groups = ("solve",)
    reads = Reads(user={"history"}, item={"id"})
    one_epoch = True
    config: Config

    def __init__(self, config: Config, data: TrainData) -> None:
        super().__init__(config, data)
        needed = COPIES * 4 * data.n_items**2
        if needed > config.memory_mb * 10**6:
            raise ValueError(
                f"EASE compares every item with every other: {data.n_items:,} items need {needed / 1e6:,.0f} MB, and "
                f"model.memory_mb allows {config.memory_mb:,}. Raise it if there is that much memory, or use ItemKNN"
            )
        what = f"three matrices of {data.n_items:,} items by as many"
        require_memory(needed, f"model.memory_mb={config.memory_mb:,}", what)
        self.history = positive_history(data)
        self.rows = RaggedRows.of(self.history)
        self.weight = nn.Parameter(torch.zeros(data.n_items, data.n_items))

    def stages(self, data: TrainData) -> Iterator[Stage]:
        """One sweep: it is solved."""
        yield Stage("solve", solve=self.solve, group="solve")

    @torch.no_grad()
    def solve(self) -> float:
        """Set B; returns the mean over users of |X_u - X_u B|^2, without the penalty.

        With G = X^T X + l2 I and P = G^-1, X^T X = G - l2 I and I - B = P D for D = diag(1 / P_jj), so the sum over
        users is tr(D P (G - l2 I) P D) = sum_j D_jj^2 (P_jj - l2 |P_j|^2): no further matrix is needed.
        """
        gram = torch.empty_like(self.weight)
        for here, counts in cooccurrences(self.history):
            gram[here] = torch.from_numpy(counts.toarray()).to(gram.device)
        gram.diagonal().add_(self.config.l2)
        rounding = 4 * torch.finfo(gram.dtype).eps * float(gram.diagonal().max())
        failed = torch.empty((), dtype=torch.int32, device=gram.device)
        torch.linalg.cholesky_ex(gram, out=(gram, failed))
        # the square of a pivot is l2 at least; below what was rounded off it is none
        if int(failed) or float(gram.diagonal().min()) ** 2 <= rounding:
            raise self._unsolved("the co-occurrence counts of items are too near to singular for float32")
        inverse = torch.cholesky_inverse(gram, out=self.weight.data)
        diagonal = inverse.diagonal().clone()
        squares = torch.linalg.vector_norm(inverse, dim=0).square()
        lost = ((diagonal - self.config.l2 * squares) / diagonal.square()).double().sum()
        inverse.div_(-diagonal)
        inverse.fill_diagonal_(0.0)
        if not bool(torch.isfinite(lost)):
            raise self._unsolved("the solution leaves the range of float32")
        return float(lost.clamp(min=0)) / max(len(self.history), 1)

    def _unsolved(self, why: str) -> FloatingPointError:
        return FloatingPointError(
            f"model.l2={self.config.l2:g} cannot be worked with: {why}; give another, such as 250"
        )

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        positive = self.rows(user)
        pair = positive.owner
        return self.weight.new_zeros(len(user)).index_add(0, pair, self.weight[positive.column.long(), item[pair]])

    def ranker(self) -> Ranker:
        def scores_of_all(queries: Queries) -> Tensor:
            positive = self.rows.of_queries(queries, positives=True)
            return F.embedding_bag(positive.column, self.weight, positive.start.to(positive.column.dtype), mode="sum")

        return scores_of_all
