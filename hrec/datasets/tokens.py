"""Texts as models read them: by user, by item, by the rows of a batch, and as bags of words."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from hrec.datasets.columns import Sparse, Tokens, slices
from hrec.datasets.recdata import RecData

OWNERS: Mapping[str, Callable[[RecData], tuple[np.ndarray, int]]] = {
    "user": lambda data: (data.interactions.user, data.n_users),
    "item": lambda data: (data.interactions.item, data.n_items),
}
"""Whose documents there are: the owner of each row, and how many owners there are."""


def texts_of(data: RecData, column: str) -> Tokens:
    """The texts of the interactions. Raises ValueError where they have no such column."""
    found = data.interactions.columns.get(column)
    if not isinstance(found, Tokens):
        known = text_columns_of_rows(data)
        there = f"it has {', '.join(known)}" if known else "it has none"
        raise ValueError(
            f"'{data.name}' has no texts '{column}' of interactions, {there}: name the column in data.feat with "
            '"type": "tokens", "source": "interaction"'
        )
    return found


def text_columns_of_rows(data: RecData) -> list[str]:
    """Names of the columns of texts of the interactions, such as reviews."""
    return [name for name, one in data.interactions.columns.items() if isinstance(one, Tokens)]


def chosen_texts(data: RecData, column: str | None, setting: str = "model.column") -> str:
    """The column of texts of the interactions that ``column`` names; None: the only one.

    setting: the name of ``column`` for messages. Raises ValueError where the rows have no such column, none or several.
    """
    known = text_columns_of_rows(data)
    if column in known or (len(known) == 1 and column is None):
        return column or known[0]
    there = f"columns of texts of the interactions: {', '.join(known) or 'none'}"
    if column is None and known:
        raise ValueError(f"{setting}: '{data.name}' has several {there}; name one of them")
    what = "" if column is None else f" '{column}'"
    remedy = "" if known else '; name one in data.feat with "type": "tokens", "source": "interaction"'
    raise ValueError(f"{setting}: '{data.name}' has no texts{what}. Its {there}{remedy}")


def rows_by(data: RecData, by: str) -> tuple[np.ndarray, np.ndarray]:
    """The rows of each user or item as CSR: offset int64[owners + 1], row int64[N], each owner's in row order.

    by: "user" or "item".
    """
    owner, count = OWNERS[by](data)
    offset = np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=count))])
    return offset, np.argsort(owner, kind="stable")


def documents(train: RecData, by: str, column: str) -> Tokens:
    """One document for each user or item: the words of all its training reviews, one review after another.

    by: "user" or "item". The review of row r is in the documents of both its user and its item. Raises ValueError
    where the rows have no such texts.
    """
    texts = texts_of(train, column)
    offset, row = rows_by(train, by)
    text_offset, at = slices(texts.offset, row)
    return Tokens(text_offset[offset], texts.word[at], texts.vocabulary)


def bag_of_words(column: Tokens) -> Sparse:
    """How often each text has each word: a cell for each of its words, in the order of the vocabulary."""
    from scipy import sparse  # takes a while to load, and few data sets need it

    shape = (len(column), len(column.vocabulary))
    cells = sparse.csr_matrix((np.ones(len(column.word), np.float32), column.word, column.offset), shape=shape)
    sorted_cells = cells.tocsc().tocsr()  # two counting sorts, some twenty times as fast as np.unique
    sorted_cells.sum_duplicates()
    offset, index = sorted_cells.indptr.astype(np.int64), sorted_cells.indices.astype(np.int32)
    return Sparse(offset, index, sorted_cells.data, shape[1])


class Words(nn.Module):
    """Texts on the device; they come from the data, so they are not saved with the weights."""

    offset: Tensor
    word: Tensor

    def __init__(self, column: Tokens) -> None:
        super().__init__()
        self.size = len(column.vocabulary)
        self.register_buffer("offset", torch.as_tensor(column.offset, dtype=torch.int64), persistent=False)
        self.register_buffer("word", torch.as_tensor(column.word, dtype=torch.int32), persistent=False)

    def row_words(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The words of these texts, one text after another: (length int64[B], word int32[total]).

        rows: int64[B]; -1, a drawn negative, has no words.
        """
        first = self.offset[rows.clamp(min=0)]
        length = torch.where(rows < 0, 0, self.offset[rows + 1] - first)
        before = length.cumsum(0)
        total = int(before[-1]) if len(rows) else 0
        shift = torch.repeat_interleave(first - before + length, length, output_size=total)
        return length, self.word[shift + torch.arange(total, device=rows.device)]
