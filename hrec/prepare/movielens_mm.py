"""MovieLens 100k with overviews, poster vectors, BERT vectors and a knowledge graph.

hrec prepare movielens-mm --from FOLDER    FOLDER holds interactions.parquet (user_id, movie_id, rating, timestamp,
                                           split, split_logs), items.parquet (movie_id, row, title, genres, overview,
                                           has_poster), image_efflite0_1280_f16.npy and text_bert384_f16.npy, one row
                                           per movie. For the graph: ml-100k.kg and ml-100k.link of RecBole. All may
                                           be compressed (.xz), and be in movielens_100k_multimodal and
                                           movielens_100k_text

Two splits: ``split`` (75/12/13 in the order of the file), and ``split_logs``, random thirds, that of published MMRec
logs (settings movielens-mm-logs).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from hrec.prepare.base import Prepared, as_text, find, from_folder, ids_of, missing_rows, need, read_array

WHERE = (
    "Split and text vectors are in https://github.com/manshi137/Benchmarking-Multi-Modal-Recommendation-Models, "
    "posters and overviews in https://github.com/sadhana937/Movie-recommender-system."
)
KIND = "movie"
VECTORS = {"poster": "image_efflite0_1280_f16.npy", "bert": "text_bert384_f16.npy"}
FOLDERS = ("", "movielens_100k_multimodal/", "movielens_100k_text/")


def _places(name: str) -> list[str]:
    return [f"{folder}{name}{end}" for folder in FOLDERS for end in ("", ".xz")]


def build(folder: Path) -> Prepared:
    """Raises PrepareError where a file is missing."""
    raw = pd.read_parquet(need(folder, *_places("interactions.parquet")))
    items = pd.read_parquet(need(folder, *_places("items.parquet"))).sort_values("row", ignore_index=True)
    vectors = {name: read_array(need(folder, *_places(file)))[items["row"]] for name, file in VECTORS.items()}
    vectors["poster"] = missing_rows(vectors["poster"], ~items["has_poster"])
    rows = pd.DataFrame({"user_id": as_text(raw["user_id"]), "item_id": as_text(raw["movie_id"]), "type": KIND})
    rows = rows.assign(**{name: raw[name] for name in ("rating", "timestamp", "split", "split_logs")})
    table = pd.DataFrame({"item_id": as_text(items["movie_id"]), "title": items["title"]})
    table["genres"] = [str(genres).split("|") for genres in items["genres"]]
    table["overview"] = items["overview"]
    graph = {end: find(folder, *_places(f"ml-100k.{end}")) for end in ("kg", "link")}
    files = {f"ml-100k.{end}{'.xz' if path.suffix == '.xz' else ''}": path for end, path in graph.items() if path}
    features: dict[str, dict[str, Any]] = {
        "genres": {"type": "token_seq", "source": "item"},
        "overview": {"type": "tokens", "source": "item", "min_count": 2},
        **{name: {"type": "vector", "source": "item", "path": f"{name}.npy"} for name in VECTORS},
    }
    return Prepared(
        users=ids_of(rows),
        kinds={KIND: table},
        interactions=rows,
        label={"negatives": 0},
        feat=features,
        more={"split": {"by": "column", "column": "split"}},
        variants={"logs": {"split": {"by": "column", "column": "split_logs"}}},
        vectors=vectors,
        files=files,
        graph=tuple(files) if len(files) == 2 else None,
    )


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    return from_folder(argv, prog, __doc__, ("movielens-mm", WHERE), build)
