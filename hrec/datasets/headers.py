"""Traces of files that were joined end to end: byte order marks and header rows in the middle."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
AT_START = re.compile(rb"(?:\A|(?<=[\r\n]))(?:" + BYTE_ORDER_MARK + rb")+")


def without_byte_order_marks(data: bytes) -> bytes:
    """The text without those at the start of a line: of the file, or of one that was joined to it."""
    return AT_START.sub(b"", data) if BYTE_ORDER_MARK in data else data


def repeated_headers(
    cells: Mapping[str, pa.Array], titles: Mapping[str, str], header: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """(bool[n] rows that repeat the header, bool[n] rows that are a header of other columns or in another order).

    cells: name -> cells; titles: name -> how the header writes it; header: the titles of all columns.
    """
    n = len(next(iter(cells.values()))) if cells else 0
    none = np.zeros(n, bool)
    if not n or any(not _is_text(column.type) for column in cells.values()):
        return none, none  # a column that held a header would be one of text
    own, named = np.zeros(n, np.int32), np.zeros(n, np.int32)
    among = pa.array(header)
    for name, column in cells.items():
        own += _true(pc.equal(column, titles[name]))
        named += _true(pc.is_in(column, value_set=among.cast(column.type)))
    again = own == len(cells)
    return again, ~again & (named > 1) & (2 * named >= len(cells))


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _true(mask: pa.Array) -> np.ndarray:
    return mask.fill_null(False).to_numpy(zero_copy_only=False)
