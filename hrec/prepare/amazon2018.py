"""Six kinds of Amazon 2018 (Ni et al., EMNLP 2019), 5-core: games, instruments, scientific, luxury, music, pantry.

hrec prepare amazon2018 --from FOLDER    FOLDER holds interactions.parquet (domain, user_id, item_id, position) and
                                         items.parquet (domain, item_id, text)

Few users are in more than one kind. The order of rows is known within a kind alone, so each user's rows of a kind are
split at random 8:1:1.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from hrec.prepare.base import Prepared, from_folder, ids_of, need, without_repeats

WHERE = "The data is published at https://cseweb.ucsd.edu/~jmcauley/datasets/amazon_v2/ (5-core)."
KINDS = ("Games", "Instruments", "Scientific", "Luxury", "Music", "Pantry")


def build(folder: Path) -> Prepared:
    """Raises PrepareError where a file is missing."""
    raw = pd.read_parquet(need(folder, "interactions.parquet", "amazon2018_shared_users/interactions.parquet"))
    items = pd.read_parquet(need(folder, "items.parquet", "amazon2018_shared_users/items.parquet"))
    rows = pd.DataFrame(
        {
            "user_id": raw["user_id"],
            "item_id": raw["item_id"],
            "type": raw["domain"].astype(str).str.lower(),
            "timestamp": raw["position"].astype("float64"),
        }
    )
    rows = without_repeats(rows, ["user_id", "item_id", "type"])
    kinds = {
        kind.lower(): items.loc[items["domain"] == kind, ["item_id", "text"]].reset_index(drop=True) for kind in KINDS
    }
    return Prepared(
        users=ids_of(rows),
        kinds=kinds,
        interactions=rows,
        label={"negatives": 0},
        feat={"text": {"type": "tokens", "source": "item", "min_count": 2}},
        more={"split": {"by": "user", "ratio": [0.8, 0.1, 0.1], "per_kind": True}},
    )


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    return from_folder(argv, prog, __doc__, ("amazon2018", WHERE), build)
