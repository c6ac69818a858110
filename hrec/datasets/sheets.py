"""One file of rows and columns -> Sheet: CSV, TSV, parquet, and RecBole's atomic files (.inter, .user, .item).

Text files may end in .gz or .xz as well. Cells stay as they are in the file; hrec/datasets/encoding.py types them.
"""

from __future__ import annotations

import gzip
import lzma
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv as pa_csv

from hrec.datasets import encoding, textfiles
from hrec.datasets.problems import DataError, missing_column, require_file

DELIMITERS = {".csv": ",", ".tsv": "\t", ".inter": "\t", ".user": "\t", ".item": "\t"}
ATOMIC = {".inter", ".user", ".item"}
ATOMIC_TYPES = ("token", "token_seq", "float", "float_seq")
PARQUET = {".parquet", ".pq"}
COMPRESSED: Mapping[str, Callable] = {".gz": gzip.open, ".xz": lzma.open}
BLOCK = 1 << 24  # bytes parsed at a time; a row must fit in


@dataclass(frozen=True, eq=False)
class Sheet:
    """Some rows of one file, and the columns of it that were asked for.

    cells: name -> Arrow array of length n. row: int64[n], where each row stands in the file, the first of data being 0.
    header: every column of the file. types: name -> type where the header says it (atomic files).
    file_rows: number of rows in the file.
    """

    path: Path
    cells: Mapping[str, pa.Array]
    row: np.ndarray
    header: tuple[str, ...]
    file_rows: int
    types: Mapping[str, str] = field(default_factory=dict)

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

    def where(self, row: int, column: str) -> str:
        """File, line as a person counts (the header is line 1) and column of a cell."""
        return f"{self.path}, {self.place(row)}, column '{column}'"

    def place(self, row: int) -> str:
        """'line 17' of a text file, 'row 16' of a parquet file."""
        return _place(self.path, int(self.row[row]))

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


def read_sheet(path: Path, setting: str, wanted: Callable[[str], bool]) -> Sheet:
    """Read the columns of a file for which ``wanted(name)`` is true; ``setting`` is the key that named the file.

    Raises DataError: no such file, an unknown ending, unreadable, empty, ragged rows, not UTF-8, a column named twice.
    """
    require_file(path, setting)
    kind = ending(path)
    if kind not in PARQUET and kind not in DELIMITERS:
        known = ", ".join([*DELIMITERS, *sorted(PARQUET)])
        raise DataError(f"{path}: the ending tells no format. Known endings: {known}, and .gz or .xz after them.")
    sheet = _read_parquet(path, wanted) if kind in PARQUET else _read_text(path, kind, wanted)
    if not len(sheet):
        raise DataError(f"{path}: has columns but no rows. Fill it, or correct {setting}.")
    return sheet


def as_sheet(table: pa.Table, name: str) -> Sheet:
    """Rows in memory, as if they came from a parquet file of this name. Raises DataError where there are none."""
    path, names = Path(f"{name}.parquet"), table.column_names
    if not len(table):
        raise DataError(f"{name}: has no rows.")
    return _sheet(path, table, {one: one for one in names}, tuple(names), {})


def ending(path: Path) -> str:
    """The ending that tells the format, lower case, without .gz or .xz."""
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


def _read_text(path: Path, kind: str, wanted: Callable[[str], bool]) -> Sheet:
    data = read_bytes(path)
    delimiter, quoted = DELIMITERS[kind], kind not in ATOMIC  # RecBole writes its files without quotation marks
    records = textfiles.records(data, delimiter, quoted)
    _, titles = next(records, (1, []))
    if not titles:
        raise DataError(f"{path}: the file is empty. It should hold a header line and rows.")
    if any("\ufffd" in title for title in titles):
        raise DataError(f"{path}{textfiles.diagnose(data, delimiter, quoted, 'the header is unreadable')}")
    types = _atomic_types(path, titles) if kind in ATOMIC else {}
    names = list(types) if types else titles
    _require_single(path, names, wanted)
    chosen = {title: name for title, name in zip(titles, names, strict=True) if wanted(name)}
    if next(records, None) is None and not (
        quoted and textfiles.unclosed_quote(data, delimiter)
    ):  # the parser refuses a header without a line after it
        return _sheet(
            path, pa.table({title: pa.array([], pa.string()) for title in chosen}), chosen, tuple(names), types
        )
    try:
        table = _parse(data, delimiter, quoted, titles, list(chosen))
    except pa.ArrowException as error:
        raise DataError(f"{path}{textfiles.diagnose(data, delimiter, quoted, str(error))}") from None
    if quoted and (line := textfiles.unclosed_quote(data, delimiter)):
        raise DataError(f"{path}{textfiles.unclosed(line)}")
    return _sheet(path, table, chosen, tuple(names), types)


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


def _read_parquet(path: Path, wanted: Callable[[str], bool]) -> Sheet:
    try:
        packed = path.suffix.lower() in COMPRESSED
        file = pq.ParquetFile(pa.BufferReader(read_bytes(path)) if packed else path, memory_map=not packed)
        names = file.schema_arrow.names
        _require_single(path, names, wanted)
        table = file.read(columns=[name for name in names if wanted(name)])
    except (pa.ArrowException, OSError) as error:
        first = str(error).splitlines()[0]
        raise DataError(
            f"{path}: not a readable parquet file ({first}). Is it cut off? Make or fetch it again."
        ) from None
    return _sheet(path, table, {name: name for name in table.column_names}, tuple(names), {})


def _sheet(path: Path, table: pa.Table, names: dict[str, str], header: tuple[str, ...], types: dict[str, str]) -> Sheet:
    cells = {name: _one_array(table[title]) for title, name in names.items()}
    return Sheet(path, cells, np.arange(table.num_rows), header, table.num_rows, types)


def _one_array(column: pa.ChunkedArray) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return encoding.without_extension(column.combine_chunks())


def header_place(path: Path) -> str:
    """Where the names of the columns stand, for a message."""
    return "" if ending(path) in PARQUET else ", line 1"


def _place(path: Path, row: int) -> str:
    """'line 17' of a text file, found by reading it again: only messages need it. 'row 16' of a parquet file."""
    kind = ending(path)
    if kind in PARQUET:
        return f"row {row + 1}"
    return f"line {textfiles.line_of(read_bytes(path), DELIMITERS[kind], kind not in ATOMIC, row)}"
