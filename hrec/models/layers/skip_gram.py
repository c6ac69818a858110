"""Skip-gram with negative sampling on pairs of items of one sequence: Item2Vec's vectors."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn

from hrec.datasets.batches import ItemPairs
from hrec.datasets.recdata import TrainData
from hrec.datasets.samplers import positive_rows
from hrec.datasets.sequence_samplers import WithinSequence
from hrec.models.layers.bags import EmbeddingTable
from hrec.settings import NegativeSettings, Settings


class SkipGramSettings(Settings):
    """Which pairs of items a skip-gram learns from."""

    window: PositiveInt | None = None
    """A positive is at most so many entries before or after its anchor; null: any entry of the sequence, as Item2Vec's
    sets."""
    across_kinds: bool = True
    """Pair items of different kinds too."""
    subsample: PositiveFloat | None = 1e-3
    """rho: an entry of an item with a share f of all entries is kept with the chance sqrt(rho / f) in each epoch; null:
    all are kept."""
    negatives: NegativeSettings = NegativeSettings(popularity=0.75, pool=5, same_kind=False)
    """The negatives of a pair. All of a pool count."""


class SkipGram(nn.Module):
    """-log s(u_a . v_p) - sum_n log s(-u_a . v_n) of an anchor a, its positive p and drawn n, s the logistic function.

    u and v are two vectors of each item. As in word2vec, u begins with numbers of deviation 1 / (d sqrt(12)), and v
    with 0.
    """

    known: Tensor

    def __init__(self, data: TrainData, size: int) -> None:
        super().__init__()
        self.inputs = EmbeddingTable(data.n_items, size, 12**-0.5 / size)
        self.outputs = EmbeddingTable(data.n_items, size, 0.0)
        self.register_buffer("known", torch.from_numpy(_counts(data) > 0), persistent=False)

    def loss(self, batch: ItemPairs) -> Tensor:
        """Mean over the pairs."""
        assert batch.negative is not None
        other = torch.cat([batch.positive[:, None], batch.negative], 1)
        u = self.inputs.rows(batch.anchor)
        v = self.outputs.rows(other.flatten()).unflatten(0, other.shape)
        logit = (v @ u[:, :, None]).squeeze(2)
        return (F.softplus(-logit[:, 0]) + F.softplus(logit[:, 1:]).sum(1)).mean()

    def forward(self, item: Tensor) -> Tensor:
        """u of length 1, or zeros for an item without a positive training row; int64[B] -> float[B, d]."""
        return F.normalize(self.inputs.rows(item), dim=1) * self.known[item][:, None]


def skip_gram_pairs(data: TrainData, settings: SkipGramSettings, device: torch.device) -> WithinSequence:
    """The pairs that ``settings`` names, with frequent items subsampled."""
    keep = None if settings.subsample is None else kept(_counts(data), settings.subsample)
    return WithinSequence(data, device, settings.window, settings.across_kinds, settings.negatives, keep)


def kept(count: np.ndarray, rho: float) -> np.ndarray:
    """float64: min(1, sqrt(rho / f)), f the share of each item in all entries (Item2Vec, section 3)."""
    share = count / max(count.sum(), 1)
    return np.sqrt(np.minimum(rho / np.maximum(share, 1e-300), 1))


def _counts(data: TrainData) -> np.ndarray:
    """int64[n_items]: positive rows of each item."""
    return np.bincount(data.interactions.item[positive_rows(data)], minlength=data.n_items)
