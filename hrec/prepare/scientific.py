"""Amazon Scientific (2018) as in UniSRec, VQ-Rec and MISSRec: sequences in order, title, categories and brand as text.

hrec prepare scientific --from FOLDER    FOLDER holds interactions.parquet (user_id, position, item) and items.parquet
                                         (item, text)

Of each user the last item is for test and the one before it for validation.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from hrec.prepare.base import Prepared, as_text, from_folder, ids_of, need

WHERE = "The files are in https://github.com/ysh-1998/CoWPiRec (dataset/Scientific)."
KIND = "scientific"


def build(folder: Path) -> Prepared:
    """Raises PrepareError where a file is missing."""
    raw = pd.read_parquet(need(folder, "interactions.parquet", "unisrec_scientific/interactions.parquet"))
    items = pd.read_parquet(need(folder, "items.parquet", "unisrec_scientific/items.parquet"))
    rows = pd.DataFrame(
        {
            "user_id": raw["user_id"],
            "item_id": as_text(raw["item"]),
            "type": KIND,
            "timestamp": raw["position"].astype("float64"),
        }
    )
    return Prepared(
        users=ids_of(rows),
        kinds={KIND: pd.DataFrame({"item_id": as_text(items["item"]), "text": items["text"]})},
        interactions=rows,
        label={"negatives": 0},
        feat={"text": {"type": "tokens", "source": "item", "min_count": 2}},
        more={"split": {"by": "leave_one_out"}, "repeats": "keep"},
    )


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    return from_folder(argv, prog, __doc__, ("scientific", WHERE), build)
