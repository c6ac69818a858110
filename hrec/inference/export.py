"""The vectors of users and items of an inner-product model, as files for other programs.

The inner product of a user's and an item's vector is the model's score: the vectors hold the biases.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv as pa_csv

from hrec.config import ConfigError, did_you_mean
from hrec.inference.ids import ids_of, item_ids, item_kinds
from hrec.inference.trained import Trained, all_vectors
from hrec.models import MODELS, find_model
from hrec.models.base import InnerProductModel
from hrec.pipeline.checkpoints import CheckpointError, write_whole

ROWS = 65_536
"""Vectors in a row group of a parquet file."""


def export(trained: Trained, to: str, folder: Path) -> list[Path]:
    """Write the vectors into ``folder``, each file whole or not at all; the paths written.

    to: one of FORMATS. Raises ConfigError for a model without vectors or without faiss installed, and
    CheckpointError if a file cannot be written.
    """
    if to not in FORMATS:
        raise ConfigError(f"no format '{to}'.{did_you_mean(to, FORMATS)} Formats: {', '.join(FORMATS)}")
    if not isinstance(trained.model, InnerProductModel):
        having = [name for name in MODELS if issubclass(find_model(name), InnerProductModel)]
        raise ConfigError(
            f"{trained.name} scores a user and an item together, not by an inner product, so it has no vectors to "
            f"export. Models that have: {', '.join(having)}"
        )
    files = FORMATS[to](trained)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(f"{folder}: cannot be made ({error.strerror}); set --out") from None
    for name, write in files.items():
        write_whole(folder / name, write)
    return [folder / name for name in files]


Files = dict[str, Callable[[Path], object]]
"""Name of a file -> what writes it to a path."""


def vectors(trained: Trained) -> tuple[np.ndarray, np.ndarray]:
    """(users float32[n_users, d], items float32[n_items, d])"""
    model = trained.model
    assert isinstance(model, InnerProductModel)
    users = all_vectors(model.user_vectors, trained.data.n_users, model)
    return users.float().cpu().numpy(), trained.item_vectors.float().cpu().numpy()


def _parquet(trained: Trained) -> Files:
    """users.parquet: id, vector; items.parquet: id, kind, vector."""
    users, items = vectors(trained)
    data = trained.data
    described = {"id": item_ids(data), "kind": item_kinds(data)}
    return {
        "users.parquet": partial(_write_parquet, columns={"id": ids_of(data.users)}, vector=users),
        "items.parquet": partial(_write_parquet, columns=described, vector=items),
    }


def _write_parquet(path: Path, columns: dict[str, np.ndarray], vector: np.ndarray) -> None:
    schema = pa.schema([*((name, pa.string()) for name in columns), ("vector", pa.list_(pa.float32()))])
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, len(vector), ROWS):
            some = vector[start : start + ROWS]
            offset = np.arange(0, some.size + 1, some.shape[1], dtype=np.int32)
            text = [pa.array(column[start : start + ROWS], pa.string()) for column in columns.values()]
            writer.write_table(pa.table([*text, pa.ListArray.from_arrays(offset, some.ravel())], schema))


def _npy(trained: Trained) -> Files:
    """users.npy and items.npy; row r is that of line r of users.csv and items.csv."""
    users, items = vectors(trained)
    data = trained.data
    return {
        "users.npy": partial(_write_npy, vector=users),
        "users.csv": partial(_write_csv, columns={"id": ids_of(data.users)}),
        "items.npy": partial(_write_npy, vector=items),
        "items.csv": partial(_write_csv, columns={"id": item_ids(data), "kind": item_kinds(data)}),
    }


def _faiss(trained: Trained) -> Files:
    """items-<kind>.faiss, an IndexFlatIP, and items-<kind>.csv for each kind; users.npy and users.csv for queries."""
    faiss = _imported_faiss()
    users, items = vectors(trained)
    data = trained.data
    files: Files = {
        "users.npy": partial(_write_npy, vector=users),
        "users.csv": partial(_write_csv, columns={"id": ids_of(data.users)}),
    }
    for kind, table in data.kinds.items():
        stem = f"items-{quote(kind, safe=' ')}"  # the name of a kind may have any character, such as a slash
        index = faiss.IndexFlatIP(items.shape[1])
        index.add(np.ascontiguousarray(items[table.start : table.stop]))
        files[f"{stem}.faiss"] = partial(_write_index, faiss, index)
        files[f"{stem}.csv"] = partial(_write_csv, columns={"id": ids_of(table)})
    return files


def _write_index(faiss: Any, index: Any, path: Path) -> None:
    faiss.write_index(index, str(path))


def _imported_faiss() -> Any:
    try:
        import faiss
    except ImportError:
        raise ConfigError("--to faiss needs the package faiss: pip install faiss-cpu (or faiss-gpu)") from None
    return faiss


def _write_npy(path: Path, vector: np.ndarray) -> None:
    with path.open("wb") as file:  # numpy would append .npy to a name
        np.save(file, vector, allow_pickle=False)


def _write_csv(path: Path, columns: Mapping[str, np.ndarray]) -> None:
    write_csv(pa.table({name: pa.array(text, pa.string()) for name, text in columns.items()}), path)


def write_csv(table: pa.Table, path: Path) -> None:
    pa_csv.write_csv(table, path, pa_csv.WriteOptions(quoting_style="needed"))


FORMATS: dict[str, Callable[[Trained], Files]] = {"parquet": _parquet, "npy": _npy, "faiss": _faiss}
"""What vectors can be exported to."""
