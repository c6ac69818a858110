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
        with pytest.raises(ValueError, match=r"'path' names the file of a feature of type 'vector'"):
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


# ------------------------------------------------------------------------------- files that lie about indices

CSR = {"format": b"csr", "shape": [3, 4], "data": [1.0, 1, 1], "indices": [0, 1, 2], "indptr": [0, 1, 2, 3]}
CSC = {"format": b"csc", "shape": [3, 4], "data": [1.0, 1], "indices": [0, 2], "indptr": [0, 1, 2, 2, 2]}
BSR = {"format": b"bsr", "shape": [3, 4], "data": np.ones((2, 1, 2)), "indices": [0, 1], "indptr": [0, 1, 2, 2]}
COO = {"format": b"coo", "shape": [3, 4], "data": [1.0, 1], "row": [0, 2], "col": [1, 3]}
DIA = {"format": b"dia", "shape": [3, 4], "data": np.ones((2, 4)), "offsets": [0, 1]}
WRAPPED = 2**32 + 1
FAULTS = {
    "negative": (CSR | {"indices": [0, -3, 2]}, "row 2: column index -3 is outside of its shape, which has 0 to 3"),
    "beyond": (CSR | {"indices": [25, 25, 0]}, "row 1: column index 25 is outside of its shape, which has 0 to 3 (2"),
    "just beyond": (CSR | {"indices": [0, 1, 4]}, "row 3: column index 4 is outside"),
    "wrapped": (CSR | {"indices": [0, WRAPPED, 1]}, f"row 2: column index {WRAPPED} is outside"),
    "unsigned": (CSR | {"indices": np.array([0, 1, 2**64 - 1], np.uint64)}, f"column index {2**64 - 1} is outside"),
    "fractions": (CSR | {"indices": [0.0, 1.0, 2.0]}, "its array 'indices' is not one line of whole numbers"),
    "too few indices": (CSR | {"indices": [0, 1]}, "'indptr' ends at 3, but there are 2 indices"),
    "too few values": (CSR | {"data": [1.0, 1]}, "it has 3 indices, but 2 values"),
    "falling": (CSR | {"indptr": [0, 2, 1, 3]}, "'indptr' falls at entry 3"),
    "falling, unsigned": (CSR | {"indptr": np.array([0, 2, 1, 3], np.uint64)}, "'indptr' falls at entry 3"),
    "late start": (CSR | {"indptr": [1, 1, 2, 3]}, "'indptr' starts at 1, not at 0"),
    "negative start": (CSR | {"indptr": [-1, 1, 2, 3]}, "'indptr' starts at -1, not at 0"),
    "past the end": (CSR | {"indptr": [0, 1, 2, 2**40]}, "'indptr' ends at 1,099,511,627,776, but"),
    "short": (CSR | {"indptr": [0, 1, 3]}, "'indptr' has 3 entries, not one more than 3"),
    "two axes": (CSR | {"indices": [[0, 1, 2]]}, "its array 'indices' is not one line of whole numbers"),
    "values on two axes": (CSR | {"data": [[1.0, 1, 1]]}, "its array 'data' is not one line"),
    "infinite": (CSR | {"data": [1, 1, np.inf]}, "row 3: a number is missing or infinite"),
    "missing": (CSR | {"data": [1, np.nan, 1]}, "row 2: a number is missing or infinite"),
    "too wide": (CSR | {"shape": [3, 2**31]}, "its shape has 2,147,483,648 columns"),
    "no columns": (CSR | {"shape": [3, 0]}, "holds float64[3, 0], should hold numbers"),
    "negative shape": (CSR | {"shape": [3, -4]}, "holds float64[3, -4], should hold numbers"),
    "one axis": (CSR | {"shape": [3]}, "holds 1 axes, should hold rows and columns"),
    "no indices": ({key: CSR[key] for key in CSR if key != "indices"}, "not a file of scipy.sparse.save_npz"),
    "other format": (CSR | {"format": b"lil"}, "not a file of scipy.sparse.save_npz (its format is lil"),
    "csc negative": (CSC | {"indices": [-1, 2]}, "column 1: row index -1 is outside of its shape, which has 0 to 2"),
    "csc beyond": (CSC | {"indices": [0, 3]}, "column 2: row index 3 is outside"),
    "bsr beyond": (BSR | {"indices": [0, 2]}, "row of blocks 2: column index 2 is outside"),
    "bsr odd": (BSR | {"data": np.ones((2, 1, 3))}, "blocks of 1 x 3 do not fill its shape"),
    "bsr no blocks": (BSR | {"data": [1.0, 1]}, "its array 'data' holds no blocks"),
    "coo row": (COO | {"row": [0, -1]}, "cell 2: row index -1 is outside of its shape, which has 0 to 2"),
    "coo column": (COO | {"col": [WRAPPED, 3]}, f"cell 1: column index {WRAPPED} is outside"),
    "coo lengths": (COO | {"col": [1]}, "its arrays 'row', 'col' and 'data' differ in length"),
    "dia beyond": (DIA | {"offsets": [0, 4]}, "diagonal 2: offset 4 is outside of its shape, which has -2 to 3"),
    "dia wrapped": (DIA | {"offsets": [2**32, 1]}, f"diagonal 1: offset {2**32} is outside"),
    "dia twice": (DIA | {"offsets": [1, 1]}, "names a diagonal twice"),
}


def written(files, arrays: dict) -> dict:
    path = files.folder / "words.npz"
    np.savez(path, **{name: np.asarray(array) for name, array in arrays.items()})
    return {"words": {"type": "sparse", "source": "item_book", "path": str(path)}}


@pytest.mark.parametrize(("arrays", "sentence"), FAULTS.values(), ids=FAULTS)
def test_indices_that_the_shape_does_not_have_are_refused_at_reading(files, arrays, sentence):
    refused(files, "words.npz", sentence, feat=written(files, arrays))


@pytest.mark.parametrize("arrays", [CSR, CSC, BSR, COO, DIA], ids=["csr", "csc", "bsr", "coo", "dia"])
@pytest.mark.parametrize("kind", [np.int16, np.int64, np.uint64])
def test_indices_of_any_whole_type_are_read_as_scipy_reads_them(files, arrays, kind):
    whole = [name for name in ("indices", "indptr", "row", "col", "offsets") if name in arrays]
    if kind is not np.uint64 or "offsets" not in arrays:  # numpy has no unsigned diagonal
        arrays = arrays | {name: np.asarray(arrays[name], kind) for name in whole}
    feat = written(files, arrays)
    expected = sparse.load_npz(files.folder / "words.npz").toarray()
    np.testing.assert_array_equal(dense(files.read(feat=feat).kinds["book"].columns["words"]), expected)


def test_cells_behind_the_last_row_are_no_cells(files):
    spare = CSR | {"indices": [0, 1, 2, 99], "data": [1.0, 1, 1, np.nan]}  # scipy leaves them out too
    np.testing.assert_array_equal(
        dense(files.read(feat=written(files, spare)).kinds["book"].columns["words"]), np.eye(3, 4)
    )


def test_coordinates_may_stand_in_one_array(files):
    both = {key: COO[key] for key in ("format", "shape", "data")} | {"coords": [[0, 2], [1, 3]]}
    column = files.read(feat=written(files, both)).kinds["book"].columns["words"]
    assert column.offset.tolist() == [0, 1, 1, 2] and column.index.tolist() == [1, 3]


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.float16, np.bool_])
def test_cells_that_stand_twice_are_summed_beyond_their_type(files, kind):
    big = np.array([100, 100, 100], np.float64).astype(kind)
    column = files.read(feat=written(files, COO | {"data": big, "row": [1, 1, 1], "col": [2, 2, 2]})).kinds["book"]
    assert column.columns["words"].value.tolist() == [3 * float(big[0])]
