"""VBPR: matrix factorisation by pairs, with factors of what an item looks like.

He and McAuley, VBPR: Visual Bayesian Personalized Ranking from Implicit Feedback, AAAI 2016, Eq. 4 without the terms
that cancel from every pair:

    x_ui = b_i + p_u . q_i + t_u . (E f_i) + B . f_i,    minimise mean -ln sigmoid(x_ui - x_uj) + norms (Eq. 7)

f_i float[D] is the item's vector, E [k', D]. Several columns of vectors stand one behind the other in f, which is 0
where an item lacks one: it then has no visual part. Departures: the first weights are normal around 0, where the
authors' code has uniform positive ones; norms are a mean over pairs.
"""

from __future__ import annotations

import torch
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn

from hrec.datasets.batches import Pairs
from hrec.datasets.queries import Queries
from hrec.datasets.recdata import TrainData
from hrec.datasets.samplers import Pairwise
from hrec.models.base import InnerProductModel, Reads
from hrec.models.layers.bags import Cells, EmbeddingTable
from hrec.models.layers.fold_in import best_by_pairs
from hrec.models.layers.item_vectors import VectorSettings, coverage, once_each, required_vectors
from hrec.models.layers.pairs import compared, items_of
from hrec.models.losses import bpr
from hrec.settings import NegativeSettings


class VBPR(InnerProductModel):
    """Score [p_u, t_u, 1] . [q_i, E f_i, b_i + B . f_i]."""

    class Config(VectorSettings):
        """Settings of VBPR."""

        embedding_size: PositiveInt = 64
        """k, the width of p and q."""
        visual_size: PositiveInt = 64
        """k', the width of t and E f."""
        item_bias: bool = True
        """b_i."""
        visual_bias: bool = True
        """B, a weight of each number of f in the bias of an item."""
        reg_weight: NonNegativeFloat = 0.0
        """lambda of lambda / 2 |v|^2 for p, t, and the q and b of the positive, mean over the batch."""
        reg_negative: NonNegativeFloat | None = None
        """lambda of the q and b of the negative; null: reg_weight. The authors' code has a tenth of it."""
        reg_visual: NonNegativeFloat = 0.0
        """lambda of lambda / 2 (|E|^2 + |B|^2)."""
        negatives: NegativeSettings = NegativeSettings()
        """The negatives of a positive."""
        init_std: PositiveFloat | None = None
        """Standard deviation of the first weights; null: Xavier's sqrt(2 / (rows + width)) of each table."""

    reads = Reads(user={"id"}, item={"id", "columns"})
    config: Config

    def __init__(self, config: Config, data: TrainData) -> None:
        super().__init__(config, data)
        self.vectors = nn.ModuleList(required_vectors(data, config, "VBPR"))
        self.remarks += coverage(list(self.vectors))  # type: ignore[arg-type]
        width = sum(v.width for v in self.vectors)  # type: ignore[misc]
        self.users = EmbeddingTable(data.n_users, config.embedding_size, self._std(data.n_users, config.embedding_size))
        self.items = EmbeddingTable(data.n_items, config.embedding_size, self._std(data.n_items, config.embedding_size))
        self.tastes = EmbeddingTable(data.n_users, config.visual_size, self._std(data.n_users, config.visual_size))
        self.visual = nn.Parameter(torch.empty(width, config.visual_size))  # E transposed
        nn.init.normal_(self.visual, std=self._std(width, config.visual_size))
        self.bias = EmbeddingTable(data.n_items, 1, 0.0) if config.item_bias else None
        self.visual_bias = nn.Parameter(torch.zeros(width, 1)) if config.visual_bias else None

    def _std(self, rows: int, width: int) -> float:
        return self.config.init_std or (2 / (rows + width)) ** 0.5

    def sampler(self, data: TrainData) -> Pairwise:
        return Pairwise(data, self.config.negatives, self.device)

    def loss(self, batch: Pairs) -> dict[str, Tensor]:
        """BPR-Opt of the pairs, the mean of the norms of their own weights, and the norms of E and B."""
        user = self.user_vectors(batch.user)
        ahead, positive, counted = compared(user, self.item_vectors(items_of(batch)), batch)
        return {"bpr": bpr(ahead)} | self._norms(user, positive, counted)

    def _norms(self, user: Tensor, positive: Tensor, negative: Tensor) -> dict[str, Tensor]:
        """The terms whose lambda is not 0."""
        c, ids = self.config, self.config.embedding_size + self.config.item_bias  # q and b come first
        reg_negative = c.reg_weight if c.reg_negative is None else c.reg_negative
        of_user = user.square().sum(1) - (c.item_bias + c.visual_bias)  # without the ones
        of_pair = c.reg_weight * (of_user + positive[:, :ids].square().sum(1))
        of_pair = of_pair + reg_negative * negative[:, :ids].square().sum(1)
        terms = {"norm": of_pair.mean() / 2} if c.reg_weight or reg_negative else {}
        if c.reg_visual:
            weights = [self.visual] if self.visual_bias is None else [self.visual, self.visual_bias]
            terms["visual_norm"] = c.reg_visual / 2 * torch.stack([w.square().sum() for w in weights]).sum()
        return terms

    def user_vectors(self, user: Tensor) -> Tensor:
        """[p_u, 1, t_u, 1]; a 1 for each bias that there is"""
        return self._with_ones(self.users.rows(user), self.tastes.rows(user))

    def _with_ones(self, p: Tensor, t: Tensor) -> Tensor:
        one = torch.ones_like(p[:, :1])
        parts = [p, *[one] * self.config.item_bias, t, *[one] * self.config.visual_bias]
        return torch.cat(parts, 1)

    def query_vectors(self, queries: Queries) -> Tensor:
        """An unknown user, or one with another history, has the p and t that fit the history best, items fixed."""
        if queries.history is None:
            return self.user_vectors(queries.known())
        history = Cells(*queries.history.cells(positives=True))
        item = self.item_vectors(torch.arange(self.n_items, device=self.device))
        users = torch.cat([self.users.weight, self.tastes.weight], 1)
        ones = self._with_ones(torch.zeros_like(self.users.weight[:1]), torch.zeros_like(self.tastes.weight[:1]))[0] > 0
        best = best_by_pairs(history, item[:, ~ones], users, item[:, ones].sum(1))
        return self._with_ones(*best.split([self.config.embedding_size, self.config.visual_size], 1))

    def item_vectors(self, item: Tensor) -> Tensor:
        """[q_i, b_i, E f_i, B . f_i], without the biases that are off"""
        own = [self.items.rows(item)] if self.bias is None else [self.items.rows(item), self.bias.rows(item)]
        return torch.cat([*own, self._visual(item)], 1)

    def _visual(self, item: Tensor) -> Tensor:
        """[E f_i, B . f_i]"""
        weight = self.visual if self.visual_bias is None else torch.cat([self.visual, self.visual_bias], 1)
        return once_each(lambda some: torch.cat([v(some) for v in self.vectors], 1) @ weight, item, self.n_items)
