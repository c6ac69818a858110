"""Who interacted with what, of the training part only, as CSR: user -> items and item -> users.

This is the label matrix Y of the DURation paper (section 3.1), never made dense.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hrec.datasets.columns import Sparse
from hrec.datasets.recdata import Interactions, TrainData


def _ones(x: Interactions) -> np.ndarray:
    return np.ones(len(x), np.float32)


def _positive(x: Interactions) -> np.ndarray:
    return np.where(_present(x.label, "liked", "a label") > 0, 1, np.nan).astype(np.float32)


def _sign(x: Interactions) -> np.ndarray:
    return np.where(_present(x.label, "sign", "a label") > 0, 1, -1).astype(np.float32)


def _rating(x: Interactions) -> np.ndarray:
    return _present(x.rating, "rating", "ratings").astype(np.float32)


def _centred(x: Interactions, among: Interactions | None = None) -> np.ndarray:
    """The mean is that of ``among``, or of ``x`` itself."""
    rating, counted = (
        _present(y.rating, "centred", "ratings").astype(np.float64) for y in (x, x if among is None else among)
    )
    counted = counted[np.isfinite(counted)]
    return (rating - counted.mean() if len(counted) else rating).astype(np.float32)


def _present(values: np.ndarray | None, cells: str, what: str) -> np.ndarray:
    if values is None:
        raise ValueError(f"data.inter_matrix_type '{cells}' needs {what}, and this data has none; use '01'")
    return values


CELLS: dict[str, Callable[[Interactions], np.ndarray]] = {
    "01": _ones,
    "liked": _positive,
    "rating": _rating,
    "sign": _sign,
    "centred": _centred,
}
"""What a cell of the matrix holds, by its name in data.inter_matrix_type; NaN stands for no cell.

'centred' is the rating less the mean of all training ratings.
"""


def cells_as_in(train: TrainData, x: Interactions) -> np.ndarray:
    """float32[N]: the cells of rows that are none of the training rows, measured as those are; NaN for no cell."""
    return _centred(x, train.interactions) if train.feedback.cells == "centred" else CELLS[train.feedback.cells](x)


def default_cells(x: Interactions) -> str:
    """The cells with the most information that the data has: centred ratings, else +1 and -1, else ones (docs/log)."""
    if x.rating is not None and np.isfinite(x.rating).any():
        return "centred"
    return "01" if x.label is None else "sign"


class History(Sparse):
    """Rows of a sparse matrix, in each the cells of a user (or an item): what ``Sparse`` is, but no column."""


def user_history(train: TrainData) -> History:
    """Row u: the items of user u, numbered over all kinds."""
    x = train.interactions
    return _csr(x.user, x.item, CELLS[train.feedback.cells](x), train.n_users, train.n_items)


def item_history(train: TrainData) -> History:
    """Row i: the users of item i."""
    x = train.interactions
    return _csr(x.item, x.user, CELLS[train.feedback.cells](x), train.n_items, train.n_users)


def positive_history(train: TrainData) -> History:
    """Row u: the items that user u likes, each once, cells of 1. Without labels every row is a positive."""
    x = train.interactions
    positive = x if x.label is None else x.take(x.label > 0)
    pair = np.unique(positive.user.astype(np.int64) * train.n_items + positive.item)
    user, item = np.divmod(pair, max(train.n_items, 1))
    return _csr(user, item, np.ones(len(pair), np.float32), train.n_users, train.n_items)


def transposed(history: History) -> History:
    """Row j: the rows that have a cell in column j."""
    row = np.repeat(np.arange(len(history)), np.diff(history.offset))
    return _csr(history.index, row, history.value, history.width, len(history))


def edges_of_nodes(history: History) -> History:
    """The edges of the graph of users and items, by node: row u is user u, row n_users + i is item i."""
    back = transposed(history)
    n = len(history)
    offset = np.concatenate([history.offset, history.offset[-1] + back.offset[1:]])
    index = np.concatenate([history.index + np.int32(n), back.index])
    return History(offset, index, np.concatenate([history.value, back.value]), n + history.width)


def _csr(row: np.ndarray, column: np.ndarray, value: np.ndarray, n: int, width: int) -> History:
    """Each cell once: one that comes several times (data.repeats=keep) holds the mean."""
    keep = np.flatnonzero(np.isfinite(value))
    keep = keep[np.lexsort((column[keep], row[keep]))]
    row, column, value = row[keep], column[keep], value[keep]
    new = np.append(True, (row[1:] != row[:-1]) | (column[1:] != column[:-1]))[: len(row)]
    if not new.all():
        start = np.flatnonzero(new)
        count = np.diff(np.append(start, len(row)))
        row, column, value = row[new], column[new], (np.add.reduceat(value, start) / count).astype(value.dtype)
    offset = np.zeros(n + 1, np.int64)
    np.cumsum(np.bincount(row, minlength=n), out=offset[1:])
    return History(offset, column.astype(np.int32), value, width)


def thinned(history: History, most: int | None, seed: int = 0) -> History:
    """At most that many cells of each row, chosen at random, the same ones each time; None keeps all."""
    length = np.diff(history.offset)
    if most is None or length.max(initial=0) <= most:
        return history
    row = np.repeat(np.arange(len(history)), length)
    order = np.lexsort((np.random.default_rng(seed).random(len(row)), row))
    place = np.arange(len(row)) - history.offset[row]  # rows stay together, so this is the place in the row's own order
    keep = np.sort(order[place < most])
    offset = np.zeros_like(history.offset)
    np.cumsum(np.minimum(length, most), out=offset[1:])
    return History(offset, history.index[keep], history.value[keep], history.width)
