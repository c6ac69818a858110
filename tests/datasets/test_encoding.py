"""Cells -> codes, numbers and lists."""

import decimal
import uuid

import numpy as np
import pyarrow as pa
import pytest

from hrec.datasets import encoding
from hrec.datasets.columns import FIRST, MISSING, UNKNOWN


def test_ids_are_text_with_leading_zeros_and_without_a_useless_fraction():
    texts = pa.array(["0000031887", "1.0", "-2.0", "1.05", "v1.0", "", None, "nan"])
    assert encoding.as_names(texts).to_pylist() == ["0000031887", "1", "-2", "1.05", "v1.0", None, None, None]
    assert encoding.as_names(pa.array([1.0, None, float("nan"), 2.0])).to_pylist() == ["1", None, None, "2"]
    assert encoding.as_names(pa.array([7, None])).to_pylist() == ["7", None]
    assert encoding.as_names(pa.array(["x"], pa.large_string())).to_pylist() == ["x"]


def test_numbers():
    numbers, bad = encoding.as_numbers(pa.array(["1", " 2 ", "1e3", "", None, "nan", "abc", "inf", "1e39", "1,5"]))
    np.testing.assert_array_equal(numbers[:6], [1, 2, 1000, np.nan, np.nan, np.nan])
    assert np.flatnonzero(bad).tolist() == [6, 7, 8, 9] and np.isnan(numbers[6:]).all()
    numbers, bad = encoding.as_numbers(pa.array([True, None, False]))
    np.testing.assert_array_equal(numbers, [1, np.nan, 0])
    assert not bad.any()
    assert encoding.as_numbers(pa.array([1, None], pa.int8()))[1].tolist() == [False, False]
    assert encoding.as_numbers(pa.nulls(2))[1].tolist() == [False, False]
    with pytest.raises(encoding.NotText, match="list"):
        encoding.as_numbers(pa.array([[1.0]]))


def test_vocabulary_is_sorted_and_shared():
    one, two = encoding.categorical([pa.array(["b", None, "a"]), pa.array(["é", "b", "b"])])
    assert one.values.tolist() == ["a", "b", "é"] and one.values is two.values
    assert one.code.tolist() == [FIRST + 1, MISSING, FIRST] and two.code.tolist() == [FIRST + 2, FIRST + 1, FIRST + 1]
    assert one.code.dtype == np.int32


def test_min_count():
    (column,) = encoding.categorical([pa.array(["c", "a", "c", "b", "b", None])], min_count=2)
    assert column.values.tolist() == ["b", "c"]
    assert column.code.tolist() == [FIRST + 1, UNKNOWN, FIRST + 1, FIRST, FIRST, MISSING]


def test_nothing_but_missing():
    (column,) = encoding.categorical([pa.array([None, None], pa.string())], min_count=3)
    assert column.code.tolist() == [MISSING, MISSING] and column.size == FIRST


def test_lists_drop_empty_entries_and_count_rows_once():
    lists = encoding.as_lists(pa.array(["a| b |a", None, "", "|c|", "a"]), "|")
    (column,) = encoding.categorical_lists([lists])
    assert column.values.tolist() == ["a", "b", "c"] and column.offset.tolist() == [0, 3, 3, 3, 4, 5]
    assert column.code.tolist() == [FIRST, FIRST + 1, FIRST, FIRST + 2, FIRST]
    (column,) = encoding.categorical_lists([lists], min_count=2)  # a stands twice in one row, and in another
    assert column.values.tolist() == ["a"] and column.code.tolist() == [FIRST, UNKNOWN, FIRST, UNKNOWN, FIRST]


def test_a_whole_number_is_one_category_and_one_id_however_it_is_written():
    lists = encoding.as_lists(pa.array(["1999.0|2000", "1999| 2000.0"]), "|")
    assert encoding.categorical_lists([lists])[0].values.tolist() == ["1999", "2000"]
    assert encoding.as_names(pa.array([" 7.0 ", "7", "07", "7.5"])).to_pylist() == ["7", "7", "07", "7.5"]
    assert encoding.as_names(pa.array([123456789012.0, None, 1.0])).to_pylist() == ["123456789012", None, "1"]
    with pytest.raises(encoding.NotText, match="rounds some as large as these"):
        encoding.as_names(pa.array([2.0**53, 1.0]))


def test_lists_of_two_files_share_a_vocabulary():
    parts = [encoding.as_lists(cells, "|") for cells in (pa.array(["b", "a|b"]), pa.array([["c", "a"], None]))]
    one, two = encoding.categorical_lists(parts)
    assert one.values is two.values and one.values.tolist() == ["a", "b", "c"]
    assert one.code.tolist() == [FIRST + 1, FIRST, FIRST + 1] and two.code.tolist() == [FIRST + 2, FIRST]
    assert two.offset.tolist() == [0, 2, 2]


def test_whole_numbers_above_2_to_the_53_become_the_nearest_float():
    for kind in (pa.int64(), pa.uint64(), pa.decimal128(38, 0), pa.string()):
        numbers, bad = encoding.as_numbers(pa.array([2**60 + 1, None, 2**63 - 1]).cast(kind))
        np.testing.assert_array_equal(numbers, [2.0**60, np.nan, 2.0**63])
        assert not bad.any()
    assert encoding.as_numbers(pa.array([2**64 - 1], pa.uint64()))[0].tolist() == [2.0**64]
    assert encoding.as_names(pa.array([2**64 - 1], pa.uint64())).to_pylist() == ["18446744073709551615"]


def test_decimals_are_the_nearest_float():
    tenths = [decimal.Decimal(k) / 10 for k in range(100)]
    for kind in (pa.decimal128(20, 1), pa.decimal256(50, 1)):
        assert encoding.as_numbers(pa.array(tenths, kind))[0].tolist() == [k / 10 for k in range(100)]


@pytest.mark.parametrize("threshold", [0.1, 0.6, 0.7, 2.9, 3.3, 4.1])
@pytest.mark.parametrize("kind", [pa.float16(), pa.float32(), pa.float64(), pa.decimal128(5, 1), pa.string()])
def test_a_number_is_not_above_itself_in_any_type_of_file(kind, threshold):
    around = np.round([threshold - 0.1, threshold, threshold + 0.1], 1)
    if pa.types.is_floating(kind):
        cells = pa.array(around.astype(kind.to_pandas_dtype()))
    else:
        cells = pa.array([decimal.Decimal(str(one)) for one in around], pa.decimal128(5, 1)).cast(kind)
    numbers, _ = encoding.as_numbers(cells)
    assert encoding.above(cells, numbers, threshold).tolist() == [False, False, True]


def test_a_threshold_beyond_the_type_has_nothing_above_it():
    cells = pa.array(np.array([60000], np.float16))
    assert encoding.above(cells, np.array([60000.0]), 1e6).tolist() == [False]


def test_uuids_are_text():
    one, two = uuid.UUID(int=7 << 64), uuid.UUID(int=0x61 << 120)
    cells = pa.array([two.bytes, None, one.bytes, two.bytes], pa.uuid())
    assert encoding.as_names(cells).to_pylist() == [str(two), None, str(one), str(two)]
    assert encoding.as_names(cells[2:]).to_pylist() == [str(one), str(two)]
    assert encoding.as_names(cells[:0]).to_pylist() == []


def test_binary_ids_are_text_or_refused():
    for kind in (pa.binary(), pa.large_binary(), pa.binary(2)):
        assert encoding.as_names(pa.array([b"u1", None, b"u2"], kind)).to_pylist() == ["u1", None, "u2"]
        for spoilt in (b"\xff\xfe", b"a\x00", b"\x01\x02"):
            with pytest.raises(encoding.NotText, match="not text"):
                encoding.as_names(pa.array([b"u1", spoilt], kind))


def test_repeated_marks_all_but_the_last():
    assert encoding.repeated(np.array([3, 1, 3, 3, 2])).tolist() == [True, False, True, False, False]
    assert encoding.repeated(np.array([], np.int64)).tolist() == []


def test_positions():
    found = encoding.positions(pa.array(["b", None, "x", "a"]), pa.array(["a", "b"]))
    assert found.tolist() == [1, -1, -1, 0] and found.dtype == np.int32
