"""The graph of items with similar vectors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from hrec.datasets.histories import History
from hrec.models.layers.item_vectors import ItemVectors
from hrec.models.layers.top_k import top_k

CELLS = 2**25
"""Similarities that are held at once: 128 MB."""


def nearest(vectors: ItemVectors, k: int) -> tuple[np.ndarray, np.ndarray]:
    """(item int64[m], its neighbours int64[m, k']): the k' = min(k, m) items of largest cosine, the item itself among
    them, of the m items that have a vector; best first."""
    known = vectors.known.nonzero().squeeze(1)
    unit = F.normalize(vectors.value[known], dim=1)
    step = max(1, CELLS // max(len(known), 1))
    width = min(k, len(known))
    places = [top_k(some @ unit.T, width) for some in unit.split(step)] if width else [known.new_zeros(0, 0)]
    return known.numpy(), known[torch.cat(places)].numpy()


def item_graph(vectors: Sequence[ItemVectors], k: int, weights: Sequence[float]) -> History:
    """S = sum_m a_m S^m as CSR, float32[n_items, n_items] (FREEDOM, Zhou and Shen, MM 2023, Eq. 1 to 4).

    S^m_ij = 1 / sqrt(d_i d_j) where j is one of the k items nearest to i by the vectors of modality m, d the number of
    neighbours of an item: 1 / k. weights: a_m. The a_m of an item sum to 1 over the modalities that the item has; an
    item without any has an empty row.
    """
    n = len(vectors[0].known)
    known = np.stack([v.known.numpy() for v in vectors], 1) * np.asarray(weights, np.float64)
    share = known / np.maximum(known.sum(1, keepdims=True), np.finfo(np.float64).tiny)
    pairs, values = [], []
    for index, modality in enumerate(vectors):
        item, near = nearest(modality, k)
        pairs.append((item[:, None] * n + near).ravel())
        values.append(np.repeat(share[item, index] / max(near.shape[1], 1), near.shape[1]))
    pair, place = np.unique(np.concatenate(pairs), return_inverse=True)
    value = np.bincount(place, np.concatenate(values), len(pair)).astype(np.float32)
    row, column = np.divmod(pair, max(n, 1))
    offset = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=n))])
    return History(offset, column.astype(np.int32), value, n)


def chosen_edges(chance: Tensor, count: int, seed: int) -> Tensor:
    """int64[count], ascending: that many distinct edges, drawn one after another in proportion to ``chance`` float[E].

    The count smallest of e / chance, e exponential (Efraimidis and Spirakis, Information Processing Letters 2006).
    """
    generator = torch.Generator().manual_seed(seed)
    wait = -torch.log1p(-torch.rand(len(chance), generator=generator, dtype=torch.float64))
    return torch.topk(wait / chance, count, largest=False, sorted=False).indices.sort().values
