"""Vectors by id of the texts of a table: parquet, csv, tsv or atomic files.

hrec prepare text data/beauty/beauty.parquet --id item_id --text title brand --out data/beauty/titles.parquet
hrec prepare text food=data/food.parquet kitchen=data/kitchen.parquet --id item_id --text title --out titles.parquet

Encoders: wordllama (256 numbers, fast), minilm (384 numbers; both are installed with their weights), or the name of a
model of Hugging Face. The texts of several columns are joined; a row without any text gets no vector. After a kill the
same command continues, and texts that the file has already are not encoded again.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from hrec.datasets import encoding
from hrec.datasets.sheets import Sheet, read_sheet
from hrec.datasets.tables import typed
from hrec.prepare.base import PrepareError
from hrec.prepare.encoders import text_encoder
from hrec.prepare.vectors import Contents, digest, in_kinds, run

BETWEEN = ". "
"""Between the texts of several columns."""


def contents(files: Sequence[str], ids: str, columns: Sequence[str], kind: str | None = None) -> Contents:
    """The rows that have a text. Raises DataError and PrepareError, which name file and row."""
    tables = in_kinds(files, "FILE")
    if kind and tables[0][0] is not None:
        raise PrepareError(f"--kind {kind} and {files[0]} both give the kind: leave one out.")
    found: list[tuple[str, str, str | None]] = []
    for given, path in tables:
        found += _rows(path, given, ids, columns, kind)
    with_kinds = kind is not None or tables[0][0] is not None
    return Contents(
        [name for name, _, _ in found],
        [text for _, text, _ in found],
        [digest(text.encode()) for _, text, _ in found],
        [str(of) for _, _, of in found] if with_kinds else None,
    )


def _rows(
    path: Path, given: str | None, ids: str, columns: Sequence[str], kind: str | None
) -> list[tuple[str, str, str | None]]:
    """(id, text, kind) of each row with a text; how many have none is printed."""
    wanted = [ids, *columns, *([kind] if kind else [])]
    sheet = read_sheet(path, "the name of the file", wanted.__contains__, print)
    for name in wanted:
        sheet.column(name, "Correct --id, --text or --kind.")
    names = _names(sheet, ids)
    kinds = _names(sheet, kind) if kind else [given] * len(sheet)
    cells = zip(*(sheet.cells[column].to_pylist() for column in columns), strict=True)
    texts = [BETWEEN.join(filter(None, map(as_text, row))) for row in cells]
    rows = [row for row in zip(names, texts, kinds, strict=True) if row[1]]
    if len(rows) < len(sheet):
        print(f"{path}: {len(sheet) - len(rows):,} of {len(sheet):,} rows have no text and get no vector")
    return rows


def _names(sheet: Sheet, column: str) -> list[str]:
    names = typed(sheet, column, encoding.as_names)
    if names.null_count:
        row = names.is_null().to_pylist().index(True)
        raise PrepareError(f"{sheet.where(row, column)}: is empty. Give it, or leave the row out.")
    return names.to_pylist()


def as_text(cell: Any) -> str:
    """A cell as text: a list joined with commas, '' if there is none."""
    if isinstance(cell, list):
        return ", ".join(filter(None, map(as_text, cell)))
    return "" if cell is None else str(cell).strip()


def options(description: str | None, prog: str | None) -> argparse.ArgumentParser:
    """The options of all encoders."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog, description=description, formatter_class=form, allow_abbrev=False)
    parser.add_argument("--out", type=Path, required=True, help="the file of vectors (.parquet)")
    parser.add_argument("--batch", type=int, default=64, help="how many are encoded at a time (%(default)s)")
    parser.add_argument("--force", action="store_true", help="replace a file that was made otherwise")
    return parser


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    parser = options(__doc__, prog)
    parser.add_argument("files", nargs="+", metavar="FILE", help="a table, or KIND=FILE for each of several")
    parser.add_argument("--id", required=True, metavar="COLUMN", help="the column of ids")
    parser.add_argument("--text", required=True, nargs="+", metavar="COLUMN", help="the columns of texts")
    parser.add_argument("--kind", metavar="COLUMN", help="the column that holds the kind of each item")
    parser.add_argument("--encoder", default="wordllama", metavar="NAME", help="(%(default)s)")
    args = parser.parse_args(argv)
    return run(args, partial(contents, args.files, args.id, args.text, args.kind), text_encoder)
