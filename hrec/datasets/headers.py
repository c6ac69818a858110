"""Traces of files that were joined end to end: byte order marks and header rows in the middle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hrec.datasets.encoding import is_text

BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def without_byte_order_marks(data: bytes) -> bytes:
    """The text without those at the start of a line: of the file, or of one that was joined to it."""
    for line_break in (b"\n", b"\r"):
        while line_break + BYTE_ORDER_MARK in data:
            data = data.replace(line_break + BYTE_ORDER_MARK, line_break)
    while data.startswith(BYTE_ORDER_MARK):
        data = data.removeprefix(BYTE_ORDER_MARK)
    return data


def repeated_headers(
    cells: Mapping[str, pa.Array], titles: Mapping[str, str], header: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """(bool[n] rows that repeat the header, bool[n] rows that are a header of other columns or in another order).

    cells: name -> cells; titles: name -> how the header writes it; header: the titles of all columns. Blanks around a
    title and the case of its letters do not matter.
    """
    n = len(next(iter(cells.values()))) if cells else 0
    none = np.zeros(n, bool)
    if not n or any(not is_text(column.type) for column in cells.values()):
        return none, none  # a column that held a header would be one of text
    own, named = np.zeros(n, np.int32), np.zeros(n, np.int32)
    among = pa.array([_alike(title) for title in header])
    for name, column in cells.items():
        text = pc.utf8_lower(pc.utf8_trim_whitespace(column))
        own += _true(pc.equal(text, _alike(titles[name])))
        named += _true(pc.is_in(text, value_set=among.cast(column.type)))
    again = own == len(cells)
    return again, ~again & (named > 1) & (2 * named >= len(cells))


def _alike(title: str) -> str:
    return title.strip().lower()


def _true(mask: pa.Array) -> np.ndarray:
    return mask.fill_null(False).to_numpy(zero_copy_only=False)
