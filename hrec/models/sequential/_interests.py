"""The attention of tokens to tokens of the same or earlier entries, and the decoder of MISSRec."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hrec.models.sequential.sasrec import Block


def visible(time: Tensor, valid: Tensor) -> Tensor:
    """bool[B, 1, T, T]: which tokens (last) each token reads, the valid ones whose entry is not after its own.

    time int64[T], the entry of each token; valid bool[B, T]. A token with none to read reads the token in its own
    place, as a softmax over nothing has no value.
    """
    allowed = (time[None, :] <= time[:, None]) & valid[:, None, :]
    own = torch.eye(len(time), dtype=torch.bool, device=time.device)
    return (allowed | (own & ~allowed.any(2, keepdim=True)))[:, None]


class Decoder(nn.Module):
    """Normalised tokens pass layers that each attend to a memory, then to the tokens, then a perceptron; then a norm.

    Without the first norm the memory would drown the tokens, whose first weights are small.
    """

    def __init__(self, width: int, heads: int, inner: int, dropout: float, layers: int) -> None:
        super().__init__()
        self.cross = nn.ModuleList(CrossAttention(width, heads, dropout) for _ in range(layers))
        self.blocks = nn.ModuleList(Block(width, heads, inner, dropout) for _ in range(layers))
        self.first, self.norm = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, x: Tensor, memory: Tensor, own: Tensor, of_memory: Tensor) -> Tensor:
        """x, memory float[B, T, d]; own, of_memory bool[B, 1, T, T], what a token reads of each -> float[B, T, d]"""
        x = self.first(x)
        for cross, block in zip(self.cross, self.blocks, strict=True):
            x = block(cross(x, memory, of_memory), own)
        return self.norm(x)


class CrossAttention(nn.Module):
    """x + attention of LN(x) to LN(memory)."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.chance = heads, dropout
        self.norm, self.norm_memory = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key_value = nn.Linear(width, width, bias=False), nn.Linear(width, 2 * width, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, memory: Tensor, allowed: Tensor) -> Tensor:
        """allowed bool[B, 1, T, T]: a logit where it is False is -inf."""
        parts = (self.query(self.norm(x)), *self.key_value(self.norm_memory(memory)).chunk(2, dim=2))
        q, k, v = (a.unflatten(2, (self.heads, -1)).transpose(1, 2) for a in parts)
        chance = self.chance if self.training else 0.0
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=allowed, dropout_p=chance)
        return x + self.dropout(out.transpose(1, 2).flatten(2))


def diversity(interest: Tensor, valid: Tensor) -> Tensor:
    """Mean squared cosine of two different interests of a sequence, mean over the pairs of all sequences.

    interest float[B, T, d]; valid bool[B, T]. 0 where no sequence has two.
    """
    unit = F.normalize(interest, dim=2) * valid[:, :, None]
    count = valid.sum(1)
    squares = (unit @ unit.mT).square().sum((1, 2)) - unit.square().sum((1, 2))
    return squares.sum() / (count * (count - 1)).sum().clamp(min=1)
