"""Cells of a column of times (Arrow arrays) -> seconds, and whether all of them have one form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hrec.datasets.encoding import as_numbers, as_text

DATE = (
    r"^(?P<year>\d{4})(?:[-/. ](?P<month>\d{1,2})(?:[-/. ](?P<day>\d{1,2}))?|(?P<month2>\d{2})(?P<day2>\d{2}))"
    r"(?:[T ](?:(?P<hour>\d{1,2})(?::(?P<minute>\d{1,2})(?::(?P<second>\d{1,2}(?:\.\d+)?))?)?"
    r"|(?P<hour2>\d{2})(?P<minute2>\d{2})(?P<second2>\d{2}(?:\.\d+)?)?)"
    r" *(?P<zone>Z|UTC|[+-]\d{2}(?::?\d{2})?)?)?$"
)
"""ISO 8601 with signs between the parts or none: 2024-01-31, 2024-01-31T12:00:00.5+01:00, 20240131T120000Z."""
PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
STRAY = 0.05
"""Share of numbers of no known form, from which on a few numbers of a form may be chance."""
PLAIN = 0.5
"""The same, from which on a column holds plain numbers, which have no form."""
CHANCE = 0.01
"""Share of numbers of one form, below which they may be chance."""


@dataclass(frozen=True)
class TwoForms:
    """Two rows of a column of times, 0 being the first row, and the form of each."""

    rows: tuple[int, int]
    forms: tuple[str, str]


def as_seconds(cells: pa.Array) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(float64[n], NaN where missing or bad; bool[n], true where a cell is no time; bool[n], true where it is a date).

    Numbers stay as they are. Dates, of the years 1 to 9999, become seconds since 1970, UTC. Raises NotText.
    """
    if pa.types.is_timestamp(cells.type) or pa.types.is_date(cells.type):
        return _typed_seconds(cells), np.zeros(len(cells), bool), np.ones(len(cells), bool)
    seconds, bad = as_numbers(cells)
    date = np.zeros(len(cells), bool)
    if bad.any():
        seconds[bad] = _date_seconds(as_text(cells).filter(pa.array(bad)))
        date = bad & ~np.isnan(seconds)
    return seconds, bad & ~date, date


def two_forms(seconds: np.ndarray, date: np.ndarray, good: np.ndarray) -> TwoForms | None:
    """Two of the rows where ``good`` bool[n], whose times have different forms; None if one form fits all rows.

    Such are seconds and milliseconds, or a number and a date (``date`` bool[n]). Missing times have no form, nor have
    numbers up to 0 in a column of numbers.
    """
    good = good & np.isfinite(seconds)
    dates, numbers = np.flatnonzero(good & date), np.flatnonzero(good & ~date)
    if not len(dates):
        return _two_numeric_forms(seconds, numbers)
    if not len(numbers):
        return None
    form = next((name for name, fits in FORMS.items() if fits(seconds[numbers[:1]])[0]), "a number")
    return TwoForms((int(dates[0]), int(numbers[0])), ("a date", form))


def _two_numeric_forms(numbers: np.ndarray, rows: np.ndarray) -> TwoForms | None:
    """The same among the ``rows`` of a column of numbers. The form of most rows comes first.

    Plain numbers, as a count of steps, may fit a form by chance: the more numbers have none, the less a form means.
    """
    rows = rows[numbers[rows] > 0]
    positive = numbers[rows]
    fits = {name: form(positive) for name, form in FORMS.items()}
    known = np.logical_or.reduce(list(fits.values()))
    if not known.any() or (stray := np.mean(~known)) > PLAIN:
        return None
    if stray > STRAY:
        fits = {name: of_form for name, of_form in fits.items() if of_form.mean() > CHANCE}
        known = np.logical_or.reduce(list(fits.values()))
    first = max(fits, key=lambda name: np.count_nonzero(fits[name]))
    others = known & ~fits[first]
    if not others.any():
        return None
    other = int(others.argmax())
    second = next(name for name, of_form in fits.items() if of_form[other])
    return TwoForms((int(rows[fits[first].argmax()]), int(rows[other])), (first, second))


# ------------------------------------------------------------------------------------- forms of numbers


def _since_1970(per_second: float) -> Callable[[np.ndarray], np.ndarray]:
    """Recognises numbers that count from 1970 in this unit and fall into the years 1975 to 2100."""
    return lambda number: (number >= 1.58e8 * per_second) & (number < 4.11e9 * per_second)


def _digits(after_year: tuple[int, ...]) -> Callable[[np.ndarray], np.ndarray]:
    """Recognises whole numbers that are the digits of a date of the years 1900 to 2100.

    The year comes first, then parts of two digits, each at most that of ``after_year``.
    """

    smallest, end = (year * 100.0 ** len(after_year) for year in (1900, 2101))

    def fits(number: np.ndarray) -> np.ndarray:
        good = (number >= smallest) & (number < end)
        rest = number[good]
        right = rest == np.floor(rest)
        for place in reversed(range(len(after_year))):
            rest, part = np.divmod(rest, 100)
            right &= (part >= (place < 2)) & (part <= after_year[place])  # months and days count from 1
        good[good] = right
        return good

    return fits


FORMS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "a year": _digits(()),
    "a date as YYYYMM": _digits((12,)),
    "a date as YYYYMMDD": _digits((12, 31)),
    "seconds": _since_1970(1),
    "a date as YYYYMMDDhh": _digits((12, 31, 23)),
    "milliseconds": _since_1970(1e3),
    "a date as YYYYMMDDhhmm": _digits((12, 31, 23, 59)),
    "a date as YYYYMMDDhhmmss": _digits((12, 31, 23, 59, 59)),
    "microseconds": _since_1970(1e6),
    "nanoseconds": _since_1970(1e9),
}
"""Form of a positive number -> float64[n] -> bool[n], which numbers fit it."""


# ------------------------------------------------------------------------------------------------ dates


def _typed_seconds(cells: pa.Array) -> np.ndarray:
    """float64[n] of Arrow dates and timestamps, of any unit and year; NaN where null."""
    if pa.types.is_date32(cells.type):
        cells = cells.cast(pa.date64())
    per_second = PER_SECOND[getattr(cells.type, "unit", "ms")]  # date64 counts milliseconds
    count = cells.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
    seconds = count // per_second + count % per_second / per_second
    return np.where(cells.is_valid().to_numpy(zero_copy_only=False), seconds, np.nan)


def _date_seconds(text: pa.Array) -> np.ndarray:
    """float64[n]: seconds since 1970 UTC of dates as ``DATE``; NaN for any other text, or a day that is none."""
    parts = pc.extract_regex(text, DATE)
    year, month, day = _part(parts, "year"), _either(parts, "month", 1), _either(parts, "day", 1)
    hour, minute, second = (_either(parts, name, 0) for name in ("hour", "minute", "second"))
    good = (year >= 1) & (month >= 1) & (month <= 12) & (hour < 24) & (minute < 60) & (second < 60)
    months = np.where(good, (year - 1970) * 12 + month - 1, 0).astype(np.int64).astype("datetime64[M]")
    start, end = (m.astype("datetime64[D]").astype(np.int64) for m in (months, months + 1))
    good &= (day >= 1) & (day <= end - start)
    seconds = (start + day - 1) * 86400 + hour * 3600 + minute * 60 + second
    return np.where(good, seconds - _offset(parts), np.nan)


def _either(parts: pa.Array, name: str, default: float) -> np.ndarray:
    """A part that stands between signs, or else in a row of digits."""
    with_signs, digits = _part(parts, name), _part(parts, f"{name}2")
    found = np.where(np.isnan(with_signs), digits, with_signs)
    return np.where(np.isnan(found), default, found)


def _part(parts: pa.Array, name: str) -> np.ndarray:
    """float64[n]: one group of the pattern; NaN where it is empty or the pattern does not fit."""
    text = pc.struct_field(parts, name)
    text = pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)
    return text.cast(pa.float64()).to_numpy(zero_copy_only=False)


def _offset(parts: pa.Array) -> np.ndarray:
    """float64[n]: the seconds that the zone is ahead of UTC; 0 where none is given."""
    zone = pc.struct_field(parts, "zone")
    digits = pc.replace_substring(zone, ":", "")
    fields = pc.extract_regex(digits, r"^(?P<hours>[+-]\d{2})(?P<minutes>\d{2})?$")
    hours, minutes = (np.nan_to_num(_part(fields, name)) for name in ("hours", "minutes"))
    behind = pc.starts_with(zone, "-").fill_null(False).to_numpy(zero_copy_only=False)
    return hours * 3600 + np.where(behind, -60, 60) * minutes
