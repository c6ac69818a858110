"""Which rows, users and items a filter leaves, against small data that is worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hrec.config import ConfigError
from hrec.config import load as load_config
from hrec.datasets import load, load_split
from hrec.datasets.columns import FIRST, Categorical, CategoricalList, Numeric
from hrec.datasets.filters import filtered, k_core
from hrec.datasets.planted import make
from hrec.datasets.problems import DataError
from hrec.datasets.recdata import Interactions, RecData, Table
from hrec.models import find_model
from hrec.settings import DataSettings, FilterSettings

DAY = 86_400.0


def data() -> RecData:
    """Books b0 to b3 and films f0 to f2 (items 4 to 6) of users u0 to u4; b3 and u4 have no row; the column of an
    interaction is its position."""
    user = np.int32([0, 0, 0, 1, 1, 2, 3, 3])
    item = np.int32([0, 1, 4, 0, 5, 6, 2, 4])
    rating = np.float32([5, 1, 4, 3, np.nan, 2, 4, 4])
    x = Interactions(user, item, (item >= 4).astype(np.int16), (rating > 3).astype(np.float32), rating, DAY * user)
    x = replace(x, columns={"place": Numeric(np.arange(8, dtype=np.float32))})
    author = Categorical(np.int32([2, 3, 4, 5]), np.array(["Ann", "Bob", "Cid", "Dee"]))
    genres = CategoricalList(np.array([0, 1, 3, 3]), np.int32([2, 3, 2]), np.array(["x", "y"]))
    return RecData(
        Table(5, 0, {"age": Numeric(np.float32([10, 11, 12, 13, 14]))}, np.array(["u0", "u1", "u2", "u3", "u4"])),
        {
            "book": Table(4, 0, {"author": author}, np.array(["b0", "b1", "b2", "b3"])),
            "film": Table(3, 4, {"genres": genres}, np.array(["f0", "f1", "f2"])),
        },
        x,
    )


def kept(log=lambda line: None, **settings) -> RecData:
    return filtered(data(), FilterSettings.model_validate(settings), log)


def names(of: RecData) -> list[str]:
    """Each row as user, item and kind, through the ids."""
    x = of.interactions
    items = np.concatenate([table.ids for table in of.kinds.values()])
    kinds = list(of.kinds)
    return [f"{of.users.ids[u]} {items[i]} {kinds[k]}" for u, i, k in zip(x.user, x.item, x.kind, strict=True)]


def test_users_and_items_without_a_row_are_dropped_with_their_ids_and_columns():
    made = kept()
    assert (made.n_users, made.n_items) == (4, 6)
    assert names(made) == names(data())
    assert made.users.ids.tolist() == ["u0", "u1", "u2", "u3"] and made.users.columns["age"].value.tolist() == [
        *range(10, 14)
    ]
    assert made.kinds["book"].ids.tolist() == ["b0", "b1", "b2"] and made.kinds["film"].start == 3


def test_items_of_all_kinds_get_indices_without_a_gap_and_keep_their_columns():
    made = kept(min_rating=4)
    assert names(made) == ["u0 b0 book", "u0 f0 film", "u3 b2 book", "u3 f0 film"]
    assert made.interactions.user.tolist() == [0, 0, 1, 1] and made.interactions.item.tolist() == [0, 2, 1, 2]
    assert made.users.columns["age"].value.tolist() == [10, 13]
    assert made.kinds["book"].columns["author"].code.tolist() == [FIRST, FIRST + 2]
    assert made.kinds["film"].columns["genres"].offset.tolist() == [0, 1]
    assert made.interactions.columns["place"].value.tolist() == [0, 2, 6, 7]
    assert (made.interactions.user.dtype, made.interactions.item.dtype) == (np.int32, np.int32)


def test_a_kind_that_is_left_out_leaves_with_the_users_who_have_nothing_else():
    made = kept(kinds=["film"])
    assert names(made) == ["u0 f0 film", "u1 f1 film", "u2 f2 film", "u3 f0 film"]
    assert list(made.kinds) == ["film"] and made.kinds["film"].start == 0 and not made.interactions.kind.any()
    assert names(kept(kinds=["film", "book"])) == names(data())  # the order is that of the data


@pytest.mark.parametrize(
    ("start", "stop", "users"),
    [
        (DAY, None, {"u1", "u2", "u3"}),
        (None, 2 * DAY, {"u0", "u1"}),
        (DAY, 2 * DAY, {"u1"}),
        ("1970-01-02", "1970-01-03", {"u1"}),
        ("1970-01-02T01:00:00+01:00", "1970-01-03T00:00:00Z", {"u1"}),
    ],
)
def test_the_range_of_time_holds_its_start_and_not_its_end(start, stop, users):
    bounds = {name: value for name, value in (("from", start), ("to", stop)) if value is not None}
    rows = [row for row in names(data()) if row.split()[0] in users]
    left = {row.split()[2] for row in rows}
    assert names(kept(**bounds, kinds=sorted(left))) == rows


def test_a_row_without_time_is_in_no_range_and_one_without_rating_below_every_bound():
    made = data()
    made.interactions.time[0] = np.nan
    assert "u0 b0 book" not in names(filtered(made, FilterSettings(start=-1e9), lambda line: None))
    assert "u1 f1 film" not in names(kept(min_rating=0))


# ------------------------------------------------------------------------------------------ the k-core


def test_a_core_is_taken_round_after_round_until_nothing_changes():
    """Users 0 and 1 share items 0 and 1. User 2 has item 1 and item 2, user 3 items 2 and 3: item 3 has one row, so
    user 3 has one, so item 2 has one, so user 2 has one."""
    user, item = np.array([0, 0, 1, 1, 2, 2, 3, 3]), np.array([0, 1, 0, 1, 1, 2, 2, 3])
    keep, rounds = k_core(user, item, 2, 2)
    assert keep.tolist() == [True] * 4 + [False] * 4
    assert rounds == 4  # (3, 3), (3, 2), (2, 2), (2, 1)
    assert k_core(user, item, 2, 1)[0].all()
    assert k_core(user, item, 1, 2)[0].tolist() == [True] * 7 + [False]
    assert not k_core(user, item, 3, 3)[0].any()


def slow_core(rows: set[tuple[int, int]], users: int, items: int) -> set[tuple[int, int]]:
    """One row at a time, in any order."""
    for row in sorted(rows):
        if sum(u == row[0] for u, _ in rows) < users or sum(i == row[1] for _, i in rows) < items:
            return slow_core(rows - {row}, users, items)
    return rows


@pytest.mark.parametrize("seed", range(5))
def test_a_core_is_what_dropping_one_row_at_a_time_leaves(seed: int):
    rng = np.random.default_rng(seed)
    few, many = (20 * rng.random(200) ** 2).astype(int), (15 * rng.random(200) ** 2).astype(int)
    user, item = np.divmod(rng.permutation(np.unique(few * 15 + many)), 15)
    keep, rounds = k_core(user, item, 4, 5)
    assert rounds > 0 and 0 < keep.sum() < len(keep)
    assert set(zip(user[keep].tolist(), item[keep].tolist(), strict=True)) == slow_core(
        set(zip(user.tolist(), item.tolist(), strict=True)), 4, 5
    )


def test_the_core_is_taken_after_the_other_rules():
    """With ratings of 4 and more, u0 and u3 have two rows, and f0 alone has two."""
    assert names(kept(min_rating=4, min_user_rows=2)) == ["u0 b0 book", "u0 f0 film", "u3 b2 book", "u3 f0 film"]
    assert names(kept(min_rating=4, min_item_rows=2, kinds=["film"])) == ["u0 f0 film", "u3 f0 film"]


# -------------------------------------------------------------------------------- the log and mistakes


def test_the_log_counts_what_each_rule_drops_and_what_is_left():
    lines: list[str] = []
    kept(lines.append, **{"from": "1970-01-01", "to": "1970-01-04 12:00"}, min_rating=4, min_user_rows=2)
    assert lines == [
        "data.filter, from 1970-01-01 00:00:00, before 1970-01-04 12:00:00 (the data has 1970-01-01 00:00:00 to "
        "1970-01-04 00:00:00): 0 of 8 rows dropped",
        "data.filter, rating at least 4: 4 of 8 rows dropped",
        "data.filter, at least 2 rows for each user and 1 for each item, after 0 rounds: 0 of 4 rows dropped",
        "data.filter leaves 4 rows, 2 of 5 users, 2 of 4 items of 'book', 1 of 3 items of 'film'",
    ]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kinds": ["bok"]}, r"data\.filter\.kinds: no kind 'bok'\. Did you mean 'book'.*Kinds: book, film"),
        ({"from": 1e9}, "data.filter leaves no row of 'data'"),
        ({"min_user_rows": 4}, "data.filter leaves no row of 'data'"),
        ({"min_rating": 5}, r"leaves no row of kind 'film'.*data\.filter\.kinds=\[\"book\"\]"),
    ],
)
def test_a_filter_that_cannot_be_used_is_an_error_with_a_remedy(settings, message):
    with pytest.raises(DataError, match=message):
        kept(**settings)


def test_rules_of_times_and_ratings_need_them():
    bare = data().with_interactions(replace(data().interactions, time=None, rating=None))
    for settings, field in (({"to": "2020-01-01"}, "TIME_FIELD"), ({"min_rating": 3}, "RATING_FIELD")):
        with pytest.raises(DataError, match=f"data.{field}"):
            filtered(bare, FilterSettings.model_validate(settings), lambda line: None)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"min_user_row": 3}, "min_user_row"),
        ({"min_user_rows": 0}, "min_user_rows"),
        ({"kinds": []}, "kinds"),
        ({"from": "May 2020"}, "should be seconds since 1970 or a date such as 2024-01-31, got 'May 2020'"),
        ({"from": "2020-01-02", "to": "2020-01-01"}, "'from' should be before 'to'"),
        ({"to": float("nan")}, "to\n  Input should be a finite number"),
    ],
)
def test_settings_are_strict(settings, message):
    with pytest.raises(ValueError, match=message):
        FilterSettings.model_validate(settings)


# --------------------------------------------------------------------------------------- in a data set


def planted(**settings) -> DataSettings:
    return DataSettings.model_validate({"planted": {"size": "tiny"}, **settings})


def test_planted_data_is_filtered_before_the_split():
    parts = load_split(planted(filter={"min_user_rows": 20, "min_item_rows": 20}), None)
    rows = [part.interactions for part in (parts.train, parts.valid, parts.test)]
    user, item = (np.concatenate([getattr(x, name) for x in rows]) for name in ("user", "item"))
    whole = load(planted(), None)
    assert np.bincount(user).min() >= 20 and np.bincount(item).min() >= 20
    assert parts.train.n_users == len(np.unique(user)) < whole.n_users
    assert parts.train.n_items == len(np.unique(item)) < whole.n_items


def test_a_single_kind_is_filtered_among_all_kinds_as_it_is_split_among_them():
    settings = {"filter": {"min_user_rows": 20}}
    whole, film = load(planted(**settings), None), load(planted(**settings, single_type="film"), None)
    assert np.sum(whole.interactions.kind == 2) == len(film.interactions) > 0
    assert film.n_users == whole.n_users


def test_the_cache_holds_the_data_before_the_filter(tmp_path: Path):
    rows = [f"u{u},i{i},{(u + i) % 2},{u}" for u in range(6) for i in range(u + 1)]
    (tmp_path / "rows.csv").write_text("user_id,item_id,label,rating\n" + "\n".join(rows) + "\n")
    base = {"inter_feat_path": str(tmp_path / "rows.csv")}
    lines: list[str] = []
    for bound in (None, 2, 4):
        settings = base | ({} if bound is None else {"filter": {"min_rating": bound}})
        made = load(DataSettings.model_validate(settings), tmp_path / "cache", lines.append)
        assert made.n_users == 6 - (bound or 0)
    assert len(list((tmp_path / "cache").iterdir())) == 1
    assert sum("read from the cache" in line for line in lines) == 2


def test_a_config_and_the_command_line_set_a_filter_and_mistakes_name_the_nearest_key():
    config = load_config("bprmf", find_model, ["data=planted-tiny", "data.filter.from=2009-01-01"])
    assert config.run.data.filter is not None and config.run.data.filter.start == 1_230_768_000
    again = DataSettings.model_validate(
        config.run.data.model_dump(mode="json", by_alias=True, include={"filter", "planted"})
    )
    assert again.filter == config.run.data.filter
    with pytest.raises(ConfigError, match="min_user_rows"):
        load_config("bprmf", find_model, ["data=planted-tiny", "data.filter.min_users_rows=3"])


def test_the_knowledge_graph_follows_the_items_that_are_left():
    made = make("tiny", 0, graph=True).data
    kept = filtered(made, FilterSettings(min_item_rows=30), lambda line: None)
    assert kept.n_items < made.n_items and len(kept.relations) == len(made.relations)
    names = [r.entities[r.head] for r in (made.relations, kept.relations)]
    np.testing.assert_array_equal(*names)
