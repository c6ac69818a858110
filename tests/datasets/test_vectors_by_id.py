"""Vectors joined by raw id, from parquet and .npz."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hrec.datasets.columns import Dense
from hrec.datasets.problems import DataError

NAN = [np.nan, np.nan]
BOOK = {"m1": [5, 6], "b3": [3, 4], "0000031887": [1, 2]}  # not in the order of the files; m1 is no book


def as_parquet(path: str, ids: list, vectors: list, kinds: list | None = None) -> None:
    cells = {"id": pa.array(ids), "vector": pa.array(vectors, pa.list_(pa.float32()))}
    pq.write_table(pa.table(cells | ({"kind": pa.array(kinds)} if kinds else {})), path)


def as_npz(path: str, ids: list, vectors: list, kinds: list | None = None) -> None:
    np.savez(path, ids=ids, matrix=np.array(vectors, np.float64), **({"kinds": kinds} if kinds else {}))


WRITERS: dict[str, Callable] = {"parquet": as_parquet, "npz": as_npz}


@pytest.fixture(params=WRITERS)
def vectors(request, files):
    """Write vectors by id in a format and give the settings that read them."""

    def write(ids: list, values: list, source: str = "item_book", kinds: list | None = None, name: str = "v") -> dict:
        path = str(files.folder / f"{name}.{request.param}")
        WRITERS[request.param](path, ids, values, kinds)
        return {name: {"type": "vector", "source": source, "path": path}}

    return write


def value(table: Any, name: str = "v") -> np.ndarray:
    column = table.columns[name]
    assert isinstance(column, Dense) and column.value.dtype == np.float32
    return column.value


def test_vectors_find_their_items_by_id_and_missing_ones_are_nan_and_counted(files, vectors):
    feat = vectors(list(BOOK), list(BOOK.values()))
    for _ in range(2):  # parsed, then from the cache
        book = files.read(files.folder / "cache", feat=feat).kinds["book"]
        np.testing.assert_array_equal(value(book), [[1, 2], NAN, [3, 4]])
        line = "data.feat.v: rows with a vector: book 2 of 3; 1 vector of ids that the data does not have"
        assert files.said.pop(-2 if "cache" in files.said[-1] else -1) == line


def test_one_file_serves_several_kinds_and_a_source_may_be_one_of_them(files, vectors):
    feat = vectors(list(BOOK), list(BOOK.values()), "item")
    kinds = files.read(feat=feat).kinds
    np.testing.assert_array_equal(value(kinds["book"]), [[1, 2], NAN, [3, 4]])
    np.testing.assert_array_equal(value(kinds["music"]), [[5, 6], NAN])
    assert "data.feat.v: rows with a vector: book 2 of 3, music 1 of 2" in files.said


def test_a_column_of_kinds_tells_items_of_one_id_apart(files, vectors):
    files.spoil("music.csv", "m1", "b2")
    rows = ["u1,0000031887,book,1", "u1,b2,music,0", "u2,b2,book,0", "u3,b3,book,1", "u3,m2,music,1"]
    files.write("rates.csv", "\n".join(["user_id,item_id,type,label", *rows]))
    feat = vectors(["b2", "b2", "x"], [[1, 2], [3, 4], [5, 6]], "item", ["music", "book", "game"])
    kinds = files.read(feat=feat).kinds
    np.testing.assert_array_equal(value(kinds["book"]), [NAN, [3, 4], NAN])
    np.testing.assert_array_equal(value(kinds["music"]), [[1, 2], NAN])
    assert files.said[-1].endswith("; 1 vector of other kinds")
    with pytest.raises(DataError, match=r"id 'b2': is the id of an item of each of book, music\. Add .*item_"):
        files.read(feat=vectors(["b2"], [[1, 2]], "item"))


def test_users_and_items_without_a_file_of_their_own_have_vectors_and_several(files, vectors):
    feat = vectors(["u3", "u1"], [[3, 3], [1, 1]], "user", name="face")
    feat |= vectors(["m2"], [[1]], "item", name="image") | vectors(["b2"], [[2]], "item", name="audio")
    files.settings |= {"user_feat_path": None, "item_feat_path": None}
    data = files.read(feat=feat)
    np.testing.assert_array_equal(value(data.users, "face"), [[1, 1], NAN, [3, 3]])
    item = data.kinds["item"]
    assert set(item.columns) == {"image", "audio"} and item.ids[np.isfinite(value(item, "audio"))[:, 0]] == ["b2"]


def test_whole_numbers_are_ids(files, vectors):
    for old in ("m1", "m2"):
        files.spoil("rates.csv", old, old[1])
        files.spoil("music.csv", old, old[1])
    feat = vectors([2, 1], [[2], [1]], "item_music")
    np.testing.assert_array_equal(value(files.read(feat=feat).kinds["music"]), [[1], [2]])


@pytest.mark.parametrize(
    ("ids", "values", "kinds", "sentence"),
    [
        (["b2", "b3", "b2"], [[1], [2], [3]], None, r"row 1, id 'b2': the id occurs again further down\. Leave"),
        (["b2", "b3"], [[1], [np.inf]], None, r"row 2, id 'b3': a number is missing or infinite\. Correct it"),
        (["b2", "b3"], [[1], [1e300]], None, r"row 2, id 'b3': a number is missing or infinite"),
        (["b2", ""], [[1], [2]], None, r"row 2: the id is empty\. Give it"),
        (["b2"], [[1]], [""], r"row 1, id 'b2': the kind is empty"),
        (["x"], [[1]], None, r"has no vector of any id of book\. Its first id is 'x', that of the data '0000031887'"),
    ],
)
def test_what_cannot_be_joined_is_refused_with_its_id(files, vectors, ids, values, kinds, sentence):
    with pytest.raises(DataError, match=r"v\.(parquet|npz)(, |: )" + sentence):
        files.read(feat=vectors(ids, values, "item_book", kinds))


def test_vectors_of_different_lengths_are_refused_or_left_out(files):
    path = str(files.folder / "v.parquet")
    as_parquet(path, ["b2", "b3", "0000031887", "b3"], [[1, 2], [3], [4, np.nan], [5, 6]])
    feat = {"v": {"type": "vector", "source": "item_book", "path": path}}
    with pytest.raises(DataError, match=r"row 2, id 'b3': the vector does not have 2 numbers, as the first one has"):
        files.read(feat=feat)
    book = files.read(feat=feat, drop_bad_rows=True).kinds["book"]
    np.testing.assert_array_equal(value(book), [NAN, [1, 2], [5, 6]])
    assert sum("left out 1 vector" in line for line in files.said) == 2


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"id": ["b2"]}, "no column 'vector'.*Name the columns"),
        ({"id": ["b2"], "vector": ["1 2"]}, "column 'vector': holds string, should hold a list of numbers"),
    ],
)
def test_a_parquet_file_without_vectors_is_refused(files, columns, sentence):
    path = str(files.folder / "v.parquet")
    pq.write_table(pa.table(columns), path)
    with pytest.raises(DataError, match=sentence):
        files.read(feat={"v": {"type": "vector", "source": "item_book", "path": path}})


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"matrix": np.ones((1, 2))}, "no array 'ids'"),
        ({"ids": ["b2"], "matrix": np.ones(2)}, r"'matrix' holds float64\[2\], should hold float\[rows, numbers\]"),
        ({"ids": ["b2"], "matrix": np.ones((2, 2))}, "'ids' should have one entry for each of the 2 rows"),
        ({"ids": np.array(["b2"], object), "matrix": np.ones((1, 2))}, "not a readable .npz file.*dtype str"),
    ],
)
def test_a_npz_file_without_vectors_is_refused(files, arrays, sentence):
    np.savez(files.folder / "v.npz", **arrays)
    with pytest.raises(DataError, match=sentence):
        files.read(feat={"v": {"type": "vector", "source": "item_book", "path": str(files.folder / "v.npz")}})
