"""Categories of Amazon 2014 with all that the published files hold of them, ``hrec prepare amazon --category NAME``.

interactions: rating, the words of each review and of its summary, time. Items: title, brand, categories, related. If
the folder holds image_features_<Category>.b, images.parquet has the vectors of the items by id. If it holds true_train
and true_test, the split is that of JRL's authors (Zhang et al., CIKM 2017). They have no validation rows: 1 in 100 of
the training rows is for validation.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from hrec.prepare.amazon_files import PLACE, image_features, objects, product, split_files, split_of
from hrec.prepare.base import Prepared, PrepareError, Source, distinct, find, ids_of, need

IMAGES = {"float16": pa.float16(), "float32": pa.float32()}
VALID = 0.01
"""Share of the authors' training rows that is for validation."""


def kind_of(category: str) -> str:
    return category.lower().replace("_", "-")


def name_of(categories: Sequence[str]) -> str:
    """The data's name."""
    return "-".join(["amazon", *map(kind_of, categories)])


def files(categories: Sequence[str]) -> dict[str, Source]:
    """What is downloaded: reviews and product data, no image features (several GB)."""
    names = [f"{part}.json.gz" for name in categories for part in (f"reviews_{name}_5", f"meta_{name}")]
    return {name: Source(f"{PLACE}/{name}") for name in names}


def build(folder: Path, categories: Sequence[str], images: str = "float16") -> Prepared:
    """Raises PrepareError where a file is missing or damaged. images: the type of the numbers of image features."""
    if len(set(categories)) < len(categories):
        raise PrepareError(f"--category {' '.join(categories)}: name each once.")
    rows = pd.concat([reviews(folder, name) for name in categories], ignore_index=True)
    more = _split(rows, folder, categories)
    kinds = {kind_of(name): items(folder, name, rows) for name in categories}
    pictures = {name: path for name in categories if (path := find(folder, f"image_features_{name}.b"))}
    feat = {
        "review": {"type": "tokens", "source": "interaction", "min_count": 2},
        "title": {"type": "tokens", "source": "item", "min_count": 2},
        "brand": {"type": "token", "source": "item", "min_count": 2},
        "categories": {"type": "token_seq", "source": "item", "min_count": 2},
        "related": {"type": "token_seq", "source": "item", "min_count": 2},
    }
    return Prepared(
        users=ids_of(rows),
        kinds=kinds,
        interactions=rows,
        label={"negatives": 0},
        feat=feat | ({"image": {"type": "vector", "source": "item", "path": "images.parquet"}} if pictures else {}),
        more=more,
        made={"images.parquet": partial(write_images, pictures, kinds, images)} if pictures else {},
    )


def reviews(folder: Path, category: str) -> pd.DataFrame:
    """The rows of one category in its file's order. Raises PrepareError for one without user, item, time or rating."""
    path = need(folder, f"reviews_{category}_5.json.gz")
    names = ("reviewerID", "asin", "unixReviewTime", "overall", "reviewText", "summary")
    columns = ["user_id", "item_id", "timestamp", "rating", "review", "summary"]
    rows = pd.DataFrame(([record.get(name) for name in names] for record in objects(path)), columns=columns)
    empty = rows[columns[:4]].isna().any(axis=1).to_numpy()
    if empty.any():
        raise PrepareError(
            f"{path}, line {empty.argmax() + 1}: should have each of {', '.join(names[:4])}. Correct it."
        )
    texts = {name: rows[name].fillna("").map(html.unescape) for name in ("review", "summary")}
    return rows.assign(type=kind_of(category), **texts).astype({"timestamp": "float64", "rating": "float32"})


def items(folder: Path, category: str, rows: pd.DataFrame) -> pd.DataFrame:
    """The items that were reviewed, with their product data; related items only of the catalogue."""
    own = ids_of(rows, kind_of(category))
    found = objects(need(folder, f"meta_{category}.json.gz"), set(own["item_id"]))
    data = pd.DataFrame([product(p) for p in found], columns=list(product({"asin": ""})))
    data = own.merge(data.drop(columns="title_words").drop_duplicates("item_id"), on="item_id", how="left")
    catalogue = set(rows["item_id"])
    text = {name: data[name].fillna("").map(html.unescape).str.strip().replace("", None) for name in ("title", "brand")}
    return data.assign(
        **text,
        categories=[distinct(map(html.unescape, _list(value))) for value in data["categories"]],
        related=[[other for other in distinct(_list(value)) if other in catalogue] for value in data["related"]],
    )


def _list(value: Any) -> list[str]:
    """The list of a cell, empty where the product has no data."""
    return value if isinstance(value, list) else []


def _split(rows: pd.DataFrame, folder: Path, categories: Sequence[str]) -> dict[str, Any]:
    """The settings of the split. Adds the column where the folder has the authors' files."""
    paths = split_files(folder)
    if paths is None:
        return {}
    if len(categories) > 1:
        raise PrepareError(f"{paths[0]} and {paths[1].name} split one category, {len(categories)} are asked for.")
    part = split_of(rows, *paths).to_numpy(object)
    train = np.flatnonzero(part == "train")
    part[np.random.default_rng(0).permutation(train)[: round(VALID * len(train))]] = "valid"
    rows["split"] = part
    print(f"the split is that of {paths[0]} and {paths[1].name}; {round(VALID * len(train)):,} training rows validate")
    return {"split": {"by": "column", "column": "split"}}


def write_images(pictures: Mapping[str, Path], kinds: Mapping[str, pd.DataFrame], numbers: str, out: Path) -> None:
    """The image features by id and kind, a block at a time. Raises PrepareError for a damaged file."""
    width = pa.list_(IMAGES[numbers])
    schema = pa.schema({"id": pa.string(), "vector": width, "kind": pa.string()})
    with pq.ParquetWriter(out, schema) as writer:
        for category, path in pictures.items():
            kind, count = kind_of(category), 0
            for names, vectors in image_features(path, kinds[kind]["item_id"]):
                writer.write_table(
                    pa.table([names, _lists(vectors, numbers, path), [kind] * len(names)], schema=schema)
                )
                count += len(names)
            print(f"{path}: image features of {count:,} of {len(kinds[kind]):,} items of {kind}")


def _lists(vectors: np.ndarray, numbers: str, path: Path) -> pa.Array:
    """One list for each row of float32[n, d]."""
    with np.errstate(over="ignore"):
        values = vectors.astype(numbers)
    if not np.isfinite(values).all():
        raise PrepareError(f"{path}: holds numbers that {numbers} cannot. Try --images float32, or fetch it again.")
    offsets = np.arange(len(values) + 1, dtype=np.int32) * values.shape[1]
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values.reshape(-1)))
