"""How often two items occur together, of users or in sequences, a few rows at a time; and the largest of each row."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from hrec.datasets.histories import History
from hrec.datasets.sequences import Sequences
from hrec.models.layers.top_k import top_k

CELLS = 2**25
"""Cells of the rows that are held at once: 128 MB where they are dense."""


def cooccurrences(history: History) -> Iterator[tuple[slice, sparse.csr_array]]:
    """Rows of X^T X as (which, float32[rows, width]), X the 0/1 matrix of ``history``; on the diagonal item counts.

    Every row once, in order, with at most ``CELLS`` cells at once were they dense. The product costs the square of each
    history's length. The cells of a row are in no order.
    """
    n, width = len(history), history.width
    cells = (np.ones(len(history.index), np.float32), history.index, history.offset)
    yield from _products(sparse.csr_array(cells, shape=(n, width)))


def _products(x: sparse.csr_array) -> Iterator[tuple[slice, sparse.csr_array]]:
    """Rows of X^T X, as ``cooccurrences`` gives them."""
    by_item = x.T.tocsr()
    for here in _some_rows(x.shape[1]):
        yield here, by_item[here] @ x


def _some_rows(width: int) -> Iterator[slice]:
    """The rows of a square matrix, at most ``CELLS`` cells at once."""
    step = max(1, CELLS // max(width, 1))
    for start in range(0, width, step):
        yield slice(start, min(start + step, width))


def pairs_within(sequences: Sequences, window: int | None, n_items: int) -> Iterator[tuple[slice, sparse.csr_array]]:
    """Rows of N as (which, float32[rows, n_items]): N_ij counts the pairs of an entry of item i and another of j that
    are at most ``window`` entries apart in one sequence; None: anywhere in one. The diagonal has no meaning.

    The cost is the number of entries times the window; for None the squares of the lengths, as of ``cooccurrences``.
    """
    item, owner = sequences.item.cpu().numpy(), sequences.owner.cpu().numpy()
    one = np.ones(len(item), np.float32)
    if window is None:
        yield from _products(sparse.csr_array((one, (owner, item)), shape=(len(sequences), n_items)))
        return
    total = sparse.csr_array((n_items, n_items), dtype=np.float32)
    for lag in range(1, min(window, int(sequences.length.max()) if len(item) else 0) + 1):
        same = owner[lag:] == owner[:-lag]
        pair = item[:-lag][same], item[lag:][same]
        total = total + sparse.csr_array((one[: len(pair[0])], pair), shape=(n_items, n_items))
    total = (total + total.T).tocsr()
    for here in _some_rows(n_items):
        yield here, total[here]


def largest(cells: sparse.csr_array, k: int) -> tuple[Tensor, Tensor]:
    """(columns int32, values as of the cells), [rows, k]: the k largest cells of each row, of equal ones the first in
    it; 0 and 0 where a row has fewer."""
    length = np.diff(cells.indptr)
    row, place = np.repeat(np.arange(len(length)), length), np.arange(cells.nnz) - np.repeat(cells.indptr[:-1], length)
    shape = (len(length), max(k, int(length.max())))
    value, column = np.full(shape, -np.inf, cells.dtype), np.zeros(shape, np.int32)
    value[row, place], column[row, place] = cells.data, cells.indices
    best = top_k(torch.from_numpy(value), k)
    taken = best.clamp(min=0)
    columns, values = (torch.gather(torch.from_numpy(a), 1, taken) for a in (column, value))
    return columns.masked_fill_(best < 0, 0), values.masked_fill_(best < 0, 0.0)
