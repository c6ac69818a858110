"""What is said when data cannot be used: one message with file, place and remedy."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hrec.config import did_you_mean
from hrec.endings import Refusal

if TYPE_CHECKING:
    from hrec.datasets.sheets import Sheet

Log = Callable[[str], None]

MAKERS = {
    "amazon": "amazon",
    "amazon-2kinds": "amazon --min-kinds 2",
    "citeulike": "citeulike",
    "douban-ga": "douban",
    "epinions": "epinions",
    "movielens": "movielens",
}
"""Folder that a config in configs/data/ reads -> the words after ``hrec prepare`` that make it."""


class DataError(Refusal, ValueError):
    """Data that cannot be used; the message names the file, the place in it and what to do."""


class RowCheck:
    """Which rows of one file can be used: ``good`` bool[n].

    A row that cannot be used stops the reading, or with ``drop`` is left out and counted in the log. So does a cell,
    which is left empty in place of its row being left out.
    """

    def __init__(self, sheet: Sheet, drop: bool, log: Log) -> None:
        self.sheet, self.drop, self.log = sheet, drop, log
        self.good = np.ones(len(sheet), bool)

    def refuse(self, bad: np.ndarray, column: str, why: str, remedy: str = "Correct the file") -> None:
        """Deal with the rows where ``bad`` bool[n]; ``why`` goes on after the cell's value: 'abc' <is not a number>.

        Raises DataError about the first of them, unless rows are dropped.
        """
        what = self._stop_at(bad, column, why, f"{remedy}, or set data.drop_bad_rows=true to leave such rows out.")
        if what:
            self.leave_out(bad, what)

    def empty(self, bad: np.ndarray, column: str, why: str, remedy: str = "Correct the file") -> None:
        """The same for cells without which the row can be used: where rows are dropped, these cells become null."""
        remedy += ", name the text in data.missing_values if it means that there is no value"
        what = self._stop_at(bad, column, why, f"{remedy}, or set data.drop_bad_rows=true to leave such cells empty.")
        if what:
            self.log(f"left {plural(int(np.count_nonzero(bad & self.good)), 'cell')} empty, the first is {what}")
            cells = self.sheet.cells[column]
            kept = pc.if_else(pa.array(bad), pa.scalar(None, cells.type), cells)
            self.sheet = self.sheet.with_cells(column, kept)

    def _stop_at(self, bad: np.ndarray, column: str, why: str, remedy: str) -> str:
        """What is wrong with the first of the bad rows, '' if there is none. Raises DataError unless rows are
        dropped."""
        bad = bad & self.good
        count = int(np.count_nonzero(bad))
        if not count:
            return ""
        first = int(bad.argmax())
        what = f"{self.sheet.where(first, column)}: {self.sheet.show(first, column)} {why}"
        if not self.drop:
            more = f" ({count:,} rows like it)" if count > 1 else ""
            raise DataError(f"{what}{more}. {remedy}")
        return what

    def leave_out(self, bad: np.ndarray, first: str) -> None:
        """Drop the rows where ``bad`` bool[n]; ``first`` describes the first of them in the log."""
        bad = bad & self.good
        if bad.any():
            self.log(f"left out {plural(int(bad.sum()), 'row')}, the first is {first}")
            self.good &= ~bad

    def rows(self) -> Sheet:
        """The rows that can be used. Raises DataError when none is left."""
        if not self.good.any():
            raise DataError(f"{self.sheet.path}: no row can be used, all {len(self.good):,} were left out.")
        return self.sheet.take(self.good)


def plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def require_file(path: Path, setting: str) -> None:
    """Raises DataError, with the nearest name in the folder, if there is no such file."""
    if path.is_file():
        return
    if path.is_dir():
        raise DataError(f"{path}: is a folder, not a file. Correct {setting}.")
    if path.exists():
        raise DataError(
            f"{path}: is a pipe or a device, which cannot be read twice. Write its content to a file, and name that in "
            f"{setting}."
        )
    folder = path.parent
    if not folder.is_dir():
        raise DataError(
            f"{path}: no such file; the folder {folder} is not there either. {_maker_of(folder)} "
            f"{setting}{_from(path)}."
        )
    names = sorted(p.name for p in folder.iterdir() if p.is_file())
    raise DataError(f"{path}: no such file.{did_you_mean(path.name, names)} Correct {setting}{_from(path)}.")


def _maker_of(folder: Path) -> str:
    """What to do where the folder is one that hrec prepare makes: most likely it was not run."""
    command = MAKERS.get(folder.name)
    return f"Make it with python -m hrec prepare {command} (data/README.md), or correct" if command else "Correct"


def _from(path: Path) -> str:
    """Where a relative path starts, which may be what is wrong."""
    return "" if path.is_absolute() else f", or run in another folder: paths start in {Path.cwd()}"


def missing_column(path: Path, line: str, name: str, known: Iterable[str], remedy: str) -> DataError:
    """The error for a column that a file lacks, with the nearest name and the list of those there are."""
    known = list(known)
    listed = ", ".join(known[:30]) + (", ..." if len(known) > 30 else "")
    return DataError(f"{path}{line}: no column '{name}'.{did_you_mean(name, known)} Columns: {listed}. {remedy}")
