"""Wide inputs, such as a bag of words or a row of R, of which a layer reads the cells that are not 0."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from hrec.datasets.columns import Sparse
from hrec.models.layers.bags import DENSE_UP_TO, Cells, EmbeddingTable, RaggedRows


class Wide(nn.Module):
    """Rows of a matrix X: cells as CSR, and a few dense columns. It has no weights.

    cells: CSR of n rows. numbers: float32[n, d], the dense columns, which stand behind those of the cells; None: none.
    """

    numbers: Tensor

    def __init__(self, cells: Sparse, numbers: np.ndarray | None = None) -> None:
        super().__init__()
        self.rows = RaggedRows(cells.offset, cells.index, cells.value)
        n = len(cells.offset) - 1
        dense = np.zeros((n, 0), np.float32) if numbers is None else numbers
        self.register_buffer("numbers", torch.as_tensor(dense, dtype=torch.float32), persistent=False)
        self.cell_width = cells.width
        self.width = cells.width + dense.shape[1]

    def dense(self, row: Tensor) -> Tensor:
        """The rows written out, int64[B] -> float[B, width]."""
        cells = self.rows(row)
        out = cells.value.new_zeros(len(row), self.cell_width)
        out[cells.owner, cells.column.long()] = cells.value
        return torch.cat([out, self.numbers[row]], 1)

    def column_sums(self) -> Tensor:
        """float[width]: the sum of each column over all rows."""
        sums = self.rows.value.new_zeros(self.cell_width).index_add_(0, self.rows.index.long(), self.rows.value)
        return torch.cat([sums, self.numbers.sum(0)])

    def deviation(self) -> float:
        """The root of a row's mean sum of squares: weights of 1 over it give sums of deviation 1."""
        squares = self.rows.value.square().sum() + self.numbers.square().sum()
        return float((squares / max(len(self.rows.offset) - 1, 1)).sqrt().clamp(min=1e-6))


class WideLinear(nn.Module):
    """``X[row] W + b``, [B, size]; the cost of a row is that of its cells.

    gain: the first weights give sums whose deviation is about this. sparse_gradient False: for a loss that reads the
    whole of W as well.
    """

    def __init__(self, wide: Wide, size: int, gain: float = 1.0, sparse_gradient: bool = True) -> None:
        super().__init__()
        self.wide = wide
        std = gain / wide.deviation()
        self.table = EmbeddingTable(wide.cell_width, size, std, DENSE_UP_TO if sparse_gradient else math.inf)
        self.of_numbers = nn.Linear(wide.width - wide.cell_width, size, bias=False) if wide.numbers.shape[1] else None
        if self.of_numbers is not None:
            nn.init.normal_(self.of_numbers.weight, std=std)
        self.bias = nn.Parameter(torch.zeros(size))

    def forward(self, row: Tensor, noise: float = 0.0, hidden: Tensor | None = None) -> Tensor:
        """row int64[B]. noise: the chance that an input is set to 0, the others as they are (Vincent et al. 2010).

        hidden bool[columns of cells]: cells of these columns are 0 too.
        """
        cells, numbers = self.wide.rows(row), self.wide.numbers[row]
        value = cells.value
        if noise:
            value, numbers = masked(value, noise), masked(numbers, noise)
        if hidden is not None:
            value = value.masked_fill(hidden[cells.column.long()], 0.0)
        out = self.table.bags(cells.column, cells.start, value) + self.bias
        return out if self.of_numbers is None else out + self.of_numbers(numbers)

    def of_cells(self, cells: Cells) -> Tensor:
        """Cells of rows that need not be rows of X, which has no dense columns. -> [B, size]"""
        assert self.of_numbers is None
        return self.table.bags(cells.column, cells.start, cells.value) + self.bias


def masked(x: Tensor, noise: float) -> Tensor:
    """Each number set to 0 with this chance, the others left as they are: masking noise."""
    return x * (torch.rand_like(x) >= noise)


class Ones(nn.Module):
    """Where R is 1, as CSR of users by items."""

    def __init__(self, positive: Sparse) -> None:
        super().__init__()
        self.rows = RaggedRows(positive.offset, positive.index, np.ones(len(positive.index), np.float32))
        self.width = positive.width

    def cells(self, user: Tensor, item: Tensor) -> tuple[Tensor, Tensor]:
        """(row in ``user``, row in ``item``) of each 1 of these users, int64 both; user, item without repeats.

        The second is len(item) where the item is none of ``item``.
        """
        ones = self.rows(user)
        place = torch.full((self.width,), len(item), device=item.device)
        place[item] = torch.arange(len(item), device=item.device)
        return ones.owner, place[ones.column.long()]

    def block(self, user: Tensor, item: Tensor) -> Tensor:
        """The block of R that users and items span: float[B_u, B_v]."""
        out = torch.zeros(len(user), len(item) + 1, device=user.device)  # one column more for the ones outside
        out[self.cells(user, item)] = 1.0
        return out[:, :-1]
