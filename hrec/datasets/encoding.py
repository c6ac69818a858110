"""Cells of a file (Arrow arrays) -> numbers, codes and lists (numpy), without a Python loop over rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hrec.datasets.columns import FIRST, MISSING, UNKNOWN, Categorical, CategoricalList

EMPTY = pa.array(["", "nan", "NaN"])  # what pandas and others write for a missing value
LARGEST = float(np.finfo(np.float32).max)


def is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


class NotText(ValueError):
    """The column holds something that is neither text nor a number."""


def as_text(cells: pa.Array) -> pa.Array:
    """Cells as text, null where missing. Raises NotText for lists and the like."""
    if pa.types.is_nested(cells.type) or pa.types.is_dictionary(cells.type):
        raise NotText(f"holds {cells.type}, not one value per row")
    cells = without_extension(cells)
    try:
        text = cells.cast(pa.string())
    except pa.ArrowException as error:
        raise NotText(f"holds {cells.type}, which is not text ({str(error).splitlines()[0]})") from None
    if _is_binary(cells.type) and pc.any(pc.match_substring_regex(text, CONTROL)).as_py():
        raise NotText(f"holds {cells.type}, and its bytes are not text")
    text = pc.utf8_trim_whitespace(text)
    return pc.if_else(pc.is_in(text, value_set=EMPTY), pa.scalar(None, pa.string()), text)


CONTROL = r"[\x00-\x08\x0e-\x1f\x7f]"
"""Characters that no text holds: bytes with them are numbers or hashes, even where they can be decoded."""


def _is_binary(kind: pa.DataType) -> bool:
    types = pa.types
    return any(is_kind(kind) for is_kind in (types.is_binary, types.is_large_binary, types.is_fixed_size_binary)) or (
        kind == pa.binary_view()
    )


def without_extension(cells: pa.Array) -> pa.Array:
    """Cells of an Arrow extension type as its plain type; UUIDs as text, as in 00000000-0000-0000-0000-000000000007."""
    if not isinstance(cells.type, pa.BaseExtensionType):
        return cells
    return _uuid_text(cells.storage) if cells.type.extension_name == "arrow.uuid" else cells.storage


def _uuid_text(cells: pa.Array) -> pa.Array:
    """binary[16] -> text of 32 hexadecimal digits in groups of 8, 4, 4, 4 and 12, null where null."""
    filled = pc.fill_null(cells, bytes(16)).cast(pa.binary()).to_numpy(zero_copy_only=False)
    digits = np.frombuffer(b"".join(filled).hex().encode(), np.uint8).reshape(-1, 32)
    text = np.insert(digits, (8, 12, 16, 20), ord("-"), axis=1)
    out = pa.Array.from_buffers(pa.binary(36), len(text), [None, pa.py_buffer(text.tobytes())]).cast(pa.string())
    return pc.if_else(cells.is_valid(), out, pa.scalar(None, pa.string()))


EXACT = {"float": 2**24, "double": 2**53, "halffloat": 2**11}
"""Up to where a type of Arrow holds every whole number."""


def as_names(cells: pa.Array) -> pa.Array:
    """Ids and categories as text, null where missing. 1, "1" and 1.0 are the same; leading zeros stay.

    Raises NotText for whole numbers so large that their type holds not all of them: ids that were rounded.
    """
    if pa.types.is_floating(cells.type):
        numbers = cells.cast(pa.float64()).to_numpy(zero_copy_only=False)
        numbers = numbers[np.isfinite(numbers)]
        if np.array_equal(numbers, np.floor(numbers)):
            if np.abs(numbers).max(initial=0) >= EXACT[str(cells.type)]:
                raise NotText(f"holds whole numbers as {cells.type}, which rounds some as large as these")
            cells = pc.if_else(pc.is_finite(cells), cells, pa.scalar(None, cells.type)).cast(pa.int64())
    return without_point_zero(as_text(cells))


def without_point_zero(text: pa.Array) -> pa.Array:
    """'1.0' as '1', which pandas writes so in a column with a missing value."""
    if pc.any(pc.ends_with(text, ".0")).as_py():
        text = pc.replace_substring_regex(text, r"^(-?\d+)\.0$", r"\1")
    return text


def means_nothing(cells: pa.Array, missing: Sequence[str]) -> pa.Array:
    """bool[n]: cells that hold one of the texts in ``missing``, or the number that it is: -1.0 for -1, but not 01 for
    1, because ids are texts. False for cells that are neither text nor numbers."""
    kind, types = cells.type, pa.types
    if types.is_floating(kind):
        numbers = as_numbers(pa.array(missing, pa.string()))[0]
        same = [as_precise_as(kind, number) for number in numbers[~np.isnan(numbers)]]
        return pc.is_in(cells.cast(pa.float64()), value_set=pa.array(same, pa.float64()))
    if not (is_text(kind) or types.is_integer(kind) or types.is_decimal(kind)):
        return pa.array(np.zeros(len(cells), bool))
    text = pc.utf8_trim_whitespace(cells.cast(pa.large_string() if kind == pa.large_string() else pa.string()))
    return pc.is_in(_shortest(text), value_set=_shortest(pa.array(missing, text.type)))


def _shortest(text: pa.Array) -> pa.Array:
    """Numbers without zeros at the end of their fraction: -1 for -1.0; other texts as they are."""
    text = pc.replace_substring_regex(text, r"^([-+]?\d+)\.0*$", r"\1")
    return pc.replace_substring_regex(text, r"^([-+]?\d*\.\d*[1-9])0+$", r"\1")


def as_numbers(cells: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """(float64[n], NaN where missing or bad; bool[n], true where a cell is no number within float32's range)."""
    if _is_number(cells.type):
        # not safe: a whole number above 2**53 becomes the nearest that float64 holds
        numbers = cells.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        unreadable = np.zeros(len(numbers), bool)
    else:
        numbers, unreadable = _parse_numbers(as_text(cells))
    bad = unreadable | (np.abs(numbers) > LARGEST)
    return np.where(bad, np.nan, numbers), bad


def _is_number(kind: pa.DataType) -> bool:
    """Whether Arrow casts the type to the nearest float64, as it does not decimals: 0.6 becomes 0.6000000000000001."""
    is_one_of = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_null)
    return any(is_kind(kind) for is_kind in is_one_of)


def as_precise_as(kind: pa.DataType, number: float) -> float:
    """The number as a column of this type holds it: .6 in float32 is .60000002, which is what its cells compare to."""
    if not pa.types.is_floating(kind):
        return number
    with np.errstate(over="ignore"):  # beyond the range of the type it is infinite, and no cell is above it
        return float(np.dtype(kind.to_pandas_dtype()).type(number))


def above(cells: pa.Array, numbers: np.ndarray, threshold: float) -> np.ndarray:
    """bool[n]: ``numbers`` float64[n], which are those of ``cells``, that exceed the threshold."""
    return numbers > as_precise_as(cells.type, threshold)


def as_labels(cells: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """The same, where true and false, however they are written, are 1 and 0."""
    numbers, bad = as_numbers(cells)
    if bad.any():
        said = pc.index_in(pc.utf8_lower(as_text(cells)), pa.array(["false", "true"])).to_numpy(zero_copy_only=False)
        named = bad & ~np.isnan(said.astype(np.float64))
        numbers, bad = np.where(named, said, numbers), bad & ~named
    return numbers, bad


def _parse_numbers(text: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    try:
        numbers = text.cast(pa.float64()).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:
        import pandas as pd  # takes half a second to load, and clean files never need it

        objects = text.to_numpy(zero_copy_only=False)
        numbers = pd.to_numeric(pd.Series(objects, dtype=object), errors="coerce").to_numpy(np.float64)
    return numbers, np.isnan(numbers) & text.is_valid().to_numpy(zero_copy_only=False)


def as_lists(
    cells: pa.Array,
    separator: str,
    missing: Sequence[str] = (),
    encode: Callable[[pa.Array], pa.Array] = as_text,
) -> tuple[pa.Array, np.ndarray, np.ndarray]:
    """(entries as text, int64 row of each entry, int64[n] entries in each row); empty entries are left out, and those
    that are one of the texts in ``missing``.

    Text is split at ``separator`` and blanks around an entry are cut off; Arrow lists are taken as they are.
    encode: entries -> text; as_names where they are ids or categories. Raises NotText.
    """
    nested = pa.types.is_list(cells.type) or pa.types.is_large_list(cells.type)
    lists = cells if nested or pa.types.is_fixed_size_list(cells.type) else pc.split_pattern(as_text(cells), separator)
    entries = encode(pc.list_flatten(lists))
    filled = pc.and_(entries.is_valid(), pc.greater(pc.utf8_length(entries), 0)).fill_null(False)
    if missing:
        filled = pc.and_not(filled, means_nothing(entries, missing))
    row = pc.list_parent_indices(lists).filter(filled).to_numpy(zero_copy_only=False).astype(np.int64)
    return entries.filter(filled), row, np.bincount(row, minlength=len(cells))


def categorical(parts: Sequence[pa.Array], min_count: int = 1) -> list[Categorical]:
    """Columns of text with one vocabulary between them; categories in fewer than ``min_count`` rows become UNKNOWN."""
    text = pa.concat_arrays(parts)
    code, values = _encode(text, np.arange(len(text)), min_count)
    return [Categorical(code[start:stop], values) for start, stop in _ranges([len(part) for part in parts])]


def categorical_lists(
    parts: Sequence[tuple[pa.Array, np.ndarray, np.ndarray]], min_count: int = 1
) -> list[CategoricalList]:
    """Columns of lists, each as as_lists gives it, with one vocabulary between them."""
    first_row = np.cumsum([0] + [len(length) for _, _, length in parts])
    row = np.concatenate([row + first for (_, row, _), first in zip(parts, first_row, strict=False)])
    text = without_point_zero(pa.concat_arrays([entries for entries, _, _ in parts]))
    code, values = _encode(text, row, min_count)
    ranges = _ranges([len(entries) for entries, _, _ in parts])
    return [
        CategoricalList(np.concatenate([[0], np.cumsum(length)]).astype(np.int64), code[start:stop], values)
        for (_, _, length), (start, stop) in zip(parts, ranges, strict=True)
    ]


def _encode(text: pa.Array, row: np.ndarray, min_count: int) -> tuple[np.ndarray, np.ndarray]:
    """(int32 code of each entry, the sorted vocabulary); ``row`` is where each entry stands, to count rows."""
    encoded = text.dictionary_encode()
    order = pc.array_sort_indices(encoded.dictionary)
    code_of = np.empty(len(order) + 1, np.int32)
    code_of[order.to_numpy()] = np.arange(FIRST, FIRST + len(order))
    code_of[-1] = MISSING  # where null becomes -1
    code = code_of[encoded.indices.fill_null(-1).to_numpy()]
    values = as_objects(encoded.dictionary.take(order))
    if min_count > 1:
        code, kept = _drop_rare(code, row, len(values), min_count)
        values = values[kept]
    return code, values


def _drop_rare(code: np.ndarray, row: np.ndarray, n_values: int, min_count: int) -> tuple[np.ndarray, np.ndarray]:
    """(codes with rare categories as UNKNOWN and no holes, bool[n_values] kept). A row that repeats one counts once."""
    size = FIRST + n_values
    once = np.unique(row * size + code) % size
    kept = np.bincount(once, minlength=size)[FIRST:] >= min_count
    renumber = np.where(kept, FIRST - 1 + np.cumsum(kept), UNKNOWN)
    return np.concatenate([[MISSING, UNKNOWN], renumber]).astype(np.int32)[code], kept


def as_objects(text: pa.Array) -> np.ndarray:
    """Text without nulls as an array of Python strings.

    An array of numpy's own strings gives each of them the width of the longest: one long text would take gigabytes.
    """
    return text.to_numpy(zero_copy_only=False)


def positions(text: pa.Array, among: pa.Array) -> np.ndarray:
    """int32[n]: the position of each text in ``among``; -1 if it is not there, or null."""
    return pc.index_in(text, value_set=among).fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int32, copy=False)


def repeated(keys: np.ndarray) -> np.ndarray:
    """bool[n]: true where the same key comes again further on, so that all but the last of its kind are true."""
    last = len(keys) - 1 - np.unique(keys[::-1], return_index=True)[1]
    out = np.ones(len(keys), bool)
    out[last] = False
    return out


def numbered(text: pa.Array) -> np.ndarray:
    """int32[n]: equal numbers for equal texts; -1 for null."""
    return text.dictionary_encode().indices.fill_null(-1).to_numpy(zero_copy_only=False)


def _ranges(lengths: Sequence[int]) -> list[tuple[int, int]]:
    return list(pairwise(np.cumsum([0, *lengths]).tolist()))
