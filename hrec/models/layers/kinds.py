"""What models of separate kinds share: their own parts, the kind of an item, batches of every kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from hrec.datasets.batches import Points
from hrec.datasets.recdata import TrainData
from hrec.models.losses import bce

Part = TypeVar("Part", bound=nn.Module)


class ByKind(nn.Module, Generic[Part]):
    """A module for each kind, found by the kind's name: ``parts[kind]``.

    An ``nn.ModuleDict`` refuses names such as "type", "keys" or "a.b"; here a weight goes by its kind's index.
    """

    def __init__(self, parts: Mapping[str, Part]) -> None:
        super().__init__()
        self.index = {kind: index for index, kind in enumerate(parts)}
        self.parts = nn.ModuleList(parts.values())

    def __getitem__(self, kind: str) -> Part:
        return self.parts[self.index[kind]]  # type: ignore[return-value]


class Kinds(nn.Module):
    """The kinds of a data set, by name, and the range of item numbers of each. It has no weights."""

    starts: Tensor

    def __init__(self, data: TrainData) -> None:
        super().__init__()
        self.names = list(data.kinds)
        self.start = {name: table.start for name, table in data.kinds.items()}
        self.register_buffer("starts", torch.tensor(list(self.start.values())), persistent=False)

    def row(self, kind: str, item: Tensor) -> Tensor:
        """The rows in the table of their kind of items that are all of one kind, int64[B] -> int64[B]."""
        return item - self.start[kind]

    def each(self, item: Tensor, part: Callable[[str, Tensor], Tensor], *width: int, every: bool = False) -> Tensor:
        """What ``part`` gives for the items of each kind, in the order of ``item``, int64[B] of any kinds.

        ``part(kind, here)`` gives float[b, *width] for the positions ``here``, int64[b], of the items of the kind. It
        is called once for each kind in ``item``. With ``every`` it is called for the other kinds too, without a
        position, so that each kind's weights have a gradient in each process. Returns float[B, *width], at least single
        precision.
        """
        return self.each_of(self.index(item), part, *width, every=every)

    def index(self, item: Tensor) -> Tensor:
        """The position in ``names`` of the kind of each item, int64[B] -> int64[B]."""
        return torch.searchsorted(self.starts, item.contiguous(), right=True) - 1

    def each_of(
        self, kind_of: Tensor, part: Callable[[str, Tensor], Tensor], *width: int, every: bool = False
    ) -> Tensor:
        """As ``each``, for rows whose kinds are given by their positions in ``names``, int64[B]."""
        out = torch.zeros(len(kind_of), *width, device=kind_of.device)
        for index, kind in enumerate(self.names):
            here = (kind_of == index).nonzero().squeeze(1)
            if every or len(here):
                values = part(kind, here)
                out = out.to(torch.promote_types(values.dtype, out.dtype))
                out = out.index_copy(0, here, values.to(out.dtype))
        return out


def joined(batch: Mapping[str, Points]) -> Points:
    """The rows of all kinds, one kind after another."""
    parts = batch.values()
    return Points(
        torch.cat([b.user for b in parts]), torch.cat([b.item for b in parts]), torch.cat([b.label for b in parts])
    )


def split(values: Tensor, batch: Mapping[str, Points]) -> dict[str, Tensor]:
    """Values of the joined rows, [B, ...], cut up into the kinds again."""
    return dict(zip(batch, values.split([len(b) for b in batch.values()]), strict=True))


def summed_bce(
    logits: Mapping[str, Tensor], batch: Mapping[str, Points], weight: Mapping[str, float] | None = None
) -> Tensor:
    """Cross-entropy, mean over the rows of a kind, summed over the kinds, each by its weight (none: 1).

    Of several processes each weighs a kind by its share of the rows, so that they train as one alone would.
    """
    factor = {kind: b.share * (weight[kind] if weight else 1.0) for kind, b in batch.items()}
    terms = [factor[kind] * bce(logits[kind], b.label) for kind, b in batch.items()]
    return torch.stack(terms).sum()
