"""Columns of times: dates of every year, and one form of time in one column."""

import datetime as dt

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hrec.datasets import times
from hrec.datasets.reading import DataError

UTC = dt.UTC
DATES = {
    "1970-01-02": dt.datetime(1970, 1, 2, tzinfo=UTC),
    "0001-01-01T00:00:00Z": dt.datetime(1, 1, 1, tzinfo=UTC),
    "1677-09-20": dt.datetime(1677, 9, 20, tzinfo=UTC),
    "2262-04-12": dt.datetime(2262, 4, 12, tzinfo=UTC),
    "9999-12-31 23:59:59.5": dt.datetime(9999, 12, 31, 23, 59, 59, 500_000, UTC),
    "2024-02-29": dt.datetime(2024, 2, 29, tzinfo=UTC),
    "2024-02": dt.datetime(2024, 2, 1, tzinfo=UTC),
    "2024/2/3": dt.datetime(2024, 2, 3, tzinfo=UTC),
    "2024-01-31T12:34": dt.datetime(2024, 1, 31, 12, 34, tzinfo=UTC),
    "20240131T123456Z": dt.datetime(2024, 1, 31, 12, 34, 56, tzinfo=UTC),
    "2024-01-31 12:00:00 UTC": dt.datetime(2024, 1, 31, 12, tzinfo=UTC),
    "2024-01-31T01:00:00+01:30": dt.datetime(2024, 1, 30, 23, 30, tzinfo=UTC),
    "2024-01-31T01:00:00-0130": dt.datetime(2024, 1, 31, 2, 30, tzinfo=UTC),
    "2024-01-31T01:00:00-00:30": dt.datetime(2024, 1, 31, 1, 30, tzinfo=UTC),
    "2024-01-31 01:00+02": dt.datetime(2024, 1, 30, 23, tzinfo=UTC),
}
NO_DATES = ["2024-02-30", "2023-02-29", "2024-13-01", "2024-00-10", "2024-01-00", "0000-01-01", "2024-01-31T24:00"]
NO_DATES += ["2024-01-31 12:60", "2024-01-31 12:00:60", "2024-123", "2024-W05", "31/01/2024", "now"]
NO_DATES += ["today", "12:00:00"]
EPOCH = dt.datetime(1970, 1, 1, tzinfo=UTC)


def test_dates_of_the_years_1_to_9999_are_seconds():
    seconds, bad, date = times.as_seconds(pa.array([*DATES, None, ""]))
    expected = [(one - EPOCH).total_seconds() for one in DATES.values()]
    np.testing.assert_array_equal(seconds, [*expected, np.nan, np.nan])
    assert not bad.any() and date.tolist() == [True] * len(DATES) + [False, False]


@pytest.mark.parametrize("text", NO_DATES)
def test_a_day_that_is_none_is_no_time(text):
    seconds, bad, date = times.as_seconds(pa.array([text, "2024-01-31"]))
    assert np.isnan(seconds[0]) and bad.tolist() == [True, False] and date.tolist() == [False, True]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_timestamps_of_every_unit_are_seconds(unit):
    stamps = pa.array([-1, None, 1_700_000_000], pa.int64())
    cells = pa.array([None if one is None else one * times.PER_SECOND[unit] for one in stamps.to_pylist()])
    seconds, bad, date = times.as_seconds(cells.cast(pa.timestamp(unit, "Europe/Paris")))
    np.testing.assert_array_equal(seconds, [-1, np.nan, 1_700_000_000])
    assert not bad.any() and date.all()


def test_arrow_dates_of_every_year_are_seconds():
    days = [dt.date(1, 1, 1), None, dt.date(1970, 1, 2), dt.date(9999, 12, 31)]
    expected = [-62135596800, np.nan, 86400, 253402214400]
    for kind in (pa.date32(), pa.date64(), pa.timestamp("s")):
        np.testing.assert_array_equal(times.as_seconds(pa.array(days, pa.date32()).cast(kind))[0], expected)
    far = pa.array([2**40], pa.int64()).cast(pa.timestamp("s"))  # beyond what microseconds can count
    assert times.as_seconds(far)[0].tolist() == [2**40]


def forms(*cells: object) -> tuple[tuple[int, int], tuple[str, str]] | None:
    seconds, bad, date = times.as_seconds(pa.array(cells))
    found = times.two_forms(seconds, date, ~bad)
    return found and (found.rows, found.forms)


def test_seconds_and_milliseconds_are_two_forms():
    assert forms(0, 1_700_000_000_000, 1_700_000_001) == ((2, 1), ("seconds", "milliseconds"))
    assert forms(1.7e9, None, 1.6e9, 1.7e15) == ((0, 3), ("seconds", "microseconds"))
    assert forms(1_700_000_000_000, 1_700_000_000_000_000_000) == ((0, 1), ("milliseconds", "nanoseconds"))
    assert forms("1.7e9", "1700000000000") == ((0, 1), ("seconds", "milliseconds"))
    many = [*[1_700_000_000 + k for k in range(99)], 5, 1_700_000_000_000]
    assert forms(*many) == ((0, 100), ("seconds", "milliseconds"))  # one stray number does not hide it


def test_numbers_of_no_form_do_not_hide_two_forms():
    for milliseconds in (50, 4):
        many = [*[1_700_000_000 + k for k in range(50)], *[1_700_000_000_000] * milliseconds, *[5] * 12]
        assert forms(*many) == ((0, 50), ("seconds", "milliseconds"))
    assert forms(*[20240131] * 8, *[1_700_000_000] * 8, 5, 6) == ((0, 8), ("a date as YYYYMMDD", "seconds"))


def test_dates_written_as_numbers_are_a_form():
    assert forms("20240131", "1700000000") == ((0, 1), ("a date as YYYYMMDD", "seconds"))
    assert forms(20240131, 20240131120000) == ((0, 1), ("a date as YYYYMMDD", "a date as YYYYMMDDhhmmss"))
    assert forms(2023, 20240131) == ((0, 1), ("a year", "a date as YYYYMMDD"))
    assert forms(202401, 20240131) == ((0, 1), ("a date as YYYYMM", "a date as YYYYMMDD"))


def test_a_date_and_a_number_are_two_forms():
    assert forms("2024-01-30", None, "20240131") == ((0, 2), ("a date", "a date as YYYYMMDD"))
    assert forms("2023", "2021-05-01") == ((1, 0), ("a date", "a year"))
    assert forms("0", "2021-05-01") == ((1, 0), ("a date", "a number"))


@pytest.mark.parametrize(
    "cells",
    [
        range(1, 4000),  # among them are some that could be years
        (*range(1_000_000, 6_000_000_000, 1_000_003), 20240131),  # most could be seconds, and one a date
        (100, 200, 1_700_000_000_000),
        (0, -1, 1_700_000_000, 900_000_000),
        (20240131, 19991231),
        (2023, 1999),
        (1_700_000_000_000, 315_532_800_000),
        ("2024-01-31", "2024-01-31 12:00:00", "2024-01-31T12:00:00+01:00"),
        (None, None),
    ],
)
def test_one_form_is_accepted(cells):
    assert forms(*cells) is None


def test_rows_that_are_left_out_have_no_form():
    seconds, _, date = times.as_seconds(pa.array([1_700_000_000, 1_700_000_000_000]))
    assert times.two_forms(seconds, date, np.array([True, False])) is None


@pytest.mark.parametrize("by", ["ratio", "time"])
@pytest.mark.parametrize("drop", [False, True])
def test_two_forms_in_one_column_are_refused_with_both_rows(files, by, drop):
    files.spoil("rates.csv", ",100\n", ",1700000000\n")
    files.spoil("rates.csv", ",200\n", ",1700000001\n")
    for old, new in ((",300", ",1700000002"), (",150", ",1700000003"), (",50", ",0"), (",400", ",1700000000000")):
        files.spoil("rates.csv", old, new)
    with pytest.raises(DataError) as error:
        files.read(split={"by": by}, drop_bad_rows=drop)
    for part in (
        "rates.csv, column 'timestamp': two forms of time",
        "Line 2 holds '1700000000' (seconds)",
        "line 7 holds '1700000000000' (milliseconds)",
        "one form",
    ):
        assert part in str(error.value)


def test_nanoseconds_in_parquet_are_times(files):
    stamps = [1_700_000_000_123_456_789 + k * 10**9 for k in (3, 1, 2, 0)]
    rows = {"user_id": ["u1", "u1", "u2", "u2"], "item_id": ["b2", "m1", "b2", "m1"], "label": [1, 0, 0, 1]}
    path = files.folder / "rates.parquet"
    for kind in (pa.int64(), pa.uint64(), pa.decimal128(38, 0)):
        pq.write_table(pa.table(rows | {"timestamp": pa.array(stamps).cast(kind)}), path)
        found = files.read(inter_feat_path=str(path), split={"by": "time"}).interactions.time
        assert np.argsort(found).tolist() == [3, 1, 2, 0]
        np.testing.assert_allclose(found, stamps, rtol=1e-15)
