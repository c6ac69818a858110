"""A .npz file of sparse vectors, such as bags of words, one for each row of a file of users or items.

Every index is checked here, before scipy narrows it to 32 bits: no model meets one outside of the shape.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hrec.datasets.columns import Sparse
from hrec.datasets.problems import DataError, require_file
from hrec.datasets.sheets import COMPRESSED, Sheet, read_bytes

WIDEST = 2**31 - 1
"""Columns that int32 can number."""


class _Faulty(ValueError):
    """What is wrong with the arrays of a file, to go after its name."""


def read_sparse(path: Path, sheet: Sheet, setting: str) -> Sparse:
    """The vectors of the n rows of ``sheet``, of a file that scipy.sparse.save_npz wrote, in any of its formats.

    Cells that hold 0 are left out, cells that stand twice are summed. Raises DataError: no such file, not such a file,
    no numbers, another number of rows, an index outside of the shape, a value not finite.
    """
    require_file(path, setting)
    arrays = _open(path)
    try:
        shape = _shape(arrays)
        if shape[0] != sheet.file_rows:
            raise DataError(
                f"{path}: holds {shape[0]:,} rows, but {sheet.path} has {sheet.file_rows:,}. Make it with one row "
                f"for each of those, in their order, or correct {setting}."
            )
        data = arrays["data"].astype(np.result_type(arrays["data"], np.float32), copy=False)
        matrix = FORMATS[_format(arrays)]({**arrays, "data": data}, shape)  # sums of whole numbers could wrap
    except _Faulty as error:
        raise DataError(f"{path}: {error}. Make or fetch it again.") from None
    column = _as_column(matrix, path)
    return column if np.array_equal(sheet.row, np.arange(len(column))) else column.take(sheet.row)


def _as_column(matrix: Any, path: Path) -> Sparse:
    """Rows sorted by index, without zeros, each index once. Raises DataError for a value that is not finite."""
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is reported
        matrix = matrix.tocsr().astype(np.float32)
        matrix.sum_duplicates()  # sorts the rows too
    matrix.eliminate_zeros()
    if not (finite := np.isfinite(matrix.data)).all():
        row = int(np.searchsorted(matrix.indptr, int(np.argmin(finite)), side="right"))
        raise DataError(f"{path}, row {row}: a number is missing or infinite. Correct the file.")
    return Sparse(matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32), matrix.data, int(matrix.shape[1]))


def _open(path: Path) -> Mapping[str, np.ndarray]:
    """The arrays of the file by name; numpy reads them without pickle."""
    packed = path.suffix.lower() in COMPRESSED
    try:
        with np.load(io.BytesIO(read_bytes(path)) if packed else path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        if "coords" in arrays and len(arrays["coords"]) == 2:  # scipy may come to save both in one array
            arrays["row"], arrays["col"] = arrays["coords"]
        _format(arrays)
    except DataError:
        raise
    except Exception as error:  # a damaged file makes numpy and zipfile raise errors of many sorts
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"{path}: not a file of scipy.sparse.save_npz ({reason}). Is it cut off? Make or fetch it again."
        ) from None
    return arrays


def _format(arrays: Mapping[str, np.ndarray]) -> str:
    """The name of the format. Raises ValueError for an unknown one, or where an array that it needs is missing."""
    if "format" not in arrays:
        raise ValueError("it names no format")
    name = arrays["format"].item()
    name = name.decode("ascii") if isinstance(name, bytes) else str(name)
    if name not in FORMATS:
        raise ValueError(f"its format is {name}, not one of {', '.join(FORMATS)}")
    for needed in ("shape", "data", *ARRAYS[name]):
        if needed not in arrays:
            raise ValueError(f"it has no array '{needed}'")
    return name


def _shape(arrays: Mapping[str, np.ndarray]) -> tuple[int, int]:
    """(rows, columns). Raises _Faulty if there are no two, or where cells are no numbers."""
    data, shape = arrays["data"], arrays["shape"].ravel().tolist()
    if len(shape) != 2:
        raise _Faulty(f"holds {len(shape)} axes, should hold rows and columns")
    if arrays["shape"].dtype.kind not in "iu" or min(shape) < 0 or not shape[1] or data.dtype.kind not in "fiub":
        raise _Faulty(f"holds {data.dtype}[{', '.join(map(str, shape))}], should hold numbers[rows, columns]")
    if shape[1] > WIDEST:
        raise _Faulty(f"its shape has {shape[1]:,} columns, and at most {WIDEST:,} can be read")
    return shape[0], shape[1]


# ----------------------------------------------------------------------------------- the formats of scipy


def _compressed(arrays: Mapping[str, np.ndarray], shape: tuple[int, int], name: str) -> Any:
    """csr or csc."""
    from scipy import sparse  # takes a while to load, and few data sets need it

    by_row = name == "csr"
    lines, width = shape if by_row else shape[::-1]
    _require(arrays["data"].ndim == 1, "its array 'data' is not one line of numbers")
    start, index = _lines(arrays, lines, width, *(("row", "column") if by_row else ("column", "row")))
    make = sparse.csr_matrix if by_row else sparse.csc_matrix
    return make((arrays["data"][: len(index)], index, start), shape=shape)


def _blocks(arrays: Mapping[str, np.ndarray], shape: tuple[int, int]) -> Any:
    from scipy import sparse

    data = arrays["data"]
    _require(data.ndim == 3 and min(data.shape[1:]) > 0, "its array 'data' holds no blocks")
    high, wide = data.shape[1:]
    _require(not shape[0] % high and not shape[1] % wide, f"its blocks of {high} x {wide} do not fill its shape")
    start, index = _lines(arrays, shape[0] // high, shape[1] // wide, "row of blocks", "column")
    return sparse.bsr_matrix((data[: len(index)], index, start), shape=shape)


def _coordinates(arrays: Mapping[str, np.ndarray], shape: tuple[int, int]) -> Any:
    from scipy import sparse

    data = arrays["data"]
    _require(data.ndim == 1, "its array 'data' is not one line of numbers")
    row, column = (_whole(arrays, name) for name in ("row", "col"))
    _require(len(row) == len(column) == len(data), "its arrays 'row', 'col' and 'data' differ in length")
    for what, index, end in (("row", row, shape[0]), ("column", column, shape[1])):
        _require_within(index, end, lambda at, what=what: f"cell {at + 1:,}: {what} index")  # type: ignore[misc]
    return sparse.coo_matrix((data, (row.astype(np.int64), column.astype(np.int64))), shape=shape)


def _diagonals(arrays: Mapping[str, np.ndarray], shape: tuple[int, int]) -> Any:
    from scipy import sparse

    data, offset = arrays["data"], _whole(arrays, "offsets")
    _require(data.ndim == 2 and len(data) == len(offset), "its arrays 'data' and 'offsets' differ in length")
    _require(len(np.unique(offset)) == len(offset), "its array 'offsets' names a diagonal twice")
    _require_within(offset, shape[1], lambda at: f"diagonal {at + 1:,}: offset", 1 - shape[0])
    return sparse.dia_matrix((data, offset.astype(np.int64)), shape=shape)


FORMATS: dict[str, Callable[[Mapping[str, np.ndarray], tuple[int, int]], Any]] = {
    "csr": lambda arrays, shape: _compressed(arrays, shape, "csr"),
    "csc": lambda arrays, shape: _compressed(arrays, shape, "csc"),
    "bsr": _blocks,
    "coo": _coordinates,
    "dia": _diagonals,
}
"""Format -> (arrays of the file, its shape) -> a matrix of scipy. Raises _Faulty."""
ARRAYS = {
    **dict.fromkeys(("csr", "csc", "bsr"), ("indices", "indptr")),
    "coo": ("row", "col"),
    "dia": ("offsets",),
}
"""The arrays that a format has besides shape and data."""


def _lines(
    arrays: Mapping[str, np.ndarray], lines: int, width: int, line: str, across: str
) -> tuple[np.ndarray, np.ndarray]:
    """(int64[lines + 1] where each line of the matrix starts, int64 index of each cell). Raises _Faulty.

    line, across: what a line is called, and what its indices count.
    """
    start, index = _whole(arrays, "indptr"), _whole(arrays, "indices")
    _require(len(start) == lines + 1, f"its array 'indptr' has {len(start):,} entries, not one more than {lines:,}")
    first = int(start[0])
    _require(first == 0, f"its array 'indptr' starts at {first}, not at 0")
    falls = start[1:] < start[:-1]
    _require(not falls.any(), f"its array 'indptr' falls at entry {int(falls.argmax()) + 2:,}")
    cells = int(start[-1])
    _require(cells <= len(index), f"its array 'indptr' ends at {cells:,}, but there are {len(index):,} indices")
    _require(cells <= len(arrays["data"]), f"it has {cells:,} indices, but {len(arrays['data']):,} values")

    def where(at: int) -> str:
        return f"{line} {int(np.searchsorted(start, at, side='right')):,}: {across} index"

    _require_within(index[:cells], width, where)
    return start.astype(np.int64), index[:cells].astype(np.int64)


def _whole(arrays: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    """An array of indices, in its own type. Raises _Faulty where it is none."""
    array = arrays[name]
    _require(array.ndim == 1 and array.dtype.kind in "iu", f"its array '{name}' is not one line of whole numbers")
    return array


def _require_within(index: np.ndarray, end: int, where: Callable[[int], str], start: int = 0) -> None:
    """Raises _Faulty about the first index outside of ``start`` to ``end - 1``; ``where`` gives its place."""
    outside = (index < start) | (index >= end)
    if outside.any():
        first, count = int(outside.argmax()), int(outside.sum())
        more = f" ({count:,} like it)" if count > 1 else ""
        raise _Faulty(f"{where(first)} {index[first]} is outside of its shape, which has {start} to {end - 1}{more}")


def _require(right: bool, why: str) -> None:
    if not right:
        raise _Faulty(why)
