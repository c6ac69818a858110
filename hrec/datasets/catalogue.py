"""Which kinds of item there are, which of them the run uses, and the raw ids of each."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hrec.config import did_you_mean
from hrec.datasets import encoding
from hrec.datasets.problems import DataError, Log
from hrec.datasets.row_check import RowCheck
from hrec.datasets.sheets import Sheet, read_sheet
from hrec.datasets.tables import Field, checked, fields_of, readers, refuse_columns, require_known_sources, typed
from hrec.settings import DataSettings

ONLY_KIND = "item"


@dataclass(frozen=True, eq=False)
class Catalogue:
    """Items by kind.

    ids: kind -> raw ids as text. The used kinds come first, in the order of ``used``, then those known but not used.
    sheets, fields: kind -> usable rows and the columns to read, for used kinds. Empty if there is no item file.
    closed: An item without a kind is an error; else it may be of a kind that is not used.
    """

    ids: Mapping[str, pa.Array]
    used: tuple[str, ...]
    sheets: Mapping[str, Sheet]
    fields: Mapping[str, list[Field]]
    closed: bool
    files: tuple[Path, ...]

    @property
    def starts(self) -> np.ndarray:
        """Position of each kind's first item, in the order of ``ids``, and the end of the last."""
        return np.cumsum([0, *(len(ids) for ids in self.ids.values())])


def kind_name(text: str) -> str:
    """A kind's name as text: a column of kinds that pandas wrote as 0.0 means 0."""
    return re.sub(r"^(-?\d+)\.0$", r"\1", str(text))


def read_catalogue(settings: DataSettings, interactions: Sheet, wanted: Callable[[str], bool], log: Log) -> Catalogue:
    """Read the item files; without any, the items are those of the interactions. Raises DataError."""
    paths = settings.item_feat_path
    if paths is None:
        refuse_columns(settings, "item", "data.item_feat_path")
        return _from_interactions(settings, interactions, log)
    if isinstance(paths, str):
        path = Path(paths).expanduser()
        sheet, absent = read_sheet(path, "data.item_feat_path", wanted, log, settings.missing_values), list[str]()
        sheets = _split_by_kind(settings, sheet, log)
    else:
        files = {kind_name(k): Path(p).expanduser() for k, p in paths.items()}
        sheets, absent = _read_files(settings, files, wanted, log)
    used = used_kinds(settings, [*sheets, *absent])
    sheets = {kind: sheets[kind] for kind in [*used, *sheets]}
    require_known_sources(settings, [*sheets, *absent], log)
    read = {kind: sheets[kind] for kind in used}
    elsewhere = {name for kind, sheet in sheets.items() if kind not in used for name in sheet.header}
    fields = readers(fields_of(settings, read, "item"), read, log, elsewhere)
    clean = {k: checked(sheets[k], settings.ITEM_ID_FIELD, fields[k], settings.drop_bad_rows, log) for k in used}
    ids = {
        kind: clean[kind].cells[settings.ITEM_ID_FIELD]
        if kind in clean
        else typed(sheet, settings.ITEM_ID_FIELD, encoding.as_names).drop_null().unique()
        for kind, sheet in sheets.items()
    }
    _require_named_type(settings, [interactions, *sheets.values()])
    if absent:
        log(f"the files of {_listed(absent)} are not there: items that are in no other file are taken to be of them")
    return Catalogue(ids, used, clean, fields, not absent, tuple(dict.fromkeys(s.path for s in sheets.values())))


def is_single(settings: DataSettings) -> bool:
    """Whether the run uses one kind alone."""
    return settings.single_type is not None and settings.single is not False


def used_kinds(settings: DataSettings, known: Iterable[str]) -> tuple[str, ...]:
    """The kinds that the run uses, in order. Raises DataError for a name that is no kind."""
    known = list(known)
    if not known:
        raise DataError("there is no kind of item. Correct data.item_feat_path or data.TYPE_FIELD.")
    chosen, setting = [kind_name(k) for k in settings.type] if settings.type else known, "data.type"
    if settings.single_type is not None and settings.single is not False:
        chosen, setting = [kind_name(settings.single_type)], "data.single_type"
    elif settings.single and len(chosen) > 1:
        raise DataError(f"data.single=true needs data.single_type, one of {_listed(chosen)}.")
    for kind in chosen:
        if kind not in known:
            raise DataError(f"{setting}: no kind '{kind}'.{did_you_mean(kind, known)} Kinds: {', '.join(known)}.")
    return tuple(dict.fromkeys(chosen))


def _read_files(
    settings: DataSettings, paths: dict[str, Path], wanted: Callable[[str], bool], log: Log
) -> tuple[dict[str, Sheet], list[str]]:
    """One file per kind -> (sheets, kinds that are not used and whose file is not there)."""
    used = used_kinds(settings, paths)
    absent = [kind for kind, path in paths.items() if kind not in used and not (path.is_file() or path.is_dir())]
    sheets = {}
    for kind, path in paths.items():
        if kind in absent:
            continue
        only_ids = settings.ITEM_ID_FIELD.__eq__
        columns = wanted if kind in used else only_ids
        sheets[kind] = read_sheet(path, f"data.item_feat_path.{kind}", columns, log, settings.missing_values)
        sheets[kind].column(settings.ITEM_ID_FIELD, "Correct data.ITEM_ID_FIELD or the header.")
    return sheets, absent


def _split_by_kind(settings: DataSettings, sheet: Sheet, log: Log) -> dict[str, Sheet]:
    """One file of all items -> one sheet per kind, kinds in the order of their names."""
    sheet.column(settings.ITEM_ID_FIELD, "Correct data.ITEM_ID_FIELD or the header.")
    kinds = _kind_column(settings, sheet)
    if kinds is None:
        return {_only_kind(settings): sheet}
    assert settings.TYPE_FIELD is not None  # it named the column of kinds
    check = RowCheck(sheet, settings.drop_bad_rows, log)
    check.refuse(kinds.is_null().to_numpy(zero_copy_only=False), settings.TYPE_FIELD, "names no kind")
    return {
        kind: sheet.take(pc.equal(kinds, kind).fill_null(False).to_numpy(zero_copy_only=False))
        for kind in _sorted(kinds).to_pylist()
    }


def _from_interactions(settings: DataSettings, sheet: Sheet, log: Log) -> Catalogue:
    """No item file: the items are those of the interactions, in the order of their ids."""
    _require_named_type(settings, [sheet])
    items = typed(sheet, settings.ITEM_ID_FIELD, encoding.as_names)
    kinds = _kind_column(settings, sheet)
    if kinds is None:
        ids = {_only_kind(settings): _sorted(items)}
    else:
        ids = {kind: _sorted(items.filter(pc.equal(kinds, kind))) for kind in _sorted(kinds).to_pylist()}
    used = used_kinds(settings, ids)
    require_known_sources(settings, [*ids], log)
    if len(ids) > 1 and not settings.type:
        _warn_of_kinds(settings, sheet, ids, log)
    return Catalogue({k: ids[k] for k in [*used, *ids]}, used, {}, {}, True, (sheet.path,))


def _warn_of_kinds(settings: DataSettings, sheet: Sheet, ids: Mapping[str, pa.Array], log: Log) -> None:
    """Nothing but a column of the interactions says that there are kinds, and it may be a column of events."""
    every = pa.concat_arrays(list(ids.values()))
    several = pc.sum(pc.greater(every.value_counts().field("counts"), 1)).as_py()
    shown = list(ids)[:5]
    log(
        f"warning: {sheet.path}: column '{settings.TYPE_FIELD}' makes {len(ids):,} kinds of item: {_listed(shown)}"
        f"{', ...' if len(ids) > len(shown) else ''}. Of {len(every.unique()):,} item ids {several:,} are in several "
        "kinds, and are a different item in each. If the column holds events (click, cart, order), set "
        "data.TYPE_FIELD=null; if it holds kinds, list them in data.type, which ends this warning"
    )


def _kind_column(settings: DataSettings, sheet: Sheet) -> pa.Array | None:
    """Each row's kind as text, or None if there is one kind only. Raises DataError if kinds cannot be known."""
    several, name = settings.single_type is not None or len(settings.type or ()) > 1, settings.TYPE_FIELD
    if name is None and several:
        raise DataError(
            f"{sheet.path}: no column names the kinds, as data.TYPE_FIELD is null. Name the column there, or leave out "
            "data.type and data.single_type."
        )
    if name is None or (name not in sheet.cells and not several):
        return None
    sheet.column(name, "It names the kind of each row: correct data.TYPE_FIELD, or leave out data.type.")
    return typed(sheet, name, encoding.as_names)


def _require_named_type(settings: DataSettings, sheets: Sequence[Sheet]) -> None:
    """A column of kinds is optional under its usual name alone. Raises DataError where none of the files has it."""
    name = settings.TYPE_FIELD
    if (
        name is not None
        and name != DataSettings.model_fields["TYPE_FIELD"].default
        and not any(name in s.header for s in sheets)
    ):
        sheets[0].column(name, "Correct data.TYPE_FIELD, or leave it out.")


def _only_kind(settings: DataSettings) -> str:
    return kind_name(settings.type[0]) if settings.type else ONLY_KIND


def _sorted(text: pa.Array) -> pa.Array:
    """The different texts, sorted, without null."""
    different = text.drop_null().unique()
    return different.take(pc.array_sort_indices(different))


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
