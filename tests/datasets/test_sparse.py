"""Sparse vectors as columns."""

import lzma
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import sparse

from hrec.datasets.columns import Sparse, joined
from hrec.datasets.reading import DataError
from hrec.datasets.recdata import Table
from hrec.models.layers.fields import Fields

WORDS = np.array([[2, 0, 1, 0], [0, 0, 0, 0], [0, 3, 0, 0]], np.float32)


@pytest.fixture
def words(files):
    """Write a matrix and give the settings that read it."""

    def write(matrix, source: str = "item_book") -> dict:
        path = files.folder / "words.npz"
        sparse.save_npz(path, matrix if sparse.issparse(matrix) else sparse.csr_matrix(matrix))
        return {"words": {"type": "sparse", "source": source, "path": str(path)}}

    return write


def dense(column: Sparse) -> np.ndarray:
    out = np.zeros((len(column), column.width), np.float32)
    out[np.repeat(np.arange(len(column)), np.diff(column.offset)), column.index] = column.value
    return out


@pytest.mark.parametrize("form", ["csr", "csc", "coo", "bsr"])
def test_every_form_of_matrix_is_read(files, words, form: str):
    column = files.read(feat=words(sparse.coo_matrix(WORDS).asformat(form))).kinds["book"].columns["words"]
    assert isinstance(column, Sparse) and len(column) == 3 and column.width == 4
    assert (column.offset.dtype, column.index.dtype, column.value.dtype) == (np.int64, np.int32, np.float32)
    np.testing.assert_array_equal(dense(column), WORDS)


def test_rows_are_sorted_cells_that_stand_twice_are_summed_and_zeros_left_out(files, words):
    cells = ([1, 2, 3, 0], ([0, 0, 0, 2], [2, 0, 2, 1]))
    column = files.read(feat=words(sparse.coo_matrix(cells, shape=(3, 4)))).kinds["book"].columns["words"]
    assert (
        column.index.tolist() == [0, 2] and column.value.tolist() == [2, 4] and column.offset.tolist() == [0, 2, 2, 2]
    )


def test_vectors_follow_their_rows_when_rows_are_left_out(files, words):
    files.spoil("book.csv", "b2,Bob,,", ",Bob,,")
    feat = words(WORDS)
    column = files.read(feat=feat, drop_bad_rows=True).kinds["book"].columns["words"]
    np.testing.assert_array_equal(dense(column), WORDS[[0, 2]])


def test_a_compressed_file_is_read(files, words):
    path = Path(words(WORDS)["words"]["path"])
    packed = files.write("words.npz.xz", lzma.compress(path.read_bytes()))
    feat = {"words": {"type": "sparse", "source": "user", "path": packed}}
    np.testing.assert_array_equal(dense(files.read(feat=feat).users.columns["words"]), WORDS)


def test_the_cache_keeps_them_and_sees_a_changed_file(files, words):
    folder = files.folder / "cache"
    files.read(folder, feat=words(WORDS))
    again = files.read(folder, feat=words(WORDS)).kinds["book"].columns["words"]
    np.testing.assert_array_equal(dense(again), WORDS)
    assert any("read from the cache" in line for line in files.said) and again.width == 4
    changed = files.read(folder, feat=words(2 * WORDS)).kinds["book"].columns["words"]
    np.testing.assert_array_equal(dense(changed), 2 * WORDS)


def refused(files, *parts: str, **changes) -> None:
    with pytest.raises(DataError) as error:
        files.read(**changes)
    assert all(part in str(error.value) for part in parts), error.value


def test_files_that_do_not_fit_are_refused_in_sentences(files, words):
    refused(files, "words.npz: holds 2 rows, but", "book.csv has 3", "data.feat.words.path", feat=words(WORDS[:2]))
    refused(files, "words.npz: holds complex64[3, 4]", "numbers[rows, columns]", feat=words(WORDS * 1j))
    spoilt = WORDS.astype(np.float64)
    for bad in (np.nan, 1e300):
        spoilt[2, 1] = bad
        refused(files, "words.npz, row 3: a number is missing or infinite", feat=words(spoilt))
    feat = words(WORDS)
    path = Path(feat["words"]["path"])
    path.write_bytes(path.read_bytes()[:-30])
    refused(files, "words.npz: not a file of scipy.sparse.save_npz", "cut off", feat=feat)
    np.savez(path, WORDS)
    refused(files, "words.npz: not a file of scipy.sparse.save_npz", feat=feat)
    np.savez(path, format=np.array(["csr", None], object))  # pickled
    refused(files, "words.npz: not a file of scipy.sparse.save_npz", feat=feat)
    path.unlink()
    refused(files, "words.npz: no such file", "data.feat.words.path", feat=feat)
    refused(files, "source 'item' stands for several", feat=words(WORDS, "item"))


def test_a_path_belongs_to_the_types_that_have_a_file(files):
    for feat in ({"type": "sparse"}, {"type": "token", "path": "words.npz"}):
        with pytest.raises(ValueError, match=r"'path' names the .npy file"):
            files.read(feat={"words": {"source": "item_book", **feat}})


def column(array: np.ndarray) -> Sparse:
    matrix = sparse.csr_matrix(array)
    return Sparse(matrix.indptr.astype(np.int64), matrix.indices, matrix.data, array.shape[1])


def test_rows_can_be_taken_and_joined():
    taken = column(WORDS).take(np.array([2, 0, 2]))
    np.testing.assert_array_equal(dense(taken), WORDS[[2, 0, 2]])
    np.testing.assert_array_equal(dense(column(WORDS).take(np.array([True, False, True]))), WORDS[[0, 2]])
    np.testing.assert_array_equal(dense(joined([column(WORDS), taken])), WORDS[[0, 1, 2, 2, 0, 2]])
    with pytest.raises(ValueError, match="vectors of 4 and 2 numbers"):
        joined([column(WORDS), column(WORDS[:, :2])])


def test_fields_pool_a_sparse_vector_by_its_values():
    fields = Fields(Table(3, 0, {"words": column(WORDS)}), 5, 0.1)
    weight = fields.table.weight
    missing, first = weight[0], weight[2:]
    expected = torch.stack([(2 * first[0] + first[2]) / 3, missing, first[1]])
    torch.testing.assert_close(fields(torch.arange(3)), expected)
