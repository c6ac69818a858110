"""One file of rows and columns -> Sheet: CSV, TSV, parquet, and RecBole's atomic files (.inter, .user, .item, .kg,
.link).

A folder of parquet files is one file. Text files may end in .gz or .xz as well. Cells stay as they are in the file;
hrec/datasets/encoding.py types them.
"""

from __future__ import annotations

import gzip
import lzma
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as pa_csv

from hrec.datasets import encoding, headers, quotes, textfiles
from hrec.datasets.parquet import PARQUET, Part, parts_of, read_one, read_parts
from hrec.datasets.problems import DataError, Log, missing_column, plural, require_file

ATOMIC = (".inter", ".user", ".item", ".kg", ".link")
DELIMITERS = {".csv": ",", ".tsv": "\t"} | dict.fromkeys(ATOMIC, "\t")
NO_TYPES: Mapping[str, str] = {}
ATOMIC_TYPES = ("token", "token_seq", "float", "float_seq")
COMPRESSED: Mapping[str, Callable] = {".gz": gzip.open, ".xz": lzma.open}
BLOCK = 1 << 24  # bytes parsed at a time; a row must fit in


@dataclass(frozen=True, eq=False)
class Sheet:
    """Some rows of one file, and the columns of it that were asked for.

    cells: name -> Arrow array of length n. row: int64[n], where each row is in the file, the first of data being 0.
    header: every column of the file. types: name -> type where the header says it (atomic files).
    file_rows: number of rows in the file. quoted: of a text file, whether quotation marks hold cells together.
    parts: of a folder, its files. missing: texts that mean no value; cells that hold one are null.
    """

    path: Path
    cells: Mapping[str, pa.Array]
    row: np.ndarray
    header: tuple[str, ...]
    file_rows: int
    types: Mapping[str, str] = field(default_factory=dict)
    quoted: bool = True
    parts: tuple[Part, ...] = ()
    missing: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.row)

    def take(self, mask: np.ndarray) -> Sheet:
        """The rows where ``mask`` bool[n] is true."""
        if mask.all():
            return self
        keep = pa.array(mask)
        cells = {name: cell.filter(keep) for name, cell in self.cells.items()}
        return replace(self, cells=cells, row=self.row[mask])

    def with_cells(self, name: str, cells: pa.Array) -> Sheet:
        """The same rows with other cells in one column."""
        return replace(self, cells={**self.cells, name: cells})

    def without(self, missing: Sequence[str]) -> Sheet:
        """The same rows, where cells that hold one of these texts, or the number that it is, are null."""
        if not missing:
            return self
        cells = {
            name: pc.if_else(encoding.means_nothing(column, missing), pa.scalar(None, column.type), column)
            for name, column in self.cells.items()
        }
        return replace(self, cells=cells, missing=tuple(missing))

    def where(self, row: int, column: str) -> str:
        """File, line as a person counts (the header is line 1) and column of a cell."""
        return f"{self.path}, {self.place(row)}, column '{column}'"

    def place(self, row: int) -> str:
        """'line 17' of a text file, found by reading it again: only messages need it. 'row 16' of a parquet file."""
        at = int(self.row[row])
        for part in self.parts:
            if at < part.rows:
                return f"row {at + 1} of {part.name}"
            at -= part.rows
        if is_parquet(self.path):
            return f"row {at + 1}"
        data, delimiter = _text_of(self.path), DELIMITERS[ending(self.path)]
        return f"line {textfiles.line_of(data, delimiter, self.quoted, at)}"

    def show(self, row: int, column: str) -> str:
        """A cell for a message."""
        value = self.cells[column][row].as_py()
        text = repr(value)
        return "an empty cell" if value in (None, "") else text if len(text) < 60 else text[:57] + "..."

    def column(self, name: str, remedy: str) -> pa.Array:
        """The cells of one column. Raises DataError with the nearest name where the file lacks it."""
        if name not in self.cells:
            raise missing_column(self.path, header_place(self.path), name, self.header, remedy)
        return self.cells[name]


def read_sheet(
    path: Path,
    setting: str,
    wanted: Callable[[str], bool],
    log: Log = lambda line: None,
    missing: Sequence[str] = (),
) -> Sheet:
    """Read the columns of a file for which ``wanted(name)`` is true; ``setting`` is the key that named the file.

    missing: texts that mean no value. What is odd about the file, but can be read, goes to ``log``.
    Raises DataError: no such file, an unknown ending, unreadable, empty, ragged rows, not UTF-8, a column named twice,
    quotation marks that join rows, a header of other columns in the middle.
    """
    if path.is_dir():
        table, names, parts = read_parts(path, wanted, setting)
        sheet = replace(_sheet(path, table, {name: name for name in table.column_names}, names), parts=tuple(parts))
    else:
        require_file(path, setting)
        sheet = _read_file(path, wanted, log)
    sheet = _without_headers(sheet, log)
    if not len(sheet):
        raise DataError(f"{path}: has columns but no rows. Fill it, or correct {setting}.")
    return sheet.without(missing)


def _read_file(path: Path, wanted: Callable[[str], bool], log: Log) -> Sheet:
    kind = ending(path)
    if kind in PARQUET:
        packed = path.suffix.lower() in COMPRESSED
        table, names = read_one(path, pa.BufferReader(read_bytes(path)) if packed else path, wanted)
        return _sheet(path, table, {name: name for name in table.column_names}, names)
    if kind not in DELIMITERS:
        known = ", ".join([*DELIMITERS, *sorted(PARQUET)])
        raise DataError(f"{path}: the ending names no format. Known endings: {known}, and .gz or .xz after them.")
    return _read_text(path, kind, wanted, log)


def _without_headers(sheet: Sheet, log: Log) -> Sheet:
    """The rows without those that repeat the header, as files do that were joined end to end. Raises DataError where
    such a row has other columns, or has them in another order: the rows below it would be read wrongly."""
    titles = {name: f"{name}:{sheet.types[name]}" if sheet.types else name for name in sheet.header}
    again, other = headers.repeated_headers(sheet.cells, titles, list(titles.values()))
    if other.any():
        row = int(other.argmax())
        raise DataError(
            f"{sheet.path}, {sheet.place(row)}: a second header, whose columns are not those of the first in their "
            "order. Files that are joined end to end need the same columns: join them by the columns' names."
        )
    if not again.any():
        return sheet
    rows = plural(int(again.sum()), "row")
    log(f"warning: {sheet.path}, {sheet.place(int(again.argmax()))}: the header stands here again; {rows} left out")
    return sheet.take(~again)


def as_sheet(table: pa.Table, name: str) -> Sheet:
    """Rows in memory, as if they came from a parquet file of this name. Raises DataError if there are none."""
    path, names = Path(f"{name}.parquet"), table.column_names
    if not len(table):
        raise DataError(f"{name}: has no rows.")
    return _sheet(path, table, {one: one for one in names}, names)


def ending(path: Path) -> str:
    """The ending that names the format, lower case, without .gz or .xz."""
    return Path(path.stem if path.suffix.lower() in COMPRESSED else path.name).suffix.lower()


def is_atomic(path: str | Path) -> bool:
    return ending(Path(path)) in ATOMIC


def read_bytes(path: Path) -> bytes:
    """The content, decompressed by ending. Raises DataError where the file is damaged or may not be read."""
    opener: Callable = COMPRESSED.get(path.suffix.lower(), open)
    try:
        with opener(path, "rb") as file:
            return file.read()
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read ({error}). Is it cut off? Fetch or make the file again.") from None


def _text_of(path: Path) -> bytes:
    return headers.without_byte_order_marks(read_bytes(path))


def _read_text(path: Path, kind: str, wanted: Callable[[str], bool], log: Log) -> Sheet:
    data, delimiter = _text_of(path), DELIMITERS[kind]
    # RecBole writes its files without quotation marks
    quoted = kind not in ATOMIC and quotes.hold_cells(path, data, delimiter, log)
    by_line = kind not in ATOMIC and not quoted
    records = textfiles.records(data, delimiter, quoted)
    _, titles = next(records, (1, []))
    if not titles:
        raise DataError(f"{path}: the file is empty. It should hold a header line and rows.")
    if any("\ufffd" in title for title in titles):
        raise DataError(f"{path}{textfiles.diagnose(data, delimiter, quoted, 'the header is unreadable')}")
    types = _atomic_types(path, titles) if kind in ATOMIC else {}
    names = list(types) if types else quotes.without_in(titles) if by_line else titles
    _require_single(path, names, wanted)
    chosen = {title: name for title, name in zip(titles, names, strict=True) if wanted(name)}
    if next(records, None) is None:  # the parser refuses a header without a line after it
        table = pa.table({title: pa.array([], pa.string()) for title in chosen})
        return _sheet(path, table, chosen, names, types)
    try:
        table = _parse(data, delimiter, quoted, titles, list(chosen))
    except pa.ArrowException as error:
        raise DataError(f"{path}{textfiles.diagnose(data, delimiter, quoted, str(error))}") from None
    sheet = replace(_sheet(path, table, chosen, names, types), quoted=quoted)
    return replace(sheet, cells={name: quotes.without(c) for name, c in sheet.cells.items()}) if by_line else sheet


def _parse(data: bytes, delimiter: str, quoted: bool, titles: list[str], chosen: list[str]) -> pa.Table:
    """The chosen columns as text. Raises pyarrow.ArrowException."""
    return pa_csv.read_csv(
        pa.BufferReader(data),
        # a thread that is still starting when a process ends after a mistake in a small file would abort it
        pa_csv.ReadOptions(block_size=BLOCK, use_threads=len(data) > BLOCK),
        pa_csv.ParseOptions(
            delimiter=delimiter,
            quote_char='"' if quoted else False,
            newlines_in_values=quoted and b'"' in data,  # slower, so only where there may be any
        ),
        pa_csv.ConvertOptions(
            column_types=dict.fromkeys(titles, pa.string()),
            include_columns=chosen or titles[:1],  # none would mean all of them
        ),
    )


def _atomic_types(path: Path, titles: list[str]) -> dict[str, str]:
    """``name:type`` for each column -> name: type, in the file's order."""
    types: dict[str, str] = {}
    for title in titles:
        name, _, kind = title.rpartition(":")
        if not name or kind not in ATOMIC_TYPES:
            raise DataError(
                f"{path}, line 1, column '{title}': an atomic file's header gives each column a type, name:type, with "
                f"type one of {', '.join(ATOMIC_TYPES)}. Correct the header (columns are separated by tabs)."
            )
        if name in types:
            raise DataError(f"{path}, line 1: two columns are called '{name}'. Rename one.")
        types[name] = kind
    return types


def _require_single(path: Path, names: list[str], wanted: Callable[[str], bool]) -> None:
    twice = [name for name in names if names.count(name) > 1 and wanted(name)]
    if twice:
        raise DataError(f"{path}{header_place(path)}: two columns are called '{twice[0]}'. Rename one.")


def _sheet(
    path: Path, table: pa.Table, names: Mapping[str, str], header: Sequence[str], types: Mapping[str, str] = NO_TYPES
) -> Sheet:
    cells = {name: _one_array(table[title]) for title, name in names.items()}
    return Sheet(path, cells, np.arange(table.num_rows), tuple(header), table.num_rows, types)


def _one_array(column: pa.ChunkedArray) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return encoding.without_extension(column.combine_chunks())


def header_place(path: Path) -> str:
    """Where the names of the columns stand, for a message."""
    return "" if is_parquet(path) else ", line 1"


def is_parquet(path: Path) -> bool:
    return path.is_dir() or ending(path) in PARQUET


def files_of(path: Path) -> list[Path]:
    """The files that hold the table: the path, or the parts of a folder."""
    return parts_of(path) if path.is_dir() else [path]
