"""Amazon Food and Kitchen: sequences of two kinds in mixed order, with titles (LLMCDSR, SIGIR 2025).

hrec prepare food-kitchen --from FOLDER    FOLDER holds interactions.parquet (part, user_id, position, item_id, domain)
                                           and items.parquet (item_id, domain, title)

Rows of train_A are Food alone, of train_B Kitchen alone, of train_overlap both. Two splits, as in UniEmbedding: of
``overlapped`` (settings food-kitchen) the last item of each training user is for test and the one before it for
validation. In ``unseen`` (settings food-kitchen-unseen) all rows of the training users are for training. Users of the
parts valid and test have no training row: their last item is for test, and the items before it are validation rows, the
history of the query with ranking.valid_in_history=true.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from hrec.prepare.base import Prepared, from_folder, ids_of, need

WHERE = "The files are in https://github.com/xhran2010/LLMCDSR (data/food-kitchen)."
KINDS = ("Food", "Kitchen")


def _splits(rows: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """The splits "overlapped" and "unseen" as columns; an empty cell leaves a row out."""
    from_the_end = rows.groupby("user_id")["timestamp"].rank(ascending=False, method="first")
    trained = rows["part"].str.startswith("train")
    last, second = from_the_end == 1, from_the_end == 2
    overlapped = pd.Series("train", rows.index).mask(second, "valid").mask(last, "test").where(trained, "")
    unseen = pd.Series("valid", rows.index).mask(last, "test").mask(trained, "train")
    return overlapped, unseen


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
    rows["overlapped"], rows["unseen"] = _splits(rows)
    kinds = {
        kind.lower(): items.loc[items["domain"] == kind, ["item_id", "title"]].reset_index(drop=True) for kind in KINDS
    }
    return Prepared(
        users=ids_of(rows),
        kinds=kinds,
        interactions=rows,
        label={"negatives": 0},
        feat={"title": {"type": "tokens", "source": "item", "min_count": 2}},
        more={"split": {"by": "column", "column": "overlapped"}},
        variants={"unseen": {"split": {"by": "column", "column": "unseen"}}},
    )


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    return from_folder(argv, prog, __doc__, ("food-kitchen", WHERE), build)
