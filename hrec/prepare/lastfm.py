"""Last.fm (HetRec 2011) with text and audio vectors and the split of a reproducibility study (RecSys 2025).

hrec prepare lastfm --from FOLDER    FOLDER holds interactions.parquet (userID, itemID, split), items.parquet (item,
                                     name, tags), text_minilm384_f16.npy, audio_whisper512_f16.npy and
                                     audio_vggish128_f16.npy, one row per item, also compressed (.xz)
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from hrec.prepare.base import Prepared, as_text, from_folder, ids_of, need, read_array

WHERE = "The files are in https://github.com/swapUniba/multimodal_ml1m_dbbook_lfm2k (4_mmrec/data/lfm2k)."
KIND = "artist"
VECTORS = {
    "minilm": "text_minilm384_f16.npy",
    "whisper": "audio_whisper512_f16.npy",
    "vggish": "audio_vggish128_f16.npy",
}


def build(folder: Path) -> Prepared:
    """Raises PrepareError where a file is missing."""
    raw = pd.read_parquet(need(folder, "interactions.parquet", "lastfm2k_text_audio/interactions.parquet"))
    items = pd.read_parquet(need(folder, "items.parquet", "lastfm2k_text_audio/items.parquet")).sort_values("item")
    vectors = {
        name: read_array(need(folder, file, f"{file}.xz", f"lastfm2k_text_audio/{file}.xz"))
        for name, file in VECTORS.items()
    }
    rows = pd.DataFrame(
        {"user_id": as_text(raw["userID"]), "item_id": as_text(raw["itemID"]), "type": KIND, "split": raw["split"]}
    )
    table = pd.DataFrame({"item_id": as_text(items["item"]), "name": items["name"], "tags": items["tags"]})
    return Prepared(
        users=ids_of(rows),
        kinds={KIND: table.reset_index(drop=True)},
        interactions=rows,
        label={"negatives": 0},
        feat={"tags": {"type": "tokens", "source": "item", "min_count": 2}}
        | {name: {"type": "vector", "source": "item", "path": f"{name}.npy"} for name in VECTORS},
        more={"split": {"by": "column", "column": "split"}},
        vectors=vectors,
    )


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    return from_folder(argv, prog, __doc__, ("lastfm", WHERE), build)
