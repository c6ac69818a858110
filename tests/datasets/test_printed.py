"""Lists as Python, JSON, numpy and Postgres print them."""

import json

import numpy as np
import pyarrow as pa
import pytest

from hrec.datasets import printed
from hrec.datasets.columns import FIRST

LISTS = {
    "['x', 'y']": ["x", "y"],
    '["x","y"]': ["x", "y"],
    "[x, y]": ["x", "y"],
    "{'x', 'y'}": ["x", "y"],
    "{x,y}": ["x", "y"],
    '{"x y",z}': ["x y", "z"],
    "('x', 'y')": ["x", "y"],
    "('x',)": ["x"],
    "['x']": ["x"],
    "[]": [],
    "[ ]": [],
    "()": [],
    "set()": [],
    "frozenset({'x'})": ["x"],
    "array(['x', 'y'], dtype=object)": ["x", "y"],
    "['x' 'y']": ["x", "y"],
    "['x'\n 'y']": ["x", "y"],
    "[1 2  3]": ["1", "2", "3"],
    "[1, 2.5, None]": ["1", "2.5"],
    "['None', nan]": ["None"],
    "[x|y]": ["x", "y"],
    "['x', ]": ["x"],
    "['a, b', 'c|d', 1, 2]": ["a, b", "c|d", "1", "2"],
    "['a'|b|'c']": ["a", "b", "c"],
    """["it's", 'say "x"']""": ["it's", 'say "x"'],
    r"""['a\'b', "c\"d", 'e\\f']""": ["a'b", 'c"d', "e\\f"],
    r'["\u00e9", "\ud83d\ude00", 1]': ["é", "😀", "1"],
    "[rock 'n' roll, pop]": ["rock 'n' roll", "pop"],
    json.dumps(["a\n", "b/c", '"']): ["a", "b/c", '"'],
    "[np.int64(1), np.int64(2)]": ["1", "2"],
    "[np.str_('x'), 'y']": ["x", "y"],
    "[np.float64(1.0), np.float64(nan), numpy.float64(2.5)]": ["1", "2.5"],
    "{np.int64(1)}": ["1"],
    "(np.int64(1),)": ["1"],
    "[np.True_, np.False_]": ["True", "False"],
    "[Decimal('1'), uuid.UUID('7')]": ["1", "7"],
    "['np.int64(1)']": ["np.int64(1)"],
    "[rock(live), pop]": ["rock(live)", "pop"],
    "np.array(['x', 'y'])": ["x", "y"],
    "dict_keys(['x','y'])": ["x", "y"],
    "Index(['x','y'], dtype='object', name='g')": ["x", "y"],
    "deque([1, 2], maxlen=3)": ["1", "2"],
    "DatetimeIndex(['x'], dtype='datetime64[ns]', freq=None)": ["x"],
    "'x', 'y'": ["x", "y"],
    "[1. 2.]": ["1", "2"],
    "array([1.e+10, 2.5e+00])": ["10000000000", "2.5e+00"],
    "[007., -1.]": ["007", "-1"],
}


@pytest.mark.parametrize("text", LISTS)
def test_entries(text):
    assert printed.entries(text, "|") == LISTS[text]


@pytest.mark.parametrize(
    "text",
    [
        "[date(2024, 1, 31)]",
        "Counter({'a': 1})",
        "{'a': 1}",
        '{"a": 1}',
        "{a: 1}",
        "[['x'], ['y']]",
        "[{'a': 1}]",
        "['x', 'y",
        "['x', 'y'",
        "[" * 9000,
    ],
)
def test_what_is_no_list_of_single_values_has_no_entries(text):
    assert printed.entries(text, "|") is None


@pytest.mark.parametrize("separator", [";", " ", ",", "|", "::"])
def test_the_separator_of_the_setting_parts_words_too(separator):
    text = "[a" + separator + "b]"
    assert printed.entries(text, separator) == ["a", "b"]


def test_words_in_brackets_are_lists_only_where_all_cells_are():
    def found(*cells):
        return printed.find(pa.array(cells), "|").tolist()

    assert found("[x, y]", None, "[z]") == [True, False, True]
    assert found("[Live]", "Pop", "Rock (Live)") == [False, False, False]
    assert found("[Live]|[Remix]", "[Live]") == [False, False]
    assert found("['x', 'y']", "Pop", "[]", "('x',)") == [True, False, True, True]
    assert found("[1, 2]", "3", "(4 5)", "[6]") == [True, False, True, False]
    assert found("[np.int64(1)]", "3", "(np.int64(1),)") == [True, False, True]
    assert found("array([1, 2])", "Pop", "dict_keys(['x'])", "OrderedSet(['x'])", "Set (x)") == [
        True,
        False,
        True,
        True,
        False,
    ]
    assert found("'x', 'y'", "'z'", "it's", "[a]") == [True, True, False, False]
    assert found('"Heroes"', "Pop") == [False, False]
    assert found("('68 Comeback)", "Pop", "[sic]") == [False, False, False]


def genres(files, *cells: str, **settings: str) -> list[list[str]]:
    rows = (f'{item},"{cell.replace(chr(34), chr(34) * 2)}"\n' for item, cell in zip("abcdef", cells, strict=False))
    path = files.write("items.csv", "item_id,genres\n" + "".join(rows))
    files.write("rates.csv", "user_id,item_id,label\nu1,a,1\nu2,a,0\n")
    feat = {"genres": {"type": "token_seq", "source": "item"} | settings}
    column = files.read(user_feat_path=None, item_feat_path=path, feat=feat).kinds["item"].columns["genres"]
    return [column.values[code - FIRST].tolist() for code in np.split(column.code, column.offset[1:-1])]


def test_printed_lists_in_a_file_are_read_and_said(files):
    assert genres(files, "['a|b', 'c']", "[]", "", "d|e") == [["a|b", "c"], [], [], ["d", "e"]]
    shown = ["items.csv, line 2, column 'genres'", "2 cells as", "read as lists"]
    assert any(all(part in line for part in shown) for line in files.said)
    assert genres(files, "[1, 2.0]", "{2}", separator=",") == [["1", "2"], ["2"]]


def test_brackets_that_are_not_taken_for_lists_are_said(files):
    assert genres(files, "[x, y]", "z|[w]") == [["[x, y]"], ["z", "[w]"]]
    assert any("warning" in line and "line 2, column 'genres'" in line and "'|' between" in line for line in files.said)


@pytest.mark.parametrize("cut", ["['x', 'y'", "['x', 'y", "[1, 2", "'x', 'y']", "'x', 'y", "np.array(['x', 'y'"])
def test_lists_that_are_cut_off_are_said(files, cut):
    assert genres(files, "z", cut)[0] == ["z"]
    assert any("warning" in line and "line 3, column 'genres'" in line for line in files.said)


def test_lists_of_numpy_values_next_to_plain_cells_have_the_same_entries(files):
    assert genres(files, "1|x", "[np.int64(1), np.str_('x')]", "[1. 2.]") == [["1", "x"], ["1", "x"], ["1", "2"]]


def words(files, tokenizer: str, *cells: str) -> list[list[str]]:
    path = files.write("items.csv", "item_id,text\n" + "".join(f'{i},"{c}"\n' for i, c in enumerate(cells)))
    files.write("rates.csv", "user_id,item_id,label\nu1,0,1\nu2,0,0\n")
    feat = {"text": {"type": "tokens", "source": "item", "tokenizer": tokenizer}}
    column = files.read(user_feat_path=None, item_feat_path=path, feat=feat).kinds["item"].columns["text"]
    return [column.vocabulary[one].tolist() for one in np.split(column.word, column.offset[1:-1])]


def test_printed_lists_are_words_of_texts_too(files):
    lists = [["1", "2"], ["3"], [], ["4", "5"]]
    assert words(files, "ids", "[1, 2]", "[3]", "[]", "(4 5)") == lists
    assert words(files, "ids", "[1, 2]", "3", "[]", "4 5") == lists
    assert words(files, "blanks", "['A', 'b']", "C d", "[[x]]") == [["a", "b"], ["c", "d"], ["[[x]]"]]
    assert any("warning" in line and "line 4, column 'text'" in line for line in files.said)


def test_printed_lists_in_atomic_files(tmp_path):
    from hrec.datasets.reading import read
    from hrec.settings import DataSettings

    (tmp_path / "x.inter").write_text("user_id:token\titem_id:token\tlabel:float\nu\ta\t1\nu\tb\t0\n")
    header = "item_id:token\ttags:token_seq\tplace:float_seq\n"
    (tmp_path / "x.item").write_text(header + "a\t['x', 'y z']\t[1.5, 2]\nb\tx\t3 4\n")
    paths = {f"{what}_feat_path": str(tmp_path / f"x.{what}") for what in ("inter", "item")}
    columns = read(DataSettings(**paths)).kinds["item"].columns
    assert columns["tags"].values.tolist() == ["x", "y z"] and columns["tags"].offset.tolist() == [0, 2, 3]
    assert columns["place"].value.tolist() == [[1.5, 2], [3, 4]]


def test_every_kind_of_file_reads_lists_alike(files):
    import pandas as pd

    path = files.folder / "book.parquet"
    pd.DataFrame({"item_id": ["0000031887", "b2", "b3"], "genres": ['["a"]', None, "['a', 'b']"]}).to_parquet(path)
    files.settings["item_feat_path"]["book"] = str(path)
    column = files.read(feat={"genres": {"type": "token_seq", "source": "item_book"}}).kinds["book"].columns["genres"]
    assert column.values.tolist() == ["a", "b"] and column.offset.tolist() == [0, 1, 1, 3]
