"""Amazon Musical Instruments, 5-core of 2014: ratings with the words of their reviews (McAuley et al.).

hrec prepare instruments --from FOLDER    FOLDER holds reviews.parquet: user, item, rating, split (train, valid, test),
                                          tokens (a list of word ids in reading order) and text (raw, training rows)

The split is that of NARRE's code, rows at random 8:1:1. The published file is reviews_Musical_Instruments_5.json.gz.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from hrec.prepare.base import Prepared, as_text, from_folder, ids_of, need

WHERE = "The reviews are published at https://jmcauley.ucsd.edu/data/amazon/ (5-core of Musical Instruments)."
KIND = "instrument"


def build(folder: Path) -> Prepared:
    """Raises PrepareError where reviews.parquet is missing."""
    raw = pd.read_parquet(need(folder, "reviews.parquet", "amazon_musical_instruments_text/reviews.parquet"))
    rows = pd.DataFrame(
        {
            "user_id": as_text(raw["user"]),
            "item_id": as_text(raw["item"]),
            "type": KIND,
            "rating": raw["rating"].astype("float32"),
            "split": raw["split"],
            "review": raw["tokens"],
            "text": raw["text"],
        }
    )
    return Prepared(
        users=ids_of(rows),
        kinds={KIND: ids_of(rows, KIND)},
        interactions=rows,
        label={"negatives": 0},
        feat={"review": {"type": "tokens", "source": "interaction", "tokenizer": "ids"}},
        more={"split": {"by": "column", "column": "split"}},
    )


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    return from_folder(argv, prog, __doc__, ("instruments", WHERE), build)
