"""X^T X of liked items: how many users like both of two items, a few rows at a time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import sparse

from hrec.datasets.histories import History

CELLS = 2**25
"""Cells of the rows that are held at once: 128 MB where they are dense."""


def cooccurrences(history: History) -> Iterator[tuple[slice, sparse.csr_array]]:
    """Rows of X^T X as (which, float32[rows, width]), X the 0/1 matrix of ``history``; on the diagonal item counts.

    Every row once, in order, with at most ``CELLS`` cells at once were they dense. The product costs the square of each
    history's length. The cells of a row are in no order.
    """
    n, width = len(history), history.width
    cells = (np.ones(len(history.index), np.float32), history.index, history.offset)
    x = sparse.csr_array(cells, shape=(n, width))
    by_item = x.T.tocsr()
    step = max(1, CELLS // max(width, 1))
    for start in range(0, width, step):
        here = slice(start, min(start + step, width))
        yield here, by_item[here] @ x
