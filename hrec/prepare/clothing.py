"""Amazon Clothing, Shoes and Jewelry, 5-core of 2014: purchases in order, brands and categories.

hrec prepare clothing --from FOLDER    FOLDER holds interactions.parquet (user_id, item_id, position) and items.parquet
                                       (item_id, brand, categories)

As in JRL (Zhang et al., CIKM 2017) 70 % of each user's rows are for training, of which a seventh is for validation.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from hrec.prepare.base import Prepared, from_folder, ids_of, need

WHERE = "The data is published at https://jmcauley.ucsd.edu/data/amazon/ (5-core of Clothing, Shoes and Jewelry)."
KIND = "clothing"


def build(folder: Path) -> Prepared:
    """Raises PrepareError where a file is missing."""
    rows = pd.read_parquet(need(folder, "interactions.parquet", "amazon_clothing/interactions.parquet"))
    items = pd.read_parquet(need(folder, "items.parquet", "amazon_clothing/items.parquet"))
    table = pd.DataFrame(
        {
            "user_id": rows["user_id"],
            "item_id": rows["item_id"],
            "type": KIND,
            "timestamp": rows["position"].astype("float64"),
        }
    )
    return Prepared(
        users=ids_of(table),
        kinds={KIND: items[["item_id", "brand", "categories"]]},
        interactions=table,
        label={"negatives": 0},
        feat={
            "brand": {"type": "token", "source": "item", "min_count": 2},
            "categories": {"type": "token_seq", "source": "item", "min_count": 2},
        },
        more={"split": {"by": "user", "ratio": [0.6, 0.1, 0.3]}},
    )


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    return from_folder(argv, prog, __doc__, ("clothing", WHERE), build)
