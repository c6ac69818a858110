"""Files of a knowledge graph -> Relations: RecBole's .kg and .link, or columns head, relation, tail of any format."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hrec.datasets import encoding
from hrec.datasets.catalogue import Catalogue
from hrec.datasets.problems import DataError, Log, plural
from hrec.datasets.relations import Relations
from hrec.datasets.row_check import RowCheck
from hrec.datasets.sheets import Sheet, read_sheet
from hrec.datasets.tables import typed
from hrec.settings import DataSettings, RelationSettings

WORDS = ("head", "relation", "tail")
"""The columns of a file of triples; RecBole writes _id after each."""


def read_relations(settings: DataSettings, catalogue: Catalogue, log: Log) -> Relations | None:
    """The triples that data.relations names, each once; None where it names none.

    Raises DataError for a missing file or column, an empty cell, an item or entity that is linked twice, an item id
    that two kinds share, and if no triple names an item.
    """
    if settings.relations is None:
        return None
    items = _name_items(settings, settings.relations, catalogue, log)
    made = _read_triples(settings, settings.relations, items, log)
    _report(made, Path(settings.relations.path).expanduser(), items, log)
    return made


@dataclass(frozen=True, eq=False)
class _Items:
    """name: the entity name of each of n items. linked: bool[n], whether the graph may name it. path: of the links."""

    name: pa.Array
    linked: np.ndarray
    path: Path | None = None

    @property
    def known(self) -> pa.Array:
        """The names that stand for an item."""
        return self.name.filter(pa.array(self.linked))


def _name_items(settings: DataSettings, how: RelationSettings, catalogue: Catalogue, log: Log) -> _Items:
    """An item goes by its id, or by the entity that data.relations.link links it to."""
    ids = pa.concat_arrays([catalogue.ids[kind].cast(pa.string()) for kind in catalogue.used])
    if how.link is None:
        return _Items(ids, np.ones(len(ids), bool))
    sheet = _read_link(settings, how.link, catalogue, log)
    item = _linked_items(settings, sheet, catalogue)
    unknown = int(np.count_nonzero(item < 0))
    if unknown == len(item):
        raise DataError(f"{sheet.path}: links none of the {len(ids):,} items. Correct its column of items.")
    if unknown:
        log(f"{sheet.path}: {plural(unknown, 'row')} of items that are not in the catalogue are left out")
    row = np.full(len(ids), -1, np.int64)
    row[item[item >= 0]] = np.flatnonzero(item >= 0)
    entity = typed(sheet, _called(sheet, "entity"), encoding.as_names).take(pa.array(row, mask=row < 0))
    return _Items(pc.coalesce(entity, ids), row >= 0, sheet.path)


def _read_link(settings: DataSettings, link: str, catalogue: Catalogue, log: Log) -> Sheet:
    """The usable rows: an item and an entity each, neither of them twice."""
    names = {settings.ITEM_ID_FIELD, settings.TYPE_FIELD, "entity", "entity_id"}
    path, missing = Path(link).expanduser(), settings.missing_values
    sheet = read_sheet(path, "data.relations.link", names.__contains__, log, missing)
    sheet.column(settings.ITEM_ID_FIELD, "Correct data.ITEM_ID_FIELD or the header.")
    check, entity = RowCheck(sheet, settings.drop_bad_rows, log), _called(sheet, "entity")
    keys = {
        settings.ITEM_ID_FIELD: _keys_of_items(settings, sheet, catalogue),
        entity: typed(sheet, entity, encoding.as_names),
    }
    for name, key in keys.items():
        check.refuse(key.is_null().to_numpy(zero_copy_only=False), name, "is no id, or has no kind")
        again = np.zeros(len(sheet), bool)
        again[check.good] = encoding.repeated(encoding.numbered(key)[check.good])
        check.refuse(again, name, "is linked again further down", "Leave one of the rows (dropping keeps the last)")
    return check.rows()


def _keys_of_items(settings: DataSettings, sheet: Sheet, catalogue: Catalogue) -> pa.Array:
    """The id of each row's item, with its kind before it if ``_tells_kinds``."""
    ids = typed(sheet, settings.ITEM_ID_FIELD, encoding.as_names)
    if not _tells_kinds(settings, sheet, catalogue):
        return ids
    return pc.binary_join_element_wise(typed(sheet, str(settings.TYPE_FIELD), encoding.as_names), ids, "\t")


def _tells_kinds(settings: DataSettings, sheet: Sheet, catalogue: Catalogue) -> bool:
    """Whether there is a column of kinds; one that names none of the known kinds is no such column."""
    if settings.TYPE_FIELD is None or settings.TYPE_FIELD not in sheet.cells:
        return False
    kinds = typed(sheet, settings.TYPE_FIELD, encoding.as_names)
    return bool(pc.any(pc.is_in(kinds, value_set=pa.array(list(catalogue.ids)))).as_py())


def _linked_items(settings: DataSettings, sheet: Sheet, catalogue: Catalogue) -> np.ndarray:
    """int32[n]: the item of each row, -1 where the catalogue lacks it. A column of kinds resolves shared ids."""
    keys = _keys_of_items(settings, sheet, catalogue)
    parts = {kind: catalogue.ids[kind].cast(pa.string()) for kind in catalogue.used}
    if _tells_kinds(settings, sheet, catalogue):
        parts = {kind: pc.binary_join_element_wise(pa.scalar(kind), ids, "\t") for kind, ids in parts.items()}
    among = pa.concat_arrays(list(parts.values()))
    remedy = f"Give the file of links {_column_of_kinds(settings)} with the kind of each item"
    _refuse_shared(among, keys, f"{sheet.path}, column '{settings.ITEM_ID_FIELD}'", remedy)
    return encoding.positions(keys, among)


def _column_of_kinds(settings: DataSettings) -> str:
    return f"a column '{settings.TYPE_FIELD}'" if settings.TYPE_FIELD else "a column (data.TYPE_FIELD)"


def _refuse_shared(among: pa.Array, used: pa.Array, place: str, remedy: str) -> None:
    """Raises DataError where ``used`` holds a name that several of ``among`` have."""
    if len(among.unique()) == len(among):
        return
    shared = among.filter(pa.array(encoding.repeated(encoding.numbered(among)))).unique()
    hit = used.filter(pc.is_in(used, value_set=shared).fill_null(False))
    if len(hit):
        raise DataError(f"{place}: items of several kinds have the id '{hit[0].as_py()}'. {remedy}.")


def _read_triples(settings: DataSettings, how: RelationSettings, items: _Items, log: Log) -> Relations:
    sheet = _read_sheet_of_triples(settings, how, log)
    heads, kinds, tails = (typed(sheet, _called(sheet, word), encoding.as_names) for word in WORDS)
    both = pa.concat_arrays([heads, tails])
    remedy = f"Name a file of links with {_column_of_kinds(settings)} in data.relations.link"
    _refuse_shared(items.known, both, str(sheet.path), remedy)
    others = both.filter(pc.invert(pc.is_in(both, value_set=items.known))).unique().sort()
    among, relations = pa.concat_arrays([items.known, others]), kinds.unique().sort()
    entity = np.concatenate([np.flatnonzero(items.linked), len(items.name) + np.arange(len(others))]).astype(np.int32)
    ends = [entity[encoding.positions(text, among)] for text in (heads, tails)]
    triple = np.stack([ends[0], encoding.positions(kinds, relations), ends[1]])
    distinct = np.sort(np.unique(triple, axis=1, return_index=True)[1])
    if repeats := len(heads) - len(distinct):
        log(f"{sheet.path}: {plural(repeats, 'duplicate triple')} left out")
    entities = encoding.as_objects(pa.concat_arrays([items.name, others]))
    head, relation, tail = triple[:, distinct]
    return Relations(head, relation, tail, entities, encoding.as_objects(relations))


def _read_sheet_of_triples(settings: DataSettings, how: RelationSettings, log: Log) -> Sheet:
    wanted = {*WORDS, *(f"{word}_id" for word in WORDS)}
    sheet = read_sheet(
        Path(how.path).expanduser(), "data.relations.path", wanted.__contains__, log, settings.missing_values
    )
    check = RowCheck(sheet, settings.drop_bad_rows, log)
    for name in [_called(sheet, word) for word in WORDS]:
        text = typed(sheet, name, encoding.as_names)
        check.refuse(text.is_null().to_numpy(zero_copy_only=False), name, "is no name")
    return check.rows()


def _report(made: Relations, path: Path, items: _Items, log: Log) -> None:
    """Log the counts; raises DataError where no triple names an item."""
    ends = np.unique(np.concatenate([made.head, made.tail]))
    known = int(np.count_nonzero(ends < len(items.name)))
    if not known and items.path:
        raise DataError(f"{path}: no head or tail is an entity of {items.path}. Give the two files of one graph.")
    if not known:
        remedy = "Name a file of links in data.relations.link, or write the ids of items as heads or tails."
        raise DataError(f"{path}: no head or tail is the id of an item. {remedy}")
    log(
        f"{path}: {plural(len(made), 'triple')}, {plural(made.n_relations, 'relation')}, "
        f"{made.n_entities:,} entities; triples name {known:,} of {len(items.name):,} items"
    )


def _called(sheet: Sheet, word: str) -> str:
    """The column ``word`` or, as RecBole calls it, ``word``_id. Raises DataError if there is neither."""
    name = word if word in sheet.header else f"{word}_id"
    if name not in sheet.header:
        sheet.column(word, f"Call it '{word}' or '{word}_id'.")
    return name
