"""Where something is in a text file, for messages. Slow and exact: used once something is wrong."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from itertools import islice
from typing import Any


def records(data: bytes, delimiter: str, quoted: bool) -> Iterator[tuple[int, list[str]]]:
    """(line on which the record starts, its cells) of each record, the header first; blank lines are passed over."""
    rows = reader(data, delimiter, quoted)
    start = 1
    for cells in rows:
        if cells:
            yield start, cells
        start = rows.line_num + 1


def reader(data: bytes, delimiter: str, quoted: bool, strict: bool = False) -> Any:
    """A csv.reader of the text. strict: it raises csv.Error where a quotation mark is in the wrong place."""
    csv.field_size_limit(max(csv.field_size_limit(), len(data)))
    text = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8-sig", errors="replace", newline="")
    return csv.reader(text, delimiter=delimiter, quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE, strict=strict)


def line_of(data: bytes, delimiter: str, quoted: bool, row: int) -> int:
    """The line, counted from 1, on which row ``row`` of the data starts (row 0 comes after the header)."""
    found = next(islice(records(data, delimiter, quoted), row + 1, None), None)
    return found[0] if found else row + 2


def text_of(data: bytes) -> str:
    """The bytes as UTF-8. Raises ValueError with ', line n: what is wrong and the remedy'."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as bad:
        line = data.count(b"\n", 0, bad.start) + 1
        raise ValueError(
            f", line {line}: not UTF-8 text (byte 0x{data[bad.start]:02x}). Save the file as UTF-8."
        ) from None


def diagnose(data: bytes, delimiter: str, quoted: bool, error: str) -> str:
    """', line n: what is wrong and the remedy' for a text that the parser gave up on."""
    try:
        text_of(data)
    except ValueError as bad:
        return str(bad)
    rows = records(data, delimiter, quoted)
    width = len(next(rows, (1, []))[1])
    ragged = [(line, len(cells)) for line, cells in rows if len(cells) != width]
    if ragged:
        line, count = ragged[0]
        more = f" ({len(ragged):,} lines like it)" if len(ragged) > 1 else ""
        remedy = "Is the file cut off, or is a cell with a separator in it not in quotation marks?"
        return f", line {line}: {count} cells where the header has {width}{more}. {remedy} Correct the file."
    return f": cannot be read as a table ({error}). Correct the file."


def unclosed(line: int) -> str:
    return f", line {line}: a quotation mark is opened here and never closed. Close or remove it."
