"""A convolution over the words of documents, and its maximum over time (Kim, EMNLP 2014; DeepCoNN, Eq. 2-5).

The gradient of a maximum is that of one window of each document and kernel. So all windows are compared without a
gradient, and those that win are computed again with one: memory and time of the backward pass do not grow with the
length of the documents.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hrec.models.layers.bags import EmbeddingTable

NO_WORD = -1
"""In the place of a word where a document has none."""
AT_ONCE = 2**20
"""Numbers that one comparison of windows holds."""


class TextCNN(nn.Module):
    """c_k = max over t of ReLU(b_k + sum_o W_ok . x_(t + o)), o from -(width - 1) // 2 on, x the vectors of the words.

    weight float[width, kernels, word_size], bias float[kernels]. Only windows around a word count, and what is no word
    is 0; a document without a word has c = 0.
    """

    def __init__(self, word_size: int, kernels: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width, kernels, word_size))
        self.bias = nn.Parameter(torch.zeros(kernels))
        nn.init.trunc_normal_(self.weight, std=0.1, a=-0.2, b=0.2)

    def forward(self, words: EmbeddingTable, document: Tensor) -> Tensor:
        """document int64[B, L], rows of ``words`` or NO_WORD -> float[B, kernels]"""
        if not document.numel():
            return self.bias.new_zeros(len(document), len(self.bias))
        with torch.no_grad():
            place = self._best(words.weight, document)
        window = self._near(document).gather(1, place[:, :, None].expand(-1, -1, len(self.weight)))
        vectors = words.rows(window.clamp(min=0).flatten()).view(*window.shape, -1)  # [B, kernels, width, word_size]
        vectors = vectors * (window != NO_WORD)[..., None]
        highest = torch.einsum("bkoe,oke->bk", vectors, self.weight) + self.bias
        return F.relu(highest) * (document != NO_WORD).any(1, keepdim=True)

    def _near(self, document: Tensor) -> Tensor:
        """The words of the window around each place, int64[B, L, width]."""
        width = len(self.weight)
        before = (width - 1) // 2
        return F.pad(document, (before, width - 1 - before), value=NO_WORD).unfold(1, width, 1)

    def _best(self, words: Tensor, document: Tensor) -> Tensor:
        """The place of the highest window of each document and kernel, int64[B, kernels].

        What a word adds to a window is W_o . x: computed once for each word and o, then looked up and summed.
        """
        width, kernels, _ = self.weight.shape
        adds = torch.cat([(words @ self.weight.mT).flatten(0, 1), words.new_zeros(1, kernels)])  # [width * words + 1]
        shift = len(words) * torch.arange(width, device=words.device)
        best = []
        for few in document.split(max(1, AT_ONCE // (document.shape[1] * kernels))):
            near = self._near(few)
            row = torch.where(near == NO_WORD, len(adds) - 1, near + shift)
            best.append(_highest(row, few == NO_WORD, adds))
        return torch.cat(best)


def _highest(row: Tensor, empty: Tensor, adds: Tensor) -> Tensor:
    """The place of the largest sum of each document and kernel among those not ``empty``, int64[b, kernels]."""
    sums = F.embedding_bag(row.flatten(0, 1), adds, mode="sum").view(*empty.shape, -1)
    return sums.masked_fill_(empty[:, :, None], -torch.inf).argmax(1)
