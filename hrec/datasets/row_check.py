"""Which rows of a file can be used, and what becomes of the others."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hrec.datasets.problems import DataError, Log, plural
from hrec.datasets.sheets import Sheet


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
