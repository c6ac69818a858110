"""GRU4Rec: a recurrent network over the items of a user predicts the next one.

Hidasi, Karatzoglou, Baltrunas and Tikk, Session-based Recommendations with Recurrent Neural Networks, ICLR 2016.
"""

from __future__ import annotations

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from hrec.datasets.recdata import TrainData
from hrec.models.sequential._base import SequentialModel, SequentialSettings
from hrec.settings import LayerCount


class GRU4Rec(SequentialModel):
    """h of the items s_1 .. s_L: gated recurrent units (Eq. 1-4) on their vectors, and a linear layer to their width.

    A session is a user's sequence. The paper's losses are "bpr" and "top1", with the items of the other sessions of a
    batch for negatives: drawn ones with negatives.popularity 1 have the same chances. There, the input is a one-hot
    vector of the item and the output has its own weights; here, both are one table (shared_items), as in later
    versions, and "ce" is the default loss. The reset gate is applied to U h, as in torch and cuDNN, not to h (Eq. 3).
    """

    class Config(SequentialSettings):
        """Settings of GRU4Rec; widths and dropout as in RecBole."""

        embedding_size: PositiveInt = 64
        """Width of the vectors of items."""
        hidden_size: PositiveInt = 128
        """Units of each layer."""
        n_layers: LayerCount = 1
        dropout: float = Field(0.3, ge=0, lt=1)

    config: Config

    def __init__(self, config: Config, data: TrainData) -> None:
        super().__init__(config, data, config.embedding_size)
        self.gru = nn.GRU(config.embedding_size, config.hidden_size, config.n_layers, batch_first=True)
        for name, weight in self.gru.named_parameters():
            if name.startswith("weight"):
                nn.init.xavier_uniform_(weight)
        self.last = nn.Linear(config.hidden_size, config.embedding_size)
        self.dropout = nn.Dropout(config.dropout)

    def hidden(self, vectors: Tensor, mask: Tensor) -> Tensor:
        """The units must not run over padding before the first entry: sequences are moved to the left and back."""
        vectors = self.dropout(vectors)
        states, _ = self.gru(shifted(vectors, mask.sum(1)))
        return self.last(shifted(states, -mask.sum(1)))


def shifted(x: Tensor, places: Tensor) -> Tensor:
    """Each row of float[B, L, d] rotated to the right by its number of places, int64[B]."""
    length = x.shape[1]
    at = (torch.arange(length, device=x.device) - places[:, None]) % max(length, 1)
    return x.gather(1, at[:, :, None].expand_as(x))
