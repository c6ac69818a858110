"""How a user sees items: matrices that a Transformer over the user's items gives (UniEmbedding, section 3.3)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn

from hrec.datasets.sequences import SequenceBatch
from hrec.models.layers.bags import EmbeddingTable
from hrec.models.layers.rows import Rows, declare_rows
from hrec.settings import LayerCount, Settings

PARTS = 8
"""Parts of a batch that are padded to their own longest sequence."""


class ViewSettings(Settings):
    """The user view."""

    n_layers: LayerCount = 2
    """Blocks of the Transformer."""
    num_heads: PositiveInt = 4
    """Heads of an attention, and of the projection to matrices."""
    reads_positives: bool = False
    """Let the Transformer read the whole sequence, as in the paper, and so the positives that it is to tell from other
    items. False: it reads only items that are neither anchors nor positives of the step."""
    bound: PositiveFloat | None = 0.5
    """The largest norm of what the view adds to an item's vector of norm 1; null: none, as in the paper."""
    penalty: NonNegativeFloat = 0.01
    """Weight of the mean square of that norm before it is bounded, the term "view" of the loss."""
    init_std: PositiveFloat = 0.02
    """Standard deviation of the first vectors of items, kinds and positions. The matrices begin at a tenth of it."""


class UserView(nn.Module):
    """z_u = mean of T(E_1 .. E_L), E_i the sum of an item's, a position's and a kind's vector; M_j = P_j(z_u) (Eq. 2).

    Position p counts from the newest entry. Head h of P_j maps its d / H numbers of z_u to d / H rows of M_j.
    """

    def __init__(
        self, n_items: int, n_kinds: int, max_length: int, size: int, settings: ViewSettings, dropout: float
    ) -> None:
        super().__init__()
        self.heads, self.bound = settings.num_heads, settings.bound
        std, part = settings.init_std, size // settings.num_heads
        self.items = EmbeddingTable(n_items, size, std)
        self.positions = nn.Parameter(torch.empty(max_length, size).normal_(std=std))
        self.kinds = nn.Parameter(torch.empty(n_kinds, size).normal_(std=std))
        declare_rows(self.positions, [Rows("position", max_length)])
        block = nn.TransformerEncoderLayer(size, self.heads, 4 * size, dropout, "gelu", batch_first=True)
        self.encoder = nn.TransformerEncoder(block, settings.n_layers, enable_nested_tensor=False)
        self.projection = nn.Parameter(torch.empty(n_kinds + 1, self.heads, part, part * size).normal_(std=std / 10))

    def encode(self, batch: SequenceBatch) -> Tensor:
        """z of each sequence, float[B, d]; 0 where it has no entry. Sequences of like length are encoded together."""
        mask, length = batch.mask, batch.mask.shape[1]
        column = mask.nonzero()[:, 1] - length
        entries = self.items.rows(batch.item[mask]) + self.positions[column] + self.kinds[batch.kind[mask]]
        entry = (mask.flatten().cumsum(0) - 1).clamp(min=0).view_as(mask)
        width = length - mask.long().argmax(1)  # of the part that has entries
        parts = []
        for rows in (order := torch.argsort(width)).chunk(PARTS):
            newest = slice(length - int(width[rows].max()), None)
            parts.append(self._encoded(entries, entry[rows, newest], mask[rows, newest]))
        return torch.cat(parts)[torch.argsort(order)]

    def _encoded(self, entries: Tensor, entry: Tensor, mask: Tensor) -> Tensor:
        """entries float[total, d], one for each True of ``mask`` at least; entry int64[B, L], which to read where."""
        if not len(entries):
            return entries.new_zeros(len(mask), entries.shape[1])
        x = F.embedding(entry, entries) * mask[:, :, None]
        some = mask.any(1, keepdim=True)
        # a softmax over nothing has no value: an empty sequence reads its padding, and its result is not used
        x = self.encoder(x, src_key_padding_mask=~mask & some)
        return (x * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)

    def matrices(self, z: Tensor, number: int) -> Tensor:
        """M of each row of z, float[B, d] -> float[B, d, d]; number: of the kind, -1 for all kinds."""
        part = torch.einsum("bhi,hio->bho", z.unflatten(1, (self.heads, -1)), self.projection[number])
        return part.reshape(len(z), z.shape[1], z.shape[1])

    def added(self, z: Tensor, vectors: Tensor, kind: Tensor, mask: Tensor) -> Tensor:
        """(M_M + M_j) E of each item, j its kind (Eq. 3). vectors float[B, m, d], kind int64[B, m], mask bool[B, m].

        A matrix is made only for pairs of a sequence and a kind that occur. -> float[B, m, d]
        """
        out = vectors @ self.matrices(z, -1).transpose(1, 2)
        for number in range(len(self.kinds)):
            own = mask & (kind == number)
            here = own.any(1).nonzero().squeeze(1)
            seen = vectors[here] @ self.matrices(z[here], number).transpose(1, 2)
            out = out.index_add(0, here, (seen * own[here][:, :, None]).to(out.dtype))
        return out

    def bounded(self, added: Tensor) -> Tensor:
        """x / sqrt(1 + |x|^2 / bound^2), which points as x does and is shorter than ``bound``."""
        if self.bound is None:
            return added
        return added * torch.rsqrt(1 + added.square().sum(-1, keepdim=True) / self.bound**2)
