"""BPR-HFT: ranking by pairs, where the factors of an item are also the topics of its reviews.

McAuley and Leskovec, Hidden Factors and Hidden Topics: Understanding Rating Dimensions with Review Text, RecSys 2013,
Eq. 4-8, with BPR in place of the ratings as in Zhang, Ai, Chen and Croft, Joint Representation Learning for Top-N
Recommendation with Heterogeneous Information Sources, CIKM 2017, section 5.3:

    x_ui = beta_i + gamma_u . gamma_i
    theta_i = softmax(kappa gamma_i)                  topics of item i, K of them: as many as factors
    phi_k = softmax over words w of (b_w + psi_wk)    words of topic k; b is the background, the same for all topics
    minimise mean over pairs of -ln sigmoid(x_ui - x_uj) + norms
             - mu / |R| * sum over items i and words w of n_iw ln sum_k theta_ik phi_kw

n_iw counts the words of all training reviews of item i, and |R| is the number of positives. Departures: the likelihood
is that of the words themselves, where HFT draws a topic for each word. b_w is fixed at the log of the word's share; the
authors' programs have the share (``log_background``). data.feat.<column>.max_vocabulary limits the words.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn

from hrec.datasets.batches import Joint
from hrec.datasets.columns import Sparse
from hrec.datasets.recdata import TrainData
from hrec.datasets.samplers import Items, Jointly, Pairwise, positive_rows
from hrec.datasets.tokens import bag_of_words, chosen_texts, documents
from hrec.models.base import Needs
from hrec.models.general.bprmf import BPRMF
from hrec.models.layers.bags import RaggedRows
from hrec.models.layers.rows import Rows, declare_rows


class BPRHFT(BPRMF):
    """Score beta_i + gamma_u . gamma_i; a bias of the user would cancel from every pair."""

    class Config(BPRMF.Config):
        """Settings of BPR-HFT."""

        embedding_size: PositiveInt = 10
        """K, the number of factors and of topics."""
        item_bias: bool = True
        """Add a number of the item's own to its score."""
        column: str | None = None
        """Column of the interactions with the reviews; null: the only one with texts."""
        text_weight: NonNegativeFloat = 0.1
        """mu, of the log-likelihood of the words, summed over the words and divided by the number of positives."""
        kappa: PositiveFloat = 1.0
        """First value of kappa, which is trained: how much topics follow the largest factors."""
        log_background: bool = True
        """b_w is the log of the word's share of all words, so psi = 0 gives that share; false: the share itself."""

    needs = Needs(texts=True)
    reads = replace(BPRMF.reads, interaction={"texts"})
    config: Config

    def __init__(self, config: Config, data: TrainData) -> None:
        super().__init__(config, data)
        column = chosen_texts(data, config.column)
        texts = documents(data, "item", column)
        self.topics = Topics(bag_of_words(texts), config)
        declare_rows(self.topics.psi, [Rows(f"word of {column}", len(texts.vocabulary), None, texts.vocabulary, 0)])
        self.per_positive = int(data.has_rows().sum()) / max(len(positive_rows(data)), 1)
        """Items with a training row for each positive: mean over items -> sum over items / |R|."""
        self.remarks.append(f"{len(texts.word):,} words of reviews, {len(texts.vocabulary):,} different ones")

    def sampler(self, data: TrainData) -> Jointly:  # type: ignore[override]
        return Jointly(Pairwise(data, self.config.negatives, self.device), Items(data))

    def loss(self, batch: Joint) -> dict[str, Tensor]:  # type: ignore[override]
        """BPR-Opt of the pairs and their norms, and the words of some items."""
        terms = super().loss(batch.pairs)
        if batch.items is None:
            return terms
        item = batch.items.row
        likelihood = batch.weight(batch.items) * self.topics(self.items.rows(item), item).mean()
        return terms | {"text": -self.config.text_weight * self.per_positive * likelihood}


class Topics(nn.Module):
    """The words of items given their factors.

    counts: n_iw, row i that of item i. psi float[words, K]; background float[words], b; kappa float[].
    """

    background: Tensor

    def __init__(self, counts: Sparse, config: BPRHFT.Config) -> None:
        super().__init__()
        self.counts = RaggedRows(counts.offset, counts.index, counts.value)
        self.kappa = nn.Parameter(torch.tensor(config.kappa))
        self.psi = nn.Parameter(torch.empty(counts.width, config.embedding_size))
        nn.init.normal_(self.psi, std=0.01)
        count = np.bincount(counts.index, counts.value, counts.width).clip(min=1)
        share = count / max(count.sum(), 1)
        background = np.log(share) if config.log_background else share
        self.register_buffer("background", torch.from_numpy(background.astype(np.float32)), persistent=False)

    def forward(self, factors: Tensor, item: Tensor) -> Tensor:
        """sum_w n_iw ln sum_k theta_ik phi_kw; factors float[B, K] of the items int64[B] -> float[B]."""
        cells = self.counts(item)
        topic = F.log_softmax(self.kappa * factors, 1)
        word = F.log_softmax(self.background[:, None] + self.psi, 0)
        both = F.embedding(cells.owner, topic) + F.embedding(cells.column, word)
        each = cells.value * torch.logsumexp(both, 1)
        return factors.new_zeros(len(item)).index_add(0, cells.owner, each)
