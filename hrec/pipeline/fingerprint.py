"""The settings and digests of the data that a run started with, so that it continues with no others."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hrec.datasets.recdata import Split
from hrec.pipeline.checkpoints import CheckpointError
from hrec.pipeline.records import RunFolder


def check_same_start(folder: RunFolder, parts: Split, settings: Mapping[str, Any], resumed: bool) -> None:
    """Keep the data and the settings that weights and lists depend on; on resume refuse others."""
    if resumed:
        refuse_other_data(folder, digests(parts))
        refuse_other_settings(folder, settings)
    else:
        kept = {"name": parts.train.name, "settings": _that_matter(settings)}
        folder.write_json("data.json", kept | digests(parts))


def _that_matter(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that a resumed run must not change. Digests cover the data but for the values of histories."""
    cells = {"inter_matrix_type": settings["data"].get("inter_matrix_type")}
    lists = {key: value for key, value in settings["ranking"].items() if key != "eval_memory_mb"}
    return {key: settings[key] for key in ("seed", "model", "opt")} | {"data": cells, "ranking": lists}


def refuse_other_settings(folder: RunFolder, now: Mapping[str, Any]) -> None:
    """Raises CheckpointError if these effective settings of config.json are not those that the run started with.

    Only opt.epochs may differ.
    """
    known = _known(folder).get("settings", {})  # runs of early versions have none
    for path, began in _leaves(known):
        is_now = dict(_leaves(_that_matter(now))).get(path, began)  # a setting that no longer exists
        if is_now != began and path != "opt.epochs":
            raise CheckpointError(
                f"{folder.path / 'config.json'}: {path} is {json.dumps(is_now)}, and the run started with "
                f"{json.dumps(began)}. Put that back to continue, or start a new run; only opt.epochs can be changed"
            )


def _leaves(settings: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """'opt.name' and so on, one level deep, with its value."""
    nested = {key: value if isinstance(value, Mapping) else {"": value} for key, value in settings.items()}
    return [(f"{key}.{name}".rstrip("."), value) for key, part in nested.items() for name, value in part.items()]


def _known(folder: RunFolder) -> dict[str, Any]:
    path = folder.path / "data.json"
    try:
        known = folder.read_json(path.name)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: is missing, so the data of the run is unknown") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError:
        known = None
    if not isinstance(known, dict) or not _is_start(known):
        raise CheckpointError(f"{path}: is damaged, so the data of the run is unknown. Start a new run")
    return known


def _is_start(known: dict[str, Any]) -> bool:
    """Whether this is what ``check_same_start`` writes: names and digests, and settings by section.

    Runs of early versions have the digest of the rows alone.
    """
    if "digest" not in known or not isinstance(known.get("settings", {}), dict):
        return False
    return all(isinstance(known.get(key, ""), str) for key in ("name", *DIGESTS))


def refuse_other_data(folder: RunFolder, now: Mapping[str, str]) -> None:
    """Raises CheckpointError if the run was trained on other data than that of these digests."""
    refuse_other_digests(folder.path, _known(folder), now)


def refuse_other_digests(path: Path, known: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Raises CheckpointError if ``known``, the digests in ``path``, are not those of the data."""
    for key, digest in now.items():
        if known.get(key, digest) != digest:  # runs of early versions have the first alone
            raise CheckpointError(
                f"{path}: was trained on other {DIGESTS[key]}; the data files have changed since it began. "
                "Bring them back, or start a new run"
            )


DIGESTS = {
    "digest": "rows",
    "values": "ratings or times",
    "columns": "columns of users or items",
    "relations": "relations",
}
"""What each digest in data.json covers."""


def digests(parts: Split) -> dict[str, str]:
    """Digests of all splits: users, items and labels; ratings and times; columns of users and items; relations."""
    every = [part.interactions for part in (parts.train, parts.valid, parts.test)]
    tables = [parts.train.users, *parts.train.kinds.values()]
    return {
        "digest": _digest([(x.user, x.item, x.kind, x.label) for x in every]),
        "values": _digest([(x.rating, x.time, x.columns) for x in every]),
        "columns": _digest([table.columns for table in tables]),
        "relations": _digest(parts.train.relations),
    }


def _digest(content: Any) -> str:
    """The digest of all arrays and names in nested sequences, mappings and dataclasses."""
    digest = hashlib.blake2b(digest_size=16)

    def add(value: Any) -> None:
        if isinstance(value, np.ndarray):
            digest.update(
                np.ascontiguousarray(value).data if value.dtype.kind != "O" else repr(value.tolist()).encode()
            )
        elif isinstance(value, Mapping):
            for name, part in value.items():
                add(name)
                add(part)
        elif isinstance(value, list | tuple):
            for part in value:
                add(part)
        elif is_dataclass(value):
            add([getattr(value, one.name) for one in fields(value)])
        elif value is not None:
            digest.update(str(value).encode())

    add(content)
    return digest.hexdigest()
