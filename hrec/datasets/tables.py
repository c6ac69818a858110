"""Files of users and of items -> checked rows, and the columns of a Table."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hrec.config import did_you_mean
from hrec.datasets import encoding, printed
from hrec.datasets.columns import Column, Dense, Numeric
from hrec.datasets.encoding import NotText
from hrec.datasets.problems import DataError, Log, missing_column, plural
from hrec.datasets.row_check import RowCheck
from hrec.datasets.sheets import Sheet, header_place, is_atomic
from hrec.datasets.sparse import read_sparse
from hrec.datasets.tokenizing import SPLIT, Tokenizer, join_texts, read_texts
from hrec.datasets.vectors import read_vectors, rows_without_vector
from hrec.settings import DataSettings
from hrec.settings.features import SOURCES

T = TypeVar("T")


@dataclass(frozen=True)
class Field:
    """One column to read: FeatureSettings, or what the header of an atomic file says (``float_seq`` only there).

    lenient: a vector that cannot be read is a missing one.
    """

    name: str
    type: str
    source: str
    separator: str | None = None
    min_count: int = 1
    path: str | None = None
    lenient: bool = False
    tokenizer: str = "words"
    lower: bool = True
    max_length: int | None = None

    @property
    def how_to_split(self) -> Tokenizer:
        return Tokenizer(self.tokenizer, self.separator or " ", self.lower, self.max_length)

    @property
    def setting(self) -> str:
        return f"data.feat.{self.name}"


OF_THEIR_OWN_FILE: Mapping[str, Callable[[Path, Sheet, Field], Column]] = {
    "vector": lambda path, sheet, field: Dense(read_vectors(path, sheet, f"{field.setting}.path", field.lenient)),
    "sparse": lambda path, sheet, field: read_sparse(path, sheet, f"{field.setting}.path"),
}
"""Types of column with a file next to that of their source, one row for each row; how each is read."""


def fields_of(settings: DataSettings, sheets: Mapping[str, Sheet], source: str) -> list[Field]:
    """The columns to read from the user file or the item files (``source`` is user or item; sheets by source or kind).

    Those that data.feat names. Where it names none, all columns of atomic files.
    """
    named = named_columns(settings)
    if not named:
        no_feature = (settings.USER_ID_FIELD,) if source == "user" else (settings.ITEM_ID_FIELD, settings.TYPE_FIELD)
        return [Field(name, kind, source) for name, kind in _header_types(sheets).items() if name not in no_feature]
    out = []
    for name, feat in settings.feat.items():
        if name not in named or feat.by_id or not feat.source.startswith(source):
            continue
        as_in_header = feat.type == "float" and any(sheet.types.get(name) == "float_seq" for sheet in sheets.values())
        kind = "float_seq" if as_in_header else feat.type
        plain = Field(name, kind, feat.source, feat.separator, feat.min_count, feat.path, settings.drop_bad_rows)
        out.append(replace(plain, tokenizer=feat.tokenizer, lower=feat.lower, max_length=feat.max_length))
    return out


def named_columns(settings: DataSettings) -> set[str]:
    """The names in data.feat that are columns: all but the id of a user in the user file, of an item in those of items.

    A user file may have a feature with the name of the item id (a favourite), and an item file one of the user id.
    """
    own = {"user": settings.USER_ID_FIELD}
    return {name for name, feat in settings.feat.items() if name != own.get(feat.source, settings.ITEM_ID_FIELD)}


def _header_types(sheets: Mapping[str, Sheet]) -> dict[str, str]:
    """Name -> type over the headers of atomic files. Raises DataError where two files differ."""
    types: dict[str, tuple[str, Sheet]] = {}
    for sheet in sheets.values():
        for name, kind in sheet.types.items():
            before, other = types.setdefault(name, (kind, sheet))
            if before != kind:
                raise DataError(
                    f"{sheet.path}, line 1, column '{name}': is of type {kind} here and {before} in {other.path}. "
                    f"Make the types the same or rename one column."
                )
    return {name: kind for name, (kind, _) in types.items()}


def readers(
    fields: Sequence[Field], sheets: Mapping[str, Sheet], log: Log, elsewhere: Container[str] = ()
) -> dict[str, list[Field]]:
    """Kind -> the columns to read from its sheet. Raises DataError for a source or a column that is not there.

    elsewhere: names of columns that kinds that are not used have.
    """
    out: dict[str, list[Field]] = {kind: [] for kind in sheets}
    unused = []
    for field in fields:
        if field.source in ("user", "item"):
            kinds = list(sheets)
        elif (kind := field.source.removeprefix("item_")) in sheets:
            kinds = [kind]
        else:
            unused.append(field.name)
            continue
        if field.type not in OF_THEIR_OWN_FILE:
            kinds = [kind for kind in kinds if field.name in sheets[kind].header]
            if not kinds and field.source == "item" and field.name in elsewhere:
                unused.append(field.name)
            elif not kinds:
                raise _no_column(field, sheets)
        elif len({sheets[kind].path for kind in kinds}) > 1:
            raise DataError(
                f"{field.setting}: its vectors are the rows of one file, but source 'item' stands for several. "
                f"Set source to one of {', '.join(f'item_{kind}' for kind in kinds)}."
            )
        for kind in kinds:
            out[kind].append(field)
    if unused:
        log(f"columns of kinds that are not used are not read: {', '.join(unused)}")
    return out


def _no_column(field: Field, sheets: Mapping[str, Sheet]) -> DataError:
    kind = field.source.removeprefix("item_")
    sheet = sheets.get(kind, _first(sheets))
    header = sheet.header if kind in sheets else tuple(dict.fromkeys(n for s in sheets.values() for n in s.header))
    others = "" if kind in sheets or len({s.path for s in sheets.values()}) == 1 else "; no other item file has it"
    remedy = f"Correct {field.setting} or its source, or add the column{others}."
    return missing_column(sheet.path, header_place(sheet.path), field.name, header, remedy)


def refuse_columns(settings: DataSettings, source: str, setting: str) -> None:
    """Raises DataError where data.feat names a column of users (or items), whose file ``setting`` does not name.

    Vectors joined by id need no such file.
    """
    for name in sorted(named_columns(settings)):
        if settings.feat[name].source.startswith(source) and not settings.feat[name].by_id:
            raise DataError(f"data.feat.{name}: its source is the {source} file, but {setting} names none. Give it.")


def require_known_sources(settings: DataSettings, kinds: Sequence[str], log: Log) -> None:
    """Raises DataError where the source of a column is nearly, but not quite, the name of a kind.

    Any other name may be a kind that was taken out of ``data.item_feat_path``: its columns are passed over, with a
    warning.
    """
    for name in named_columns(settings):
        kind = settings.feat[name].source.removeprefix("item_")
        if settings.feat[name].source in SOURCES or kind in kinds:
            continue
        message = f"data.feat.{name}: source 'item_{kind}' names no kind."
        if near := did_you_mean(kind, kinds):
            raise DataError(f"{message}{near} Kinds: {', '.join(kinds)}.")
        log(f"warning: {message} Kinds: {', '.join(kinds)}. The column is not read")


def checked(sheet: Sheet, ids: str, fields: Sequence[Field], drop: bool, log: Log) -> Sheet:
    """The usable rows, with ids as text. Raises DataError, or leaves out rows without an id and those whose id comes
    again, and leaves cells empty that are no number or list where one is due."""
    check = RowCheck(sheet, drop, log)
    text = typed(sheet, ids, encoding.as_names)
    check.refuse(text.is_null().to_numpy(zero_copy_only=False), ids, "is no id")
    again = _but_last(encoding.numbered(text), check.good)
    check.refuse(again, ids, "stands again further down", "Leave one of the rows (dropping keeps the last)")
    check_cells(check, fields, drop)
    rows = check.rows()
    return rows.with_cells(ids, text.filter(pa.array(check.good)))


def check_cells(check: RowCheck, fields: Sequence[Field], drop: bool) -> None:
    """Raises DataError for a cell of these columns that cannot be read; with ``drop`` such cells are left empty."""
    for field in fields:
        if field.type == "float":
            _, bad = typed(check.sheet, field.name, encoding.as_numbers)
            check.empty(bad, field.name, "is not a number")
        elif field.type == "float_seq":
            _read_printed_lists(check, field)
            _check_vectors(check, field)
        elif field.type == "token_seq" or (field.type == "tokens" and field.tokenizer != "words"):
            _read_printed_lists(check, field)  # the tokenizer "words" leaves out brackets and quotation marks
        elif field.type == "token":
            _remark_lists(check, field)
        elif field.type == "vector" and drop:
            _tell_without_vector(check, field)


def typed(sheet: Sheet, column: str, encode: Callable[[pa.Array], T]) -> T:
    """``encode(cells of column)``. Raises DataError where the column holds no such thing."""
    try:
        return encode(sheet.cells[column])
    except NotText as error:
        remedy = "Make it a column of text or whole numbers; lists are read as type token_seq."
        raise DataError(f"{sheet.path}, column '{column}': {error}. {remedy}") from None


def _lists(sheet: Sheet, field: Field) -> tuple[pa.Array, np.ndarray, np.ndarray]:
    """The column as ``encoding.as_lists`` gives it, split as the setting or else the format of the file says."""
    encode = encoding.as_names if field.type == "token_seq" else encoding.as_text
    how = partial(encoding.as_lists, separator=_separator(sheet, field), missing=sheet.missing, encode=encode)
    return typed(sheet, field.name, how)


def _separator(sheet: Sheet, field: Field) -> str:
    if field.type == "tokens":
        return field.how_to_split.separator
    return field.separator or (" " if is_atomic(sheet.path) else "|")


def _but_last(keys: np.ndarray, good: np.ndarray) -> np.ndarray:
    """bool[n]: the good rows whose key comes again in a later good row."""
    out = np.zeros(len(good), bool)
    out[good] = encoding.repeated(keys[good])
    return out


def _read_printed_lists(check: RowCheck, field: Field) -> None:
    """Lists as Python, JSON and others print them become lists, in ``check.sheet``; what is odd goes to the log.

    Raises DataError for those that cannot be read, or leaves their cells empty. In texts they stay text.
    """
    sheet, name, separator = check.sheet, field.name, _separator(check.sheet, field)
    is_text = field.type == "tokens"
    if not encoding.is_text(sheet.cells[name].type):
        return
    text = encoding.as_text(sheet.cells[name])
    found = printed.find(text, separator)
    lists = printed.read(text.filter(pa.array(found)), separator)
    if is_text:
        found[found], lists = lists.is_valid().to_numpy(zero_copy_only=False), lists.drop_null()
    if (left := printed.is_left(text, found) & check.good).any():
        message = f"is not read as a list ({plural(int(left.sum()), 'cell')} like it)"
        remedy = f"write a list as its entries with '{separator}' between them"
        check.log(f"warning: {_at_first(sheet, left, name)} {message}; {remedy}")
    if not found.any():
        return
    bad = found.copy()
    bad[found] = lists.is_null().to_numpy(zero_copy_only=False)
    remedy = f"Write a list as its entries with '{separator}' between them"
    check.empty(bad, name, "is no list of texts or numbers", remedy)
    check.log(f"{plural(int((found & ~bad).sum()), 'cell')} as {_at_first(sheet, found, name)} read as lists")
    place = np.arange(len(text))
    place[found] = len(text) + np.arange(len(lists))
    split = SPLIT[field.tokenizer](text, field.how_to_split) if is_text else pc.split_pattern(text, separator)
    both = pa.concat_arrays([split, lists])
    check.sheet = check.sheet.with_cells(name, both.take(pa.array(place)))


def _remark_lists(check: RowCheck, field: Field) -> None:
    """Say so where the cells of a column of categories hold printed lists."""
    cells = check.sheet.cells[field.name]
    if encoding.is_text(cells.type) and (here := printed.is_quoted(encoding.as_text(cells)) & check.good).any():
        message = f"is read as one category ({plural(int(here.sum()), 'cell')} like it)"
        check.log(f"warning: {_at_first(check.sheet, here, field.name)} {message}; is it a list? Set type token_seq")


def _at_first(sheet: Sheet, rows: np.ndarray, column: str) -> str:
    first = int(rows.argmax())
    return f"{sheet.where(first, column)}: {sheet.show(first, column)}"


def _check_vectors(check: RowCheck, field: Field) -> None:
    """Every row of a float_seq has to hold numbers, as many as the first, or none where the vector is missing."""
    entries, row, length = _lists(check.sheet, field)
    unreadable = np.zeros(len(length), bool)
    unreadable[row[encoding.as_numbers(entries)[1]]] = True
    check.empty(unreadable, field.name, "is not a list of numbers")
    length = np.where(unreadable, 0, length)
    width = int(length[length > 0][0]) if length.any() else 1
    odd = (length != width) & (length > 0)
    check.empty(odd, field.name, f"is not a list of {width} numbers, as the first such cell is")


def _tell_without_vector(check: RowCheck, field: Field) -> None:
    assert field.path is not None
    path = Path(field.path).expanduser()
    bad = rows_without_vector(path, check.sheet, f"{field.setting}.path") & check.good
    if bad.any():
        row, count = int(check.sheet.row[int(bad.argmax())]) + 1, plural(int(bad.sum()), "vector")
        check.log(f"{count} taken for missing, the first is {path}, row {row}: a number is missing or infinite")


def encode_columns(sheets: Mapping[str, Sheet], fields: Mapping[str, Sequence[Field]]) -> dict[str, dict[str, Column]]:
    """Kind -> name -> column. A column that several kinds have under one setting has one vocabulary."""
    out: dict[str, dict[str, Column]] = {kind: {} for kind in sheets}
    for field in dict.fromkeys(field for of_kind in fields.values() for field in of_kind):
        kinds = [kind for kind in sheets if field in fields[kind]]
        for kind, column in zip(kinds, _encode(field, [sheets[kind] for kind in kinds]), strict=True):
            out[kind][field.name] = column
    return out


def _encode(field: Field, sheets: Sequence[Sheet]) -> Sequence[Column]:
    """The same column of several sheets."""
    name = field.name
    if field.type in OF_THEIR_OWN_FILE:
        assert field.path is not None  # FeatureSettings sees to it
        path, read = Path(field.path).expanduser(), OF_THEIR_OWN_FILE[field.type]
        return [read(path, sheet, field) for sheet in sheets]
    if field.type == "float":
        return [Numeric(encoding.as_numbers(sheet.cells[name])[0].astype(np.float32)) for sheet in sheets]
    if field.type == "token":
        return encoding.categorical([typed(sheet, name, encoding.as_names) for sheet in sheets], field.min_count)
    if field.type == "tokens":
        return join_texts([typed(sheet, name, partial(read_texts, how=field.how_to_split)) for sheet in sheets])
    lists = [_lists(sheet, field) for sheet in sheets]
    if field.type == "token_seq":
        return encoding.categorical_lists(lists, field.min_count)
    return [_vectors(*of_sheet) for of_sheet in lists]


def _vectors(entries: pa.Array, row: np.ndarray, length: np.ndarray) -> Dense:
    """Rows without a number are missing: NaN."""
    value = np.full((len(length), max(int(length.max(initial=1)), 1)), np.nan, np.float32)
    value[length > 0] = encoding.as_numbers(entries)[0].reshape(-1, value.shape[1])
    return Dense(value)


def _first(sheets: Mapping[str, Sheet]) -> Sheet:
    return next(iter(sheets.values()))
