"""Amazon Food and Kitchen: sequences of two kinds in mixed order, with titles (LLMCDSR, SIGIR 2025).

hrec prepare food-kitchen --from FOLDER    FOLDER holds interactions.parquet (part, user_id, position, item_id, domain)
                                           and items.parquet (item_id, domain, title)

Rows of train_A are Food alone, of train_B Kitchen alone, of train_overlap both. Users of valid and test are in no
training part. The protocol of UniEmbedding is in ``part``: the last item of each training user in both kinds (part
overlapped) is held out; a tenth of the users (part unseen) has no training row.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from hrec.prepare.base import Prepared, from_folder, ids_of, need

WHERE = "The files are in https://github.com/xhran2010/LLMCDSR (data/food-kitchen)."
KINDS = ("Food", "Kitchen")


def build(folder: Path) -> Prepared:
    """Raises PrepareError where a file is missing."""
    raw = pd.read_parquet(need(folder, "interactions.parquet", "llmcdsr_food_kitchen/interactions.parquet"))
    items = pd.read_parquet(need(folder, "items.parquet", "llmcdsr_food_kitchen/items.parquet"))
    rows = pd.DataFrame(
        {
            "user_id": raw["user_id"],
            "item_id": raw["item_id"],
            "type": raw["domain"].str.lower(),
            "timestamp": raw["position"].astype("float64"),
            "part": raw["part"],
        }
    )
    kinds = {
        kind.lower(): items.loc[items["domain"] == kind, ["item_id", "title"]].reset_index(drop=True) for kind in KINDS
    }
    return Prepared(
        users=ids_of(rows),
        kinds=kinds,
        interactions=rows,
        label={"negatives": 0},
        feat={"title": {"type": "tokens", "source": "item", "min_count": 2}},
        more={"split": {"by": "leave_one_out"}},
    )


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    return from_folder(argv, prog, __doc__, ("food-kitchen", WHERE), build)
