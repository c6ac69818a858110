"""Epinions (Tang, Gao and Liu, WSDM 2012): books, films and music rated 1 to 5 by the same users, and whom they trust.

hrec prepare epinions                  downloads epinions.zip
hrec prepare epinions --from FOLDER    FOLDER holds epinions.zip, or rating.mat and trustnetwork.mat,
                                                    or ratings.parquet and trust.parquet
"""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pandas as pd

from hrec.prepare.base import (
    Prepared,
    PrepareError,
    Source,
    arguments,
    as_text,
    find,
    ids_of,
    need,
    open_zip,
    prepare,
    without_repeats,
)

CHECKSUM: str | None = None
"""'sha256:...' of the archive. The publisher gives none; till then it must stay as it was at its first download."""
FILES = {"epinions.zip": Source("https://www.cse.msu.edu/~tangjili/datasetcode/epinions.zip", CHECKSUM)}
CATEGORIES = {"book": 4, "film": 3, "music": 5}


def read(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Ratings (user_id, item_id, category_id, rating) and trust (user_id, trusts), as published."""
    if find(folder, "ratings.parquet"):
        return pd.read_parquet(folder / "ratings.parquet"), pd.read_parquet(need(folder, "trust.parquet"))
    if archive := find(folder, "epinions.zip"):
        with open_zip(archive) as files:
            members = {Path(name).name: name for name in files.namelist()}
            if missing := {"rating.mat", "trustnetwork.mat"} - set(members):
                raise PrepareError(f"{archive} does not hold {' and '.join(sorted(missing))}.")
            ratings, trust = (matrix(BytesIO(files.read(members[m]))) for m in ("rating.mat", "trustnetwork.mat"))
    else:
        ratings, trust = matrix(need(folder, "rating.mat", *FILES)), matrix(need(folder, "trustnetwork.mat"))
    # if there is a fifth column, how helpful others found the rating, it came after the rating and is left out
    names = ["user_id", "item_id", "category_id", "rating"]
    return pd.DataFrame(ratings[:, :4], columns=names), pd.DataFrame(trust, columns=["user_id", "trusts"])


def matrix(file: Path | BinaryIO) -> np.ndarray:
    """The one matrix of a Matlab file, whole numbers."""
    from scipy.io import loadmat

    variables = [value for name, value in loadmat(file).items() if not name.startswith("__")]
    return np.asarray(variables[0]).astype(np.int64)


def build(folder: Path) -> Prepared:
    ratings, trust = read(folder)
    names = {number: kind for kind, number in CATEGORIES.items()}
    ratings = ratings[ratings["category_id"].isin(names)]
    rows = pd.DataFrame(
        {
            "user_id": as_text(ratings["user_id"]),
            "item_id": as_text(ratings["item_id"]),
            "type": ratings["category_id"].map(names),
            "rating": ratings["rating"].astype("float32"),
        }
    )
    rows = one_kind_for_each_item(without_repeats(rows, ["user_id", "item_id"]))
    return Prepared(
        users=with_trust(ids_of(rows), trust),
        kinds={kind: ids_of(rows, kind) for kind in CATEGORIES},
        interactions=rows,
        label={"from": "rating", "above": 3},
        feat={
            "trusts": {"type": "token_seq", "source": "user", "min_count": 2},
            "n_trusts": {"type": "float", "source": "user"},
            "n_trusted_by": {"type": "float", "source": "user"},
        },
    )


def one_kind_for_each_item(rows: pd.DataFrame, kinds: Sequence[str] = tuple(CATEGORIES)) -> pd.DataFrame:
    """An item that was filed under two kinds goes to the one with most of its rows, the first of ``kinds`` in a
    tie: it is one thing, and its ratings should not be in two places."""
    filed = pd.crosstab(rows["item_id"], rows["type"]).reindex(columns=list(kinds), fill_value=0)
    kind = rows["item_id"].map(filed.idxmax(axis="columns"))
    several, moved = ((filed > 0).sum(axis="columns") > 1).sum(), (kind != rows["type"]).sum()
    print(f"items in two kinds: {several:,}; each goes to that of most of its rows, {moved:,} rows move")
    return rows.assign(type=kind)


def with_trust(users: pd.DataFrame, trust: pd.DataFrame) -> pd.DataFrame:
    """Add whom a user trusts (of those in the table) and how many, both ways (in the whole network)."""
    trust = trust[trust["user_id"] != trust["trusts"]].drop_duplicates().apply(as_text)
    known = trust[trust["trusts"].isin(users["user_id"])].groupby("user_id")["trusts"].agg(list)
    ids = users["user_id"]
    return users.assign(
        trusts=[known.get(user, []) for user in ids],
        n_trusts=ids.map(trust["user_id"].value_counts()).fillna(0).astype("float32"),
        n_trusted_by=ids.map(trust["trusts"].value_counts()).fillna(0).astype("float32"),
    )


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    return prepare(arguments(__doc__, "epinions", prog).parse_args(argv), FILES, build)
