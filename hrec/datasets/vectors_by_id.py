"""Vectors of users and items from a file that names their ids, in any order: parquet, or .npz of numpy.

``hrec export`` writes such files.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hrec.datasets import encoding
from hrec.datasets.columns import Dense
from hrec.datasets.problems import DataError, Log, plural, require_file
from hrec.datasets.sheets import ending, read_bytes, read_sheet
from hrec.datasets.tables import typed
from hrec.settings import DataSettings, FeatureSettings

COLUMNS = ("id", "vector", "kind")
ARRAYS = ("ids", "matrix", "kinds")


@dataclass(frozen=True, eq=False)
class Listed:
    """The rows of one file. ids, kinds: n texts; kinds None where the file has none. value: float32[n, d].

    length: int64[n], how many numbers each row has in the file; value is NaN where that is not d.
    """

    path: Path
    ids: pa.Array
    kinds: pa.Array | None
    value: np.ndarray
    length: np.ndarray

    def take(self, good: np.ndarray) -> Listed:
        """The rows where ``good`` bool[n] is true."""
        keep = pa.array(good)
        kinds = None if self.kinds is None else self.kinds.filter(keep)
        return replace(self, ids=self.ids.filter(keep), kinds=kinds, value=self.value[good], length=self.length[good])


def columns_by_id(
    settings: DataSettings, source: str, ids: Mapping[str, pa.Array], log: Log
) -> dict[str, dict[str, Dense]]:
    """Kind (or 'user') -> name -> a row for each id of ``ids``, NaN where the file has no vector of it.

    source: user or item. How many have a vector, and how many vectors have no id here, goes to ``log``.

    Raises DataError for a file that is not such a file, or has no vector of any of the ids. Raises it too for a row
    without id or kind, a second vector of one id, another length, a number that is not finite, an id of two kinds.
    """
    out: dict[str, dict[str, Dense]] = {kind: {} for kind in ids}
    for name, feat in settings.feat.items():
        if not feat.by_id or not feat.source.startswith(source):
            continue
        wanted = {kind: ids[kind] for kind in ids if feat.source in (source, f"item_{kind}")}
        if not wanted:
            log(f"columns of kinds that are not used are not read: {name}")
            continue
        listed = _read(feat, f"data.feat.{name}.path", source, log)
        listed = _usable(listed, settings.drop_bad_rows, log)
        for kind, column in _joined(listed, wanted, name, log).items():
            out[kind][name] = column
    return out


def _read(feat: FeatureSettings, setting: str, source: str, log: Log) -> Listed:
    assert feat.path is not None  # FeatureSettings sees to it
    path = Path(feat.path).expanduser()
    listed = _of_npz(path, setting) if ending(path) == ".npz" else _of_parquet(path, setting, log)
    return replace(listed, kinds=None) if source == "user" else listed


def _of_parquet(path: Path, setting: str, log: Log) -> Listed:
    sheet = read_sheet(path, setting, COLUMNS.__contains__, log)
    for name in COLUMNS[:2]:
        sheet.column(name, "Name the columns of ids and of vectors so.")
    kinds = typed(sheet, "kind", encoding.as_names) if "kind" in sheet.cells else None
    cells = sheet.cells["vector"]
    kind = cells.type
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)) or not (
        pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)
    ):
        raise DataError(f"{path}, column 'vector': holds {kind}, should hold a list of numbers in each row.")
    return Listed(path, typed(sheet, "id", encoding.as_names), kinds, *_stacked(cells))


def _stacked(cells: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """(float32[n, d], NaN in rows that do not hold d numbers, as the first does; int64[n] numbers in each row)."""
    length = pc.list_value_length(cells).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    width = int(length[length > 0][0]) if length.any() else 1
    flat = pc.list_flatten(cells).cast(pa.float32(), safe=False).to_numpy(zero_copy_only=False)
    right = length == width
    value = np.full((len(length), width), np.nan, np.float32)
    value[right] = flat[np.repeat(right, length)].reshape(-1, width)
    return value, length


def _of_npz(path: Path, setting: str) -> Listed:
    require_file(path, setting)
    try:
        with np.load(io.BytesIO(read_bytes(path)), allow_pickle=False) as file:
            arrays = {name: file[name] for name in ARRAYS if name in file.files}
        ids, kinds = (encoding.as_names(pa.array(arrays[n])) if n in arrays else None for n in ("ids", "kinds"))
    except DataError:
        raise
    except Exception as error:  # a damaged file makes numpy and zipfile raise errors of many sorts
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"{path}: not a readable .npz file ({reason}). Write it with numpy.savez(file, ids=, matrix=), ids as "
            "whole numbers or as an array of text (dtype str)."
        ) from None
    for name in ARRAYS[:2]:
        if name not in arrays:
            raise DataError(f"{path}: has no array '{name}'. Write it with numpy.savez(file, ids=, matrix=).")
    matrix = arrays["matrix"]
    if matrix.ndim != 2 or matrix.dtype.kind != "f" or not matrix.shape[1]:
        shape = ", ".join(map(str, matrix.shape))
        raise DataError(f"{path}: its array 'matrix' holds {matrix.dtype}[{shape}], should hold float[rows, numbers].")
    for name, text in (("ids", ids), ("kinds", kinds)):
        if text is not None and (arrays[name].ndim != 1 or len(text) != len(matrix)):
            raise DataError(f"{path}: its array '{name}' should have one entry for each of the {len(matrix):,} rows.")
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is reported
        value = matrix.astype(np.float32, copy=False)
    return Listed(path, ids, kinds, value, np.full(len(value), value.shape[1]))


def _usable(listed: Listed, drop: bool, log: Log) -> Listed:
    """The rows that can be used. Raises DataError about the first other one, or with ``drop`` leaves them out."""
    width = listed.value.shape[1]
    finite = np.isfinite(listed.value).all(1)
    ragged = listed.length != width
    without_id = listed.ids.is_null().to_numpy(zero_copy_only=False)
    without_kind = np.zeros(len(finite), bool)
    if listed.kinds is not None:
        without_kind = listed.kinds.is_null().to_numpy(zero_copy_only=False)
    again = np.zeros(len(finite), bool)
    fine = finite & ~without_id & ~without_kind
    again[fine] = encoding.repeated(_keys(listed)[fine])
    good = np.ones(len(finite), bool)
    for bad, why in (
        (without_id, "the id is empty. Give it"),
        (without_kind, "the kind is empty. Give it"),
        (ragged, f"the vector does not have {width} numbers, as the first one has. Correct it, or leave the row out"),
        (~finite & ~ragged, "a number is missing or infinite. Correct it; an item without a vector needs no row"),
        (again, "the id occurs again further down. Leave one of the rows (dropping keeps the last)"),
    ):
        if (bad & good).any():
            _deal_with(listed, bad & good, why, drop, log)
        good &= ~bad
    return listed if good.all() else listed.take(good)


def _keys(listed: Listed) -> np.ndarray:
    """int64[n]: equal for rows of one kind and id."""
    keys = encoding.numbered(listed.ids).astype(np.int64)
    return keys if listed.kinds is None else encoding.numbered(listed.kinds).astype(np.int64) << 32 | keys


def _deal_with(listed: Listed, bad: np.ndarray, why: str, drop: bool, log: Log) -> None:
    first, count = int(bad.argmax()), int(bad.sum())
    name = listed.ids[first].as_py()
    where = f"{listed.path}, row {first + 1}" + ("" if name is None else f", id '{name}'")
    if drop:
        log(f"left out {plural(count, 'vector')}, the first is {where}: {why.partition('.')[0]}")
        return
    more = f" ({count:,} rows like it)" if count > 1 else ""
    raise DataError(f"{where}: {why}{more}, or set data.drop_bad_rows=true to leave such vectors out.")


def _joined(listed: Listed, wanted: Mapping[str, pa.Array], name: str, log: Log) -> dict[str, Dense]:
    """The column of each kind, whose ids ``wanted`` gives."""
    kinds = list(wanted)
    users = np.zeros(len(listed.value), np.int64)
    """How many kinds read each row of the file."""
    out, counts = {}, []
    for kind, ids in wanted.items():
        rows = _rows_of(listed, kind)
        place = encoding.positions(ids, listed.ids.take(pa.array(rows)))
        known = place >= 0
        value = np.full((len(ids), listed.value.shape[1]), np.nan, np.float32)
        value[known] = listed.value[rows[place[known]]]
        users[rows[place[known]]] += 1
        out[kind] = Dense(value)
        counts.append(f"{kind} {known.sum():,} of {len(ids):,}")
    _require_matches(listed, users, wanted, name)
    here = np.ones(len(users), bool)
    if listed.kinds is not None:
        here = pc.is_in(listed.kinds, value_set=pa.array(kinds, pa.string())).to_numpy(zero_copy_only=False)
    unknown, other = int((here & (users == 0)).sum()), int((~here).sum())
    others = [f"{plural(unknown, 'vector')} of ids that the data does not have"] if unknown else []
    others += [f"{plural(other, 'vector')} of other kinds"] if other else []
    log(f"data.feat.{name}: rows with a vector: {', '.join(counts)}" + "".join(f"; {one}" for one in others))
    return out


def _rows_of(listed: Listed, kind: str) -> np.ndarray:
    """int64: the rows of the file that may be of this kind."""
    if listed.kinds is None:
        return np.arange(len(listed.value))
    return np.flatnonzero(pc.equal(listed.kinds, kind).to_numpy(zero_copy_only=False))


def _require_matches(listed: Listed, users: np.ndarray, wanted: Mapping[str, pa.Array], name: str) -> None:
    """Raises DataError where no row of the file was read, or one by several kinds."""
    if not users.any():
        theirs = repr(listed.ids[0].as_py()) if len(listed.ids) else "none"
        own = _example(list(wanted.values()))
        raise DataError(
            f"{listed.path}: has no vector of any id of {', '.join(wanted)}. Its first id is {theirs}, that of the "
            f"data {own}. Write the ids as the data has them, or correct data.feat.{name}."
        )
    if (users > 1).any():
        row = int((users > 1).argmax())
        kinds = [kind for kind, ids in wanted.items() if pc.is_in(listed.ids[row], value_set=ids).as_py()]
        raise DataError(
            f"{listed.path}, id '{listed.ids[row].as_py()}': is the id of an item of each of {', '.join(kinds)}. Add a "
            f"{'array kinds' if ending(listed.path) == '.npz' else 'column kind'} to the file, or set "
            f"data.feat.{name}.source to item_ and the name of one kind."
        )


def _example(ids: Sequence[pa.Array]) -> str:
    return next((repr(some[0].as_py()) for some in ids if len(some)), "none")
