"""Rows of one user and one item that occur more than once: what each value of data.repeats makes of them."""

import numpy as np
import pytest
from pydantic import ValidationError

from hrec.datasets import feedback_of, load_split
from hrec.datasets.histories import item_history, user_history
from hrec.datasets.reading import DataError, read
from hrec.datasets.recdata import TrainData
from hrec.datasets.sequences import Sequences
from hrec.settings import DataSettings

HEADER = "user_id,item_id,rating"
ROWS = ["u1,a,5", "u1,b,2", "u2,a,1", "u1,a,2", "u2,b,4", "u1,a,4.5"]
ABOVE_3 = {"from": "rating", "above": 3}


def rows_of(folder, rows=ROWS, header=HEADER, **changes):
    """(user, item, rating, label) of each row that is read, and the lines of the log."""
    path, said = folder / "i.csv", []
    path.write_text("\n".join([header, *rows]) + "\n")
    data = read(DataSettings(**{"inter_feat_path": str(path), "label": ABOVE_3} | changes), None, said.append)
    x = data.interactions
    rating = [None] * len(x) if x.rating is None else x.rating.tolist()
    ids = data.kinds["item"].ids
    assert ids is not None and data.users.ids is not None and x.label is not None
    return list(zip(data.users.ids[x.user], ids[x.item], rating, x.label.tolist(), strict=True)), said


def test_left_out_they_are_refused_with_both_lines_and_the_setting(tmp_path):
    with pytest.raises(DataError) as error:
        rows_of(tmp_path)
    message = str(error.value)
    for part in ("i.csv, line 2, column 'user_id': 'u1' and item 'a' occur again in line 5", "(2 rows", "data.repeats"):
        assert part in message, message
    with pytest.raises(DataError, match=r"data\.repeats"):
        rows_of(tmp_path, repeats="refuse", drop_bad_rows=True)


KEPT = {
    "first": [("u1", "a", 5, 1), ("u1", "b", 2, 0), ("u2", "a", 1, 0), ("u2", "b", 4, 1)],
    "last": [("u1", "b", 2, 0), ("u2", "a", 1, 0), ("u2", "b", 4, 1), ("u1", "a", 4.5, 1)],
    "mean": [("u1", "b", 2, 0), ("u2", "a", 1, 0), ("u2", "b", 4, 1), ("u1", "a", np.float32(11.5 / 3), 1)],
    "keep": [(u, i, float(rating), float(float(rating) > 3)) for u, i, rating in (row.split(",") for row in ROWS)],
}


@pytest.mark.parametrize("how", KEPT)
def test_what_is_kept_and_that_the_log_says_so(tmp_path, how):
    rows, said = rows_of(tmp_path, repeats=how)
    assert rows == KEPT[how]
    assert any("2 rows" in line and "'u1' and item 'a' occur again" in line for line in said), said


def test_drop_bad_rows_alone_keeps_the_last_as_before(tmp_path):
    assert rows_of(tmp_path, drop_bad_rows=True)[0] == KEPT["last"]


def test_times_say_which_is_first_and_last(tmp_path):
    rows, header = ["u1,a,5,30", "u1,a,1,20", "u1,a,2,", "u2,a,1,1", "u3,a,5,1"], HEADER + ",timestamp"
    assert rows_of(tmp_path, rows, header, repeats="last")[0][0] == ("u1", "a", 5, 1)
    assert rows_of(tmp_path, rows, header, repeats="first")[0][0] == ("u1", "a", 2, 0)  # a row without a time is older
    assert rows_of(tmp_path, rows, header, repeats="mean")[0][0] == ("u1", "a", np.float32(8 / 3), 0)


def test_the_label_is_made_of_the_mean_and_empty_ratings_do_not_count(tmp_path):
    header = "user_id,item_id,rating,score"
    rows = ["u1,a,1,4", "u1,a,,1", "u1,a,2,2", "u2,a,5,1", "u3,a,5,5"]
    for above, label in ((2.3, 1), (7 / 3, 0)):
        made, _ = rows_of(tmp_path, rows, header, repeats="mean", label={"from": "score", "above": above})
        assert made == [("u1", "a", 1.5, label), ("u2", "a", 5, 0), ("u3", "a", 5, 1)]


@pytest.mark.parametrize("rating", [0.1, 0.6, 0.7, 2.3])
def test_equal_ratings_at_the_threshold_are_not_above_it_for_their_mean(tmp_path, rating):
    rows = [*[f"u1,a,{rating}"] * 3, "u2,a,5"]
    made, _ = rows_of(tmp_path, rows, repeats="mean", label={"from": "rating", "above": rating})
    assert [label for *_, label in made] == [0, 1]


def test_a_mean_needs_ratings_and_labels_that_agree(tmp_path):
    clicks = ["u1,a", "u1,a", "u2,b"]
    with pytest.raises(DataError, match=r"data\.repeats=mean needs ratings"):
        rows_of(tmp_path, clicks, "user_id,item_id", repeats="mean", label={"negatives": 1})
    header = HEADER + ",label"
    with pytest.raises(DataError, match=r"line 2, .*another label.*data\.repeats to first"):
        rows_of(tmp_path, ["u1,a,4,1", "u1,a,2,0", "u2,a,1,0"], header, repeats="mean", label=None)
    rows, _ = rows_of(tmp_path, ["u1,a,4,1", "u1,a,2,1", "u2,a,1,0"], header, repeats="mean", label=None)
    assert rows == [("u1", "a", 3, 1), ("u2", "a", 1, 0)]


def test_an_item_of_two_kinds_with_one_id_is_no_repeat(tmp_path):
    path = tmp_path / "i.csv"
    path.write_text("user_id,item_id,type,rating\nu1,1,book,5\nu1,1,film,1\n")
    data = read(DataSettings(inter_feat_path=str(path), label=ABOVE_3, type=("book", "film")), None, lambda line: None)
    assert len(data.interactions) == 2


def test_of_repeats_that_are_kept_a_history_has_one_cell_with_the_mean(tmp_path):
    path = tmp_path / "i.csv"
    path.write_text("\n".join([HEADER, *ROWS]))
    settings = DataSettings(inter_feat_path=str(path), label=ABOVE_3, repeats="keep", inter_matrix_type="rating")
    whole = read(settings, None, lambda line: None)
    data = TrainData.of(whole, feedback_of(settings, whole))
    users, items = user_history(data), item_history(data)
    assert users.offset.tolist() == [0, 2, 4] and users.index.tolist() == [0, 1, 0, 1]
    np.testing.assert_allclose(users.value, [11.5 / 3, 2, 1, 4], rtol=1e-6)
    assert items.offset.tolist() == [0, 2, 4] and items.index.tolist() == [0, 1, 0, 1]
    np.testing.assert_allclose(items.value, [11.5 / 3, 1, 2, 4], rtol=1e-6)
    length, item, value = Sequences.of(data, data.interactions, 2).cells()
    assert length.tolist() == [2, 2] and item.tolist() == [0, 1, 0, 1]
    np.testing.assert_allclose(value.numpy(), users.value, rtol=1e-6)


def test_a_column_of_events_is_read_as_one_kind_where_no_column_tells_kinds(tmp_path):
    path, said = tmp_path / "i.csv", []
    path.write_text(
        "user_id,item_id,type\n" + "".join(f"u{u},a{i},{e}\n" for u in range(6) for i in range(3) for e in ("c", "o"))
    )
    settings = {"inter_feat_path": str(path), "label": {"negatives": 1}}
    read(DataSettings(**settings), None, said.append)
    (line,) = [line for line in said if "column 'type' makes 2 kinds of item: 'c', 'o'" in line]
    assert "Of 3 item ids 3 are in several kinds" in line and "data.TYPE_FIELD=null" in line and "data.type" in line
    for quiet in ({"type": ("c", "o")}, {"TYPE_FIELD": None, "repeats": "last"}):
        said.clear()
        parts = load_split(DataSettings(**settings, **quiet), None, said.append)
        assert not any("kinds of item" in line for line in said), said
    assert list(parts.train.kinds) == ["item"] and parts.train.n_items == 3
    with pytest.raises(DataError, match=r"data\.TYPE_FIELD is null"):
        read(DataSettings(**settings, TYPE_FIELD=None, type=("c", "o")), None, said.append)


def test_each_purpose_has_a_column_of_its_own():
    for changes, named in (
        ({"USER_ID_FIELD": "item_id"}, "USER_ID_FIELD and ITEM_ID_FIELD both name the column 'item_id'"),
        ({"USER_ID_FIELD": "id", "ITEM_ID_FIELD": "id"}, "USER_ID_FIELD and ITEM_ID_FIELD"),
        ({"ITEM_ID_FIELD": "type"}, "ITEM_ID_FIELD and TYPE_FIELD"),
        ({"USER_ID_FIELD": "rating"}, "USER_ID_FIELD and RATING_FIELD"),
    ):
        with pytest.raises(ValidationError, match=named):
            DataSettings(inter_feat_path="i.csv", **changes)
    DataSettings(inter_feat_path="i.csv", LABEL_FIELD="rating")  # ratings of 1 and 0
    with pytest.raises(ValidationError, match="repeats"):
        DataSettings(inter_feat_path="i.csv", repeats="median")
