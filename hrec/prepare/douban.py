"""Douban books and music rated 1 to 5 by shared users, as published with GA-DTCDR (Zhu et al., IJCAI 2020).

hrec prepare douban                  downloads the two files from GA-DTCDR's repository
hrec prepare douban --from FOLDER    FOLDER (or FOLDER/original) holds douban_book_ratings.dat and
                                                  douban_music_ratings.dat: user, item and rating, tabs between
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from hrec.prepare.base import Prepared, Source, arguments, as_text, ids_of, need, prepare, without_repeats

KINDS = ("book", "music")
REPOSITORY = "https://raw.githubusercontent.com/fengzhu1/GA-DTCDR/11a1dc6fda5148c8b1ce412ed4e2f0c4f124e2d0"
CHECKSUMS = {
    "book": "sha256:cc1c191fabe2e05e95cd6dbe7be19d13ed3e1b27b80be2050e4f6b4e40945ddd",
    "music": "sha256:40944be25f79e6cf80ab9acf0dca8f4b9b9fe2724a068702294608883ad46775",
}
FILES = {
    f"douban_{kind}_ratings.dat": Source(f"{REPOSITORY}/Data/douban_{kind}/ratings.dat", CHECKSUMS[kind])
    for kind in KINDS
}


def read(folder: Path, kind: str) -> pd.DataFrame:
    """The ratings of one kind; the items of each kind are numbered from 1."""
    name = f"douban_{kind}_ratings.dat"
    rows = pd.read_csv(need(folder, name, f"original/{name}"), sep="\t", names=["user_id", "item_id", "rating"])
    return pd.DataFrame(
        {
            "user_id": as_text(rows["user_id"]),
            "item_id": as_text(rows["item_id"]),
            "type": kind,
            "rating": rows["rating"].astype("float32"),
        }
    )


def build(folder: Path) -> Prepared:
    rows = pd.concat([read(folder, kind) for kind in KINDS], ignore_index=True)
    rows = without_repeats(rows, ["user_id", "item_id", "type"])
    return Prepared(
        users=ids_of(rows),
        kinds={kind: ids_of(rows, kind) for kind in KINDS},
        interactions=rows,
        label={"from": "rating", "above": 3},
    )


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    return prepare(arguments(__doc__, "douban-ga", prog).parse_args(argv), FILES, build)
