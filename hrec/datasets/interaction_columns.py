"""What belongs to the interactions themselves: categories, lists, numbers, texts, and the column that splits them."""

from __future__ import annotations

from hrec.datasets import encoding
from hrec.datasets.columns import Column
from hrec.datasets.problems import Log
from hrec.datasets.row_check import RowCheck
from hrec.datasets.sheets import Sheet
from hrec.datasets.tables import Field, check_cells, encode_columns, fields_of, readers, typed
from hrec.settings import ColumnSplit, DataSettings

SOURCE = "interaction"


def feature_names(settings: DataSettings) -> set[str]:
    """The columns of the file of interactions that data.feat names."""
    return {name for name, feat in settings.feat.items() if feat.source == SOURCE}


def split_column(settings: DataSettings) -> str | None:
    """The column that names the split of each row, or None."""
    return settings.split.column if isinstance(settings.split, ColumnSplit) else None


def checked_fields(check: RowCheck, settings: DataSettings, log: Log) -> list[Field]:
    """The features to read. Raises DataError for a column that is not there and for cells that cannot be read; with
    data.drop_bad_rows such cells are left empty."""
    if not feature_names(settings):
        return []
    sheets = {SOURCE: check.sheet}
    fields = readers(fields_of(settings, sheets, SOURCE), sheets, log)[SOURCE]
    check_cells(check, fields, settings.drop_bad_rows)
    return fields


def encode(sheet: Sheet, fields: list[Field], settings: DataSettings) -> dict[str, Column]:
    """The columns of the interactions that the run needs, row by row as in ``sheet``."""
    columns = encode_columns({SOURCE: sheet}, {SOURCE: fields})[SOURCE]
    name = split_column(settings)
    if name is None:
        return columns
    sheet.column(name, "Correct data.split.column or the header.")
    return {name: encoding.categorical([typed(sheet, name, encoding.as_names)])[0], **columns}
