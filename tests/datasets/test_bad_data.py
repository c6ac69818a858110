"""Every sort of bad input stops with one message that names file, place and remedy, or is left out and counted."""

import re

import numpy as np
import pandas as pd
import pytest

from hrec.datasets.reading import DataError

DROP = "set data.drop_bad_rows=true"

# (file, what to replace, with what, what the message says: every part of it)
EMPTIED = {
    "text for a number": (
        ("book.csv", "9.5", "dear"),
        ["book.csv, line 2, column 'price': 'dear' is not a number", "Correct the file", "data.missing_values", DROP],
    ),
    "infinite number": (("users.csv", "31", "inf"), ["users.csv, line 2, column 'age': 'inf' is not a number", DROP]),
    "list of lists": (
        ("book.csv", "Drama|Crime", "\"[['Drama'], ['Crime']]\""),
        [
            "book.csv, line 2, column 'genres': ",
            "is no list of texts or numbers",
            "entries with '|' between them",
            DROP,
        ],
    ),
    "list of objects": (
        ("book.csv", "Drama|Crime", "\"[{'name': 'Drama'}]\""),
        ["book.csv, line 2, column 'genres': ", "is no list of texts or numbers", DROP],
    ),
}
UNNEEDED = {
    "rating is text": (("rates.csv", "0,2,200", "0,two,200"), ["line 3, column 'rating': 'two' is not a number", DROP]),
    "time is text": (("rates.csv", ",150", ",noon"), ["line 5, column 'timestamp': 'noon' is neither", DROP]),
}
DROPPABLE = {
    "label is no label": (
        ("rates.csv", "u2,b2,0", "u2,b2,2"),
        ["rates.csv, line 4, column 'label': '2' is no label, which is 1 (positive) or 0", '"above"', DROP],
    ),
    "label is empty": (("rates.csv", "u2,b2,0", "u2,b2,"), ["rates.csv, line 4, column 'label': an empty cell", DROP]),
    "label is nan": (("rates.csv", "u2,b2,0", "u2,b2,nan"), ["rates.csv, line 4, column 'label': 'nan' is not", DROP]),
    "unknown item": (
        ("rates.csv", "u3,b3", "u3,b9"),
        ["rates.csv, line 5, column 'item_id': 'b9' is in none of the item files", "music.csv", "Add the item", DROP],
    ),
    "unknown user": (
        ("rates.csv", "u3,b3", "u9,b3"),
        ["rates.csv, line 5, column 'user_id': 'u9' is not in the user file", "users.csv", "Add the user", DROP],
    ),
    "no item id": (("rates.csv", "u3,b3", "u3,"), ["line 5, column 'item_id': an empty cell is no id", DROP]),
    "no user id": (("rates.csv", "u3,b3", ",b3"), ["line 5, column 'user_id': an empty cell is no id", DROP]),
    "pair again": (
        ("rates.csv", "u2,0000031887", "u1,0000031887"),
        [
            "line 2, column 'user_id': 'u1' and item '0000031887' occur again in line 7",
            "set data.repeats: first or last",
        ],
    ),
    "user row again": (
        ("users.csv", "u3,Rome", "u2,Rome"),
        ["users.csv, line 3, column 'user_id': 'u2' stands again", "keeps the last", DROP],
    ),
    "item row again": (("book.csv", "b3", "b2"), ["book.csv, line 3, column 'item_id': 'b2' stands again", DROP]),
}
EVERY = DROPPABLE | EMPTIED | UNNEEDED


@pytest.mark.parametrize(("spoilt", "parts"), EVERY.values(), ids=EVERY)
def test_bad_row_stops_with_file_line_column_and_remedy(files, spoilt, parts):
    files.spoil(*spoilt)
    with pytest.raises(DataError) as error:
        files.read()
    message = str(error.value)
    assert str(files.folder) in message
    assert [part for part in parts if part not in message] == [], message


@pytest.mark.parametrize("spoilt", [spoilt for spoilt, _ in DROPPABLE.values()], ids=DROPPABLE)
def test_bad_row_is_left_out_and_counted(files, spoilt):
    files.spoil(*spoilt)
    data = files.read(drop_bad_rows=True)
    assert any(re.search(r"left out 1 row, the first is .*, line \d", line) for line in files.said)
    assert 3 <= len(data.interactions) <= 6
    assert data.interactions.user.min() >= 0 and data.interactions.item.min() >= 0


@pytest.mark.parametrize("spoilt", [spoilt for spoilt, _ in EMPTIED.values()], ids=EMPTIED)
def test_bad_cell_is_left_empty_and_its_row_stays(files, spoilt):
    files.spoil(*spoilt)
    data = files.read(drop_bad_rows=True)
    assert any(re.search(r"left 1 cell empty, the first is .*, line 2, column", line) for line in files.said)
    assert len(data.interactions) == 6 and data.users.count == 3 and data.kinds["book"].count == 3
    book = data.kinds["book"].columns
    if spoilt[1] == "Drama|Crime":
        assert np.diff(book["genres"].offset).tolist() == [0, 0, 1]
    else:
        column = (book["price"] if spoilt[0] == "book.csv" else data.users.columns["age"]).value
        assert np.isnan(column[0]) and np.isfinite(column[2])


@pytest.mark.parametrize(
    ("spoilt", "column", "needed"),
    [
        (UNNEEDED["rating is text"][0], "rating", {"inter_matrix_type": "rating"}),
        (UNNEEDED["rating is text"][0], "rating", {"label": {"from": "rating", "above": 3}}),
        (UNNEEDED["time is text"][0], "time", {"split": {"by": "time"}}),
    ],
)
def test_a_rating_or_a_time_costs_its_row_only_where_it_is_needed(files, spoilt, column, needed):
    files.spoil(*spoilt)
    rows = files.read(drop_bad_rows=True).interactions
    assert len(rows) == 6 and np.isnan(getattr(rows, column)).sum() == 1
    assert any("left 1 cell empty" in line and f"'{spoilt[2].split(',')[1]}'" in line for line in files.said)
    rows = files.read(drop_bad_rows=True, **needed).interactions
    assert len(rows) == 5 and not np.isnan(getattr(rows, column)).any()
    assert any("left out 1 row" in line and f"'{spoilt[2].split(',')[1]}'" in line for line in files.said)


def test_dropping_keeps_the_last_of_a_pair_in_the_file_whatever_the_time(files):
    files.spoil("rates.csv", "u2,0000031887,1,4,400", "u1,0000031887,1,3,4")
    rows = files.read(drop_bad_rows=True).interactions
    assert len(rows) == 5 and 3 in rows.rating and not ((rows.user == 0) & (rows.rating == 5)).any()


def test_like_rows_are_counted_in_one_message(files):
    files.spoil("rates.csv", "u2,b2,0,1", "u2,b2,0,x")
    files.spoil("rates.csv", "u3,b3,1,4", "u3,b3,1,y")
    with pytest.raises(DataError, match=r"line 4, column 'rating': 'x' is not a number \(2 rows like it\)\. Correct"):
        files.read()


def test_lines_are_counted_as_a_person_does(files):
    """Blank lines and cells of several lines move the line on."""
    files.write("book.csv", 'item_id,author,price\n\n0000031887,"two\nlines",1\n\nb2,x,dear\nb3,,1\n')
    with pytest.raises(DataError, match=r"book.csv, line 6, column 'price': 'dear'"):
        files.read(feat={"price": {"type": "float", "source": "item"}})


def test_rows_of_parquet_are_counted_without_a_header(files):
    table = pd.read_csv(files.folder / "rates.csv", dtype={"item_id": str})
    table.loc[2, "item_id"] = "b9"
    table.to_parquet(files.folder / "rates.parquet")
    with pytest.raises(DataError, match=r"rates.parquet, row 3, column 'item_id': 'b9'"):
        files.read(inter_feat_path=str(files.folder / "rates.parquet"))


def says(files, *parts: str, **changes) -> None:
    """Reading stops, with all these parts in the message, whether or not rows may be dropped."""
    for drop in (False, True):
        with pytest.raises(DataError) as error:
            files.read(drop_bad_rows=drop, **changes)
        assert [part for part in parts if part not in str(error.value)] == [], str(error.value)


# --------------------------------------------------------------------------------- what cannot be dropped


def test_missing_file(files):
    path = str(files.folder / "rate.csv")
    says(files, f"{path}: no such file.", "Did you mean 'rates.csv'?", "data.inter_feat_path", inter_feat_path=path)
    nowhere = str(files.folder / "no" / "rates.csv")
    says(files, "the folder", "is not there", "data.inter_feat_path", inter_feat_path=nowhere)
    says(files, "is a folder", "data.user_feat_path", user_feat_path=str(files.folder))
    books = {"book": str(files.folder / "books.csv")}
    says(files, "Did you mean 'book.csv'?", "data.item_feat_path.book", item_feat_path=books)


def test_data_that_was_not_prepared_yet_has_the_script_that_does_it(files, tmp_path):
    path = str(tmp_path / "amazon-2kinds" / "interactions.parquet")
    says(
        files,
        f"{path}: no such file",
        "Make it with python -m hrec prepare amazon --min-kinds 2 (data",
        inter_feat_path=path,
    )


@pytest.mark.parametrize(
    ("file", "old", "new", "parts"),
    [
        ("rates.csv", "label", "Label", ["no column 'label'", "'Label'", "Columns: user_id,", "data.LABEL_FIELD"]),
        ("rates.csv", "user_id", "userid", ["rates.csv, line 1", "Did you mean 'userid'?", "data.USER_ID_FIELD"]),
        ("rates.csv", "item_id", "iid", ["no column 'item_id'", "data.ITEM_ID_FIELD"]),
        ("users.csv", "user_id", "uid", ["users.csv, line 1: no column 'user_id'", "data.USER_ID_FIELD"]),
        ("book.csv", "item_id", "id", ["book.csv, line 1: no column 'item_id'", "data.ITEM_ID_FIELD"]),
        ("book.csv", "author", "authors", ["no column 'author'", "Did you mean 'authors'?", "data.feat.author"]),
        (
            "users.csv",
            "city",
            "town",
            ["users.csv, line 1: no column 'city'", "Columns: user_id, town", "data.feat.city"],
        ),
    ],
)
def test_missing_column(files, file, old, new, parts):
    files.spoil(file, old, new)
    says(files, *parts)


def test_missing_column_of_all_kinds(files):
    files.settings["feat"]["prize"] = {"type": "float", "source": "item"}
    says(files, "no column 'prize'", "Did you mean 'price'?", "no other item file has it", "data.feat.prize")


def test_missing_column_of_ratings(files):
    says(files, "no column 'stars'", "'from' in data.label", label={"from": "stars", "above": 3})
    files.spoil("rates.csv", "rating", "score")
    says(files, "no column 'rating'", "data.RATING_FIELD", inter_matrix_type="rating")


def test_item_in_two_kinds(files):
    files.spoil("music.csv", "m2", "b2")
    with pytest.raises(DataError) as error:
        files.read()
    for part in ("'b2' is both of kind 'book' (", "book.csv, line 3, column", "music.csv, line 3, column", "'type'"):
        assert part in str(error.value)
    rows = files.read(drop_bad_rows=True).interactions
    b2 = sum("b2" in line for line in (files.folder / "rates.csv").read_text().splitlines())
    assert b2 == 1 and len(rows) == 4  # and that of m2, which is no item any more
    assert any(f"left out {b2} row" in line and "'b2' is both" in line for line in files.said)


def test_a_column_that_the_settings_name_has_to_be_there(files):
    for key in ("RATING_FIELD", "TIME_FIELD", "TYPE_FIELD"):
        says(files, "rates.csv, line 1: no column 'lable'", "Did you mean 'label'?", f"data.{key}", **{key: "lable"})


def test_kind_without_items(files):
    files.write("music.csv", "item_id,performer,price")
    says(files, "music.csv: has columns but no rows", "data.item_feat_path.music")
    files.write("music.csv", "item_id,performer,price\n")
    says(files, "music.csv: has columns but no rows", "data.item_feat_path.music")


def test_kind_without_interactions(files):
    files.write("rates.csv", "user_id,item_id,label\nu1,b2,1\nu2,b2,0\n")
    says(files, "rates.csv: no usable interaction with an item of kind 'music'", "data.type")


@pytest.mark.parametrize(
    ("label", "what"), [("1", "every interaction is positive"), ("0", "every interaction is negative")]
)
def test_labels_of_one_class(files, label, what):
    files.write("rates.csv", f"user_id,item_id,label\nu1,b2,{label}\nu2,m1,{label}\n")
    says(files, f"rates.csv, column 'label': {what}", '"negatives"')


@pytest.mark.parametrize(("yes", "no"), [("True", "False"), ("true", "false"), ("TRUE", "0")])
def test_labels_may_be_true_and_false(files, yes, no):
    files.write("rates.csv", f"user_id,item_id,label\nu1,b2,{yes}\nu2,m1,{no}\n")
    assert files.read().interactions.label.tolist() == [1, 0]
    files.spoil("rates.csv", f"m1,{no}", "m1,maybe")
    with pytest.raises(DataError, match="line 3, column 'label': 'maybe' is not a number"):
        files.read()


def test_made_labels_of_one_class(files):
    says(files, "column 'rating': every interaction is negative", "'above'", label={"from": "rating", "above": 5})


def test_labels_of_one_class_in_one_kind_are_said(files):
    files.spoil("rates.csv", "u1,m1,0", "u1,m1,1")
    files.read()
    assert any("all interactions of kind 'music' have the same label" in line for line in files.said)


def test_unknown_kinds(files):
    says(files, "data.type: no kind 'boook'.", "Did you mean 'book'?", "Kinds: book, music", type=("boook",))
    says(files, "data.single_type: no kind '0'", single_type=0)
    says(files, "data.single=true needs data.single_type", single=True)
    files.settings["feat"]["author"] = {"type": "token", "source": "item_boook"}
    says(files, "data.feat.author: source 'item_boook' names no kind", "Did you mean 'book'?")


def test_printed_lists_where_a_category_is_due_are_said(files):
    files.spoil("book.csv", "Ann,Drama", "\"['Ann', 'Bob']\",Drama")
    files.read()
    (line,) = (line for line in files.said if "warning" in line)
    assert "book.csv, line 2, column 'author'" in line and "(1 cell like it); is it a list? Set type token_seq" in line


def test_unknown_kind_in_the_interactions(files):
    files.write("rates.csv", "user_id,item_id,type,label\nu1,b2,book,1\nu2,m1,music,0\nu2,f1,film,0\n")
    with pytest.raises(DataError, match="line 4, column 'type': 'film' is none of the kinds book, music"):
        files.read()
    assert len(files.read(type=("book", "music")).interactions) == 2
    files.spoil("rates.csv", "u2,m1", "u2,b3")
    with pytest.raises(DataError, match=r"line 3, column 'item_id': 'b3' is not an item of its kind"):
        files.read(type=("book", "music"))


def test_kinds_that_cannot_be_distinguished(files):
    path = files.write("items.csv", "item_id\nb2\n")
    says(files, "items.csv, line 1: no column 'type'", "data.TYPE_FIELD", item_feat_path=path, type=("a", "b"), feat={})
    path = files.write("items.csv", "item_id,type\nb2,a\nb3,\n")
    with pytest.raises(DataError, match=r"items.csv, line 3, column 'type': an empty cell names no kind"):
        files.read(item_feat_path=path, feat={})


def test_columns_without_their_file(files):
    says(files, "data.feat.age", "data.user_feat_path", user_feat_path=None)
    says(files, "data.feat.author", "data.item_feat_path", item_feat_path=None)


@pytest.mark.parametrize("name", ["rates.parquet", "rates.csv.gz", "rates.csv.xz"])
def test_truncated_file(files, name):
    path = files.folder / name
    table = pd.read_csv(files.folder / "rates.csv", dtype={"item_id": str})
    table.to_parquet(path) if name.endswith("parquet") else table.to_csv(path, index=False)
    path.write_bytes(path.read_bytes()[:-20])
    says(files, f"{path}: ", "Is it cut off?", inter_feat_path=str(path))


def test_ragged_rows(files):
    files.spoil("rates.csv", "u2,b2,0,1,300", "u2,b2")
    files.spoil("rates.csv", "u3,m2,1,5,50", "u3,m2,1,5,50,9")
    says(files, "rates.csv, line 4: 2 cells where the header has 5 (2 lines like it)", "Correct the file")


def test_quotation_mark_never_closed(files):
    files.write("book.csv", 'item_id,price,author\n0000031887,1,x\nb2,1,"y\nb3,1,z\n')
    price = {"price": {"type": "float", "source": "item"}}
    says(files, "book.csv, line 3: a quotation mark is opened here and never closed", feat=price)
    files.write("book.csv", 'item_id,price,author\n0000031887,1,x\n"b2,1,y\nb3,1,z\n')
    says(files, "book.csv, line 3: a quotation mark is opened here and never closed", feat=price)


def test_not_utf8(files):
    files.write("users.csv", "user_id,city,age\nu1,Paris,31\nu2,Orléans,2\nu3,,\n".encode("latin-1"))
    says(files, "users.csv, line 3: not UTF-8 text (byte 0xe9)", "Save the file as UTF-8")
    files.write("users.csv", "user_id,ville_é,age\n".encode("latin-1"))
    says(files, "users.csv, line 1: not UTF-8 text")
    files.write("users.csv", "user_id,city,age\nu1,Paris,31\n".encode("utf-16"))
    says(files, "users.csv, line 1: not UTF-8 text")


def test_empty_files_and_unknown_formats(files):
    files.write("users.csv", "")
    says(files, "users.csv: the file is empty")
    files.write("users.csv", "\n\n")
    says(files, "users.csv: the file is empty")
    says(files, "users.parquet", "not a readable parquet", user_feat_path=files.write("users.parquet", b""))
    says(files, "users.xls: the ending names no format", ".csv", user_feat_path=files.write("users.xls", b"x"))


def test_column_named_twice(files):
    files.spoil("users.csv", "city", "age")
    says(files, "users.csv, line 1: two columns are called 'age'", feat={"age": {"type": "float", "source": "user"}})


def test_lists_where_a_category_is_due(files):
    path = files.folder / "users.parquet"
    pd.DataFrame({"user_id": ["u1", "u2", "u3"], "city": [["a"], ["b"], None], "age": [1, 2, 3]}).to_parquet(path)
    says(files, "users.parquet, column 'city': holds", "token_seq", user_feat_path=str(path))


def test_no_row_left(files):
    files.write("users.csv", "user_id,city,age\n,x,1\nnan,x,2\n")
    with pytest.raises(DataError, match=r"users.csv: no row can be used"):
        files.read(drop_bad_rows=True)


# ------------------------------------------------------------------------------------------------ vectors


def test_vectors_that_do_not_fit(files):
    def vectors(array) -> dict:
        np.save(files.folder / "cover.npy", array)
        return {"feat": {"cover": {"type": "vector", "source": "item_book", "path": str(files.folder / "cover.npy")}}}

    says(files, "cover.npy: holds 2 vectors, but", "book.csv has 3 rows", **vectors(np.zeros((2, 4), np.float32)))
    says(files, "cover.npy: holds float32[3]", "float[rows, numbers]", **vectors(np.zeros(3, np.float32)))
    says(files, "cover.npy: holds int64[3, 4]", **vectors(np.zeros((3, 4), np.int64)))
    for bad in ([[1.0, 2.0], [np.nan, 1.0], [2.0, 0.0]], [[1.0], [1e300], [1.0]]):
        with pytest.raises(
            DataError, match=r"cover.npy, row 2: a number is missing.*\(1 row in all\).*drop_bad_rows=true"
        ):
            files.read(**vectors(np.array(bad)))
    changes = vectors(np.zeros((3, 4), np.float32))
    path = files.folder / "cover.npy"
    path.write_bytes(path.read_bytes()[:-8])
    says(files, "cover.npy: not a readable .npy file", "cut off", **changes)
    changes["feat"]["cover"]["source"] = "item"
    says(files, "data.feat.cover", "source 'item' stands for several", "item_book, item_music", **changes)
    path.unlink()
    changes["feat"]["cover"]["source"] = "item_book"
    says(files, "cover.npy: no such file", "data.feat.cover.path", **changes)
