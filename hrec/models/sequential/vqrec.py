"""VQRec: the vector of a text becomes a few discrete codes, and an item the mean of the trained vectors of its codes.

Hou, He, McAuley and Zhao, Learning Vector-Quantized Item Representation for Transferable Sequential Recommenders, WWW
2023 (VQ-Rec).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from pydantic import Field, NonNegativeInt, PositiveInt
from torch import Tensor, nn

from hrec.datasets.recdata import TrainData
from hrec.models.layers.bags import EmbeddingTable
from hrec.models.layers.item_vectors import ItemVectors
from hrec.models.layers.kmeans import product_codes
from hrec.models.layers.rows import Rows, declare_rows
from hrec.models.layers.side_by_side import SideBySide
from hrec.models.sequential._vectors import VectorSequenceSettings, VectorSequential


class VQRec(VectorSequential):
    """f(x) = mean over the parts p of E_p[c_p(x)], c the codes of x by product quantisation (Eq. 2-4).

    The codes are computed once, from the vectors of items with training rows, and saved with the weights. The authors
    use faiss. Here, k-means and rotation are our own, so that codes do not depend on what is installed. loss "ce" is
    training from scratch. "in_batch" is the pretraining (Eq. 7), where a copy of the target with other codes is a
    negative too.

    Departures. As in UniSRec, the same target has the logit -inf. Items without a vector share one more code of each
    part. ``ids`` is not in the paper. The permutation of the tables that the paper learns for a new domain is not here.
    """

    class Config(VectorSequenceSettings):
        """Settings of VQRec."""

        parts: PositiveInt = 32
        """D, codes of an item."""
        codes: PositiveInt = 256
        """M, values of a code."""
        rotations: NonNegativeInt = 3
        """Rounds that look for a rotation before the vectors are cut (OPQ); 0: cut as they are (PQ)."""
        code_seed: NonNegativeInt = 0
        """Seed of the clusters."""
        replaced: float = Field(0.75, ge=0, le=1)
        """Chance that a code of the copy of a target is another one, for the loss in_batch; 0: no copies."""

    config: Config

    def content(self, vectors: list[ItemVectors], data: TrainData) -> nn.Module:
        x, c = SideBySide(vectors), self.config
        learn = x.known & torch.from_numpy(data.has_rows())
        learn = learn if bool(learn.any()) else x.known
        codes = product_codes(x.value, learn, c.parts, c.codes, c.rotations, c.code_seed)
        return CodeVectors(torch.where(x.known[:, None], codes, c.codes), c)

    def logits(self, state: Tensor, target: Tensor) -> Tensor:
        """With one column more, that of the copy of each row's own target: float[B, B + 1]"""
        logit = super().logits(state, target)
        if not self.config.replaced:
            return logit
        made = self.of_vectors.with_other_codes(target, self.config.replaced)  # type: ignore[operator]
        own = (state * F.normalize(made, dim=1)).sum(1) / self.config.temperature
        return torch.cat([logit, own[:, None]], 1)


class CodeVectors(nn.Module):
    """item int64[B] -> float[B, d]; codes int64[n_items, parts], the last value for items without a vector."""

    codes: Tensor

    def __init__(self, codes: Tensor, config: VQRec.Config) -> None:
        super().__init__()
        self.register_buffer("codes", codes)
        self.parts, self.values = config.parts, config.codes + 1
        self.table = EmbeddingTable(self.parts * self.values, config.embedding_size, config.init_std)
        declare_rows(self.table.weight, [Rows("code", self.parts * self.values)])

    def forward(self, item: Tensor) -> Tensor:
        return self._mean(self.codes[item])

    def with_other_codes(self, item: Tensor, chance: float) -> Tensor:
        """The vectors of copies of which each code is, with this chance, a random one."""
        code = self.codes[item]
        other = torch.randint(self.values - 1, code.shape, device=code.device)
        return self._mean(torch.where(torch.rand(code.shape, device=code.device) < chance, other, code))

    def _mean(self, code: Tensor) -> Tensor:
        row = code + self.values * torch.arange(self.parts, device=code.device)
        start = torch.arange(len(row), device=code.device) * self.parts
        value = torch.full((row.numel(),), 1 / self.parts, device=code.device, dtype=self.table.weight.dtype)
        return self.table.bags(row.flatten(), start, value)
