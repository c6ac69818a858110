"""Write planted data (hrec/datasets/planted.py) as files in the published layout, as if it came from a real source.

Example:
    hrec prepare planted --size small --seed 0 --out data/planted-small

The folder then holds:
    users.csv, book.csv, music.csv, film.csv   one row each; lists with | between entries; empty where missing
    ratings.csv                                user_id, item_id, label, rating, timestamp, type
    image.npz, relations.csv                   with --image, --graph; --reviews adds a column to ratings.csv
    data.json                                  the section "data" of a config that reads these files
    probability.npy                            float64, the known P(label = 1) of each row of ratings.csv
    pairs.csv                                  known pairs of a book and its film
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hrec.config import path_argument
from hrec.datasets.columns import FIRST, Categorical, CategoricalList, Column, Dense, Numeric, Tokens
from hrec.datasets.planted import SIZES, Planted, make
from hrec.datasets.recdata import RecData, Table
from hrec.datasets.relations import Relations
from hrec.settings import DataSettings, PlantedSettings

SEPARATOR = "|"
TYPES = {Categorical: "token", CategoricalList: "token_seq", Numeric: "float", Dense: "vector"}
OPTIONS = {"reviews": "a review for each interaction", "times": "times whose order matters"}
OPTIONS |= {"image": "an image-like vector for each item", "graph": "a knowledge graph of the items"}


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    args = arguments(prog).parse_args(argv)
    chosen = PlantedSettings(size=args.size, seed=args.seed, **{name: getattr(args, name) for name in OPTIONS})
    name = DataSettings(planted=chosen.model_dump()).name
    out = args.out or Path("data") / name
    if refusal := reason_to_refuse(out, args.force):
        print(refusal, file=sys.stderr)
        return 1
    planted = make(**chosen.model_dump())
    planted = replace(planted, data=replace(planted.data, name=name))
    write(planted, out)
    print(summary(planted, out))
    return 0


def arguments(prog: str | None = None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--size", choices=list(SIZES), default="small", help="how much (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same files (%(default)s)")
    parser.add_argument("--out", type=path_argument, help="the folder to write (data/planted-SIZE and the options)")
    for name, text in OPTIONS.items():
        parser.add_argument(f"--{name}", action="store_true", help=text)
    parser.add_argument("--force", action="store_true", help="replace planted data that is there")
    return parser


def reason_to_refuse(out: Path, force: bool) -> str | None:
    """One sentence, or None where ``out`` may be written."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return None
    if not out.is_dir():
        return f"{out} is a file; give --out the name of a folder."
    if not (out / "probability.npy").exists():
        return f"{out} holds something else than planted data and is left as it is; give another folder with --out."
    return None if force else f"{out} is not empty; --force replaces what is there."


# ------------------------------------------------------------------------------------------- tables


def frame(table: Table, id_field: str) -> pd.DataFrame:
    """The ids and columns of a table as in a CSV file; vectors are in files of their own."""
    columns = {name: cells(column) for name, column in table.columns.items() if not isinstance(column, Dense)}
    return pd.DataFrame({id_field: table.ids} | columns)


def cells(column: Column) -> np.ndarray | list[str]:
    """One cell per row; a missing category and an empty list are empty text, a missing number is NaN."""
    if isinstance(column, Categorical):
        return np.concatenate([["", ""], column.values])[column.code]
    if isinstance(column, CategoricalList):
        entry = column.values[column.code - FIRST].tolist()
        return [SEPARATOR.join(entry[start:stop]) for start, stop in pairwise(column.offset.tolist())]
    if isinstance(column, Tokens):
        word = column.vocabulary[column.word].tolist()
        return [" ".join(word[start:stop]) for start, stop in pairwise(column.offset.tolist())]
    return column.value


def ratings(data: RecData) -> pd.DataFrame:
    rows = data.interactions
    assert data.users.ids is not None and rows.label is not None and rows.rating is not None and rows.time is not None
    item_ids = np.concatenate([table.ids for table in data.kinds.values()])
    return pd.DataFrame(
        {
            "user_id": data.users.ids[rows.user],
            "item_id": item_ids[rows.item],
            "label": rows.label.astype(np.int8),
            "rating": rows.rating.astype(np.int8),
            "timestamp": rows.time.astype(np.int64),
            "type": np.array(list(data.kinds))[rows.kind],
        }
        | {name: cells(column) for name, column in rows.columns.items()}
    )


def vectors(data: RecData) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Column of vectors of items -> (ids, matrix, kinds) of the items that have a vector."""
    out = {}
    for name in dict.fromkeys(n for t in data.kinds.values() for n, c in t.columns.items() if isinstance(c, Dense)):
        parts = [
            (kind, table.ids, column.value)
            for kind, table in data.kinds.items()
            if table.ids is not None and isinstance(column := table.columns.get(name), Dense)
        ]
        kinds, ids, values = zip(*parts, strict=True)
        matrix = np.concatenate(values)
        has = np.isfinite(matrix).all(1)
        of_row = np.repeat(kinds, [len(value) for value in values])
        out[name] = np.concatenate(ids).astype(str)[has], matrix[has], of_row[has]
    return out


def triples(graph: Relations) -> pd.DataFrame:
    ends = {"head": graph.entities[graph.head], "relation": graph.relations[graph.relation]}
    return pd.DataFrame(ends | {"tail": graph.entities[graph.tail]})


def pairs(planted: Planted) -> pd.DataFrame:
    item_ids = np.concatenate([table.ids for table in planted.data.kinds.values()])
    return pd.DataFrame(item_ids[planted.pairs], columns=["book", "film"])


def settings(data: RecData, out: Path) -> dict[str, Any]:
    """The section "data" (hrec/settings/data.py: DataSettings) that reads the files in ``out``."""
    return {
        "name": data.name,
        "type": list(data.kinds),
        "user_feat_path": (out / "users.csv").as_posix(),
        "inter_feat_path": (out / "ratings.csv").as_posix(),
        "item_feat_path": {kind: (out / f"{kind}.csv").as_posix() for kind in data.kinds},
        "feat": features(data, out),
    } | ({} if data.relations is None else {"relations": {"path": (out / "relations.csv").as_posix()}})


def features(data: RecData, out: Path) -> dict[str, dict[str, str]]:
    """Type and source of every column; a column of several kinds is one entry with source "item"."""
    found = {name: {"type": TYPES[type(column)], "source": "user"} for name, column in data.users.columns.items()}
    for kind, table in data.kinds.items():
        for name, column in table.columns.items():
            source = "item" if name in found else f"item_{kind}"
            found[name] = {"type": TYPES[type(column)], "source": source}
            if isinstance(column, Dense):
                found[name]["path"] = (out / f"{name}.npz").as_posix()
    texts = {"type": "tokens", "source": "interaction", "tokenizer": "blanks"}
    return found | dict.fromkeys(data.interactions.columns, texts)


# ------------------------------------------------------------------------------------------ writing


def write(planted: Planted, out: Path) -> None:
    """Write into a folder next to ``out``, then rename it: ``out`` is whole or as it was."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as parent:
        new = Path(parent) / "new"
        new.mkdir()
        write_files(planted, new, settings(planted.data, out))
        if out.exists():
            shutil.move(out, Path(parent) / "old")
        new.rename(out)


def write_files(planted: Planted, folder: Path, data_settings: dict[str, Any]) -> None:
    tables = {"users": frame(planted.data.users, "user_id"), "ratings": ratings(planted.data), "pairs": pairs(planted)}
    tables |= {kind: frame(table, "item_id") for kind, table in planted.data.kinds.items()}
    if planted.data.relations is not None:
        tables["relations"] = triples(planted.data.relations)
    for name, (ids, matrix, kinds) in vectors(planted.data).items():
        np.savez(folder / f"{name}.npz", ids=ids, matrix=matrix, kinds=kinds)
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.csv", index=False, float_format="%.7g")
    np.save(folder / "probability.npy", planted.probability)
    (folder / "data.json").write_text(json.dumps(data_settings, indent=2) + "\n", encoding="utf-8")


def summary(planted: Planted, out: Path) -> str:
    data, best = planted.data, planted.best_auc()
    lines = [f"{'':8}{'items':>10}{'ratings':>12}{'best AUC':>10}"]
    for index, (kind, table) in enumerate(data.kinds.items()):
        n = np.count_nonzero(data.interactions.kind == index)
        lines.append(f"{kind:8}{table.count:10,}{n:12,}{best[f'auc/{kind}']:10.4f}")
    lines.append(f"{'all':8}{data.n_items:10,}{len(data.interactions):12,}{best['auc']:10.4f}  (mean of the kinds)")
    lines.append(f"{data.n_users:,} users, {len(planted.pairs)} pairs; pooled best AUC {best['auc/pooled']:.4f}")
    return "\n".join([*lines, f"Files in {out}; a config reads them with its data section set to {out / 'data.json'}."])
