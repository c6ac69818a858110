"""Amazon's files of 2014 as McAuley et al. publish them, and the split files of the authors of JRL.

reviews_<Category>_5.json.gz and meta_<Category>.json.gz: one object a line. image_features_<Category>.b: records of ten
bytes (the product) and 4,096 float32. true_train and true_test of https://github.com/evison/JRL: ``{``, lines
``user: [item,item,],`` and ``}``. A user's index is its place in the order of the file of reviews, an item's
its place among the sorted products.
"""

from __future__ import annotations

import ast
import gzip
import html
import json
import re
import zlib
from collections.abc import Container, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hrec.prepare.base import PrepareError, find, need, read_lines, words

PLACE = "https://snap.stanford.edu/data/amazon/productGraph/categoryFiles"
RELATED = ("also_bought", "also_viewed", "bought_together")
ASIN = re.compile(r"""['"]asin['"]:\s*['"](\w+)""")
RECORD = np.dtype([("item", "S10"), ("vector", "<f4", 4096)])
BLOCK = 512
"""Records of image features that are read at a time (8 MB)."""
OF_USER = re.compile(r"(\d+): ?\[((?:\d+,)*\d*)\],?")


def product(record: dict[str, Any]) -> dict[str, Any]:
    """What one object of a meta file says of a product."""
    related = record.get("related") or {}
    return {
        "item_id": record["asin"],
        "title": record.get("title") or "",
        "brand": record.get("brand") or "",
        "categories": [name for path in record.get("categories") or [] for name in path],
        "related": [other for part in RELATED for other in related.get(part, [])],
        "title_words": words(html.unescape(record.get("title") or "")),
    }


def objects(path: Path, wanted: Container[str] | None = None) -> Iterator[dict[str, Any]]:
    """The objects of a .json.gz with one a line, JSON or Python's own spelling; only those of ``wanted`` products."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for number, line in enumerate(_whole(path, file), 1):
            # looking for the id is much faster than reading the object, and most products were not bought
            if wanted is not None and ((found := ASIN.search(line)) is None or found[1] not in wanted):
                continue
            try:
                yield parse(line)
            except (ValueError, SyntaxError) as error:
                raise PrepareError(f"{path}, line {number}: neither JSON nor a Python literal.") from error


def _whole(path: Path, lines: Iterable[str]) -> Iterator[str]:
    """The lines; PrepareError where the archive is cut short, damaged or none at all."""
    try:
        yield from lines
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise PrepareError(f"{path} is not a whole gzip file ({error}). Delete it and fetch it again.") from error


def parse(line: str) -> dict[str, Any]:
    try:
        return json.loads(line)
    except json.JSONDecodeError:
        return ast.literal_eval(line)


def image_features(path: Path, items: Iterable[str]) -> Iterator[tuple[list[str], np.ndarray]]:
    """Some items at a time with their vectors, float32[n, 4096]; only ``items``, the first record of each.

    The file is never held as a whole. Raises PrepareError where it is cut short or its records have no names.
    """
    size = path.stat().st_size
    left = set(items)
    if size % RECORD.itemsize:
        whole, rest = divmod(size, RECORD.itemsize)
        raise PrepareError(
            f"{path}: {rest:,} bytes are left after {whole:,} records of {RECORD.itemsize:,} bytes (10 of the product, "
            "4,096 numbers). It is cut short; fetch it again."
        )
    with path.open("rb") as file:
        while len(block := np.fromfile(file, RECORD, BLOCK)):
            names = [name.decode("ascii", "replace").strip() for name in block["item"].tolist()]
            rows = [row for row, name in enumerate(names) if name in left and names.index(name) == row]
            left.difference_update(names)
            if rows:
                yield [names[row] for row in rows], block["vector"][rows]


def split_files(folder: Path) -> tuple[Path, Path] | None:
    """true_train and true_test, also below BPR/ and with .txt or .txt.xz; None where the folder has neither.

    Raises PrepareError where it has one of them.
    """
    names = {
        part: [f"{place}true_{part}{end}" for place in ("", "BPR/") for end in ("", ".txt", ".txt.xz")]
        for part in ("train", "test")
    }
    if not any(find(folder, *of) for of in names.values()):
        return None
    return need(folder, *names["train"]), need(folder, *names["test"])


def split_of(rows: pd.DataFrame, train: Path, test: Path) -> pd.Series:
    """'train' or 'test' for each row of a file of reviews in its order (user_id, item_id).

    Raises PrepareError where the files name other pairs than the rows do: then they are another category's, and the
    indices mean other users and items.
    """
    users, items = pd.unique(rows["user_id"]), np.sort(pd.unique(rows["item_id"]))
    parts = []
    for name, path in (("train", train), ("test", test)):
        pairs = np.array(list(_pairs(path)), np.int64).reshape(-1, 2)
        beyond = (pairs >= [len(users), len(items)]).any(1)
        if beyond.any():
            user, item = pairs[int(beyond.argmax())]
            raise PrepareError(
                f"{path}: names user {user} and item {item}, but the reviews have {len(users):,} users and "
                f"{len(items):,} items. Give the split files of this category."
            )
        parts.append(pd.DataFrame({"user_id": users[pairs[:, 0]], "item_id": items[pairs[:, 1]], "split": name}))
    both = pd.concat(parts, ignore_index=True)
    found = rows[["user_id", "item_id"]].merge(both.drop_duplicates(["user_id", "item_id"]), how="left")["split"]
    if found.isna().any() or len(both) != len(rows):
        first = f", the first of {rows.loc[found.isna().to_numpy(), 'user_id'].iloc[0]}" if found.isna().any() else ""
        raise PrepareError(
            f"{train} and {test.name} name {len(both):,} pairs of a user and an item; {found.isna().sum():,} of the "
            f"{len(rows):,} reviews are not among them{first}. Give the split files of this category."
        )
    return found.set_axis(rows.index)


def _pairs(path: Path) -> Iterator[tuple[int, int]]:
    """(user, item), indices from 0. Raises PrepareError about the first line that is something else."""
    for number, line in enumerate(read_lines(path), 1):
        if line.strip() in ("{", "}", ""):
            continue
        match = OF_USER.fullmatch(line.strip())
        if match is None:
            raise PrepareError(f"{path}, line {number}: should be like '0: [5,17,],', a user and the items.")
        for item in filter(None, match[2].split(",")):
            yield int(match[1]), int(item)
