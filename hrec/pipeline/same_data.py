"""Digests of what a run was trained on, so that it goes on with, and is read with, nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hrec.datasets.recdata import Split
from hrec.pipeline.checkpoints import CheckpointError
from hrec.pipeline.records import RunFolder


def check_same_data(folder: RunFolder, parts: Split, resumed: bool) -> None:
    """Remember what was trained on; on resume refuse anything else."""
    if resumed:
        refuse_other_data(folder, digests(parts))
    else:
        folder.write_json("data.json", {"name": parts.train.name} | digests(parts))


def refuse_other_data(folder: RunFolder, now: Mapping[str, str]) -> None:
    """Raises CheckpointError where a run was trained on other data than that of these digests."""
    try:
        known = folder.read_json("data.json")
    except FileNotFoundError:
        raise CheckpointError(
            f"{folder.path}: data.json is missing, so nothing tells which data the run was trained on"
        ) from None
    refuse_other_digests(folder.path, known, now)


def refuse_other_digests(path: Path, known: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Raises CheckpointError where the digests that ``path`` knows are not those of the data."""
    for key, digest in now.items():
        if known.get(key, digest) != digest:  # runs of early versions have the first alone
            raise CheckpointError(
                f"{path}: was trained on other {DIGESTS[key]}; the data files have changed since it began. "
                "Bring them back, or start a new run"
            )


DIGESTS = {"digest": "rows", "values": "ratings or times", "columns": "columns of users or items"}
"""What each digest in data.json is of."""


def digests(parts: Split) -> dict[str, str]:
    """Of who, what, and liked or not in all parts; of what else their rows hold; of users' and items' columns."""
    every = [part.interactions for part in (parts.train, parts.valid, parts.test)]
    tables = [parts.train.users, *parts.train.kinds.values()]
    return {
        "digest": _digest([(x.user, x.item, x.kind, x.label) for x in every]),
        "values": _digest([(x.rating, x.time, x.columns) for x in every]),
        "columns": _digest([table.columns for table in tables]),
    }


def _digest(content: Any) -> str:
    """Of all arrays and names in nested sequences, mappings and dataclasses."""
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
