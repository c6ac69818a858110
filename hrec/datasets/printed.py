"""Lists as Python, JSON, numpy or Postgres print them, in cells of text: ['x', 'y'], ["x","y"], {x, y}, ['x' 'y']."""

from __future__ import annotations

import ast
import json
import re
import warnings
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

NAMES = r"(?:(?:np|numpy|pd|pandas|collections)\.)?(?:array|list|tuple|set|frozenset|deque|dict_keys|dict_values|Index)"
CALL = r"[A-Za-z_][\w.]*\("
MARKED = r"""(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")"""
"""Names of types; any name before a bracket; a text in quotation marks."""
VALUE = rf"""(?:{CALL}\s*[urbURB]?['"]|(?:np|numpy)\.\w)"""
ROUND = rf"""\(\s*[urbURB]?['"].*['"]\s*,?\s*\)|\(\s*{VALUE}.*\)\s*,?\s*\)"""
LIST = rf"""(?:[\[{{][\[{{(\s]*(?:[urbURB]?['"]|{VALUE}).*[\]}}]|{ROUND})"""
EMPTY = rf"^(?:{NAMES}\()?\s*(?:\[\s*\]|\{{\s*\}}|\(\s*\))\s*\)?$|^{NAMES}\(\)$"
ROW = rf"(?s)^{MARKED}(?:\s*,\s*{MARKED})+$"
QUOTED = rf"(?s)^(?:{LIST}|{CALL}\s*{LIST}\s*(?:,.*)?\)|{NAMES}\(\s*[\[{{(].*\))$|{ROW}"
BRACKETS = rf"(?s)^(?:{NAMES}\(.*\)|\[.*\]|\{{.*\}}|\(.*\))$|{QUOTED}"
SEVERAL_NUMBERS = r"^[\[({]\s*[-+\d.eE]+(?:[,\s]+[-+\d.eE]+)+[,\s]*[\])}]$"
"""Patterns of RE2: a list without entries; texts in quotation marks without brackets; anything in brackets; numbers in
brackets. QUOTED is a list beyond doubt: its first entry is in quotation marks, or its type has a name."""
CUT = rf"""(?s)^(?:{NAMES}\(\s*)?[\[{{(]\s*{MARKED}\s*,|^{MARKED}\s*,\s*['"]"""
LEFT = rf"(?s)^(?:\[.*\]|\{{.*\}}|[\[{{][^\]}}]*|[^\[{{]*[\]}}]|{NAMES}\(.*)$|{CUT}"
"""The start of a list that may be cut off; anything that seems a list, whole or cut off."""

WRAPPED = re.compile(rf"{CALL}(.*?)(?:,\s*\w+\s*=(?:[^\[\])}}]|\[\w*\])*)?\)", re.DOTALL)
WITH_TYPE = re.compile(
    rf"""(?<!\w){MARKED}|(?<![\w.])(?:{CALL}\s*[urbURB]?({MARKED})\s*\)"""
    r"""|(?:np|numpy)\.(?:\w+\(\s*([^()'"\[\]{}]+)\s*\)|(True|False)_))""",
    re.DOTALL,
)
"""A list in the name of its type; one entry in that of its type, as numpy prints them: np.int64(1), Decimal('1')."""
TEXT = r"""[urbURB]?('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")\s*(?:CUT|,|\Z|(?=[urbURB]?['"]))"""
WORD = r"((?:(?!CUT).)*)(?:CUT|\Z)"
"""One entry and what parts it from the next, with CUT for the separator."""
IN_MARKS = re.compile(rf"(?<!\w){MARKED}", re.DOTALL)
IN_ROW = re.compile(rf"{MARKED}(?:\s*,\s*{MARKED})*", re.DOTALL)
WHOLE = re.compile(r"([-+]?\d+)\.0*([eE]\+?\d{1,2})?")
NUMBERS = re.compile(r"[-+\d.eE\s]+")
PAIRS = {"[": "]", "{": "}", "(": ")"}
NOTHING = {"None", "null", "nan", "NaN", "NULL", "<NA>", ""}


def find(text: pa.Array, separator: str) -> np.ndarray:
    """bool[n]: cells that hold a printed list.

    Where every cell of the column is in brackets and can be read as a list, all are; else those that hold no entry,
    several numbers, or entries in quotation marks, because (Live) and [sic] may be categories. Where texts in quotation
    marks stand in a row without brackets, one such text is a list too.
    """
    bracketed = _matches(text, BRACKETS)
    filled = pc.and_(text.is_valid(), pc.greater(pc.utf8_length(text), 0)).fill_null(False)
    if not bracketed.any():
        return bracketed
    if np.array_equal(bracketed, filled.to_numpy(zero_copy_only=False)):
        different = text.filter(pa.array(bracketed)).unique().to_pylist()
        if all(entries(one, separator) is not None for one in different):
            return bracketed
    single = _matches(text, f"(?s)^{MARKED}$") if _matches(text, ROW).any() else False
    return _matches(text, EMPTY) | _matches(text, QUOTED) | _matches(text, SEVERAL_NUMBERS) | single


def read(text: pa.Array, separator: str) -> pa.Array:
    """Printed lists -> list of text for each cell, null where it cannot be read as a list of texts and numbers."""
    # one by one in Python, each different text once: no pattern knows what a backslash or a bracket in a text means
    encoded = text.dictionary_encode()
    lists = [None if one is None else entries(one, separator) for one in encoded.dictionary.to_pylist()]
    return pa.array(lists, pa.list_(pa.string())).take(encoded.indices)


def entries(text: str, separator: str = ",") -> list[str] | None:
    """The entries of one printed list, without those that mean no value; None where it is no list of single values."""
    text = text.strip()
    if wrapped := WRAPPED.fullmatch(text):
        text = wrapped[1].strip() or "[]"
    if IN_ROW.fullmatch(text):
        text = f"[{text}]"
    if len(text) < 2 or PAIRS.get(text[0]) != text[-1]:
        return None
    return _of_json(text) or _of_python(text, separator)


def _of_json(text: str) -> list[str] | None:
    """Entries of a JSON list of texts, and of nothing else: what is left is read as Python prints it."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        return None
    return [_plain(value) for value in values if value]


def _of_python(text: str, separator: str) -> list[str] | None:
    inner = WITH_TYPE.sub(lambda found: found[1] or found[2] or found[3] or found[0], text[1:-1]).strip()
    if NUMBERS.fullmatch(inner) and "," not in inner:
        return [_number(word) for word in inner.split()]  # as numpy prints numbers
    words = IN_MARKS.sub("", inner)
    is_cut = separator in words and (bool(separator.strip()) or "," not in words)
    quoted, word = _patterns(separator if is_cut else ",")
    out, at = [], 0
    while at < len(inner):
        if inner[at].isspace():
            at += 1
            continue
        if found := quoted.match(inner, at):
            out.append(_unquoted(found[1]))
        elif (found := word.match(inner, at)) and _is_word(found[1].strip()):
            out.append("" if found[1].strip() in NOTHING else _number(found[1].strip()))
        else:
            return None
        at = found.end()
    return [entry for entry in out if entry]


@cache
def _patterns(cut: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """TEXT and WORD for one separator."""
    quoted, word = (re.compile(one.replace("CUT", re.escape(cut)), re.DOTALL) for one in (TEXT, WORD))
    return quoted, word


def _is_word(text: str) -> bool:
    """Whether it is one value without quotation marks.

    It is no list in the list, no pair of a key and a value, no part of a value with commas, as date(2024, 1, 31).
    """
    return not re.search(r"""[\[\]{}]|^['"(]|^[^'"\s]+\s*:\s|^[\w.]+\([^)]*$""", text)


def _number(word: str) -> str:
    """Whole numbers without a point, which numpy prints as 1. and 1.e+10; any other word as it is."""
    if not (found := WHOLE.fullmatch(word)):
        return word
    return str(int(float(word))) if found[2] else found[1]


def _unquoted(text: str) -> str:
    """A text in quotation marks, as Python writes it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about a backslash that means nothing
            return _plain(str(ast.literal_eval(text)))
    except (ValueError, SyntaxError):  # a line break or a null character in it
        return text[1:-1]


def _plain(text: str) -> str:
    """Half a pair of surrogates is no character, and Arrow takes none."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").strip()


def _matches(text: pa.Array, pattern: str) -> np.ndarray:
    return pc.match_substring_regex(text, pattern).fill_null(False).to_numpy(zero_copy_only=False)


def is_left(text: pa.Array, found: np.ndarray) -> np.ndarray:
    """bool[n]: cells in the brackets of lists, or cut off inside them, that ``find`` did not take for lists."""
    return _matches(text, LEFT) & ~found


def is_quoted(text: pa.Array) -> np.ndarray:
    """bool[n]: cells that hold a printed list beyond doubt, or its start, of a column where none is due."""
    return _matches(text, QUOTED) | _matches(text, CUT)
