"""Clusters of vectors, and codes of vectors by the clusters of their parts."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

CELLS = 2**24
"""Distances that are held at once: 64 MB."""


def kmeans(x: Tensor, k: int, seed: int, rounds: int = 25) -> Tensor:
    """The centres of min(k, m) clusters, float[k', d], of the rows x float[m, d] (Lloyd, 1982).

    The first centres are distinct rows, drawn with ``seed``. A centre that no row is nearest to stays where it is.
    """
    generator = torch.Generator().manual_seed(seed)
    centre = x[torch.randperm(len(x), generator=generator)[:k].to(x.device)].clone()
    for _ in range(rounds if len(x) else 0):
        place = nearest(x, centre)
        count = torch.bincount(place, minlength=len(centre))
        total = torch.zeros_like(centre).index_add_(0, place, x)
        moved = torch.where((count > 0)[:, None], total / count.clamp(min=1)[:, None], centre)
        if torch.equal(moved, centre):
            break
        centre = moved
    return centre


def nearest(x: Tensor, centre: Tensor) -> Tensor:
    """The nearest centre [k, d] of each row [m, d], int64[m]; of equally near ones the first."""
    half = centre.square().sum(1) / 2
    step = max(1, CELLS // max(len(centre), 1))
    return torch.cat([(half - part @ centre.T).argmin(1) for part in x.split(step)])


def product_codes(x: Tensor, learn: Tensor, parts: int, k: int, rotations: int, seed: int) -> Tensor:
    """int64[m, parts]: the cluster of each part of each row of x float[m, d].

    A row is cut into parts of equal width (product quantisation, Jegou et al., 2011). Where d is no multiple of
    ``parts``, zeros follow the last number. Each part has up to k clusters of the rows ``learn``, bool[m].
    rotations: rounds that look for the rotation of the rows with the smallest error (optimised product quantisation, Ge
    et al., 2013, section 3); 0: none.
    """
    x = F.pad(x, (0, -x.shape[1] % parts))
    known, turn = x[learn], torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    for _ in range(rotations if len(known) else 0):
        turned = known @ turn
        centres = _centres(turned, parts, k, seed, rounds=4)
        rebuilt = [c[nearest(part, c)] for part, c in zip(turned.chunk(parts, 1), centres, strict=True)]
        left, _, right = torch.linalg.svd(known.T @ torch.cat(rebuilt, 1))
        turn = left @ right
    centres = _centres(known @ turn, parts, k, seed)
    return torch.stack([nearest(p, c) for p, c in zip((x @ turn).chunk(parts, 1), centres, strict=True)], 1)


def _centres(x: Tensor, parts: int, k: int, seed: int, rounds: int = 25) -> list[Tensor]:
    return [kmeans(part, k, seed + index, rounds) for index, part in enumerate(x.chunk(parts, 1))]
