"""A folder of parquet files is one file."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hrec.datasets.reading import DataError


@pytest.fixture
def parts(files):
    """Write the rows in parts, at the paths given, and give the folder."""

    def write(*names: str, folder: str = "rates.parquet") -> Path:
        rows = pd.read_csv(files.folder / "rates.csv", dtype={"item_id": str})
        for name, some in zip(names, np.array_split(np.arange(len(rows)), len(names)), strict=True):
            path = files.folder / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            rows.iloc[some].to_parquet(path)
        (files.folder / folder / "_SUCCESS").write_text("")
        (files.folder / folder / ".part-0.parquet.crc").write_text("x")
        (files.folder / folder / "_temporary.parquet").write_text("x")
        return files.folder / folder

    return write


@pytest.mark.parametrize("folder", ["rates.parquet", "rates"])
def test_parts_are_one_file_in_the_order_of_their_names(files, parts, folder):
    expected = files.read().interactions
    path = parts("part-0.parquet", "part-1.snappy.parquet", "part-2.pq", folder=folder)
    rows = files.read(inter_feat_path=str(path)).interactions
    for name in ("user", "item", "label", "rating", "time"):
        np.testing.assert_array_equal(getattr(rows, name), getattr(expected, name))


def test_folders_that_name_a_value_are_a_column(files, parts):
    folder = parts("stars=1/0.parquet", "stars=0/0.parquet")
    data = files.read(inter_feat_path=str(folder), LABEL_FIELD="stars")
    assert data.interactions.label.tolist() == [0, 0, 0, 1, 1, 1]


def test_items_and_users_may_be_folders_too(files):
    for name in ("book", "users"):
        (files.folder / name).mkdir()
        table = pd.read_csv(files.folder / f"{name}.csv", dtype={"item_id": str})
        table.iloc[:2].to_parquet(files.folder / name / "a.parquet")
        table.iloc[2:].to_parquet(files.folder / name / "b.parquet")
    paths = files.settings["item_feat_path"] | {"book": str(files.folder / "book")}
    data = files.read(user_feat_path=str(files.folder / "users"), item_feat_path=paths)
    assert data.kinds["book"].count == data.users.count == 3


def test_a_message_names_the_part_and_its_row(files, parts):
    folder = parts("a.parquet", "b.parquet")
    rows = pd.read_parquet(folder / "b.parquet")
    rows.assign(label=[1, 7, 0]).to_parquet(folder / "b.parquet")
    with pytest.raises(DataError, match=r"rates.parquet, row 2 of b.parquet, column 'label': 7 is no label"):
        files.read(inter_feat_path=str(folder))


@pytest.mark.parametrize(
    ("change", "parts_of_message"),
    [
        (lambda rows: rows.drop(columns="rating"), ["b.parquet: no column 'rating', which", "a.parquet has"]),
        (lambda rows: rows.assign(new=1), ["a.parquet: no column 'new', which", "b.parquet has"]),
        (lambda rows: rows.assign(label=["x"] * 3), ["b.parquet, column 'label': is", "in", "a.parquet", "one type"]),
    ],
)
def test_parts_that_are_no_one_table_are_refused(files, parts, change, parts_of_message):
    folder = parts("a.parquet", "b.parquet")
    change(pd.read_parquet(folder / "b.parquet")).to_parquet(folder / "b.parquet")
    with pytest.raises(DataError) as error:
        files.read(inter_feat_path=str(folder))
    assert [part for part in parts_of_message if part not in str(error.value)] == [], str(error.value)


def test_a_damaged_part_and_a_folder_without_parts_are_refused(files, parts):
    folder = parts("a.parquet", "b.parquet")
    (folder / "b.parquet").write_bytes(b"x")
    with pytest.raises(DataError, match=r"b.parquet: not a readable parquet file"):
        files.read(inter_feat_path=str(folder))
    with pytest.raises(DataError, match=re.escape(f"{files.folder / 'empty'}: is a folder without a parquet file")):
        (files.folder / "empty").mkdir()
        files.read(inter_feat_path=str(files.folder / "empty"))


def test_the_cache_notices_a_part_that_changes_or_comes_or_goes(files, parts):
    folder, cache = parts("a.parquet", "b.parquet"), files.folder / "cache"

    def read() -> int:
        files.said.clear()
        return len(files.read(cache, inter_feat_path=str(folder)).interactions)

    assert read() == read() == 6
    assert any("read from the cache" in line for line in files.said)
    rows = pd.read_parquet(folder / "b.parquet")
    rows.iloc[:2].to_parquet(folder / "b.parquet")
    assert read() == 5 and any("b.parquet has changed" in line for line in files.said)
    rows.iloc[2:].to_parquet(folder / "c.parquet")
    assert read() == 6 and any("the number of files has changed" in line for line in files.said)
    (folder / "b.parquet").unlink()
    assert read() == 4
