"""A .npz file of sparse vectors, such as bags of words, one for each row of a file of users or items."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from hrec.datasets.columns import Sparse
from hrec.datasets.problems import DataError, require_file
from hrec.datasets.sheets import COMPRESSED, Sheet, read_bytes


def read_sparse(path: Path, sheet: Sheet, setting: str) -> Sparse:
    """The vectors of the n rows of ``sheet``, of a file that scipy.sparse.save_npz wrote, in any of its formats.

    Cells that hold 0 are left out, cells that stand twice are summed. Raises DataError: no such file, not such a file,
    no numbers, another number of rows, a value not finite.
    """
    require_file(path, setting)
    matrix = _open(path)
    if matrix.dtype.kind not in "fiub" or not matrix.shape[1]:
        shape = ", ".join(map(str, matrix.shape))
        raise DataError(f"{path}: holds {matrix.dtype}[{shape}], should hold numbers[rows, columns]. Save it as such.")
    if matrix.shape[0] != sheet.file_rows:
        raise DataError(
            f"{path}: holds {matrix.shape[0]:,} rows, but {sheet.path} has {sheet.file_rows:,}. Make it with one row "
            f"for each of those, in their order, or correct {setting}."
        )
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is reported
        matrix = matrix.tocsr().astype(np.float32)
    matrix.sum_duplicates()  # sorts the rows too
    matrix.eliminate_zeros()
    if not (finite := np.isfinite(matrix.data)).all():
        row = int(np.searchsorted(matrix.indptr, int(np.argmin(finite)), side="right"))
        raise DataError(f"{path}, row {row}: a number is missing or infinite. Correct the file.")
    column = Sparse(matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32), matrix.data, int(matrix.shape[1]))
    return column if np.array_equal(sheet.row, np.arange(len(column))) else column.take(sheet.row)


def _open(path: Path) -> Any:
    """A scipy sparse matrix; scipy reads it without pickle."""
    from scipy import sparse  # takes a while to load, and few data sets need it

    packed = path.suffix.lower() in COMPRESSED
    try:
        matrix = sparse.load_npz(io.BytesIO(read_bytes(path)) if packed else path)
    except DataError:
        raise
    except Exception as error:  # a damaged file makes numpy and zipfile raise errors of many sorts
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"{path}: not a file of scipy.sparse.save_npz ({reason}). Is it cut off? Make or fetch it again."
        ) from None
    if matrix.ndim != 2:
        raise DataError(f"{path}: holds {matrix.ndim} axes, should hold rows and columns. Save it as such.")
    return matrix
