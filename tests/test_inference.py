"""Finished runs in use: lists for known and for new users, exported vectors, and what is refused."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch import Tensor

from hrec.cli.commands import main
from hrec.config import ConfigError, load
from hrec.datasets.columns import FIRST, MISSING, Categorical, CategoricalList, Dense, Numeric, behind_missing
from hrec.datasets.problems import DataError
from hrec.datasets.queries import Queries
from hrec.datasets.recdata import RecData, Split
from hrec.inference import NewUsers, Trained, export, load_run, new_users, recommend
from hrec.inference import ids as raw_ids
from hrec.inference.history import of_each_item
from hrec.inference.ids import item_ids
from hrec.inference.queries import answering, queries_of
from hrec.inference.users_from import ids_from
from hrec.models import MODELS, find_model
from hrec.pipeline.checkpoints import CheckpointError
from hrec.pipeline.evaluator import Evaluator
from hrec.pipeline.run import run as train

ROOT = Path(__file__).parents[1]
SOLVED = ("WMF", "CDL")

Run = Callable[..., Path]


@pytest.fixture(autouse=True)
def _in_the_checkout(monkeypatch):
    monkeypatch.chdir(ROOT)


def write_shop(folder: Path) -> dict[str, Any]:
    """A small data set in files, with numbers for ids; user 0 has a row with every film. -> the section data."""
    rng = np.random.default_rng(0)
    user, item = np.nonzero(rng.random((24, 32)) < 0.4)
    films = np.arange(20, 32)
    user, item = np.append(user[user > 0], np.zeros(12, int)), np.append(item[user > 0], films)
    rating = 1 + (user + item + rng.integers(0, 3, len(user))) % 5
    rows = pd.DataFrame({"user_id": 100 + user, "item_id": 500 + item, "rating": rating})
    rows.sample(frac=1, random_state=0).to_csv(folder / "rows.csv", index=False)
    age = np.where(np.arange(24) % 5, np.arange(20, 44), np.nan)
    users = {"user_id": 100 + np.arange(24), "height": np.arange(160, 184), "age": age, "town": list("abcd") * 6}
    pd.DataFrame(users).to_csv(folder / "users.csv", index=False)
    for kind, ids in (("book", np.arange(20)), ("film", films)):
        pd.DataFrame({"item_id": 500 + ids, "year": 1990 + ids}).to_csv(folder / f"{kind}.csv", index=False)
    files = {kind: str(folder / f"{kind}.csv") for kind in ("book", "film")}
    return {
        "name": "shop",
        "inter_feat_path": str(folder / "rows.csv"),
        "item_feat_path": files,
        "feat": {"year": {"type": "float"}},
        "label": {"from": "rating", "above": 3},
    }


WITH_USERS = {
    "height": {"type": "float", "source": "user"},
    "age": {"type": "float", "source": "user"},
    "town": {"type": "token", "source": "user"},
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Run:
    """Trains a run, once for each line of settings: (config, settings...) -> run folder."""
    kept: dict[tuple[str, ...], Path] = {}

    def get(name: str, *settings: str) -> Path:
        key = (name, *settings)
        if key not in kept:
            output = tmp_path_factory.mktemp("runs")
            given = settings if any(s.startswith("data=") for s in settings) else ("data=planted-tiny", *settings)
            more = ["opt.epochs=2", "opt.hyper_params.lr=0.01", "path.cache=null", f"path.output={output}"]
            train(load(str(ROOT / "configs" / f"{name}.json"), find_model, [*more, *given, "device=cpu"]), show=False)
            (kept[key],) = output.iterdir()
        return kept[key]

    return get


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> dict[str, Any]:
    return write_shop(tmp_path_factory.mktemp("shop"))


def data_of(shop: dict[str, Any], **more: Any) -> str:
    return f"data={json.dumps(shop | more)}"


@torch.no_grad()
def scored(trained: Trained) -> np.ndarray:
    """The score of every pair, asked for one pair at a time: float[n_users, n_items]."""
    n, m = trained.data.n_users, trained.data.n_items
    user, item = torch.meshgrid(torch.arange(n), torch.arange(m), indexing="ij")
    return trained.model.score(user.flatten(), item.flatten()).view(n, m).double().numpy()


def by_hand(trained: Trained, user: int, k: int, kind: str | None = None) -> list[str]:
    """The ids of the best candidates, by sorting."""
    x, score = trained.data.interactions, scored(trained)[user]
    seen = set(x.item[x.user == user].tolist())
    tables = trained.data.kinds.values() if kind is None else [trained.data.kinds[kind]]
    left = [i for table in tables for i in range(table.start, table.stop) if i not in seen]
    left.sort(key=lambda i: (-score[i], i))
    return item_ids(trained.data)[left[:k]].tolist()


def lists(rows: pa.Table) -> dict[str, list[str]]:
    frame = rows.to_pandas()
    return {user: group["item"].tolist() for user, group in frame.groupby("user", sort=False)}


def history_of(trained: Trained, user: int, part: str = "train") -> pa.Table:
    """The rows of a user in one part, as a table of a history."""
    data: RecData = getattr(trained.parts, part)
    x = data.interactions.take(data.interactions.user == user)
    columns = {"item_id": item_ids(data)[x.item], "rating": x.rating, "label": x.label}
    return pa.table({name: value for name, value in columns.items() if value is not None})


@torch.no_grad()
def scores_of_new(trained: Trained, new: NewUsers) -> Tensor:
    """float[new users, n_items]"""
    return answering(trained)(queries_of(trained, new))


def scores_of_known(trained: Trained, user: int) -> Tensor:
    with torch.no_grad():
        return trained.ranker(Queries(torch.tensor([user])))


# ---------------------------------------------------------------------------------------- known users


@pytest.mark.parametrize("name", ["duration", "nais"])
def test_lists_are_what_sorting_all_candidates_by_their_scores_gives(finished, name):
    trained = load_run(finished(name), "cpu")
    rows = recommend(trained, ["u3", "u90", "u0"], k=7)
    assert rows.column_names == ["user", "rank", "item", "kind", "score"]
    assert lists(rows) == {f"u{u}": by_hand(trained, u, 7) for u in (3, 90, 0)}
    assert rows["rank"].to_pylist() == [*range(1, 8)] * 3
    assert all(
        item.startswith(kind) for item, kind in zip(*(rows[c].to_pylist() for c in ("item", "kind")), strict=True)
    )
    number = {one: i for i, one in enumerate(item_ids(trained.data))}
    expected = [
        scored(trained)[int(u[1:]), number[i]]
        for u, i in zip(*(rows[c].to_pylist() for c in ("user", "item")), strict=True)
    ]
    assert np.allclose(rows["score"].to_numpy(), expected, atol=1e-5)


def test_a_kind_gives_lists_of_that_kind_alone(finished):
    trained = load_run(finished("duration"), "cpu")
    rows = recommend(trained, ["u3", "u4"], k=5, kind="music")
    assert set(rows["kind"].to_pylist()) == {"music"}
    assert lists(rows) == {f"u{u}": by_hand(trained, u, 5, "music") for u in (3, 4)}


def test_all_users_are_answered_in_chunks_as_one_by_one(finished):
    trained = load_run(finished("deepmf"), "cpu")
    small = replace(
        trained,
        config=replace(
            trained.config,
            run=trained.config.run.model_copy(
                update={"ranking": trained.config.run.ranking.model_copy(update={"eval_memory_mb": 0.02})}
            ),
        ),
    )
    every = recommend(small, None, k=3)
    assert len(lists(every)) == 120 and len(every) == 360
    assert lists(every)["u77"] == by_hand(trained, 77, 3)


def test_no_row_of_the_data_comes_back_whatever_the_split_made_of_it(finished):
    trained = load_run(finished("deepmf", "data=planted-tiny", "data.sample=0.3"), "cpu")
    everything = recommend(trained, None, k=10_000).to_pandas()
    x = trained.data.interactions
    assert len(trained.parts.train.interactions) < 0.3 * len(x)
    rows = set(zip((f"u{u}" for u in x.user), item_ids(trained.data)[x.item], strict=True))
    found = set(zip(everything["user"], everything["item"], strict=True))
    assert not rows & found and len(rows) + len(found) == trained.data.n_users * trained.data.n_items


def test_items_that_were_drawn_as_negatives_may_be_recommended(finished, shop):
    trained = load_run(finished("deepmf", data_of(shop, label={"negatives": 1})), "cpu")
    test = trained.parts.test.interactions
    drawn = int(np.flatnonzero(test.label == 0)[0])
    user = str(100 + test.user[drawn])
    assert item_ids(trained.data)[test.item[drawn]] in lists(recommend(trained, [user], k=99))[user]


def test_a_list_ends_where_the_items_end_and_a_user_with_none_left_has_no_rows(finished, shop):
    trained, said = load_run(finished("deepmf", data_of(shop)), "cpu"), []
    rows = recommend(trained, ["100", "101"], k=40, kind="film", log=said.append)
    assert set(rows["user"].to_pylist()) == {"101"} and 0 < len(rows) < 12
    assert said == [
        "no candidate items of kind 'film': 1 user (100)",
        "fewer than 40 candidate items of kind 'film': 1 user (101)",
    ]


# ------------------------------------------------------------------------------------------ new users


def assert_same_as_known(trained: Trained, user: int, up_to_a_constant: bool = False) -> None:
    """A user's training rows, given as a history, lead to the user's own scores."""
    new = new_users(trained, history_of(trained, user))
    ours = scores_of_new(trained, new)[0]
    known = torch.from_numpy(scored(trained)[user]).float()
    if up_to_a_constant:
        ours, known = ours - ours.mean(), known - known.mean()
    assert torch.allclose(ours, known, atol=2e-6)


@pytest.mark.parametrize("cells", ["01", "liked", "rating", "sign", "centred"])
def test_a_known_user_given_as_new_has_the_same_scores(finished, shop, cells):
    trained = load_run(finished("deepmf", data_of(shop, inter_matrix_type=cells)), "cpu")
    for user in (3, 11, 23):
        assert_same_as_known(trained, user)


@pytest.mark.parametrize("name", ["fism", "nais"])
def test_a_bias_of_users_is_the_mean_of_all_for_a_new_one(finished, name):
    trained = load_run(finished(name), "cpu")
    assert_same_as_known(trained, 17, up_to_a_constant=True)
    bias = trained.model.state_dict()["user_bias.weight"]
    bias.fill_(float(bias.mean()))
    trained = load_run(finished(name), "cpu")
    trained.model.state_dict()["user_bias.weight"].copy_(bias)
    assert_same_as_known(trained, 17)


def test_columns_made_from_rows_are_made_from_the_history_too(finished, shop):
    trained = load_run(finished("duration", data_of(shop, train_columns=["count", "mean"])), "cpu")
    for user in (3, 11, 23):
        assert_same_as_known(trained, user)


def test_columns_of_a_new_user_are_missing_as_those_of_a_known_one_may_be(finished, shop):
    users = {"user_feat_path": shop["inter_feat_path"].replace("rows", "users"), "feat": shop["feat"] | WITH_USERS}
    trained = load_run(finished("duration", data_of(shop, **users)), "cpu")
    columns = dict(trained.parts.train.users.columns)
    columns |= {"age": Numeric(columns["age"].value.copy()), "town": Categorical(columns["town"].code.copy(), "abcd")}
    columns["town"].code[7] = MISSING
    assert np.isnan(columns["age"].value[5]) and np.isfinite(columns["age"].value[7])
    new = scores_of_new(trained, new_users(trained, history_of(trained, 5)))[0]
    # the same user, of mean height (which is what a height means that nobody lacks) and without a town
    height = columns["height"].value.copy()
    height[5] = height.mean()
    town = columns["town"].code.copy()
    town[5] = MISSING
    changed = columns | {
        "height": Numeric(height, columns["height"].value),
        "town": Categorical(town, columns["town"].values),
    }
    train_part = replace(trained.parts.train, users=replace(trained.parts.train.users, columns=changed))
    again = trained.config.model_class(trained.config.model, train_part).eval()
    again.load_state_dict(trained.model.state_dict())
    with torch.no_grad():
        expected = again.ranker()(Queries(torch.tensor([5])))[0]
    assert torch.allclose(new, expected, atol=2e-6)


def test_new_users_do_not_change_each_others_lists_nor_those_of_known_ones(finished):
    trained = load_run(finished("duration"), "cpu")
    before = recommend(trained, ["u9"], k=5)
    tables = [history_of(trained, user) for user in (2, 40, 77)]
    alone = [recommend(trained, new_users(trained, t, name), k=5) for t, name in zip(tables, "abc", strict=True)]
    named = [t.append_column("user_id", pa.array([name] * len(t))) for t, name in zip(tables, "abc", strict=True)]
    together = recommend(trained, new_users(trained, pa.concat_tables([named[i] for i in (2, 0, 1)])), k=5)
    assert lists(together) == {name: lists(alone["abc".index(name)])[name] for name in "cab"}
    assert recommend(trained, ["u9"], k=5).equals(before)


def test_the_history_of_a_new_user_is_not_recommended(finished):
    trained = load_run(finished("fism"), "cpu")
    new = new_users(trained, pa.table({"item_id": ["book_1", "film_2"], "rating": [5, 1]}))
    found = lists(recommend(trained, new, k=10_000))["new"]
    assert len(found) == trained.data.n_items - 2 and not {"book_1", "film_2"} & set(found)


def made(name: str, parts: Split, model_class: Any = None, **settings: Any) -> Trained:
    """An untrained model as if it came from a run."""
    config = load(str(ROOT / "configs/duration.json"), find_model, ["data=planted-tiny"])
    cls = model_class or find_model(name)
    run = config.run.model_copy(update={"model": {"name": name}})
    config = replace(config, run=run, model_class=cls, model=cls.Config(**settings))
    return Trained(cls(config.model, parts.train).eval(), parts.train, parts, config)


def rows_of(train: RecData, user: int) -> NewUsers:
    x = train.interactions.take(train.interactions.user == user)
    return NewUsers(np.array(["new"]), replace(x, user=np.zeros_like(x.user)))


@pytest.mark.parametrize("name", MODELS)
def test_every_model_answers_for_a_new_user_or_says_that_it_knows_none(board, name):
    trained = made(name, board)
    if name in SOLVED:
        trained.model.solve()
    new = rows_of(board.train, 4)
    try:
        found = recommend(trained, new, k=5)
    except ConfigError as error:  # tests/test_every_model.py says which models may
        assert f"{name} has a trained vector for each user and none for a new one" in str(error)
    else:
        assert len(found) == 5


@pytest.mark.parametrize(("name", "settings"), [*((name, {}) for name in SOLVED), ("WMF", {"l_exponent": 1.5})])
def test_a_new_user_of_a_solved_model_gets_the_vector_that_the_last_sweep_would_have_found(board, name, settings):
    trained = made(name, board, **settings)
    trained.model.solve()
    scores = scores_of_new(trained, rows_of(board.train, 4))
    torch.testing.assert_close(scores, scores_of_known(trained, 4), rtol=1e-4, atol=1e-5)


def test_a_new_user_of_wmf_is_solved_exactly_where_known_ones_are_not(board):
    trained = made("WMF", board, cg_steps=1)
    for _ in range(2):
        trained.model.solve()
    scores = scores_of_new(trained, rows_of(board.train, 4))
    assert not torch.allclose(scores, scores_of_known(trained, 4), rtol=1e-3, atol=1e-3)
    exact = made("WMF", board)
    exact.model.load_state_dict(trained.model.state_dict())
    exact.model.solve_users()
    torch.testing.assert_close(scores, scores_of_known(exact, 4), rtol=1e-4, atol=1e-5)


def test_columns_that_a_new_user_brings_are_read_as_those_of_known_ones(board):
    trained = made("DURation", board)
    fields, known = trained.model.user_fields, torch.tensor([3, 8, 20])
    brought = {name: column.take(known.numpy()) for name, column in board.train.users.columns.items()}
    with torch.no_grad():
        ours = fields.of_queries(Queries(torch.tensor([-1, 8, -1]), columns=brought))
        torch.testing.assert_close(ours, fields(known))


def test_rows_behind_missing_ones_keep_vocabulary_and_measure():
    rows, values = np.array([2, 0]), np.array(["x", "y"])
    one = behind_missing(2, Categorical(np.array([3, 2, 0], np.int32), values), rows)
    assert one.code.tolist() == [MISSING, MISSING, 0, FIRST + 1] and one.size == 4
    several = CategoricalList(np.array([0, 1, 1, 3]), np.array([2, 3, 2], np.int32), values)
    several = behind_missing(2, several, rows)
    assert np.diff(several.offset).tolist() == [0, 0, 2, 1] and several.code.tolist() == [3, 2, 2]
    number = behind_missing(1, Numeric(np.array([1, 2, 3], np.float32)), rows)
    assert np.isnan(number.value[0]) and number.value[1:].tolist() == [3, 1] and number.reference.tolist() == [1, 2, 3]
    assert behind_missing(1, Dense(np.ones((3, 2), np.float32)), rows).value.shape == (3, 2)


# -------------------------------------------------------------------------------- files of histories


@pytest.fixture
def history(tmp_path) -> Callable[[str], Path]:
    def write(text: str, name: str = "history.csv") -> Path:
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def shown(finished: Run, shop: dict[str, Any], path: Path, **more: Any) -> tuple[NewUsers, list[str]]:
    said: list[str] = []
    return new_users(load_run(finished("deepmf", data_of(shop, **more)), "cpu"), path, log=said.append), said


def test_a_file_with_user_ids_holds_several_users_in_the_order_they_come(finished, shop, history):
    new, said = shown(finished, shop, history("user_id,item_id,rating\nzoe,500,5\namy,531,1\nzoe,520,2\n"))
    assert new.ids.tolist() == ["zoe", "amy"] and said == []
    assert new.rows.user.tolist() == [0, 1, 0] and new.rows.item.tolist() == [0, 31, 20]
    assert new.rows.kind.tolist() == [0, 1, 1]
    assert new.rows.rating.tolist() == [5, 1, 2] and new.rows.label.tolist() == [1, 0, 0]


def test_unknown_items_are_counted_and_passed_over_but_not_when_all_are(finished, shop, history):
    new, said = shown(finished, shop, history("item_id,rating\n500,5\n5310,4\n999,4\n"))
    assert new.rows.item.tolist() == [0]
    (line,) = said
    assert "2 of 3 items unknown to 'shop': '5310' (nearest: " in line and line.endswith("skipped")
    with pytest.raises(DataError, match=r"2 of 2 items unknown to 'shop': 'a', 'b'. A history needs a known item"):
        shown(finished, shop, history("item_id\na\nb\n"))


def test_a_history_without_ratings_is_of_positive_items(finished, shop, history):
    new, said = shown(finished, shop, history("item_id\n500\n501\n"))
    x = load_run(finished("deepmf", data_of(shop)), "cpu").parts.train.interactions
    assert new.rows.label.tolist() == [1, 1]
    assert new.rows.rating[0] == pytest.approx(x.rating[x.label > 0].mean())
    assert "no column 'rating', so a positive counts as rated 4." in said[0]
    unsaid: list[str] = []
    new_users(load_run(finished("itemknn", data_of(shop)), "cpu"), history("item_id\n500\n501\n"), log=unsaid.append)
    assert not unsaid  # ItemKNN reads who likes what, and no rating


@pytest.mark.parametrize("name", ["wmf", "itemknn"])
def test_where_every_row_is_positive_a_history_without_ratings_answers_as_one_with_them(finished, shop, history, name):
    trained = load_run(finished(name, data_of(shop, label={"negatives": 0}), 'metrics=["recall@5"]'), "cpu")
    assert trained.parts.train.interactions.label is None
    said: list[str] = []
    bare, rated = (
        new_users(trained, history(text), log=said.append)
        for text in ("item_id\n500\n501\n", "item_id,rating\n500,5\n501,1\n")
    )
    assert not said and bare.rows.rating is not None and np.isfinite(bare.rows.rating).all()
    expected = scores_of_new(trained, rated)
    torch.testing.assert_close(scores_of_new(trained, bare), expected, rtol=0, atol=0)


@pytest.mark.parametrize(("yes", "no"), [("1", "0"), ("true", "False")])
def test_labels_may_stand_in_for_ratings(finished, shop, history, yes, no):
    new, _ = shown(finished, shop, history(f"item_id,label\n500,{yes}\n501,{no}\n"))
    assert new.rows.label.tolist() == [1, 0] and new.rows.rating[0] > 3 > new.rows.rating[1]


def test_of_a_row_that_comes_twice_the_last_counts(finished, shop, history):
    new, said = shown(finished, shop, history("item_id,rating\n500,1\n501,3\n500,5\n"))
    assert sorted(zip(new.rows.item.tolist(), new.rows.rating.tolist(), strict=True)) == [(0, 5), (1, 3)]
    assert "1 row of a user and an item that a later row repeats" in said[0]


def test_a_history_is_in_the_order_of_its_times_wherever_its_rows_are(finished, history):
    trained = load_run(finished("sasrec", "opt.early_stop=null"), "cpu")
    rows = ["book_1,30", "film_2,10", "music_3,20", "book_5,40", "book_1,5"]

    def answer(lines: list[str], columns: str = "item_id,timestamp") -> pa.Table:
        return recommend(trained, new_users(trained, history("\n".join([columns, *lines]) + "\n")), k=20)

    by_time = answer(rows)
    assert by_time.equals(answer(rows[::-1])) and by_time.equals(answer(rows[2:] + rows[:2]))
    in_order = [row.partition(",")[0] for row in (rows[1], rows[2], rows[0], rows[3])]
    assert by_time.equals(answer(in_order, "item_id")) and not by_time.equals(answer(in_order[::-1], "item_id"))


@pytest.mark.parametrize(
    ("cell", "sentence"),
    [("soon", "line 3, column 'timestamp': 'soon' is neither a number nor a date"), ("1577836800000", "two forms of")],
)
def test_times_of_a_history_are_refused_as_those_of_the_data(finished, history, cell, sentence):
    trained = load_run(finished("sasrec", "opt.early_stop=null"), "cpu")
    with pytest.raises(DataError, match=sentence):
        new_users(trained, history(f"item_id,timestamp\nbook_1,1577836800\nbook_2,{cell}\n"))


def test_users_without_a_known_item_are_left_out_and_known_users_are_reported(finished, shop, history):
    new, said = shown(finished, shop, history("user_id,item_id\nzoe,77777\n101,500\n"), inter_matrix_type="01")
    assert new.ids.tolist() == ["101"]
    assert "1 user without a known item left out: zoe" in said[1]
    assert "in the data too, but only the new history counts: 1 user, 101" in said[2]


def test_a_kind_tells_items_of_the_same_id_apart(finished, tmp_path, history):
    frame = pd.DataFrame({"user_id": [1, 1, 2, 2, 3, 3] * 3, "item_id": [1, 2] * 3 + [1, 3] * 3 + [2, 3] * 3})
    frame["type"], frame["rating"] = ["a", "b", "b", "a", "a", "b"] * 3, [5, 5, 2, 1, 5, 3] * 3
    frame = frame.drop_duplicates(["user_id", "item_id", "type"])
    frame.to_csv(tmp_path / "rows.csv", index=False)
    settings = {"name": "ab", "inter_feat_path": str(tmp_path / "rows.csv"), "label": {"from": "rating", "above": 3}}
    trained = load_run(finished("deepmf", f"data={json.dumps(settings)}"), "cpu")
    new = new_users(trained, history("item_id,type,rating\n2,b,5\n2,a,1\n"))
    names = [(item_ids(trained.data)[i], "ab"[k]) for i, k in zip(new.rows.item, new.rows.kind, strict=True)]
    assert names == [("2", "b"), ("2", "a")]
    with pytest.raises(DataError, match="line 2, column 'item_id': '2' is an item of a and b; add a column 'type'"):
        new_users(trained, history("item_id,rating\n2,5\n"))
    with pytest.raises(DataError, match=r"column 'type': 'c' is no kind.* Kinds: a, b"):
        new_users(trained, history("item_id,type,rating\n2,c,5\n"))
    only_b = load_run(finished("deepmf", f"data={json.dumps(settings)}", "data.single_type=b"), "cpu")
    new = new_users(only_b, history("item_id,type,rating\n2,b,5\n2,a,1\n"))
    assert len(new.rows) == 1 and item_ids(only_b.data)[new.rows.item[0]] == "2"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("item,rating\n500,5\n", "no column 'item_id'. Did you mean 'item'?"),
        ("item_id,rating\n500,five\n", "line 2, column 'rating': 'five' is not a number"),
        ("item_id,rating\n,5\n", "line 2, column 'item_id': an empty cell is no id"),
        ("item_id,rating\n500,\n", "is not a number, so it gives no label"),
        ("item_id,label\n500,2\n", "'2' is no label"),
        ("item_id\n", "has columns but no rows"),
        ("", "the file is empty"),
    ],
)
def test_a_history_that_cannot_be_read_is_reported_with_its_place(finished, shop, history, text, sentence):
    with pytest.raises(DataError) as error:
        shown(finished, shop, history(text))
    assert sentence in str(error.value)


def of_parquet(folder: Path, **columns: Any) -> Path:
    """A history of the items 500, 501 and 502 in a parquet file."""
    pq.write_table(pa.table({"item_id": [500, 501, 502], **columns}), folder / "history.parquet")
    return folder / "history.parquet"


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_a_rating_of_a_history_at_the_threshold_is_not_above_it(finished, shop, tmp_path, kind):
    path = of_parquet(tmp_path, rating=np.array([3.2, 3.3, 3.4], kind))
    new, _ = shown(finished, shop, path, label={"from": "rating", "above": 3.3})
    assert new.rows.label.tolist() == [0, 0, 1]


@pytest.mark.parametrize("kind", [pa.int64(), pa.uint64(), pa.decimal128(38, 0)])
def test_whole_numbers_of_64_bits_in_a_history_are_ratings_and_times(finished, shop, tmp_path, kind):
    big = pa.array([2**53 + 1, 1, 2**63 - 1], pa.decimal128(38, 0)).cast(kind)
    new, _ = shown(finished, shop, of_parquet(tmp_path, rating=big, timestamp=big))
    assert new.rows.rating.tolist() == [2.0**53, 1, 2.0**63] and new.rows.label.tolist() == [1, 0, 1]
    with pytest.raises(DataError, match=r"row 1, column 'label': .* is no label"):
        shown(finished, shop, of_parquet(tmp_path, label=big))


def test_uuids_and_bytes_in_a_history_are_ids_of_users_or_refused(finished, shop, tmp_path):
    ids = [uuid.UUID(int=one << 64) for one in (7, 7, 5)]
    new, _ = shown(finished, shop, of_parquet(tmp_path, user_id=pa.array([one.bytes for one in ids], pa.uuid())))
    assert new.ids.tolist() == [str(ids[0]), str(ids[2])] and new.rows.user.tolist() == [0, 0, 1]
    with pytest.raises(DataError, match=r"history.parquet, column 'user_id': holds binary, and its bytes are not text"):
        shown(finished, shop, of_parquet(tmp_path, user_id=[one.bytes for one in ids]))


def test_a_history_that_is_a_pipe_or_a_device_is_refused(finished, shop, tmp_path):
    os.mkfifo(tmp_path / "history.csv")
    for path in (tmp_path / "history.csv", Path("/dev/null")):
        with pytest.raises(DataError, match=f"{path}: is a pipe or a device.* --history"):
            shown(finished, shop, path)


# -------------------------------------------------------------------------------------------- vectors


@pytest.mark.parametrize("name", ["duration", "deepmf", "fism", "cccf", "dssm"])
def test_the_inner_product_of_exported_vectors_is_the_score(finished, tmp_path, name):
    trained = load_run(finished(name), "cpu")
    assert [path.name for path in export(trained, "parquet", tmp_path / "out")] == ["users.parquet", "items.parquet"]
    users, items = (pq.read_table(tmp_path / "out" / f"{side}.parquet") for side in ("users", "items"))
    assert users.schema.types == [pa.string(), pa.list_(pa.float32())]
    assert items.column_names == ["id", "kind", "vector"]
    assert users["id"].to_pylist()[:2] == ["u0", "u1"] and items["id"].to_pylist() == item_ids(trained.data).tolist()
    assert items["kind"].to_pylist() == ["book"] * 80 + ["music"] * 60 + ["film"] * 50
    left, right = (np.array(table["vector"].to_pylist()) for table in (users, items))
    assert np.allclose(left @ right.T, scored(trained), atol=1e-4)


def test_exported_vectors_are_columns_of_the_next_model(finished, shop, tmp_path):
    trained = load_run(finished("bprmf", data_of(shop), 'metrics=["auc"]'))
    export(trained, "parquet", tmp_path / "vectors")
    feat = {
        name: {"type": "vector", "source": name, "path": str(tmp_path / "vectors" / f"{name}s.parquet")}
        for name in ("user", "item")
    }
    reader = load_run(finished("fm", data_of(shop, feat=shop["feat"] | feat), 'metrics=["auc"]'))
    for side, tables, of in (
        ("user", [reader.parts.train.users], trained.model.user_vectors),
        ("item", list(reader.parts.train.kinds.values()), trained.model.item_vectors),
    ):
        read = np.concatenate([table.columns[side].value for table in tables])
        with torch.no_grad():
            np.testing.assert_array_equal(read, of(torch.arange(len(read))).numpy())
        (field,) = reader.model.fields.vectors[side]
        assert field.map.weight.shape[1] == read.shape[1]
        assert reader.model.fields.names[side][-1] == side


def test_vectors_as_npy_stand_in_the_order_of_their_ids(finished, tmp_path):
    trained = load_run(finished("duration"), "cpu")
    export(trained, "npy", tmp_path)
    left, right = (np.load(tmp_path / f"{side}.npy") for side in ("users", "items"))
    assert left.dtype == np.float32 and np.allclose(left @ right.T, scored(trained), atol=1e-4)
    assert pd.read_csv(tmp_path / "users.csv")["id"].tolist() == [f"u{u}" for u in range(120)]
    items = pd.read_csv(tmp_path / "items.csv")
    assert items["id"].tolist() == item_ids(trained.data).tolist() and items["kind"][100] == "music"
    assert not list(tmp_path.glob(".*"))  # nothing half-written stays


def test_faiss_gets_an_index_of_inner_products_for_each_kind(finished, tmp_path, monkeypatch):
    class Index:
        def __init__(self, width: int) -> None:
            self.width = width

        def add(self, vectors: np.ndarray) -> None:
            assert vectors.flags.c_contiguous and vectors.shape[1] == self.width
            self.vectors = vectors

    def write(index: Index, path: str) -> None:
        np.save(path, index.vectors)
        Path(f"{path}.npy").rename(path)

    monkeypatch.setitem(sys.modules, "faiss", SimpleNamespace(IndexFlatIP=Index, write_index=write))
    trained = load_run(finished("duration"), "cpu")
    export(trained, "faiss", tmp_path)
    users = np.load(tmp_path / "users.npy")
    for kind, table in trained.data.kinds.items():
        found = np.load((tmp_path / f"items-{kind}.faiss").open("rb"))
        assert np.allclose(users @ found.T, scored(trained)[:, table.start : table.stop], atol=1e-4)
        assert pd.read_csv(tmp_path / f"items-{kind}.csv")["id"].tolist() == table.ids.tolist()


def test_a_faiss_index_answers_as_the_model_does(finished, tmp_path):
    faiss = pytest.importorskip("faiss")
    trained = load_run(finished("duration"), "cpu")
    export(trained, "faiss", tmp_path)
    index = faiss.read_index(str(tmp_path / "items-film.faiss"))
    score, place = index.search(np.load(tmp_path / "users.npy")[:3], 4)
    films = scored(trained)[:3, trained.data.kinds["film"].start :]
    assert (place == np.argsort(-films, axis=1)[:, :4]).all() and np.allclose(score, -np.sort(-films)[:, :4], atol=1e-4)


def test_without_faiss_the_command_says_what_to_install(finished, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(ConfigError, match="pip install faiss-cpu"):
        export(load_run(finished("duration"), "cpu"), "faiss", tmp_path)


def test_a_model_without_vectors_has_none_to_export(finished, tmp_path):
    with pytest.raises(
        ConfigError, match=r"not by an inner product, so it has no vectors to export. Models that have: .*DMF"
    ):
        export(load_run(finished("nais"), "cpu"), "parquet", tmp_path / "out")
    assert not (tmp_path / "out").exists()


# ---------------------------------------------------------------------------------------- run folders


def copied(run: Path, folder: Path) -> Path:
    return Path(shutil.copytree(run, folder / run.name))


def test_a_folder_that_is_no_finished_run_is_refused(finished, tmp_path):
    run = copied(finished("deepmf"), tmp_path)
    with pytest.raises(ConfigError, match=f"no such run folder. Did you mean '{run.name}'"):
        load_run(tmp_path / run.name[:-1])
    with pytest.raises(ConfigError, match=r"not a run folder, it holds no config.json"):
        load_run(tmp_path)
    (run / "data.json").rename(tmp_path / "data.json")
    with pytest.raises(CheckpointError, match=r"data.json: is missing"):
        load_run(run)
    for damaged in ("{", "3", '{"settings": 3}'):
        (run / "data.json").write_text(damaged)
        with pytest.raises(CheckpointError, match=r"data.json: is damaged"):
            load_run(run)
    (run / "data.json").unlink()
    (tmp_path / "data.json").rename(run / "data.json")
    config = json.loads((run / "config.json").read_text())
    config["data"]["inter_matrix_type"] = "01"
    (run / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r'data.inter_matrix_type is "01", and the run started with null'):
        load_run(run)
    (run / "result.json").unlink()
    with pytest.raises(ConfigError, match=r"the run is not finished, it has no result.json; continue with .*--resume"):
        load_run(run)


@pytest.mark.parametrize("stop", ["opt.early_stop=null", "opt.early_stop.metric=auc"])
def test_the_weights_are_those_that_the_run_was_tested_with(finished, stop):
    run = finished("deepmf", "data=planted-tiny", stop, "opt.epochs=4", "opt.hyper_params.lr=0.3", "opt.batch_size=64")
    best = [json.loads(line).get("best") for line in (run / "log.jsonl").read_text().splitlines()]
    assert best == [None] * 4 if stop.endswith("null") else (True in best and not best[-1])
    trained = load_run(run, "cpu")
    measured = Evaluator(["auc", "logloss"]).measure(trained.model, trained.parts.test)
    result = json.loads((run / "result.json").read_text())["test"]
    assert {name: result[name] for name in measured} == pytest.approx(measured, abs=1e-6)


def test_data_and_weights_that_are_not_those_of_the_run_are_refused(finished, tmp_path):
    data = write_shop(tmp_path)
    run = copied(finished("deepmf", data_of(data)), tmp_path)
    weights = (run / "best.safetensors").read_bytes()
    (run / "best.safetensors").write_bytes(weights[:500])
    with pytest.raises(CheckpointError, match=r"best.safetensors: cannot be read"):
        load_run(run)
    (run / "best.safetensors").write_bytes(weights)
    rows = (tmp_path / "rows.csv").read_text().splitlines()
    (tmp_path / "rows.csv").write_text("\n".join(rows[:-1]) + "\n")
    with pytest.raises(CheckpointError, match="was trained on other rows; the data files have changed"):
        load_run(run)


# ----------------------------------------------------------------------------------- the command line


def test_the_command_prints_a_table_and_nothing_else(finished):
    command = [sys.executable, "-m", "hrec", "recommend", str(finished("duration")), "--user", "u7", "u8", "--k", "2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stderr == ""
    heading, rule, *rows = done.stdout.splitlines()
    assert heading.split() == ["user", "rank", "item", "kind", "score"] and set(rule) == {"-"}
    trained = load_run(finished("duration"), "cpu")
    assert [row.split()[:3] for row in rows] == [
        [f"u{u}", str(rank + 1), item] for u in (7, 8) for rank, item in enumerate(by_hand(trained, u, 2))
    ]


def test_output_that_nobody_reads_is_no_error_to_tell(finished):
    run = str(finished("duration"))
    command = [sys.executable, "-u", "-m", "hrec", "recommend", run, "--all-users", "--k", "50"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 1


def test_the_command_writes_csv_and_parquet(finished, tmp_path, capsys):
    run = str(finished("fism"))
    (tmp_path / "some.txt").write_text("u4\n\nu5\n")
    pd.DataFrame({"user_id": ["u6"], "more": [1]}).to_csv(tmp_path / "some.csv", index=False)
    chosen = ["--user", "u3", "--user", "u4", "--users-from"]
    assert main(["recommend", run, *chosen, str(tmp_path / "some.txt"), "--out", str(tmp_path / "a.csv")]) == 0
    assert main(["recommend", run, *chosen, str(tmp_path / "some.csv"), "--out", str(tmp_path / "a.parquet")]) == 0
    assert capsys.readouterr().out.startswith(f"30 rows in {tmp_path / 'a.csv'}")
    text, packed = pd.read_csv(tmp_path / "a.csv"), pd.read_parquet(tmp_path / "a.parquet")
    assert list(text) == list(packed) == ["user_id", "rank", "item_id", "kind", "score"]
    assert [list(dict.fromkeys(rows["user_id"])) for rows in (text, packed)] == [["u3", "u4", "u5"], ["u3", "u4", "u6"]]
    assert text["item_id"][:20].tolist() == packed["item_id"][:20].tolist()
    assert np.allclose(text["score"][:20], packed["score"][:20])
    assert main(["recommend", run, "--all-users", "--k", "1", "--out", str(tmp_path / "all.csv")]) == 0
    assert len(pd.read_csv(tmp_path / "all.csv")) == 120


BOM = b"\xef\xbb\xbf"
# name and content of a file of ids -> the users of the lists, and what the warning says
USERS_FROM = {
    "a byte order mark in front of lines": ("a.txt", BOM + b"u3\nu4\n", ["u3", "u4"], ""),
    "a byte order mark in front of a table": ("a.csv", BOM + b"user_id\nu3\nu4\n", ["u3", "u4"], ""),
    "a byte order mark and no header": ("a.csv", BOM + b"u3\nu4\n", ["u3", "u4"], "'u3' is read as the id of a user"),
    "no header": ("a.tsv", b"u3\r\nu4\r\n", ["u3", "u4"], "'u3' is read as the id of a user"),
    "one id and no header": ("a.csv", b"u3\n", ["u3"], "'u3' is read as the id of a user"),
    "lines with the header of a table": ("a.txt", b"user_id\n\n u3 \nu4", ["u3", "u4"], ""),
    "another header": ("a.csv", b"customer\nu3\n", ["u3"], "'customer' is read as the header; if it is the id"),
    "lists as recommend returns them": ("a.csv", b"user,rank,item\nu3,1,film_1\n", ["u3"], ""),
    "the column by its name among others": ("a.csv", b"rank,user_id\n1,u3\n2,u4\n", ["u3", "u4"], ""),
}


@pytest.mark.parametrize(("name", "content", "users", "warning"), USERS_FROM.values(), ids=USERS_FROM)
def test_users_from_a_file_however_it_begins(finished, tmp_path, capsys, name, content, users, warning):
    (tmp_path / name).write_bytes(content)
    assert main(["recommend", str(finished("fism")), "--users-from", str(tmp_path / name), "--k", "1"]) == 0
    done = capsys.readouterr()
    assert [row.split()[0] for row in done.out.splitlines()[2:]] == users
    assert warning in done.err if warning else done.err == ""


@pytest.mark.parametrize("name", ["user", "user_id"])
def test_the_id_of_a_user_at_the_start_of_lines_is_no_header(tmp_path, name):
    users = SimpleNamespace(ids=np.array(["u3", name], object))
    run = SimpleNamespace(data=SimpleNamespace(USER_ID_FIELD="user_id"))
    trained: Any = SimpleNamespace(config=SimpleNamespace(run=run), data=SimpleNamespace(users=users))
    (tmp_path / "a.txt").write_text(f"{name}\nu3\n")
    said: list[str] = []
    assert ids_from(tmp_path / "a.txt", trained, said.append) == [name, "u3"]
    assert len(said) == 1 and f"line 1: '{name}' is read as the id of a user" in said[0]
    users.ids = users.ids[:1]
    assert ids_from(tmp_path / "a.txt", trained, said.append) == ["u3"] and len(said) == 1


@pytest.mark.parametrize("content", ['"u3\nu4\n', 'user_id\nu3\n"u4\nu5\n'])
def test_a_table_of_ids_with_an_unclosed_quotation_mark_is_refused(tmp_path, content):
    (tmp_path / "a.csv").write_text(content)
    run = SimpleNamespace(data=SimpleNamespace(USER_ID_FIELD="user_id"))
    trained: Any = SimpleNamespace(config=SimpleNamespace(run=run))
    with pytest.raises(DataError, match=r"a\.csv, line \d: a quotation mark is opened here and never closed"):
        ids_from(tmp_path / "a.csv", trained)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", b""),
        ("a.txt", BOM + b"\n \n"),
        ("a.txt", b"user_id\n"),
        ("a.csv", b""),
        ("a.csv", BOM),
        ("a.csv", b"user_id\n"),
        ("a.csv", b"user_id,rank\n,1\n"),
        ("a.csv", b"u3,1\nu4,2\n"),
    ],
)
@pytest.mark.parametrize("history", [False, True])
def test_a_file_without_user_ids_is_refused_with_its_name(finished, tmp_path, capsys, name, content, history):
    (tmp_path / name).write_bytes(content)
    (tmp_path / "history.csv").write_text("user_id,item_id,rating\namy,book_1,5\n")
    more = ["--history", str(tmp_path / "history.csv")] if history else []
    assert main(["recommend", str(finished("duration")), "--users-from", str(tmp_path / name), *more]) == 2
    done = capsys.readouterr()
    assert done.out == "" and str(tmp_path / name) in done.err and "header" in done.err


def test_the_lists_that_out_writes_can_be_read_by_users_from_and_history(finished, tmp_path, capsys):
    run = str(finished("duration"))
    for ending in ("csv", "parquet"):
        path, again = tmp_path / f"lists.{ending}", tmp_path / f"again.{ending}"
        assert main(["recommend", run, "--user", "u3", "u4", "--k", "2", "--out", str(path)]) == 0
        assert main(["recommend", run, "--users-from", str(path), "--k", "2", "--out", str(again)]) == 0
        assert path.read_bytes() == again.read_bytes()
        assert main(["recommend", run, "--history", str(path), "--k", "1"]) == 0
    assert "Traceback" not in capsys.readouterr().err


def test_items_similar_to_an_item_are_the_list_of_a_history_of_it(finished, tmp_path, capsys):
    run, names = str(finished("itemknn")), ["book_1", "film_2"]
    assert main(["recommend", run, "--item", *names, "--k", "5"]) == 0
    done = capsys.readouterr()
    rows = [line.split() for line in done.out.splitlines()[2:]]
    assert "in the data too" not in done.err and [row[0] for row in rows] == ["book_1"] * 5 + ["film_2"] * 5
    for name, found in zip(names, (rows[:5], rows[5:]), strict=True):
        (tmp_path / "one.csv").write_text(f"item_id\n{name}\n")
        assert main(["recommend", run, "--history", str(tmp_path / "one.csv"), "--k", "5"]) == 0
        assert [row[1:] for row in found] == [line.split()[1:] for line in capsys.readouterr().out.splitlines()[2:]]
        assert name not in [row[2] for row in found]


def test_similar_items_of_an_item_whose_id_a_user_has_too(finished, shop):
    trained = load_run(finished("itemknn", data_of(shop)), "cpu")
    said: list[str] = []
    new = of_each_item(trained, ["501", "500", "501"], said.append)
    assert new.ids.tolist() == ["501", "500"] and item_ids(trained.data)[new.rows.item].tolist() == ["501", "500"]
    trained.data.users.ids[0] = "500"
    of_each_item(trained, ["500"], said.append)
    assert not any("in the data too" in line for line in said)


def test_an_id_may_begin_with_a_dash(finished, tmp_path, capsys):
    (tmp_path / "i.csv").write_text(
        "user_id,item_id,type,label\n"
        + "".join(f"-u{u},{i},{'-k' if i % 2 else 'm'},{(u + i) % 2}\n" for u in range(8) for i in range(12) if u != i)
    )
    section = json.dumps({"name": "t", "inter_feat_path": str(tmp_path / "i.csv"), "type": ["-k", "m"]})
    run = str(finished("popularity", f"data={section}"))
    for users, expected in (
        (["--user", "-u1"], ["-u1"]),
        (["--user", "-u1", "-u2", "--user", "-u3"], ["-u1", "-u2", "-u3"]),
        (["--user=-u1", "--kind", "-k"], ["-u1"]),
        (["--kind", "-k", "--user", "-u3", "-u1"], ["-u3", "-u1"]),
    ):
        for line in (["recommend", run, *users, "--k", "1"], ["recommend", *users, "--k", "1", run]):
            assert main(line) == 0
            assert [row.split()[0] for row in capsys.readouterr().out.splitlines()[2:]] == expected
    for wrong in (["--user", "--k", "1"], ["--user", "--u1"], ["--user", "-u1", "--u2"]):
        assert main(["recommend", run, *wrong]) == 2
        assert "is given as --user=ID" in capsys.readouterr().err
    assert main(["recommend", run, "--user=--u1"]) == 2
    assert "not in the data: '--u1'" in capsys.readouterr().err


def test_the_command_answers_for_new_users(finished, tmp_path, capsys):
    run, path = str(finished("duration")), tmp_path / "history.csv"
    path.write_text("item_id,rating\nbook_1,5\nfilm_3,1\nfilm_99,4\n")
    assert main(["recommend", run, "--history", str(path), "--user", "zoe", "--k", "1", "--kind", "film"]) == 0
    done = capsys.readouterr()
    assert done.out.splitlines()[2].split()[:2] == ["zoe", "1"] and "1 of 3 items unknown" in done.err
    path.write_text("user_id,item_id,rating\namy,book_1,5\nzoe,film_3,1\n")
    for users, expected in (
        ([], ["amy", "zoe"]),
        (["--user", "zoe"], ["zoe"]),
        (["--user", "zoe", "amy"], ["zoe", "amy"]),
    ):
        assert main(["recommend", run, "--history", str(path), "--k", "1", *users]) == 0
        assert [row.split()[0] for row in capsys.readouterr().out.splitlines()[2:]] == expected
    assert main(["recommend", run, "--history", str(path), "--user", "bob"]) == 2
    assert "holds no history of 'bob'" in capsys.readouterr().err
    path.write_text("user_id,item_id,rating\n7.0,book_1,5\n")
    assert main(["recommend", run, "--history", str(path), "--user", " 7.0"]) == 0  # read as the file's ids are


def test_the_command_exports_into_the_run_folder_or_elsewhere(finished, tmp_path, capsys):
    run = copied(finished("deepmf"), tmp_path)
    assert main(["export", str(run), "--to", "npy"]) == 0
    assert capsys.readouterr().out.split() == [
        str(run / "vectors" / name) for name in ("users.npy", "users.csv", "items.npy", "items.csv")
    ]
    assert main(["export", str(run), "--to", "parquet", "--out", str(tmp_path / "there")]) == 0
    assert (tmp_path / "there" / "items.parquet").is_file()
    (tmp_path / "file").write_text("")
    assert main(["export", str(run), "--to", "npy", "--out", str(tmp_path / "file")]) == 2
    assert "cannot be made" in capsys.readouterr().err


REFUSED = {
    "--user u999 u1": ["1 of 2 users are not in the data: 'u999' (nearest: u99"],
    "--user zzz": ["the user is not in the data: 'zzz'", "--history"],
    "--user u1 --kind boook": ["no kind 'boook'. Did you mean 'book'? Kinds: book, music, film"],
    "--user u1 --k 0": ["k: should be at least 1, got 0"],
    "--user u1 --out lists.xlsx": ["--out lists.xlsx: the ending names no format"],
    "--user u1 --out no/such/lists.csv": ["the folder no/such is not there"],
    "": ["for whom?", "--item ID"],
    "--users 1": ["unrecognized arguments: --users 1"],
    "--item book_1 --user u1": ["--item goes without --user"],
    "--item book_x": ["1 of 1 item unknown", "nearest: book_"],
    "--all-users --user u1": ["--all-users goes without --user"],
    "--users-from no.txt": ["no.txt: no such file", "--users-from"],
    "--users-from {bad}": ["bad.txt, line 2: not UTF-8 text (byte 0xff). Save the file as UTF-8."],
    "--history no.csv": ["no.csv: no such file", "--history"],
    "--user u1 --device cuda:x": ["device 'cuda:x'"],
}


@pytest.mark.parametrize("line", REFUSED)
def test_what_cannot_be_done_is_refused_with_a_sentence(finished, capsys, tmp_path, line):
    bad = tmp_path / "bad.txt"
    bad.write_bytes(b"u1\nu\xff2\n")
    assert main(["recommend", str(finished("duration")), *line.format(bad=bad).split()]) == 2
    done = capsys.readouterr()
    assert done.out == "" and all(sentence in done.err for sentence in REFUSED[line])


def test_help_names_the_commands_and_their_options(capsys):
    for argv, names in (
        (["--help"], ["recommend", "export"]),
        (["recommend", "--help"], ["--user", "--users-from", "--all-users", "--history", "--k", "--kind", "--out"]),
        (["export", "--help"], ["--to", "parquet", "npy", "faiss", "--out"]),
    ):
        assert main(argv) == 0
        printed = capsys.readouterr().out
        assert all(name in printed for name in names)


def test_the_nearest_of_many_ids_are_looked_for_among_those_that_begin_alike(monkeypatch):
    monkeypatch.setattr(raw_ids, "COMPARED", 3)
    known = np.array(["b" * 9000, "ab1", "ab22", "zb1", "abcdef", "ab3"], object)
    assert raw_ids.describe_unknown(["ab9"], known) == "'ab9' (nearest: ab3, ab1)"
