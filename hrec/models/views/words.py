"""PV-DBOW: a document's vector predicts its words (Le and Mikolov, ICML 2014; JRL, Eq. 2-3)."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hrec.datasets.columns import Tokens
from hrec.models.layers.bags import EmbeddingTable, RaggedRows

POWER = 0.75
"""Of a word's count, in the distribution P_V of negative words."""


class Words(nn.Module):
    """Word vectors and the words of documents: row d of ``texts`` is document d.

    negatives: t in Eq. 3. noise: words drawn at each step, the same for all documents of the batch. The mean over them
    estimates the expectation of Eq. 3; t and the document's number of words multiply it.
    """

    share: Tensor

    def __init__(self, texts: Tokens, vectors: EmbeddingTable, negatives: int, noise: int) -> None:
        super().__init__()
        self.documents = RaggedRows(texts.offset, texts.word, np.ones(len(texts.word), np.float32))
        self.vectors, self.negatives, self.noise = vectors, negatives, noise
        count = np.bincount(texts.word, minlength=len(texts.vocabulary)).astype(np.float64) ** POWER
        share = np.cumsum(count) / max(count.sum(), 1e-300)
        self.register_buffer("share", torch.from_numpy(share), persistent=False)

    def loss(self, vectors: Tensor, document: Tensor) -> Tensor:
        """-L_1 of these documents, summed over documents and words: vectors float[B, K], document int64[B] -> float[].

        Words are gathered without their vectors: memory grows with the words, not with words times K.
        """
        cells = self.documents(document)
        if not len(cells.column):
            return vectors.sum() * 0
        seen = F.softplus(-self.vectors.dots(vectors, cells.column, cells.start)).sum()
        drawn = F.softplus(vectors @ self.vectors.rows(self._drawn()).T).mean(1)
        return seen + self.negatives * (cells.length * drawn).sum()

    def _drawn(self) -> Tensor:
        """Words with the distribution P_V, int64[noise]."""
        at = torch.rand(self.noise, dtype=self.share.dtype, device=self.share.device)
        return torch.searchsorted(self.share, at, right=True).clamp_(max=len(self.share) - 1)
