"""TikTok micro-videos (ICME 2019 challenge, as in MMSSL and DiffMM): a split, image and audio vectors of 128 numbers.

hrec prepare tiktok --from FOLDER    FOLDER holds interactions.parquet (user, item, split), image_feat.npy and
                                     audio_feat.npy, one row per item, also compressed (.xz)
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from hrec.prepare.base import Prepared, as_text, from_folder, ids_of, need, read_array

WHERE = "The files are in https://github.com/HKUDS/DiffMM (Datasets/tiktok)."
KIND = "video"


def build(folder: Path) -> Prepared:
    """Raises PrepareError where a file is missing."""
    raw = pd.read_parquet(need(folder, "interactions.parquet", "tiktok_mm/interactions.parquet"))
    names = {"image": "image_feat.npy", "audio": "audio_feat.npy"}
    vectors = {
        name: read_array(need(folder, file, f"{file}.xz", f"tiktok_mm/{file}.xz")) for name, file in names.items()
    }
    rows = pd.DataFrame(
        {"user_id": as_text(raw["user"]), "item_id": as_text(raw["item"]), "type": KIND, "split": raw["split"]}
    )
    items = pd.DataFrame({"item_id": np.arange(len(vectors["image"])).astype(str)})
    return Prepared(
        users=ids_of(rows),
        kinds={KIND: items},
        interactions=rows,
        label={"negatives": 0},
        feat={name: {"type": "vector", "source": "item", "path": f"{name}.npy"} for name in vectors},
        more={"split": {"by": "column", "column": "split"}},
        vectors=vectors,
    )


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    return from_folder(argv, prog, __doc__, ("tiktok", WHERE), build)
