"""data.missing_values: texts that mean no value, in every column and format."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hrec.datasets.columns import FIRST, MISSING
from hrec.datasets.encoding import as_lists, means_nothing
from hrec.datasets.reading import DataError

TEXTS = ("—", "NULL", "N/A")


@pytest.mark.parametrize("name", ["csv", "parquet"])
def test_texts_that_mean_no_value_are_missing(files, name):
    rows = {"item_id": ["0000031887", "b2", "b3"], "author": ["NULL", " N/A ", "Ann"], "price": ["—", "NULL", "3"]}
    table = pd.DataFrame(rows | {"genres": ["a|NULL|b", "—", "['N/A', 'a']"]})
    path = files.folder / f"book.{name}"
    table.to_csv(path, index=False) if name == "csv" else table.to_parquet(path)
    files.settings["item_feat_path"]["book"] = str(path)
    columns = files.read(missing_values=TEXTS).kinds["book"].columns
    assert columns["author"].code.tolist() == [MISSING, MISSING, FIRST]
    assert np.isnan(columns["price"].value).tolist() == [True, True, False]
    assert columns["genres"].values.tolist() == ["a", "b"] and columns["genres"].offset.tolist() == [0, 2, 2, 3]
    assert files.read(drop_bad_rows=True).kinds["book"].columns["author"].values.tolist() == ["Ann", "N/A", "NULL"]


def test_an_id_that_means_no_value_is_none(files):
    files.spoil("rates.csv", "u2,b2", "NULL,b2")
    with pytest.raises(DataError, match=r"rates.csv, line 4, column 'user_id': an empty cell is no id"):
        files.read(missing_values=TEXTS)
    data = files.read(missing_values=TEXTS, drop_bad_rows=True, user_feat_path=None, feat={})
    assert data.users.ids.tolist() == ["u1", "u2", "u3"] and len(data.interactions) == 5


def test_ratings_and_times_that_mean_no_value_are_gaps(files):
    files.spoil("rates.csv", "0,2,200", "0,NULL,—")
    rows = files.read(missing_values=TEXTS).interactions
    assert np.isnan(rows.rating).sum() == np.isnan(rows.time).sum() == 1


def test_the_cache_keeps_settings_apart(files):
    files.spoil("users.csv", "Paris", "NULL")
    for texts, size in (((), 2), (TEXTS, 1)):
        data = files.read(files.folder / "cache", missing_values=texts)
        assert len(data.users.columns["city"].values) == size


@pytest.mark.parametrize("kind", ["csv", pa.int8(), pa.uint64(), pa.float16(), pa.float32(), pa.decimal128(6, 2)])
@pytest.mark.parametrize("text", ["99", "99.0", "99.00"])
def test_numbers_that_mean_no_value_are_missing_in_every_type(files, kind, text):
    path = files.folder / f"book.{'csv' if kind == 'csv' else 'parquet'}"
    prices = pa.array([1.0, 99.0, 3.0]).cast(pa.float64() if kind == "csv" else kind)
    table = pa.table({"item_id": ["0000031887", "b2", "b3"], "price": prices})
    table.to_pandas().to_csv(path, index=False) if kind == "csv" else pq.write_table(table, path)
    files.settings["item_feat_path"]["book"] = str(path)
    feat = {"price": {"type": "float", "source": "item_book"}}
    price = files.read(missing_values=["nothing", text], feat=feat).kinds["book"].columns["price"].value
    np.testing.assert_array_equal(price, [1, np.nan, 3])


def test_fractions_that_mean_no_value_are_missing_as_their_type_holds_them(files):
    for kind in (pa.float32(), pa.float64()):
        assert means_nothing(pa.array([0.1, 0.5, None], kind), [" 0.10"]).to_pylist() == [True, False, False]


def test_an_id_with_zeros_in_front_is_not_the_number_that_means_no_value():
    cells = pa.array(["01", "1", "1.0", "1.5", "x1.0"])
    assert means_nothing(cells, ["1"]).to_pylist() == [False, True, True, False, False]
    dates = pa.array([1], pa.timestamp("s"))
    assert means_nothing(dates, ["1"]).to_pylist() == [False]


def test_entries_of_lists_that_mean_no_value_are_left_out():
    assert as_lists(pa.array(["1|-1.0|2"]), "|", ["-1"])[0].to_pylist() == ["1", "2"]
    assert as_lists(pa.array([[1.5, -1.0]]), "|", ["-1.0"])[0].to_pylist() == ["1.5"]
