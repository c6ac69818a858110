"""Sources of the papers' data that are given as folders: on made-up originals, and on the real files if they exist."""

import importlib
import lzma
import os
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hrec.datasets import load_split
from hrec.datasets.columns import Dense, Tokens
from hrec.prepare import SOURCES, base
from hrec.settings import DataSettings

ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("HREC_SHARED", ROOT.parent / "shared")) / "data"
REAL = {  # users, items and rows per kind, as published
    "instruments": {"instrument": (1429, 900, 10261)},
    "beauty": {"beauty": (22363, 12101, 198502)},
    "clothing": {"clothing": (39387, 23033, 278677)},
    "tiktok": {"video": (9308, 6710, 68722)},
    "lastfm": {"artist": (1858, 1425, 56345)},
    "movielens-mm": {"movie": (943, 1682, 100000)},
    "scientific": {"scientific": (8442, 4385, 59384)},
    "food-kitchen": {"food": (14870, 8661, 98316), "kitchen": (47589, 27637, 337811)},
    "amazon2018": {"games": (50546, 16859, 452989), "luxury": (3819, 1581, 28074), "music": (16551, 11768, 145180)},
    "epinions5": {"kids": (8673, 24106, 84931), "hotels": (10757, 15371, 58017)},
}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run(name: str, folder: Path) -> DataSettings:
    module = importlib.import_module(SOURCES[name])
    assert module.main(["--from", str(folder)]) == 0
    return DataSettings.model_validate_json(Path(f"configs/data/{name}.json").read_text(encoding="utf-8"))


def compressed(path: Path, array: np.ndarray) -> None:
    raw = BytesIO()
    np.save(raw, array)
    path.write_bytes(lzma.compress(raw.getvalue()))


@pytest.mark.parametrize("name", REAL)
def test_real_counts_and_committed_settings(name):
    if not SHARED.is_dir():
        pytest.skip("needs the real data of shared/data")
    module = importlib.import_module(SOURCES[name])
    prepared = module.build(SHARED / "epinions" if name == "epinions5" else SHARED)
    rows = prepared.interactions
    for kind, expected in REAL[name].items():
        part = rows[rows["type"] == kind]
        assert (part["user_id"].nunique(), len(prepared.kinds[kind]), len(part)) == expected
        assert set(part["item_id"]) <= set(prepared.kinds[kind]["item_id"])
    for vectors in prepared.vectors.values():
        assert len(vectors) == sum(map(len, prepared.kinds.values()))
    written = base.write_settings(prepared, Path("data") / name).read_text(encoding="utf-8")
    assert written == (ROOT / f"configs/data/{name}.json").read_text(encoding="utf-8")


def test_reviews_of_instruments_belong_to_their_training_rows(tmp_path):
    frame = pd.DataFrame({"user": [0, 0, 1, 1, 2], "item": [0, 1, 0, 2, 1], "rating": [5.0, 4, 3, 2, 1]})
    frame["split"] = ["train", "train", "train", "valid", "test"]
    frame["tokens"] = [[7, 3, 7], [3], [9], [11], [12, 3]]
    frame["text"] = ["a", "b", "c", None, None]
    frame.to_parquet(tmp_path / "reviews.parquet")
    train = load_split(run("instruments", tmp_path), None).train
    review = train.interactions.columns["review"]
    assert isinstance(review, Tokens)
    assert np.diff(review.offset).tolist() == [3, 1, 1] and sorted(review.vocabulary.tolist()) == ["3", "7", "9"]


def test_vectors_of_tiktok_are_rows_of_the_items(tmp_path):
    pd.DataFrame({"user": [0, 1, 1], "item": [2, 0, 2], "split": ["train", "valid", "test"]}).to_parquet(
        tmp_path / "interactions.parquet"
    )
    for name in ("image", "audio"):
        compressed(tmp_path / f"{name}_feat.npy.xz", np.arange(6, dtype=np.float16).reshape(3, 2))
    train = load_split(run("tiktok", tmp_path), None).train
    image = train.kinds["video"].columns["image"]
    assert isinstance(image, Dense) and image.value.tolist() == [[0, 1], [2, 3], [4, 5]]


def test_a_movie_without_a_poster_has_no_vector(tmp_path):
    rows = pd.DataFrame({"user_id": [1, 1, 2], "movie_id": [5, 9, 5], "rating": [4, 3, 5], "timestamp": [1, 2, 3]})
    rows["split"] = rows["split_logs"] = ["train", "valid", "test"]
    rows.to_parquet(tmp_path / "interactions.parquet")
    items = pd.DataFrame({"movie_id": [9, 5], "row": [1, 0], "title": ["B", "A"], "genres": ["Drama", "War|Comedy"]})
    items.assign(overview=["x y", None], has_poster=[False, True]).to_parquet(tmp_path / "items.parquet")
    compressed(tmp_path / "image_efflite0_1280_f16.npy.xz", np.ones((2, 3), np.float16))
    compressed(tmp_path / "text_bert384_f16.npy.xz", np.eye(2, dtype=np.float16))
    data = load_split(run("movielens-mm", tmp_path), None).train
    table = data.kinds["movie"]
    assert table.ids.tolist() == ["5", "9"] and np.isnan(table.columns["poster"].value).all(1).tolist() == [False, True]
    assert data.relations is None


def test_a_source_without_a_download_says_where_its_files_are(capsys):
    assert importlib.import_module(SOURCES["tiktok"]).main([]) == 1
    said = capsys.readouterr().err
    assert "--from FOLDER" in said and "https://github.com/HKUDS/DiffMM" in said


def test_unknown_users_of_food_and_kitchen_have_no_training_row(tmp_path):
    rows = [("train_A", "a", 3, "Food"), ("train_overlap", "b", 4, "Kitchen"), ("test", "c", 3, "Food")]
    made = [
        {"part": part, "user_id": user, "position": n, "item_id": f"{kind[0]}{n}", "domain": kind}
        for part, user, count, kind in rows
        for n in range(count)
    ]
    pd.DataFrame(made).to_parquet(tmp_path / "interactions.parquet")
    items = [
        {"item_id": f"{kind[0]}{n}", "domain": kind, "title": "x"} for kind in ("Food", "Kitchen") for n in range(4)
    ]
    pd.DataFrame(items).to_parquet(tmp_path / "items.parquet")
    overlapped = load_split(run("food-kitchen", tmp_path), None)
    sizes = [len(part.interactions) for part in (overlapped.train, overlapped.valid, overlapped.test)]
    assert sizes == [3, 2, 2]
    text = Path("configs/data/food-kitchen-unseen.json").read_text(encoding="utf-8")
    unseen = load_split(DataSettings.model_validate_json(text), None)
    assert [len(part.interactions) for part in (unseen.train, unseen.valid, unseen.test)] == [7, 2, 1]
    assert not set(unseen.test.interactions.user) & set(unseen.train.interactions.user)
