"""A file of user ids, and the names of columns that such a file and a file of lists share."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pyarrow as pa

from hrec.datasets import encoding, quotes, textfiles
from hrec.datasets.problems import DataError, require_file
from hrec.datasets.sheets import DELIMITERS, Sheet, ending, is_atomic, read_bytes, read_sheet
from hrec.datasets.tables import typed
from hrec.inference.ids import ids_of
from hrec.inference.trained import Trained
from hrec.settings import DataSettings

SETTING = "--users-from"
LISTED = "user"
"""The column of user ids in the lists of ``recommend``."""


def with_names_of_data(lists: pa.Table, settings: DataSettings) -> pa.Table:
    """The lists of ``recommend`` with the run's names for the columns of user and item ids."""
    names = {LISTED: settings.USER_ID_FIELD, "item": settings.ITEM_ID_FIELD}
    return lists.rename_columns([names.get(name, name) for name in lists.column_names])


def ids_from(path: Path, trained: Trained, log: Callable[[str], None] = lambda line: None) -> list[str]:
    """User ids from the lines of a .txt file, or from a table: its column of user ids, or its only one.

    The header of a text file with one column may be missing; ``log`` gets a line if that is unclear. Raises DataError
    for a file that cannot be read, or has no such column or no id.
    """
    require_file(path, SETTING)
    name = trained.config.run.data.USER_ID_FIELD
    if path.suffix.lower() == ".txt":
        ids = _without_header(path, _lines(path), trained, log)
    elif ending(path) in DELIMITERS and not is_atomic(path):
        header, ids = _header_and_ids(path, trained.config.run.data)
        ids = ids if header in (name, LISTED) else _first_or_header(path, header, ids, trained, log)
    else:
        ids = _column(read_sheet(path, SETTING, lambda name: True), trained.config.run.data)[1]
    if not ids:
        raise DataError(f"{path}: holds no user id. Write one id on each line, below the header '{name}' in a table.")
    return ids


def _lines(path: Path) -> list[str]:
    """The lines that are not blank."""
    try:
        lines = textfiles.text_of(path.read_bytes()).removeprefix("\ufeff").splitlines()
    except ValueError as error:
        raise DataError(f"{path}{error}") from None
    return [line.strip() for line in lines if line.strip()]


def _without_header(path: Path, lines: list[str], trained: Trained, log: Callable[[str], None]) -> list[str]:
    """The lines below the header, if there is one; the id of a user is none."""
    if not lines or lines[0] not in (trained.config.run.data.USER_ID_FIELD, LISTED):
        return lines
    if _is_known(lines[0], trained):
        log(f"{path}, line 1: '{lines[0]}' is read as the id of a user, not as the header")
        return lines
    return lines[1:]


def _header_and_ids(path: Path, settings: DataSettings) -> tuple[str, list[str]]:
    """The header of the column of user ids, and the cells below it."""
    data, delimiter = read_bytes(path), DELIMITERS[ending(path)]
    if (line := quotes.find(data, delimiter).unclosed) is not None:
        raise DataError(f"{path}{textfiles.unclosed(line)}")
    records = textfiles.records(data, delimiter, quoted=True)
    first = [cells for _, cells in islice(records, 2)]
    if len(first) == 1 and len(first[0]) == 1:  # not a table, but it may be one id
        return first[0][0].strip(), []
    return _column(read_sheet(path, SETTING, lambda name: True), settings)


def _column(sheet: Sheet, settings: DataSettings) -> tuple[str, list[str]]:
    """The name and the ids of the column of user ids.

    It has the name of the run's data, or that in the lists of ``recommend``, or is the only column.
    """
    names = [name for name in (settings.USER_ID_FIELD, LISTED) if name in sheet.cells]
    name = (names or [sheet.header[0] if len(sheet.header) == 1 else settings.USER_ID_FIELD])[0]
    sheet.column(name, "Name the column of user ids so; without a header the first line counts as one.")
    return name, typed(sheet, name, encoding.as_names).drop_null().to_pylist()


def _first_or_header(
    path: Path, header: str, ids: list[str], trained: Trained, log: Callable[[str], None]
) -> list[str]:
    """The ids of a file with an unknown header. If it is the id of a user, or the only line, it is one of them."""
    name = trained.config.run.data.USER_ID_FIELD
    if not ids or _is_known(header, trained):
        log(f"{path}, line 1: not the header '{name}', so '{header}' is read as the id of a user")
        return [header, *ids]
    log(f"{path}, line 1: '{header}' is read as the header; if it is the id of a user, add the header '{name}'")
    return ids


def _is_known(text: str, trained: Trained) -> bool:
    """Whether it is the id of a user of the run."""
    return encoding.as_names(pa.array([text]))[0].as_py() in ids_of(trained.data.users)
