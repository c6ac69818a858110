"""UniSRec: a mixture of whitening maps brings the vectors of texts into the space of a sequence model.

Hou, Mu, Zhao, Li, Ding and Wen, Towards Universal Sequence Representation Learning for Recommender Systems, KDD 2022.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from pydantic import Field, NonNegativeFloat, PositiveInt
from torch import Tensor, nn

from hrec.datasets.recdata import TrainData
from hrec.datasets.sequences import SequenceBatch
from hrec.models.layers.in_batch import in_batch
from hrec.models.layers.item_vectors import ItemVectors
from hrec.models.layers.side_by_side import SideBySide
from hrec.models.sequential._vectors import VectorSequenceSettings, VectorSequential, drawn_position


class UniSRec(VectorSequential):
    """f(x) = sum_k g_k (x - b_k) W_k, g = softmax(x W_1 + noise softplus(x W_2)) (Eq. 1-4); with ``ids`` plus id_i.

    loss "ce" is training from scratch or fine-tuning (Eq. 12-13) of all weights. "in_batch" is pretraining (Eq. 8 and
    10). It sets a sequence against the targets of the batch. With the weight seq_weight it also sets it against copies
    of the sequences of which items were left out. A run with model.init_from continues from the weights of another.

    Departures. Other rows of a batch with the same target have the logit -inf, where the released code has 0. The
    blocks are SASRec's, which normalise their inputs and not their outputs. The copies leave out items, never
    words, as the model has vectors and no texts. An item without a vector has a trained one in place of f. Several
    columns of vectors are one x.
    """

    class Config(VectorSequenceSettings):
        """Settings of UniSRec."""

        experts: PositiveInt = 8
        """Whitening maps in the mixture."""
        adapter_dropout: float = Field(0.2, ge=0, lt=1)
        """Dropout of x before each map."""
        gate_noise: NonNegativeFloat = 1.0
        """Size of the noise of the gate in training, a factor of the trained one; 0: none."""
        seq_weight: NonNegativeFloat = 1e-3
        """lambda, the weight of the contrast of sequences with their copies, for the loss in_batch."""
        left_out: float = Field(0.2, ge=0, lt=1)
        """Chance that an entry is left out of a copy."""

    config: Config

    def content(self, vectors: list[ItemVectors], data: TrainData) -> nn.Module:
        return Mixture(vectors, self.config)

    def contrasts(self, batch: SequenceBatch) -> dict[str, Tensor]:
        """Both at the same drawn position of each sequence."""
        at, read = drawn_position(batch), self._read(batch)
        state, target = self.states(read, batch.mask)[at], self._target(batch, at)
        terms = {"seq_item": in_batch(self.logits(state, target), target)}
        if self.config.seq_weight:
            copy = self.states(read, self._left_out(batch, at))[at]
            terms["seq_seq"] = self.config.seq_weight * in_batch(state @ copy.T / self.config.temperature, target)
        return terms

    def _left_out(self, batch: SequenceBatch, at: tuple[Tensor, Tensor]) -> Tensor:
        """The mask without some of the entries; the drawn position stays."""
        kept = torch.rand(batch.mask.shape, device=batch.mask.device) >= self.config.left_out
        kept[at] = True
        return batch.mask & kept


class Mixture(nn.Module):
    """The mixture of whitening maps (Eq. 1-4); item int64[B] -> float[B, d]."""

    def __init__(self, vectors: list[ItemVectors], config: UniSRec.Config) -> None:
        super().__init__()
        self.vectors = SideBySide(vectors)
        width, experts, size = self.vectors.width, config.experts, config.embedding_size
        self.shift = nn.ParameterList(nn.Parameter(torch.zeros(width)) for _ in range(experts))  # b
        self.maps = nn.ModuleList(nn.Linear(width, size, bias=False) for _ in range(experts))  # W
        for linear in self.maps:
            nn.init.normal_(linear.weight, std=0.02)  # type: ignore[arg-type]
        self.gate = zeros(width, experts)
        self.gate_noise = zeros(width, experts) if config.gate_noise else None
        self.missing = nn.Parameter(torch.empty(size).normal_(std=config.init_std))
        self.noise, self.dropout = config.gate_noise, config.adapter_dropout

    def forward(self, item: Tensor) -> Tensor:
        x, known = self.vectors(item)
        share = self._shares(x)
        pairs = zip(self.shift, self.maps, share.unbind(1), strict=True)
        mapped = [g[:, None] * linear(F.dropout(x, self.dropout, self.training) - b) for b, linear, g in pairs]
        return torch.where(known, torch.stack(mapped).sum(0), self.missing)

    def _shares(self, x: Tensor) -> Tensor:
        """g, float[B, experts]"""
        logit = self.gate(x)
        if self.gate_noise is not None and self.training:
            logit = logit + self.noise * torch.randn_like(logit) * (F.softplus(self.gate_noise(x)) + 0.01)
        return logit.softmax(1)


def zeros(width: int, size: int) -> nn.Linear:
    """A linear map without bias whose first weights are 0."""
    linear = nn.Linear(width, size, bias=False)
    nn.init.zeros_(linear.weight)
    return linear
