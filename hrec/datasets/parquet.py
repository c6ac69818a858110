"""A parquet file, or a folder of parts that are one table -> Arrow table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq

from hrec.datasets.problems import DataError

PARQUET = {".parquet", ".pq"}
NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
"""What Hive and Spark write in the name of a folder for a missing value."""


class Part(NamedTuple):
    """One file of a table: its name for messages, and its number of rows."""

    name: str
    rows: int


def parts_of(folder: Path) -> list[Path]:
    """The parquet files in a folder and those below, in the order of their names; hidden ones and _SUCCESS are none."""
    files = (path for path in folder.rglob("*") if path.suffix.lower() in PARQUET and path.is_file())
    return sorted(
        path for path in files if not any(part.startswith((".", "_")) for part in path.relative_to(folder).parts)
    )


def read_parts(folder: Path, wanted: Callable[[str], bool], setting: str) -> tuple[pa.Table, list[str], list[Part]]:
    """(the wanted columns of all parts, one below the other; the names of all columns; the parts).

    A folder called ``kind=book`` is a column ``kind`` of the parts in it. Raises DataError: no part, parts with
    different columns or types.
    """
    paths = parts_of(folder)
    if not paths:
        raise DataError(
            f"{folder}: is a folder without a parquet file, not a file. Correct {setting}: it names one file, or a "
            "folder of parquet files that are one table."
        )
    tables, header = [], None
    for path in paths:
        keys = _keys(path.relative_to(folder))
        table, names = read_one(path, path, wanted)
        names = [*names, *keys]
        header = header or names
        _require_same_columns(path, names, paths[0], header)
        for name, value in keys.items():
            if wanted(name):
                table = table.append_column(name, pa.array([value], pa.string()).take(pa.array([0] * len(table))))
        tables.append(table.select([name for name in header if wanted(name)]))
    parts = [Part(path.relative_to(folder).as_posix(), len(table)) for path, table in zip(paths, tables, strict=True)]
    return _below_each_other(paths, tables), header or [], parts


def read_one(path: Path, source: object, wanted: Callable[[str], bool]) -> tuple[pa.Table, list[str]]:
    """(the wanted columns, the names of all) of one file; ``source`` is the path, or what to read in its place."""
    try:
        with pq.ParquetFile(source, memory_map=isinstance(source, Path)) as file:
            names = file.schema_arrow.names
            twice = [name for name in names if names.count(name) > 1 and wanted(name)]
            if not twice:
                return file.read(columns=[name for name in names if wanted(name)]), names
    except (pa.ArrowException, OSError) as error:
        first = str(error).splitlines()[0]
        raise DataError(
            f"{path}: not a readable parquet file ({first}). Is it cut off? Make or fetch it again."
        ) from None
    raise DataError(f"{path}: two columns are called '{twice[0]}'. Rename one.")


def _keys(path: Path) -> dict[str, str | None]:
    """The columns that the names of a part's folders say: type=book/0.parquet -> {"type": "book"}."""
    pairs = (folder.partition("=") for folder in path.parts[:-1] if "=" in folder)
    return {unquote(name): None if value == NO_VALUE else unquote(value) for name, _, value in pairs}


def _require_same_columns(path: Path, names: list[str], first: Path, header: list[str]) -> None:
    for name in sorted(set(names) ^ set(header)):
        has, lacks = (path, first) if name in names else (first, path)
        raise DataError(
            f"{lacks}: no column '{name}', which {has} has. The parquet files of a folder are one table: give them the "
            "same columns, or take out what is not of it."
        )


def _below_each_other(paths: list[Path], tables: list[pa.Table]) -> pa.Table:
    try:
        return pa.concat_tables([table.replace_schema_metadata() for table in tables], promote_options="permissive")
    except pa.ArrowException:
        return _raise_types(paths, tables)


def _raise_types(paths: list[Path], tables: list[pa.Table]) -> pa.Table:
    """Raises DataError about the first part whose types do not go with those before it."""
    for place in range(1, len(tables)):
        for name in tables[0].column_names:
            one, other = (table.schema.field(name).type for table in (tables[0], tables[place]))
            try:
                pa.unify_schemas([pa.schema([(name, one)]), pa.schema([(name, other)])], promote_options="permissive")
            except pa.ArrowException:
                raise DataError(
                    f"{paths[place]}, column '{name}': is {other}, but {one} in {paths[0]}. The parquet files of a "
                    "folder are one table: give the column one type."
                ) from None
    raise DataError(f"{paths[0].parent}: its parquet files have columns of different types. Give them the same.")
