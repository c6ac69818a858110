"""Arrays of vectors as columns."""

import numpy as np
import pytest
import torch

from hrec.datasets.columns import Dense
from hrec.models.layers.fields import Fields


@pytest.fixture
def cover(files):
    """Write book vectors and give the settings that read them."""

    def write(array: np.ndarray, source: str = "item_book") -> dict:
        np.save(files.folder / "cover.npy", array)
        return {"cover": {"type": "vector", "source": source, "path": str(files.folder / "cover.npy")}}

    return write


def test_vectors_are_mapped_and_in_the_order_of_the_file(files, cover):
    array = np.arange(6, dtype=np.float32).reshape(3, 2)
    column = files.read(feat=cover(array)).kinds["book"].columns["cover"]
    assert isinstance(column, Dense) and isinstance(column.value, np.memmap) and column.value.dtype == np.float32
    np.testing.assert_array_equal(column.value, array)
    assert torch.from_numpy(column.value)[2, 1] == 5


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_floats_become_float32(files, cover, dtype):
    column = files.read(feat=cover(np.ones((3, 2), dtype))).kinds["book"].columns["cover"]
    assert column.value.dtype == np.float32 and column.value.shape == (3, 2)


def test_vectors_follow_their_rows_when_rows_are_left_out(files, cover):
    files.spoil("book.csv", "b2,Bob,,", ",Bob,,")
    feat = cover(np.array([[1.0], [2.0], [3.0]]))
    book = files.read(feat=feat, drop_bad_rows=True).kinds["book"]
    assert book.ids.tolist() == ["0000031887", "b3"] and book.columns["cover"].value.tolist() == [[1], [3]]


def test_a_vector_that_is_no_vector_is_missing_where_that_is_asked_for(files, cover):
    feat = cover(np.array([[1.0, 0], [2, np.nan], [3, 0]], np.float32))
    for _ in range(2):  # parsed, then from the cache
        data = files.read(files.folder / "cache", feat=feat, drop_bad_rows=True)
        column = data.kinds["book"].columns["cover"]
        np.testing.assert_array_equal(column.value, [[1, 0], [np.nan, np.nan], [3, 0]])
        assert any("1 vector taken for missing" in line and "cover.npy, row 2" in line for line in files.said)
        assert len(data.interactions) == 6


def test_a_row_of_nan_alone_is_a_missing_vector(files, cover):
    feat = cover(np.array([[1.0, 0], [np.nan, np.nan], [3, 0]]))
    data = files.read(feat=feat)
    column = data.kinds["book"].columns["cover"]
    assert np.isnan(column.value).tolist() == [[False, False], [True, True], [False, False]]
    read = Fields(data.kinds["book"], 2, 1.0)(torch.arange(3))
    assert torch.isfinite(read).all() and read[:, -1].tolist() == [0, 1, 0]  # the mark of what is missing


def test_one_file_of_all_kinds_has_one_file_of_vectors(files, cover):
    path = files.write("items.csv", "item_id,type\nm1,1\nb2,0\nb3,0\nm2,1\n0000031887,0\n")
    data = files.read(item_feat_path=path, feat=cover(np.arange(5.0)[:, None], "item"))
    assert data.kinds["0"].columns["cover"].value.tolist() == [[1], [2], [4]]
    assert data.kinds["1"].columns["cover"].value.tolist() == [[0], [3]]


def test_compressed_vectors_of_users(files):
    import lzma

    np.save(files.folder / "face.npy", np.eye(3, dtype=np.float32))
    path = files.write("face.npy.xz", lzma.compress((files.folder / "face.npy").read_bytes()))
    column = files.read(feat={"face": {"type": "vector", "source": "user", "path": path}}).users.columns["face"]
    np.testing.assert_array_equal(column.value, np.eye(3))
