"""Parsed data kept between runs: a folder of .npy files, .arrow files of text and a manifest.json, no pickle.

An entry is used only while the content of every source file, the settings that matter and FORMAT are those it was made
with, and its own checksums hold. It is written next to its place and moved there in one step, so that several processes
may share a cache and a run that dies leaves no half-written entry behind.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from hrec.datasets.columns import Categorical, CategoricalList, Dense, Numeric, Sparse, Tokens
from hrec.datasets.problems import Log
from hrec.datasets.recdata import Interactions, RecData, Table
from hrec.datasets.relations import Relations

FORMAT = 7  # raise it when what is stored, or how files are parsed, changes
MANIFEST = "manifest.json"
TEXT = ".arrow"
"""Ending of a file that holds an array of Python strings."""
COLUMNS = (Categorical, CategoricalList, Numeric, Dense, Sparse, Tokens)
CLASSES = {c.__name__: c for c in (RecData, Table, Interactions, Relations, *COLUMNS)}
TRUST_CLOCK_FROM = 1 << 28
"""Files of this many bytes are not hashed again while size and time of change are those recorded."""
UNFINISHED, UNFINISHED_FOR = ".unfinished-", 24 * 3600
"""Prefix of folders being written; those older than this many seconds were left by a process that was killed."""


class Stale(Exception):
    """The entry was made from other files."""


class Damaged(Exception):
    """The entry is not what was written."""


@dataclass(frozen=True)
class Entry:
    """One place in the cache: what settings ask for, and the files that it is made from."""

    path: Path
    files: tuple[Path, ...]

    @classmethod
    def of(cls, folder: Path, name: str, settings: Mapping[str, Any], files: list[Path]) -> Entry:
        key = hashlib.blake2b(_json([FORMAT, settings]).encode(), digest_size=12).hexdigest()
        return cls(folder / f"{re.sub(r'[^A-Za-z0-9_-]+', '_', name)[:40]}-{key}", tuple(files))


def cached(entry: Entry, parse: Callable[[Log], RecData], log: Log) -> RecData:
    """The data of ``entry`` where it is sound and up to date; else ``parse(log)``, which is then kept.

    What parse said in the log is kept too and said again. A cache that cannot be written costs a line in the log.
    """
    try:
        data, said = load(entry)
        for line in said:
            log(line)
        log(f"data read from the cache {entry.path}")
        return data
    except FileNotFoundError:
        pass  # nothing there yet, or a source file is missing, which parse says better
    except Stale as reason:
        log(f"{reason} has changed since the cache {entry.path} was written: reading the files again")
    except (Damaged, OSError) as reason:
        log(f"the cache {entry.path} is damaged ({reason}): reading the files again")
    before = [stamp(path) for path in entry.files]
    said = []

    def say(line: str) -> None:
        said.append(line)
        log(line)

    data = parse(say)
    try:
        save(entry, data, said, before)
    except OSError as error:
        log(f"the cache {entry.path} cannot be written ({error}): going on without it")
    return data


# ---------------------------------------------------------------------------------------- source files


def stamp(path: Path) -> dict[str, Any] | None:
    """Size, time of change and digest of a file; None if there is none that can be read."""
    try:
        info = path.stat()
        return {"size": info.st_size, "changed": info.st_mtime_ns, "digest": digest(path)}
    except OSError:
        return None


def is_unchanged(path: Path, known: Mapping[str, Any] | None) -> bool:
    """Whether the content is what it was; the clock is trusted only for large files."""
    if known is None or not path.is_file():
        return known is None and not path.is_file()
    info = path.stat()
    if info.st_size != known["size"]:
        return False
    if info.st_size >= TRUST_CLOCK_FROM and info.st_mtime_ns == known["changed"]:
        return True
    return digest(path) == known["digest"]


def digest(path: Path) -> str:
    """Of the content of a regular file. Raises OSError, also for a pipe or a device, which may never end."""
    if path.exists() and not path.is_file():
        raise OSError(f"{path} is not a regular file")
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


# ------------------------------------------------------------------------------------- reading an entry


def load(entry: Entry) -> tuple[RecData, list[str]]:
    """(data with memory-mapped arrays, lines for the log).

    Raises FileNotFoundError if there is no entry, Stale where a source file has changed, Damaged where the entry
    is not what was written.
    """
    if not entry.path.is_dir():
        raise FileNotFoundError(entry.path)
    try:
        text = (entry.path / MANIFEST).read_text(encoding="utf-8")
        manifest = json.loads(text)
        if manifest.pop("digest") != _digest_of(manifest):
            raise Damaged(f"{MANIFEST} is not as it was written")
        if len(manifest["files"]) != len(entry.files):
            raise Stale("the number of files")
        for path, known in zip(entry.files, manifest["files"], strict=True):
            if not is_unchanged(path, known):
                raise Stale(path)
        arrays = [_open(entry, known) for known in manifest["arrays"]]
        if (entry.path / MANIFEST).read_text(encoding="utf-8") != text:
            raise Damaged("another process replaced it meanwhile")
        return _unpack(manifest["data"], arrays), manifest["said"]
    except FileNotFoundError as error:
        raise Damaged(f"{error.filename} is missing") from None
    except (ValueError, KeyError, TypeError, AttributeError, EOFError) as error:
        raise Damaged(str(error)) from None


def _open(entry: Entry, known: Mapping[str, Any]) -> np.ndarray:
    """An array, mapped copy-on-write: pages are shared, nothing is written back, torch takes it without a warning."""
    if "source" in known:  # a vector file that is used as it stands; that it is unchanged was seen before
        return np.load(entry.files[known["source"]], mmap_mode="c", allow_pickle=False)
    path = entry.path / known["file"]
    if digest(path) != known["digest"]:
        raise Damaged(f"{path.name} is not as it was written")
    if path.suffix == TEXT:
        with pa.memory_map(str(path)) as file:
            return pa.ipc.open_file(file).read_all()[0].to_numpy()
    return np.load(path, mmap_mode="c", allow_pickle=False)


def _unpack(value: Any, arrays: list[np.ndarray]) -> Any:
    if not isinstance(value, dict):
        return value
    if "array" in value:
        return arrays[value["array"]]
    inner = {name: _unpack(part, arrays) for name, part in value["of"].items()}
    return CLASSES[value["class"]](**inner) if "class" in value else inner


# ------------------------------------------------------------------------------------- writing an entry


def save(entry: Entry, data: RecData, said: list[str], files: list[dict[str, Any] | None]) -> None:
    """Write an entry and put it in its place in one step. Raises OSError, and then leaves nothing half-written."""
    entry.path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(entry.path.parent)
    folder = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=entry.path.parent))
    try:
        folder.chmod(0o755)  # mkdtemp makes it for the owner alone
        arrays: list[np.ndarray] = []
        packed = _pack(data, arrays)
        manifest = {
            "files": files,
            "said": said,
            "data": packed,
            "arrays": [_write(folder, index, array, entry.files) for index, array in enumerate(arrays)],
        }
        manifest["digest"] = _digest_of(manifest)
        with (folder / MANIFEST).open("w", encoding="utf-8") as file:
            file.write(_json(manifest))
            _to_disk(file)
        _move_into_place(folder, entry.path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _pack(value: Any, arrays: list[np.ndarray]) -> Any:
    """What JSON can hold, with arrays put into ``arrays``; an array that is shared is put there once."""
    if isinstance(value, np.ndarray):
        for index, other in enumerate(arrays):
            if other is value:
                return {"array": index}
        arrays.append(value)
        return {"array": len(arrays) - 1}
    if is_dataclass(value):
        inner = {f.name: _pack(getattr(value, f.name), arrays) for f in fields(value)}
        return {"class": type(value).__name__, "of": inner}
    if isinstance(value, Mapping):
        return {"of": {name: _pack(part, arrays) for name, part in value.items()}}
    return value


def _write(folder: Path, index: int, array: np.ndarray, sources: tuple[Path, ...]) -> dict[str, Any]:
    resolved = [path.resolve() for path in sources]
    if (source := _whole_file(array)) in resolved:
        return {"source": resolved.index(source)}  # not its path: a copied project has its own
    path = folder / f"{index}{TEXT if array.dtype == object else '.npy'}"
    with path.open("wb") as file:
        if path.suffix == TEXT:
            _write_text(array, file)
        else:
            np.save(file, array, allow_pickle=False)
        _to_disk(file)
    return {"file": path.name, "digest": digest(path)}


def _write_text(array: np.ndarray, file: Any) -> None:
    """An array of Python strings, as an Arrow file of one column."""
    table = pa.table({"text": pa.array(array, pa.large_string())})
    with pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


def _whole_file(array: np.ndarray) -> Path | None:
    """The .npy file that a memory-mapped array is the whole of, or None."""
    if not isinstance(array, np.memmap) or array.filename is None:
        return None
    path = Path(array.filename).resolve()
    return path if array.offset + array.nbytes == path.stat().st_size else None


def _move_into_place(folder: Path, place: Path) -> None:
    """Another process may do the same at the same time: whichever comes last is kept, and both are right."""
    for _ in range(3):
        if place.exists():  # stale or damaged, or just written by another process
            old = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=place.parent))
            with contextlib.suppress(FileNotFoundError):  # another process was quicker
                place.replace(old / "old")
            shutil.rmtree(old, ignore_errors=True)
        with contextlib.suppress(OSError):
            folder.rename(place)
            _folder_to_disk(place.parent)
            return
    if not place.exists():
        raise OSError(f"{place} cannot be put in its place")


def _sweep(parent: Path) -> None:
    """Remove what killed processes left."""
    for folder in parent.glob(f"{UNFINISHED}*"):
        with contextlib.suppress(OSError):
            if time.time() - folder.stat().st_mtime > UNFINISHED_FOR:
                shutil.rmtree(folder, ignore_errors=True)


def _to_disk(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())


def _folder_to_disk(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"))


def _digest_of(manifest: Mapping[str, Any]) -> str:
    return hashlib.blake2b(_json(manifest).encode(), digest_size=16).hexdigest()
