"""Draws items that a user has not interacted with: exactly, on the device, without rejection or a loop over rows.

The items of one kind lie on a line, each as wide as its weight. Cut out what the user has seen and push the rest
together: a point drawn on what is left is a candidate, each with a chance in proportion to its weight. Where the point
lay before the cut follows from how many of the seen items come before it, which a binary search finds. Widths are
whole numbers, so that nothing is rounded.

If all items are equally wide and a bit for each user and item has room, a point is first drawn on the uncut line. Only
the points that hit a seen item are drawn as above. The chances are the same, and most of the searches are saved.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hrec.datasets.recdata import RecData

BITS_UP_TO = 2**28
"""Pairs of a user and an item, up to which a bit for each is kept: 32 MB."""


@dataclass(frozen=True, eq=False)
class Candidates:
    """The items of each span that each user has not interacted with; int64 tensors on one device.

    edge: [n_items + 1], cumulated widths.
    begin: [spans], the edge at which a span begins.
    offset: [users * spans + 1], where the seen items of a user in a span are in ``before`` and ``cut``.
    before: [cells], the place of a seen item once the seen items before it are cut out. ``length`` times the index of
    its user and span is added, so that it ascends over all.
    cut: [cells + 1], cumulated width of the seen items.
    left: [users * spans], the width of the candidates.
    width: [spans], the width of a whole span.
    unit: Every item is 1 wide, so a place is the index of its item.
    bits: uint8. The pair user * n_items + item is seen if bit pair % 8 of byte pair // 8 is 1. None: not kept.
    """

    edge: Tensor
    begin: Tensor
    offset: Tensor
    before: Tensor
    cut: Tensor
    left: Tensor
    width: Tensor
    length: int
    unit: bool
    bits: Tensor | None

    @staticmethod
    def of(
        user: np.ndarray,
        item: np.ndarray,
        n_users: int,
        weights: np.ndarray,
        spans: Sequence[tuple[int, int]],
        device: torch.device,
    ) -> Candidates:
        """user, item int[N]: what is seen, twice or more counts once. weights float[n_items], not negative; 0 is never
        drawn. spans: (start, stop) ranges of items, ascending, that are drawn from separately, such as the kinds.
        """
        # a place times the groups is an int64, and a place a float64, of which ``draw`` takes a share
        width = _whole(weights, min(2.0**52, 2**62 / max(n_users * len(spans), 1)))
        edge = _cumulated(width)
        seen = np.unique(user.astype(np.int64) * len(width) + item)
        owner, what = np.divmod(seen, len(width))
        starts, stops = np.array(spans).T
        group = owner * len(spans) + np.searchsorted(starts, what, side="right") - 1
        offset = _cumulated(np.bincount(group, minlength=n_users * len(spans)))
        cut = _cumulated(width[what])
        whole = edge[stops] - edge[starts]
        length = int(whole.max()) + 1
        before = edge[what] - edge[starts][group % len(spans)] - (cut[:-1] - cut[offset[group]]) + group * length
        left = np.tile(whole, n_users) - (cut[offset[1:]] - cut[offset[:-1]])
        arrays = [torch.from_numpy(a).to(device) for a in (edge, edge[starts], offset, before, cut, left, whole)]
        unit, pairs = bool((width == 1).all()), n_users * len(width)
        bits = torch.from_numpy(_as_bits(seen, pairs)).to(device) if unit and pairs <= BITS_UP_TO else None
        return Candidates(*arrays, length, unit, bits)  # type: ignore[arg-type, call-arg]

    def any_left(self, user: Tensor, span: Tensor) -> Tensor:
        """bool[B]: whether there is anything to draw. user, span int64[B]."""
        return self.left[user * len(self.begin) + span] > 0

    def draw(self, user: Tensor, span: Tensor, generator: torch.Generator) -> Tensor:
        """One candidate of the span for each row: int64[B]. Only where ``any_left``; generator on the CPU."""
        if user.device.type != "cpu":  # one number crosses over and seeds a generator there, not one for each row
            seed = int(torch.randint(2**62, (1,), generator=generator))
            generator = torch.Generator(user.device).manual_seed(seed)
        if self.bits is None:
            return self._exact(user, span, generator)
        item = self.begin[span] + _below(self.width[span], generator)
        pair = user * (len(self.edge) - 1) + item
        again = (self.bits[pair >> 3] >> (pair & 7) & 1).nonzero().squeeze(1)
        return item.index_copy_(0, again, self._exact(user[again], span[again], generator))

    def _exact(self, user: Tensor, span: Tensor, generator: torch.Generator) -> Tensor:
        return self.at(user, span, _below(self.left[user * len(self.begin) + span], generator))

    def at(self, user: Tensor, span: Tensor, point: Tensor) -> Tensor:
        """The candidate at ``point`` int64[B], from 0 up to ``left``: with unit weights the item of that rank."""
        group = user * len(self.begin) + span
        # how many seen items stand at or before the point; those of the groups before are all of them less
        passed = torch.searchsorted(self.before, group * self.length + point, right=True)
        place = self.begin[span] + point + self.cut[passed] - self.cut[self.offset[group]]
        return place if self.unit else torch.searchsorted(self.edge, place, right=True) - 1


def _below(end: Tensor, generator: torch.Generator) -> Tensor:
    """A whole number from 0 up to below each, as likely as any other: int64[B] -> int64[B]."""
    return (torch.rand(len(end), generator=generator, dtype=torch.float64, device=end.device) * end).long()


def _as_bits(index: np.ndarray, n: int) -> np.ndarray:
    """uint8[n / 8]: of the bits 0 to n those at these numbers are 1."""
    bits = np.zeros(-(-n // 8), np.uint8)
    np.bitwise_or.at(bits, index >> 3, np.left_shift(1, index & 7).astype(np.uint8))
    return bits


def _cumulated(width: np.ndarray) -> np.ndarray:
    """int64[n + 1] from int[n]: 0, and the sums so far."""
    return np.concatenate([[0], np.cumsum(width)]).astype(np.int64)


def _whole(weights: np.ndarray, most: float) -> np.ndarray:
    """Weights as whole numbers int64[n] of a sum up to ``most``: as they are where they can be, else in the smallest
    parts that go in; none above 0 becomes 0."""
    total = weights.sum()
    if total <= most and np.array_equal(weights, np.floor(weights)):
        return weights.astype(np.int64)
    return np.ceil(weights * ((most - len(weights)) / total)).astype(np.int64)


def candidate_items(
    data: RecData,
    popularity: float,
    same_kind: bool,
    device: torch.device,
    counted: RecData | None = None,
    among: np.ndarray | None = None,
) -> Candidates:
    """The items without a row in ``data``, for each user; drawn by (rows of the item) ** popularity, 0 uniform.

    same_kind: Spans are the kinds; else all items are one span.
    counted: The part whose rows are counted, None for ``data``. An item without a row counts as having one.
    among: bool[n_items], what can be drawn, None for all.
    """
    x = data.interactions
    count = np.maximum(np.bincount((counted or data).interactions.item, minlength=data.n_items), 1.0)
    spans = [(t.start, t.stop) for t in data.kinds.values()] if same_kind else [(0, data.n_items)]
    weights = count**popularity if among is None else count**popularity * among
    return Candidates.of(x.user, x.item, data.n_users, weights, spans, device)


def distinct_ranks(size: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """int64[B, n]: in each row n distinct numbers below ``size`` int[B], each choice as likely.

    -1 stands behind the numbers of a row that has fewer.
    """
    width = int(size.max(initial=0))
    if n**2 <= 100 * width:
        return _by_floyd(size, n, rng)
    rows = max(1, 10_000_000 // max(width, 1))
    parts = [_by_order(size[i : i + rows], width, rng)[:, :n] for i in range(0, len(size), rows)]
    ranks = np.full((len(size), n), -1, np.int64)
    ranks[:, : min(n, width)] = np.concatenate([np.zeros((0, min(n, width)), np.int64), *parts])
    return ranks


def _by_floyd(size: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Floyd's method (Bentley and Floyd, 1987), all rows at once: n^2 comparisons a row, whatever its size."""
    ranks = np.full((len(size), n), -1, np.int64)
    few = size <= n
    for j in range(n):
        last = size - n + j
        drawn = np.floor(rng.random(len(size)) * (last + 1)).astype(np.int64)
        again = (ranks[:, :j] == drawn[:, None]).any(1)
        ranks[:, j] = np.where(few, np.where(j < size, j, -1), np.where(again, last, drawn))
    return ranks


def _by_order(size: np.ndarray, width: int, rng: np.random.Generator) -> np.ndarray:
    """int64[B, width]: the numbers below each size in a random order, then -1."""
    keys = rng.random((len(size), width))
    keys[np.arange(width) >= size[:, None]] = np.inf
    order = np.argsort(keys, axis=1)
    return np.where(np.take_along_axis(keys, order, 1) < np.inf, order, -1)
