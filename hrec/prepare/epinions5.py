"""Epinions (Tang et al., WSDM 2012), five categories that share users: movies, books, music, kids, hotels.

hrec prepare epinions5                  downloads the archive of hrec prepare epinions
hrec prepare epinions5 --from FOLDER    FOLDER holds what hrec prepare epinions reads

Every rating is a positive, as in CAT-ART. Each user's rows of a category are split 64:16:20 at random; items with fewer
than five rows are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from hrec.prepare.base import Prepared, arguments, as_text, ids_of, prepare, without_repeats
from hrec.prepare.epinions import FILES, one_kind_for_each_item, read

CATEGORIES = {"movies": 3, "books": 4, "music": 5, "kids": 19, "hotels": 10}


def build(folder: Path) -> Prepared:
    """Raises PrepareError where a file is missing."""
    ratings, _ = read(folder)
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
    rows = one_kind_for_each_item(without_repeats(rows, ["user_id", "item_id"]), list(CATEGORIES))
    return Prepared(
        users=ids_of(rows),
        kinds={kind: ids_of(rows, kind) for kind in CATEGORIES},
        interactions=rows,
        label={"negatives": 0},
        more={
            "split": {"by": "user", "ratio": [0.64, 0.16, 0.2], "per_kind": True},
            "filter": {"min_item_rows": 5},
        },
    )


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    return prepare(arguments(__doc__, "epinions5", prog).parse_args(argv), FILES, build)
