"""Quotation marks of a CSV or TSV file: whether they hold cells together, or are letters like any other."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hrec.datasets import textfiles
from hrec.datasets.problems import DataError, Log

MARK = ord('"')
WHOLE_CELL = r'(?s)^"((?:[^"]|"")*)"$'
"""A cell in quotation marks, in which each mark of the text stands twice."""


@dataclass(frozen=True)
class Marks:
    """What is odd about the quotation marks of a file; lines are counted from 1.

    broken: the line of a cell that goes on behind its closing mark. unclosed: the line of a mark that is never closed.
    joined: (first line, last line) of each row that takes up several, up to that line.
    """

    joined: tuple[tuple[int, int], ...] = ()
    broken: int | None = None
    unclosed: int | None = None


def hold_cells(path: Path, data: bytes, delimiter: str, log: Log) -> bool:
    """Whether quotation marks hold cells together; if not, every line of the file is a row and marks are text.

    Raises DataError where a mark swallows rows, or may do so; a line in the log where it is taken for text, or where
    cells hold line breaks.
    """
    marks = find(data, delimiter)
    if marks.unclosed is not None:
        raise DataError(f"{path}{textfiles.unclosed(marks.unclosed)}")
    if marks.broken is not None:
        _require_lines(path, data, delimiter, marks.broken)
        log(
            f"warning: {path}, line {marks.broken}: text goes on behind a closing quotation mark, so the file is read "
            "line by line, and quotation marks inside of cells are part of their text"
        )
        return False
    if marks.joined:
        _report_joined(path, data, delimiter, marks.joined, log)
    return True


def find(data: bytes, delimiter: str) -> Marks:
    if _is_plain(data, delimiter):
        return Marks()
    rows, joined, start = textfiles.reader(data, delimiter, quoted=True, strict=True), [], 1
    try:
        for _ in rows:
            if rows.line_num > start:
                joined.append((start, rows.line_num))
            start = rows.line_num + 1
    except csv.Error as error:
        if "end of data" in str(error):
            return Marks(tuple(joined), unclosed=start)
        return Marks(tuple(joined), broken=min([start, *(first for first, _ in joined[:1])]))
    return Marks(tuple(joined))


def _is_plain(data: bytes, delimiter: str) -> bool:
    """Whether every mark opens a cell, closes one or stands twice in one, and no cell holds a line break.

    Many times as fast as reading the rows, which only files need that are not plain.
    """
    text = np.frombuffer(data, np.uint8)
    marks = np.flatnonzero(text == MARK)
    if not len(marks):
        return True
    if len(marks) % 2:
        return False
    edge = np.isin(np.arange(256), [*delimiter.encode(), *b'\r\n"'])
    opened, closed = marks[0::2], marks[1::2]
    before, after = text[opened[opened > 0] - 1], text[closed[closed < len(text) - 1] + 1]
    breaks = np.flatnonzero((text == ord("\n")) | (text == ord("\r")))
    return bool(edge[before].all() and edge[after].all() and not (np.searchsorted(marks, breaks) % 2).any())


def _require_lines(path: Path, data: bytes, delimiter: str, broken: int) -> None:
    """Raises DataError unless every line, whatever its marks, has as many cells as the header."""
    rows = textfiles.records(data, delimiter, quoted=False)
    width = len(next(rows)[1])
    odd = next(((line, len(cells)) for line, cells in rows if len(cells) != width), None)
    if odd is not None:
        raise DataError(
            f"{path}, line {broken}: text goes on behind a closing quotation mark, and the file cannot be read line by "
            f"line either (line {odd[0]} has {odd[1]} cells, the header {width}). Write each quotation mark inside of "
            'a cell twice, and the cell in quotation marks: "5"" nails".'
        )


def _report_joined(path: Path, data: bytes, delimiter: str, joined: tuple[tuple[int, int], ...], log: Log) -> None:
    """Say which lines quotation marks join. Raises DataError where each of those lines alone is a row."""
    width, alone = _widths(data, delimiter, joined)
    rows = [span for span in joined if all(alone.get(line) == width for line in range(span[0], span[1] + 1))]
    first, last = (rows or joined)[0]
    message = f"{path}, line {first}: quotation marks join lines {first} to {last} into one row"
    message += f" ({len(joined):,} rows like it)" if len(joined) > 1 else ""
    # a line of prose with one comma in it looks like a row of two cells
    if len(rows) == len(joined) and (width > 2 or (width > 1 and delimiter == "\t")):
        raise DataError(
            f"{message}, but each of them alone is a row. If the marks are part of the text, write each of them twice "
            "and the cell in quotation marks; if it is one cell, write it on one line."
        )
    log(f"warning: {message}; correct the file if each line is a row")


def _widths(data: bytes, delimiter: str, joined: tuple[tuple[int, int], ...]) -> tuple[int, dict[int, int]]:
    """(cells of the header, cells of each joined line where marks are letters)."""
    lines = {line for first, last in joined for line in range(first, last + 1)}
    rows = textfiles.records(data, delimiter, quoted=False)
    header = next(textfiles.records(data, delimiter, quoted=True))[1]
    return len(header), {line: len(cells) for line, cells in rows if line in lines}


def without(cells: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Cells of a file that is read line by line, where those in quotation marks as a whole are the text in them."""
    inner = pc.replace_substring(pc.replace_substring_regex(cells, WHOLE_CELL, r"\1"), '""', '"')
    return pc.if_else(pc.match_substring_regex(cells, WHOLE_CELL), inner, cells)


def without_in(titles: list[str]) -> list[str]:
    return without(pa.array(titles, pa.string())).to_pylist()
