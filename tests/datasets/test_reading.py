"""The published layout -> RecData: ids, kinds, columns, labels, times."""

import numpy as np
import pandas as pd
import pytest

from hrec.datasets import feedback_of
from hrec.datasets.columns import FIRST, MISSING, UNKNOWN
from hrec.datasets.reading import DataError
from hrec.datasets.recdata import Feedback, RecData
from hrec.settings import DataSettings, LabelSettings


def pairs(data: RecData) -> list[tuple[str, str, str]]:
    """(user, kind, item) of each row as raw text: back from positions to what the file says."""
    items = np.concatenate([table.ids for table in data.kinds.values()])
    kinds = list(data.kinds)
    rows = data.interactions
    return [
        (str(data.users.ids[u]), kinds[k], str(items[i]))
        for u, k, i in zip(rows.user, rows.kind, rows.item, strict=True)
    ]


def texts(column) -> list:
    """A categorical column as text, None where missing."""
    return [None if code == MISSING else str(column.values[code - FIRST]) for code in column.code]


ALL = [
    ("u1", "book", "0000031887"),
    ("u1", "music", "m1"),
    ("u2", "book", "b2"),
    ("u3", "book", "b3"),
    ("u3", "music", "m2"),
    ("u2", "book", "0000031887"),
]


def test_published_layout(files):
    data = files.read()
    assert data.name == "tiny"
    assert feedback_of(DataSettings(**files.settings), data) == Feedback("centred")
    assert list(data.users.ids) == ["u1", "u2", "u3"]
    assert {kind: (table.start, table.count) for kind, table in data.kinds.items()} == {"book": (0, 3), "music": (3, 2)}
    assert pairs(data) == ALL
    rows = data.interactions
    assert (rows.user.dtype, rows.item.dtype, rows.kind.dtype) == (np.int32, np.int32, np.int16)
    assert (rows.label.dtype, rows.rating.dtype, rows.time.dtype) == (np.float32, np.float32, np.float64)
    assert rows.label.tolist() == [1, 0, 0, 1, 1, 1]
    assert rows.rating.tolist() == [5, 2, 1, 4, 5, 4]
    assert rows.time.tolist() == [100, 200, 300, 150, 50, 400]


def test_columns_and_missing_values(files):
    data = files.read()
    users, book, music = data.users.columns, data.kinds["book"].columns, data.kinds["music"].columns
    assert list(users) == ["city", "age"]
    assert texts(users["city"]) == ["Paris", None, "Rome"]
    assert users["age"].value.dtype == np.float32
    np.testing.assert_array_equal(users["age"].value, [31, np.nan, 45])
    assert set(book) == {"author", "genres", "price"} and set(music) == {"performer", "price"}
    assert texts(book["author"]) == ["Ann", "Bob", "Ann"]
    genres = book["genres"]
    assert genres.values.tolist() == ["Crime", "Drama"]
    assert genres.offset.tolist() == [0, 2, 2, 3]
    assert genres.code.tolist() == [FIRST + 1, FIRST, FIRST]
    np.testing.assert_array_equal(book["price"].value, [9.5, np.nan, 3])
    np.testing.assert_array_equal(music["price"].value, [1, 2])


def test_rare_categories_are_unknown(files):
    files.settings["feat"]["author"] = {"type": "token", "source": "item_book", "min_count": 2}
    author = files.read().kinds["book"].columns["author"]
    assert author.values.tolist() == ["Ann"] and author.code.tolist() == [FIRST, UNKNOWN, FIRST]


def test_column_of_all_kinds_has_one_vocabulary(files):
    files.write("book.csv", "item_id,country\n0000031887,FR\nb2,US\nb3,FR\n")
    files.write("music.csv", "item_id,country\nm1,US\nm2,AT\n")
    data = files.read(feat={"country": {"type": "token", "source": "item"}})
    book, music = (data.kinds[kind].columns["country"] for kind in ("book", "music"))
    assert book.values is music.values and book.values.tolist() == ["AT", "FR", "US"]
    assert texts(book) == ["FR", "US", "FR"] and texts(music) == ["US", "AT"]


def test_quotes_separators_and_lines_inside_cells(files):
    files.write("book.csv", 'item_id,author\n0000031887,"Ann, of ""X"""\nb2,"two\nlines"\nb3,Zoë\n')
    data = files.read(feat={"author": {"type": "token", "source": "item_book"}})
    assert texts(data.kinds["book"].columns["author"]) == ['Ann, of "X"', "two\nlines", "Zoë"]


@pytest.mark.parametrize("name", ["tsv", "csv.gz", "csv.xz", "parquet"])
def test_other_formats_give_the_same(files, name):
    expected = files.read()
    for key, stem in (("user_feat_path", "users"), ("inter_feat_path", "rates")):
        table = pd.read_csv(files.folder / f"{stem}.csv", dtype={"item_id": str})
        path = files.folder / f"{stem}.{name}"
        table.to_parquet(path) if name == "parquet" else table.to_csv(
            path, index=False, sep="\t" if name == "tsv" else ","
        )
        files.settings[key] = str(path)
    data = files.read()
    assert pairs(data) == pairs(expected)
    np.testing.assert_array_equal(data.users.columns["age"].value, expected.users.columns["age"].value)
    assert texts(data.users.columns["city"]) == texts(expected.users.columns["city"])


def test_parquet_lists_need_no_separator(files):
    path = files.folder / "book.parquet"
    pd.DataFrame({"item_id": ["0000031887", "b2", "b3"], "genres": [["Drama", "Crime"], None, []]}).to_parquet(path)
    files.settings["item_feat_path"]["book"] = str(path)
    genres = files.read(feat={"genres": {"type": "token_seq", "source": "item_book"}}).kinds["book"].columns["genres"]
    assert genres.offset.tolist() == [0, 2, 2, 2] and genres.values.tolist() == ["Crime", "Drama"]


def test_numbers_as_names_match_over_formats(files):
    path = files.folder / "users.parquet"
    pd.DataFrame({"user_id": [1, 2, 3]}).to_parquet(path)
    files.write("rates.csv", "user_id,item_id,label\n1.0,0000031887,1\n2.0,m1,0\n3.0,b2,1\n")
    data = files.read(user_feat_path=str(path), feat={})
    assert pairs(data) == [("1", "book", "0000031887"), ("2", "music", "m1"), ("3", "book", "b2")]


# ------------------------------------------------------------------------------------------------ kinds


def test_type_selects_and_orders_the_kinds(files):
    data = files.read(type=("music", "book"))
    assert list(data.kinds) == ["music", "book"] and data.kinds["book"].start == 2
    assert pairs(data) == ALL


@pytest.mark.parametrize(
    "change", [{"type": ("book",)}, {"single_type": "book"}, {"single": True, "single_type": "book"}]
)
def test_other_kinds_are_left_out_and_counted(files, change):
    data = files.read(**change)
    assert list(data.kinds) == ["book"] and data.n_items == 3 and data.n_users == 3
    assert pairs(data) == [row for row in ALL if row[1] == "book"]
    assert any("2 interactions with items of kinds that are not used" in line for line in files.said)
    assert any("performer" in line for line in files.said)


def test_file_of_an_unused_kind_may_be_absent(files):
    (files.folder / "music.csv").unlink()
    assert pairs(files.read(type=("book",))) == [row for row in ALL if row[1] == "book"]
    assert any("'music'" in line for line in files.said)


ONE_FILE = "item_id,type,price\nm1,1.0,1\nb2,0.0,2\nb3,0.0,3\nm2,1.0,4\n0000031887,0.0,5\n"


def test_one_file_of_items_with_kinds(files):
    path = files.write("items.csv", ONE_FILE)
    data = files.read(item_feat_path=path, feat={"price": {"type": "float", "source": "item"}})
    assert list(data.kinds) == ["0", "1"]
    assert list(data.kinds["0"].ids) == ["b2", "b3", "0000031887"]
    assert data.kinds["1"].columns["price"].value.tolist() == [1, 4]
    names = {"book": "0", "music": "1"}
    assert pairs(data) == [(user, names[kind], item) for user, kind, item in ALL]
    single = files.read(item_feat_path=path, feat={"price": {"type": "float", "source": "item_0"}}, single_type=0)
    assert list(single.kinds) == ["0"] and len(single.interactions) == 4


def test_one_file_without_kinds_is_one_kind(files):
    path = files.write("items.csv", ONE_FILE.replace("type", "shelf"))
    data = files.read(item_feat_path=path, feat={"shelf": {"type": "token", "source": "item"}})
    assert list(data.kinds) == ["item"] and data.n_items == 5 and len(data.interactions) == 6


def test_same_id_in_two_kinds_where_the_interactions_tell(files):
    files.spoil("music.csv", "m2", "b2")
    files.write("rates.csv", "user_id,item_id,type,label\nu1,b2,music,1\nu1,b2,book,0\nu2,m1,music,1\nu3,b3,book,1\n")
    data = files.read()
    assert pairs(data) == [("u1", "music", "b2"), ("u1", "book", "b2"), ("u2", "music", "m1"), ("u3", "book", "b3")]
    assert len(files.read(type=("book",)).interactions) == 2


def test_codes_of_kinds_that_name_none_leave_it_to_the_items(files):
    rows = (files.folder / "rates.csv").read_text().splitlines()
    files.write("rates.csv", "\n".join([rows[0] + ",type"] + [row + ",0" for row in rows[1:]]))
    assert pairs(files.read()) == ALL
    assert any("the items give the kind instead" in line for line in files.said)


def test_only_interactions(files):
    data = files.read(user_feat_path=None, item_feat_path=None, feat={})
    assert list(data.users.ids) == ["u1", "u2", "u3"] and list(data.kinds) == ["item"]
    assert list(data.kinds["item"].ids) == ["0000031887", "b2", "b3", "m1", "m2"]
    assert [row[::2] for row in pairs(data)] == [row[::2] for row in ALL]
    files.write("rates.csv", "user_id,item_id,type,label\nu2,1,1,1\nu1,1,0,0\nu1,3,0,1\n")
    data = files.read(user_feat_path=None, item_feat_path=None, feat={}, type=("1", "0"))
    assert pairs(data) == [("u2", "1", "1"), ("u1", "0", "1"), ("u1", "0", "3")]
    assert list(data.kinds) == ["1", "0"]


def test_a_column_of_items_that_only_kinds_left_out_have_is_passed_over(files):
    """One data section serves a run of all kinds and one of each kind alone."""
    feat = {"author": {"type": "token", "source": "item"}, "price": {"type": "float", "source": "item"}}
    assert list(files.read(feat=feat, single_type="music").kinds["music"].columns) == ["price"]
    assert any("not read: author" in line for line in files.said)
    with pytest.raises(DataError, match="no column 'autor'"):
        files.read(feat={"autor": {"type": "token", "source": "item"}}, single_type="music")


def test_columns_of_a_kind_that_is_nowhere_are_not_read(files):
    files.settings["feat"]["mins"] = {"type": "float", "source": "item_film"}
    files.read()
    shown = "warning: data.feat.mins: source 'item_film' names no kind. Kinds: book, music. The column is not read"
    assert shown in files.said


# --------------------------------------------------------------------------------------- labels and time


def test_label_from_rating(files):
    data = files.read(label={"from": "rating", "above": 3})
    assert data.interactions.label.tolist() == [1, 0, 0, 1, 1, 1]
    assert any("'label' is not used" in line for line in files.said)


def test_label_from_another_column_is_the_rating_where_there_is_none(files):
    files.spoil("rates.csv", "label,rating", "x,stars")
    data = files.read(label={"from": "stars", "above": 4}, inter_matrix_type="rating")
    assert data.interactions.label.tolist() == [1, 0, 0, 0, 1, 0]
    assert data.interactions.rating.tolist() == [5, 2, 1, 4, 5, 4]


def test_implicit_labels(files):
    files.spoil("rates.csv", "label", "x")
    data = files.read(label={"negatives": 4, "popularity": 0.5})
    assert data.interactions.label.tolist() == [1] * 6


def test_rows_that_are_all_positive_without_drawn_negatives_have_no_label(files):
    files.spoil("rates.csv", "label", "x")
    data = files.read(label={"negatives": 0})
    assert data.interactions.label is None
    files.spoil("rates.csv", "rating", "y")
    bare = files.read(label={"negatives": 0})
    assert feedback_of(DataSettings(**files.settings, label={"negatives": 0}), bare) == Feedback(
        "01"
    )  # without labels and ratings a cell can only be a one
    again = DataSettings(**DataSettings(inter_feat_path="x", label={"negatives": 0}).model_dump(by_alias=True))
    assert again.label == LabelSettings(negatives=0)
    for label in ({}, {"from": "rating", "above": 3, "negatives": 1}, {"popularity": 1}):
        with pytest.raises(ValueError, match=r"either 'from' and 'above', or 'negatives'"):
            LabelSettings(**label)


def test_empty_rating_is_a_gap_unless_ratings_are_needed(files):
    files.spoil("rates.csv", "u2,b2,0,1", "u2,b2,0,")
    assert np.isnan(files.read().interactions.rating[2])
    with pytest.raises(DataError, match="line 4, column 'rating': an empty cell"):
        files.read(inter_matrix_type="rating")


def test_dates_become_seconds(files):
    for second in (100, 200, 300, 150, 50, 400):
        files.spoil("rates.csv", f",{second}\n", f",1970-01-01 00:{second // 60:02}:{second % 60:02}\n")
    assert files.read().interactions.time.tolist() == [100, 200, 300, 150, 50, 400]
    table = pd.read_csv(files.folder / "rates.csv").assign(timestamp=pd.to_datetime("2001-09-09 01:46:40.5"))
    table.to_parquet(files.folder / "rates.parquet")
    times = files.read(inter_feat_path=str(files.folder / "rates.parquet")).interactions.time
    assert times.tolist() == [1_000_000_000.5] * 6


def test_the_column_that_tells_the_parts_is_read_with_the_interactions(files):
    lines = (files.folder / "rates.csv").read_text().splitlines()
    files.write("rates.csv", "\n".join(f"{row},{part}" for row, part in zip(lines, ["p1", *PARTS], strict=True)))
    folder = files.folder / "cache"
    files.read(folder)  # without the column: another entry of the cache
    for _ in range(2):
        column = files.read(folder, split={"by": "column", "column": "p1"}).interactions.columns["p1"]
        assert ["" if c < FIRST else column.values[c - FIRST] for c in column.code] == PARTS
    with pytest.raises(DataError, match=r"rates.csv, line 1: no column 'p2'"):
        files.read(split={"by": "column", "column": "p2"})


PARTS = ["train", "test", "train", "", "valid", "test"]


def test_one_long_text_does_not_widen_the_others(files):
    n, long = 1000, "x" * 10_000
    users = [f"u{k}" for k in range(n)] + [long]
    files.write("rates.csv", "user_id,item_id,label\n" + "".join(f"{u},b2,{k % 2}\n" for k, u in enumerate(users)))
    files.write("book.csv", "item_id,author\nb2,a\n" + "".join(f"{u},{u}\n" for u in users))
    changes = {"user_feat_path": None, "item_feat_path": {"book": str(files.folder / "book.csv")}}
    feat = {"author": {"type": "token", "source": "item"}}
    for _ in range(2):  # parsed, then from the cache
        data = files.read(files.folder / "cache", feat=feat, **changes)
        book = data.kinds["book"]
        texts = (data.users.ids, book.ids, book.columns["author"].values)
        assert all(long in some and some.nbytes < 20 * n for some in texts)
