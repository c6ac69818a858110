"""A .npy file of vectors, one for each row of a file of users or items."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from hrec.datasets.problems import DataError, plural, require_file
from hrec.datasets.sheets import COMPRESSED, Sheet, read_bytes

CHUNK = 1 << 22  # numbers looked at in one go


def read_vectors(path: Path, sheet: Sheet, setting: str, lenient: bool = False) -> np.ndarray:
    """float32[n, d] for the n rows of ``sheet``; memory-mapped where the file holds float32 and every row is used.

    A row of NaN alone is a missing vector; with ``lenient``, one with any other value that is not finite is one too.
    Raises DataError: no such file, not a .npy file, not float[rows, d], another number of rows, another value that is
    not finite.
    """
    array = _of_rows(path, sheet, setting)
    bad = _not_finite(array)
    if bad.any() and lenient:
        return np.where(bad[:, None], np.float32(np.nan), array).astype(np.float32, copy=False)
    if bad.any():
        row = int(sheet.row[int(bad.argmax())]) + 1
        raise DataError(
            f"{path}, row {row}: a number is missing or infinite ({plural(int(bad.sum()), 'row')} in all). Correct the "
            "file (a row of NaN alone is a missing vector), or set data.drop_bad_rows=true to take all such rows for "
            "missing vectors."
        )
    return array.astype(np.float32, copy=False)


def rows_without_vector(path: Path, sheet: Sheet, setting: str) -> np.ndarray:
    """bool[n]: rows of ``sheet`` whose vector holds a number that is infinite, or missing while others are not.
    Raises as read_vectors."""
    return _not_finite(_of_rows(path, sheet, setting))


def _of_rows(path: Path, sheet: Sheet, setting: str) -> np.ndarray:
    """float[n, d], as the file has them."""
    require_file(path, setting)
    array = _open(path)
    if array.ndim != 2 or array.dtype.kind != "f" or not array.shape[1]:
        shape = ", ".join(map(str, array.shape))
        raise DataError(f"{path}: holds {array.dtype}[{shape}], should hold float[rows, numbers]. Save it as such.")
    if len(array) != sheet.file_rows:
        raise DataError(
            f"{path}: holds {len(array):,} vectors, but {sheet.path} has {sheet.file_rows:,} rows. Make it with one "
            f"vector for each of those rows, in their order, or correct {setting}."
        )
    return array if np.array_equal(sheet.row, np.arange(len(array))) else array[sheet.row]


def _open(path: Path) -> np.ndarray:
    """The array, mapped copy-on-write: pages are shared as with "r", and torch takes it without a warning."""
    try:
        if path.suffix.lower() in COMPRESSED:
            return np.load(io.BytesIO(read_bytes(path)), allow_pickle=False)
        array = np.load(path, mmap_mode="c", allow_pickle=False)
    except DataError:
        raise
    except Exception as error:  # over a damaged header numpy raises SyntaxError, TokenError and more
        raise DataError(f"{path}: not a readable .npy file ({error}). Is it cut off? Make or fetch it again.") from None
    if not isinstance(array, np.ndarray):
        raise DataError(f"{path}: holds several arrays. Save one array with numpy.save.")
    return array


def _not_finite(array: np.ndarray) -> np.ndarray:
    """bool[n]: not all numbers are finite, nor all NaN; worked out in pieces, so that a mapped file is not copied."""
    bad = np.zeros(len(array), bool)
    step = max(1, CHUNK // array.shape[1])
    for start in range(0, len(array), step):
        with np.errstate(over="ignore"):  # a float64 that float32 cannot hold becomes infinite, and is reported
            piece = array[start : start + step].astype(np.float32, copy=False)
        bad[start : start + step] = ~np.isfinite(piece).all(axis=1) & ~np.isnan(piece).all(axis=1)
    return bad
