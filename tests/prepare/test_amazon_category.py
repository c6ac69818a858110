"""``hrec prepare amazon --category``: the published files in their exact formats, made tiny."""

from __future__ import annotations

import gzip
import json
import lzma
import os
import struct
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hrec.datasets import load_split
from hrec.datasets.columns import Dense, Tokens
from hrec.prepare import amazon, amazon_files
from hrec.settings import DataSettings

ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("HREC_SHARED", ROOT.parent / "shared")) / "data"
ROWS = [  # by item, as the published files are: U9 is user 0 of JRL's authors, U1 user 1
    ("U9", "B000000002", 5.0, "Works fine, works well", "Good", 1400000000),
    ("U1", "B000000002", 2.0, "Broke &amp; returned", "Bad", 1390000000),
    ("U1", "B000000001", 4.0, "", "Hm", 1395000000),
    ("U9", "B000000003", 3.0, "Fine", "So", 1300000000),
]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def originals(category: str = "Toys_and_Games", rows: list[tuple] = ROWS) -> None:
    Path("in").mkdir(exist_ok=True)
    names = ("reviewerID", "asin", "overall", "reviewText", "summary", "unixReviewTime")
    with gzip.open(f"in/reviews_{category}_5.json.gz", "wt") as file:
        for row in rows:
            record = dict(zip(names, row, strict=True)) | {"helpful": [0, 0], "reviewTime": "05 13, 2014"}
            file.write(json.dumps(record) + "\n")
    related = {"also_bought": ["B000000001", "B00NOTHERE"]}
    with gzip.open(f"in/meta_{category}.json.gz", "wt") as file:  # as Python spells it, with single quotes
        file.write(repr({"asin": "B000000002", "title": "A Kid's &quot;Car&quot;", "related": related}) + "\n")
        file.write(repr({"asin": "B00NOTHERE", "title": "never bought"}) + "\n")
        file.write(repr({"asin": "B000000001", "brand": "Lego", "categories": [["Toys", "Blocks"], ["Toys"]]}) + "\n")


def features(*records: tuple[str, float]) -> Path:
    path = Path("in/image_features_Toys_and_Games.b")
    path.write_bytes(b"".join(n.encode() + struct.pack("<4096f", v, *[0.5] * 4095) for n, v in records))
    return path


def split(train: str, test: str, folder: str = "in/BPR") -> None:
    Path(folder).mkdir(parents=True, exist_ok=True)
    Path(folder, "true_train").write_text("{\n" + train + "}\n")
    Path(folder, "true_test").write_text("{\n" + test + "}\n")


def run(*more: str, category: str = "Toys_and_Games") -> int:
    return amazon.main(["--category", category, "--from", "in", "--out", "data/toys", "--force", *more])


def table(name: str) -> pd.DataFrame:
    return pd.read_parquet(f"data/toys/{name}.parquet")


def settings() -> DataSettings:
    return DataSettings.model_validate_json(Path("configs/data/toys.json").read_text(encoding="utf-8"))


def test_reviews_and_products_become_tables_with_ratings_words_and_times():
    originals()
    assert run() == 0
    rows = table("interactions")
    assert rows["type"].unique().tolist() == ["toys-and-games"]
    assert rows["rating"].tolist() == [5, 2, 4, 3] and rows["timestamp"].tolist() == [row[5] for row in ROWS]
    assert rows["review"][1] == "Broke & returned" and rows["summary"].tolist() == ["Good", "Bad", "Hm", "So"]
    items = table("toys-and-games").set_index("item_id")
    assert items.loc["B000000002", "title"] == 'A Kid\'s "Car"'
    assert list(items.loc["B000000002", "related"]) == ["B000000001"]
    assert list(items.loc["B000000001", "categories"]) == ["Toys", "Blocks"]
    assert pd.isna(items.loc["B000000003", "title"]) and items.loc["B000000001", "brand"] == "Lego"
    assert "image" not in settings().feat and not Path("data/toys/images.parquet").exists()


@pytest.mark.parametrize("numbers", ["float16", "float32"])
def test_image_features_are_kept_for_known_items_and_read_by_id(numbers, monkeypatch, capsys):
    monkeypatch.setattr(amazon_files, "BLOCK", 2)  # several reads
    originals()
    other, again = [(f"B00NOTHER{i}", 9) for i in "EFGH"], ("B000000003", 8)  # the first record of an item counts
    features(("B000000003", 3), again, *other, ("B000000002", 2.25), again)
    split("0: [1,],\n1: [1,0,],\n", "0: [2,],\n")
    assert run("--images", numbers) == 0
    assert "image features of 2 of 3 items of toys-and-games" in capsys.readouterr().out
    written = pq.read_table("data/toys/images.parquet")
    assert written["id"].to_pylist() == ["B000000003", "B000000002"]
    assert written.schema.field("vector").type == pa.list_({"float16": pa.float16(), "float32": pa.float32()}[numbers])
    kind = load_split(settings(), None).train.kinds["toys-and-games"]
    image = kind.columns["image"]
    assert isinstance(image, Dense) and image.value.shape == (3, 4096)
    by_id = dict(zip(kind.ids.tolist(), image.value, strict=True))
    assert by_id["B000000002"][:2].tolist() == [2.25, 0.5] and by_id["B000000003"][0] == 3
    assert np.isnan(by_id["B000000001"]).all()


def test_the_split_is_that_of_the_authors_and_validation_rows_come_from_training(monkeypatch):
    monkeypatch.setattr("hrec.prepare.amazon_category.VALID", 0.4)
    originals()
    split("0: [1,],\n1: [1,0,],\n", "0: [2,],\n")  # items by name: B000000001 is 0
    assert run() == 0
    rows = table("interactions").set_index(["user_id", "item_id"])["split"]
    assert rows["U9", "B000000003"] == "test"
    assert sorted(rows.drop(("U9", "B000000003"))) == ["train", "train", "valid"]
    data = load_split(settings(), None)
    assert [len(part.interactions) for part in (data.train, data.valid, data.test)] == [2, 1, 1]
    assert isinstance(data.train.interactions.columns["review"], Tokens)


@pytest.mark.parametrize(
    ("train", "test", "said"),
    [
        (
            "0: [1,],\n1: [1,0,],\n",
            "0: [7,],\n",
            "true_test: names user 0 and item 7, but the reviews have 2 users and 3",
        ),
        ("0: [1,],\n1: [1,0,],\n", "1: [2,],\n", "1 of the 4 reviews are not among them, the first of U9"),
        ("0: [1,2,],\n1: [1,0,],\n", "0: [2,],\n", "name 5 pairs"),
        ("0: [1,],\nuser 1\n", "0: [2,],\n", "true_train, line 3: should be like '0: [5,17,],'"),
    ],
)
def test_split_files_of_other_reviews_are_refused(train, test, said, capsys):
    originals()
    split(train, test)
    assert run() == 1
    assert said in capsys.readouterr().err and not Path("data/toys").exists()


def test_one_of_the_two_split_files_alone_is_refused(capsys):
    originals()
    split("", "")
    Path("in/BPR/true_test").unlink()
    assert run() == 1
    assert "in does not hold true_test" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("value", "cut", "said"),
    [
        (1.0, 3, "16,391 bytes are left after 0 records of 16,394 bytes"),
        (70000.0, 0, "holds numbers that float16 cannot. Try --images float32"),
    ],
)
def test_image_features_that_are_cut_or_too_large_leave_nothing_behind(value, cut, said, capsys):
    originals()
    path = features(("B000000001", value))
    path.write_bytes(path.read_bytes()[: path.stat().st_size - cut])
    assert run() == 1
    assert said in capsys.readouterr().err and not list(Path("data").iterdir())


def test_a_review_without_an_item_is_named_by_its_line(capsys):
    originals(rows=[*ROWS, ("U1", None, 1.0, "x", "y", 1)])
    assert run() == 1
    assert "reviews_Toys_and_Games_5.json.gz, line 5: should have each of reviewerID, asin" in capsys.readouterr().err


def test_several_categories_are_kinds_of_one_data_set(capsys):
    for name in ("Toys_and_Games", "Baby"):
        originals(name)
    assert amazon.main(["--category", "Toys_and_Games", "Baby", "--from", "in"]) == 0
    assert pd.read_parquet("data/amazon-toys-and-games-baby/interactions.parquet")["type"].value_counts().to_dict() == {
        "toys-and-games": 4,
        "baby": 4,
    }
    split("0: [1,],\n1: [1,0,],\n", "0: [2,],\n")
    assert amazon.main(["--category", "Toys_and_Games", "Baby", "--from", "in", "--force"]) == 1
    assert "split one category, 2 are asked for" in capsys.readouterr().err


def test_the_real_split_files_of_beauty_fit_their_reviews(tmp_path):
    original = SHARED / "amazon_beauty_jrl" / "original"
    if not original.is_dir():
        pytest.skip("needs the real data of shared/data")
    rows = pd.read_parquet(SHARED / "amazon_beauty_jrl" / "interactions.parquet")
    rows = rows.sort_values(["jrl_item", "jrl_user"], ignore_index=True)  # the file of reviews is by item
    paths = []
    for part in ("train", "test"):
        text = lzma.decompress((original / f"jrl_BPR_true_{part}.txt.xz").read_bytes())
        paths.append(tmp_path / f"true_{part}")
        paths[-1].write_bytes(text)
    found = amazon_files.split_of(rows, *paths)
    assert (found == rows["split"]).all() and found.value_counts().to_dict() == {"train": 149_844, "test": 48_658}
