"""Amazon Beauty, 5-core of 2014, with the split of the authors of JRL (Zhang et al., CIKM 2017) and real titles.

hrec prepare beauty --from FOLDER    FOLDER holds, in separate folders or together:
                                     amazon_beauty_jrl/interactions.parquet (user_id, item_id, split, position),
                                     amazon_beauty_jrl/items.parquet (item_id, brand, categories),
                                     amazon_beauty_titles/titles.parquet (item_id, title),
                                     amazon_beauty_aspects/interactions.parquet (the same rows with validation rows)

Train and test rows are the authors' own; 1,000 training rows are validation rows, those of AARM (Guan et al., TOIS
2019). Order within a user is that of time.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from hrec.prepare.base import Prepared, from_folder, ids_of, need

WHERE = "The split is in https://github.com/evison/JRL (BPR/true_train, BPR/true_test)."
KIND = "beauty"


def build(folder: Path) -> Prepared:
    """Raises PrepareError where a file is missing."""
    rows = pd.read_parquet(need(folder, "amazon_beauty_jrl/interactions.parquet", "interactions.parquet"))
    items = pd.read_parquet(need(folder, "amazon_beauty_jrl/items.parquet", "items.parquet"))
    titles = pd.read_parquet(need(folder, "amazon_beauty_titles/titles.parquet", "titles.parquet"))
    split = pd.read_parquet(need(folder, "amazon_beauty_aspects/interactions.parquet", "split.parquet"))
    rows = rows.drop(columns="split").merge(split[["user_id", "item_id", "split"]], on=["user_id", "item_id"])
    table = pd.DataFrame(
        {
            "user_id": rows["user_id"],
            "item_id": rows["item_id"],
            "type": KIND,
            "timestamp": rows["position"].astype("float64"),
            "split": rows["split"],
        }
    )
    items = items[["item_id", "brand", "categories"]].merge(titles, on="item_id", how="left")
    return Prepared(
        users=ids_of(table),
        kinds={KIND: items},
        interactions=table,
        label={"negatives": 0},
        feat={
            "brand": {"type": "token", "source": "item", "min_count": 2},
            "categories": {"type": "token_seq", "source": "item", "min_count": 2},
            "title": {"type": "tokens", "source": "item", "min_count": 2},
        },
        more={"split": {"by": "column", "column": "split"}},
    )


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    return from_folder(argv, prog, __doc__, ("beauty", WHERE), build)
