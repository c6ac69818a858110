"""Types that parquet has and text files have not: whole numbers of 64 bits, short floats, UUIDs, bytes."""

import uuid

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hrec.datasets.reading import DataError


def parquet(files, **columns: object) -> str:
    """The interactions of four rows with other cells in some columns, as a parquet file."""
    rows = {"user_id": ["u1", "u1", "u2", "u2"], "item_id": ["b2", "m1", "b2", "m1"], "label": [1, 0, 0, 1]}
    path = files.folder / "rates.parquet"
    pq.write_table(pa.table(rows | columns), path)
    return str(path)


@pytest.mark.parametrize("kind", [pa.int64(), pa.uint64(), pa.decimal128(38, 0)])
def test_whole_numbers_of_64_bits_are_read_in_every_column_of_numbers(files, kind):
    big = pa.array([2**53 + 1, 1, 2**63 - 1, None], pa.decimal128(38, 0)).cast(kind)
    path = parquet(files, rating=big)
    rating = files.read(inter_feat_path=path).interactions.rating
    np.testing.assert_array_equal(rating, np.float32([2**53, 1, 2**63, np.nan]))
    labels = {"label": {"from": "rating", "above": 2**54}, "drop_bad_rows": True}
    assert files.read(inter_feat_path=path, **labels).interactions.label.tolist() == [0, 0, 1]
    pq.write_table(pa.table({"item_id": ["b2", "b3", "b4", "b5"], "weight": big}), files.folder / "book.parquet")
    feat = {"weight": {"type": "float", "source": "item_book"}}
    paths = {"book": str(files.folder / "book.parquet"), "music": files.settings["item_feat_path"]["music"]}
    weight = files.read(inter_feat_path=path, item_feat_path=paths, feat=feat).kinds["book"].columns["weight"].value
    np.testing.assert_array_equal(weight, np.float32([2**53, 1, 2**63, np.nan]))


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_a_rating_at_the_threshold_is_not_above_it(files, kind):
    path = parquet(files, rating=np.array([0.5, 0.6, 0.7, 0.6], kind))
    label = {"from": "rating", "above": 0.6}
    assert files.read(inter_feat_path=path, label=label).interactions.label.tolist() == [0, 0, 1, 0]


def test_ids_of_uuids_and_bytes_are_text_or_refused(files):
    ids = [uuid.UUID(int=2**127 + 5), uuid.UUID(int=7 << 64)]
    path = parquet(files, user_id=pa.array([ids[k].bytes for k in (0, 0, 1, 1)], pa.uuid()))
    data = files.read(inter_feat_path=path, user_feat_path=None, feat={})
    assert data.users.ids.tolist() == sorted(map(str, ids)) and data.interactions.user.tolist() == [1, 1, 0, 0]
    with pytest.raises(DataError, match=f"row 1, column 'user_id': '{ids[0]}' is not in the user file"):
        files.read(inter_feat_path=path)
    data = files.read(inter_feat_path=parquet(files, user_id=[b"u1", b"u1", b"u2", b"u2"]))
    assert data.interactions.user.tolist() == [0, 0, 1, 1]
    path = parquet(files, user_id=pa.array([one.bytes for one in (ids[0], ids[0], ids[1], ids[1])], pa.binary(16)))
    with pytest.raises(DataError, match=r"rates.parquet, column 'user_id': holds fixed_size_binary\[16\].* of text"):
        files.read(inter_feat_path=path)


def test_categories_in_lists_of_numbers_are_those_of_cells_of_numbers(files):
    path = files.folder / "book.parquet"
    files.settings["item_feat_path"]["book"] = str(path)
    feat = {"genres": {"type": "token_seq", "source": "item_book"}}
    cells = [[1.0, 2.0**20], None, [3.0]]
    for kind in (pa.float32(), pa.float64(), pa.int32()):
        table = {"item_id": ["0000031887", "b2", "b3"], "genres": pa.array(cells).cast(pa.list_(kind))}
        pq.write_table(pa.table(table), path)
        genres = files.read(feat=feat).kinds["book"].columns["genres"]
        assert genres.values.tolist() == ["1", "1048576", "3"] and genres.offset.tolist() == [0, 2, 2, 3]
    pq.write_table(pa.table(table | {"genres": pa.array([[2.0**30], [], []], pa.list_(pa.float32()))}), path)
    with pytest.raises(DataError, match=r"column 'genres': holds whole numbers as float, which rounds"):
        files.read(feat=feat)
