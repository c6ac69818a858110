"""Files -> RecData: raw ids become positions, columns become typed arrays, what was left out goes to the log."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from hrec.datasets import cache as caching
from hrec.datasets import encoding
from hrec.datasets.catalogue import Catalogue, read_catalogue
from hrec.datasets.columns import Column
from hrec.datasets.interaction_columns import split_column
from hrec.datasets.interactions import (
    build_interactions,
    columns_to_read,
    needs_time,
    require_named_columns,
)
from hrec.datasets.problems import DataError, Log
from hrec.datasets.reading_relations import read_relations
from hrec.datasets.recdata import RecData, Table
from hrec.datasets.sheets import Sheet, files_of, is_atomic, read_sheet
from hrec.datasets.tables import Field, checked, encode_columns, fields_of, named_columns, readers, refuse_columns
from hrec.datasets.vectors_by_id import columns_by_id
from hrec.settings import DataSettings

__all__ = ["DataError", "read"]

_log = logging.getLogger(__name__).info


def read(settings: DataSettings, cache: Path | None = None, log: Log = _log) -> RecData:
    """The data that ``settings`` describe: published layout, atomic files, parquet; see DataSettings.

    cache: folder that keeps parsed data between runs; None parses each time. What was left out goes to ``log``.
    Raises DataError, one message with file, line, column and remedy, where the data cannot be used.
    """
    if cache is None:
        data = _parse(settings, log)
    else:
        entry = caching.Entry.of(Path(cache), settings.name, _what_matters(settings), _files(settings))
        data = caching.cached(entry, lambda say: _parse(settings, say), log)
    how, rows = settings.label, data.interactions
    if how and how.source is None and how.negatives == 0:
        rows = replace(rows, label=None)  # all are positive and no negatives are drawn: a label has no information
    return replace(data, interactions=rows, name=settings.name)


def _parse(settings: DataSettings, log: Log) -> RecData:
    if settings.inter_feat_path is None:
        raise DataError("data.inter_feat_path: names no file. Give the file of interactions.")
    path = Path(settings.inter_feat_path).expanduser()
    wanted = columns_to_read(settings).__contains__
    interactions = read_sheet(path, "data.inter_feat_path", wanted, log, settings.missing_values)
    for name, setting in ((settings.USER_ID_FIELD, "USER_ID_FIELD"), (settings.ITEM_ID_FIELD, "ITEM_ID_FIELD")):
        interactions.column(name, f"Correct data.{setting} or the header.")
    require_named_columns(interactions, settings)
    catalogue = read_catalogue(settings, interactions, _wanted(settings, settings.item_feat_path), log)
    users, fields = _read_users(settings, log)
    rows, user_ids = build_interactions(interactions, settings, catalogue, users, log)
    columns: dict[str, Column] = encode_columns({"user": users}, {"user": fields})["user"] if users else {}
    columns |= columns_by_id(settings, "user", {"user": user_ids}, log)["user"]
    return RecData(
        Table(len(user_ids), 0, columns, encoding.as_objects(user_ids)),
        _tables(catalogue, settings, log),
        rows,
        relations=read_relations(settings, catalogue, log),
    )


def _tables(catalogue: Catalogue, settings: DataSettings, log: Log) -> dict[str, Table]:
    columns: dict[str, dict[str, Column]] = encode_columns(catalogue.sheets, catalogue.fields)
    vectors = columns_by_id(settings, "item", {kind: catalogue.ids[kind] for kind in catalogue.used}, log)
    starts = catalogue.starts.tolist()
    return {
        kind: Table(len(ids), start, columns.get(kind, {}) | vectors[kind], encoding.as_objects(ids))
        for (kind, ids), start in zip(catalogue.ids.items(), starts, strict=False)
        if kind in catalogue.used
    }


def _read_users(settings: DataSettings, log: Log) -> tuple[Sheet | None, list[Field]]:
    """(usable rows, columns to read) of the user file; (None, []) if there is none."""
    if settings.user_feat_path is None:
        refuse_columns(settings, "user", "data.user_feat_path")
        return None, []
    path = Path(settings.user_feat_path).expanduser()
    wanted = _wanted(settings, settings.user_feat_path)
    sheet = read_sheet(path, "data.user_feat_path", wanted, log, settings.missing_values)
    sheet.column(settings.USER_ID_FIELD, "Correct data.USER_ID_FIELD or the header.")
    fields = readers(fields_of(settings, {"user": sheet}, "user"), {"user": sheet}, log)["user"]
    return checked(sheet, settings.USER_ID_FIELD, fields, settings.drop_bad_rows, log), fields


def _wanted(settings: DataSettings, paths: str | dict[str, str] | None) -> Callable[[str], bool]:
    """Chooses which columns of the file (or files) of users or items to read."""
    named = named_columns(settings)
    texts = paths.values() if isinstance(paths, dict) else [paths or ""]
    if not named and any(map(is_atomic, texts)):
        return lambda name: True
    fixed = (settings.USER_ID_FIELD, settings.ITEM_ID_FIELD, settings.TYPE_FIELD)
    return (named | {name for name in fixed if name is not None}).__contains__


def _what_matters(settings: DataSettings) -> dict[str, Any]:
    """The settings that change what is parsed."""
    how = settings.label
    return settings.model_dump(
        mode="json",
        exclude={"name", "planted", "filter", "inter_matrix_type", "label", "sample", "split", "train_columns"},
    ) | {
        "label": [how.source, how.above] if how else None,
        "rating_is_needed": settings.inter_matrix_type in ("rating", "centred"),
        "time_is_needed": needs_time(settings),
        "split_column": split_column(settings),
    }


def _files(settings: DataSettings) -> list[Path]:
    """Every file that parsing may look at."""
    items = settings.item_feat_path
    paths = [settings.inter_feat_path, settings.user_feat_path]
    paths += items.values() if isinstance(items, dict) else [items]
    paths += [feat.path for feat in settings.feat.values()]
    paths += [settings.relations.path, settings.relations.link] if settings.relations else []
    return [file for path in dict.fromkeys(paths) if path for file in files_of(Path(path).expanduser())]
