"""Planted data: the counts, the known probabilities, and that columns and histories tell about labels."""

import hashlib
import json
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from hrec.datasets import load, planted
from hrec.datasets.columns import FIRST, MISSING, Categorical, CategoricalList, Numeric
from hrec.datasets.planted import SIZES
from hrec.datasets.planted_best import expected_auc
from hrec.settings import DataSettings

make = cache(planted.make)


@cache
def truth(size):
    """The hidden side of ``make(size)``."""
    return planted._hide(planted._streams(0)[0], SIZES[size])


def digest(thing):
    """A hash of every array within."""
    total = hashlib.sha256()

    def add(part):
        if isinstance(part, np.ndarray):
            total.update(str(part.dtype).encode() + part.tobytes())
        elif isinstance(part, dict):
            for key, value in part.items():
                total.update(key.encode())
                add(value)
        elif is_dataclass(part):
            for field in fields(part):
                add(getattr(part, field.name))

    add(thing)
    return total.hexdigest()


def rows_of(data, kind):
    return np.flatnonzero(data.interactions.kind == list(data.kinds).index(kind))


# -------------------------------------------------------------------------------- counts and seeds


def test_same_seed_gives_the_same_bytes_and_another_seed_others():
    assert digest(planted.make("tiny", 3)) == digest(planted.make("tiny", 3))
    assert digest(planted.make("tiny", 3)) != digest(planted.make("tiny", 4))


def test_douban_has_the_counts_of_the_papers_table_2():
    size = SIZES["douban"]
    assert size.users == 36_585
    assert size.items == {"book": 150_955, "music": 102_571, "film": 50_299}
    assert size.interactions == {"book": 356_001, "music": 269_760, "film": 470_479}
    assert sum(size.interactions.values()) == 1_096_240


@pytest.mark.parametrize("size", ["tiny", "small"])
def test_counts_are_exact(size):
    data, counts = make(size).data, SIZES[size]
    assert data.name == f"planted-{size}"
    assert data.n_users == counts.users == len(data.users.ids)
    assert {kind: table.count for kind, table in data.kinds.items()} == counts.items
    assert {kind: len(rows_of(data, kind)) for kind in data.kinds} == counts.interactions


@pytest.mark.parametrize("size", ["tiny", "small"])
def test_no_pair_comes_twice_every_user_comes_and_items_lie_in_the_range_of_their_kind(size):
    data = make(size).data
    user, item = data.interactions.user.astype(np.int64), data.interactions.item
    assert len(np.unique(user * data.n_items + item)) == len(user)
    assert np.array_equal(np.unique(user), np.arange(data.n_users))
    for kind, table in data.kinds.items():
        numbers = item[rows_of(data, kind)]
        assert table.start <= numbers.min() and numbers.max() < table.stop


def test_arrays_have_the_types_of_recdata():
    rows = make("tiny").data.interactions
    assert (rows.user.dtype, rows.item.dtype, rows.kind.dtype) == (np.int32, np.int32, np.int16)
    assert (rows.label.dtype, rows.rating.dtype, rows.time.dtype) == (np.float32, np.float32, np.float64)
    assert np.all(np.diff(rows.time) >= 0)


def test_popularity_and_activity_are_long_tailed():
    data = make("small").data
    for kind, table in data.kinds.items():
        count = np.bincount(data.interactions.item[rows_of(data, kind)] - table.start, minlength=table.count)
        assert np.sort(count)[-table.count // 10 :].sum() > 0.4 * count.sum()
    activity = np.sort(np.bincount(data.interactions.user))
    assert activity[-data.n_users // 10 :].sum() > 0.3 * activity.sum()


# ---------------------------------------------------------------------------------- the best AUC


def test_expected_auc_by_hand():
    p = np.array([0.9, 0.1])
    # (first liked, second not) has probability 0.81, the other way round 0.01
    assert expected_auc(p, p) == pytest.approx(0.81 / 0.82)
    assert expected_auc(-p, p) == pytest.approx(0.01 / 0.82)
    assert expected_auc(np.zeros(2), p) == pytest.approx(0.5)
    # (1st, 2nd) 0.5 won, (1st, 3rd) 1 won, (2nd, 3rd) 0.5 tied, the others cannot be
    assert expected_auc(np.array([2.0, 1.0, 1.0]), np.array([1.0, 0.5, 0.0])) == pytest.approx(1.75 / 2)


def test_expected_auc_of_certain_labels_is_their_auc():
    rng = np.random.default_rng(0)
    label, score = rng.integers(0, 2, 500), rng.integers(0, 40, 500)  # many ties
    assert expected_auc(score, label.astype(float)) == pytest.approx(roc_auc_score(label, score))


def test_expected_auc_is_nan_where_no_pair_can_differ():
    assert np.isnan(expected_auc(np.array([0.3]), np.array([0.3])))
    assert np.isnan(expected_auc(np.array([]), np.array([])))
    assert np.isnan(expected_auc(np.ones(3), np.ones(3)))


def test_best_auc_is_the_mean_auc_of_labels_drawn_many_times():
    made = make("tiny")
    rows = np.random.default_rng(1).permutation(len(made.probability))[:800]
    p, kind = made.probability[rows], made.data.interactions.kind[rows]
    rng = np.random.default_rng(2)
    drawn = [rng.random(len(p)) < p for _ in range(200)]
    best = made.best_auc(rows)
    assert best["auc/pooled"] == pytest.approx(np.mean([roc_auc_score(y, p) for y in drawn]), abs=0.003)
    for index, name in enumerate(made.data.kinds):
        own = kind == index
        simulated = np.mean([roc_auc_score(y[own], p[own]) for y in drawn])
        assert best[f"auc/{name}"] == pytest.approx(simulated, abs=0.005)
    assert best["auc"] == pytest.approx(np.mean([best[f"auc/{name}"] for name in made.data.kinds]))


def test_best_auc_of_one_kind_leaves_the_others_out():
    made = make("tiny")
    best = made.best_auc(rows_of(made.data, "music"))
    assert set(best) == {"auc", "auc/pooled", "auc/music"}
    assert best["auc"] == best["auc/pooled"] == best["auc/music"] == made.best_auc()["auc/music"]


def test_best_auc_is_worth_reaching_for():
    assert 0.80 < make("small").best_auc()["auc"] < 0.86


def test_labels_follow_the_probability_and_ratings_the_label():
    made = make("small")
    rows = made.data.interactions
    for tenth in np.array_split(np.argsort(made.probability), 10):
        assert rows.label[tenth].mean() == pytest.approx(made.probability[tenth].mean(), abs=0.015)
    assert np.array_equal(rows.rating > 3, rows.label == 1)
    assert np.array_equal(np.unique(rows.rating), [1, 2, 3, 4, 5])
    means = [made.probability[rows.rating == rating].mean() for rating in range(1, 6)]
    assert np.all(np.diff(means) > 0)


# ----------------------------------------------------------------------- columns, histories, pairs


def all_columns(data):
    for table in (data.users, *data.kinds.values()):
        for name, column in table.columns.items():
            yield table, name, column


def test_columns_are_well_formed_and_every_category_is_used():
    for table, _, column in all_columns(make("tiny").data):
        assert len(column) == table.count
        if isinstance(column, Numeric):
            assert column.value.dtype == np.float32
            continue
        assert column.code.dtype == np.int32
        real = column.code[column.code != MISSING] if isinstance(column, Categorical) else column.code
        assert np.array_equal(np.unique(real), np.arange(FIRST, column.size))
        assert len(np.unique(column.values)) == len(column.values)


def test_lists_hold_no_entry_twice():
    for _, _, column in all_columns(make("small").data):
        if isinstance(column, CategoricalList):
            row = np.repeat(np.arange(len(column)), np.diff(column.offset))
            assert len(np.unique(row * column.size + column.code)) == len(row)


def test_each_kind_has_its_own_columns_and_all_share_score():
    names = [set(table.columns) for table in make("tiny").data.kinds.values()]
    assert set.intersection(*names) == {"score"}


def test_every_type_of_column_has_missing_cells():
    columns = make("small").data.kinds
    assert np.mean(columns["music"].columns["style"].code == MISSING) == pytest.approx(0.15, abs=0.03)
    assert np.mean(np.diff(columns["book"].columns["subjects"].offset) == 0) == pytest.approx(0.1, abs=0.03)
    assert np.mean(np.isnan(columns["book"].columns["pages"].value)) == pytest.approx(0.15, abs=0.03)


def test_score_is_a_view_of_quality_and_missing_for_the_unpopular():
    items, score = truth("small").items["film"], make("small").data.kinds["film"].columns["score"].value
    missing = np.isnan(score)
    assert items.popularity[missing].max() < items.popularity[~missing].min()
    assert 0.6 < np.corrcoef(items.quality[~missing], score[~missing])[0, 1] < 0.95


def explained(group, vectors):
    """Share of the variance of ``vectors`` [n, d] that the vector of another row of the same group explains."""
    group = np.unique(group, return_inverse=True)[1]
    order = np.argsort(group, kind="stable")
    first, second = order[:-1], order[1:]
    same = group[first] == group[second]
    apart = np.sum((vectors[first[same]] - vectors[second[same]]) ** 2, axis=1).mean()
    return 1 - apart / (2 * vectors.var(axis=0).sum())


def test_items_that_share_a_category_share_topics_unless_the_column_is_noise():
    columns, topics = make("small").data.kinds["book"].columns, truth("small").items["book"].topics
    row = np.repeat(np.arange(len(topics)), np.diff(columns["authors"].offset))
    assert explained(columns["authors"].code, topics[row]) > 0.5
    assert explained(columns["publisher"].code, topics) > 0.2
    assert explained(columns["binding"].code, topics) == pytest.approx(0, abs=0.05)


def test_authors_are_shared_by_several_books():
    authors = make("small").data.kinds["book"].columns["authors"]
    assert len(authors.code) / len(authors.values) > 3


def test_positives_among_books_and_music_tells_which_films_are_positive():
    data, hidden = make("small").data, truth("small")
    rows, topics = data.interactions, np.concatenate([items.topics for items in hidden.items.values()])
    seen = (topics[rows.item] - topics.mean(0)) * (rows.label - rows.label.mean())[:, None]
    film = rows_of(data, "film")
    taste = np.zeros((data.n_users, topics.shape[1]))
    elsewhere = np.setdiff1d(np.arange(len(rows)), film)
    np.add.at(taste, rows.user[elsewhere], seen[elsewhere])
    score = np.sum(taste[rows.user[film]] * (topics[rows.item[film]] - topics.mean(0)), axis=1)
    assert roc_auc_score(rows.label[film], score) > 0.62
    assert abs(roc_auc_score(rows.label[film], np.random.default_rng(0).permutation(score)) - 0.5) < 0.02


def test_pairs_are_a_book_and_a_film_of_nearly_the_same_topics():
    made, hidden = make("small"), truth("small")
    book, film = made.data.kinds["book"], made.data.kinds["film"]
    assert made.pairs.shape == (SIZES["small"].pairs, 2) and made.pairs.dtype == np.int32
    assert np.all((made.pairs >= [book.start, film.start]) & (made.pairs < [book.stop, film.stop]))
    assert all(len(np.unique(side)) == len(side) for side in made.pairs.T)
    first = hidden.items["book"].topics[made.pairs[:, 0] - book.start]
    second = hidden.items["film"].topics[made.pairs[:, 1] - film.start]
    distance = np.linalg.norm(first - second, axis=1)
    assert distance.max() < 0.08
    assert np.median(np.linalg.norm(first - second[::-1], axis=1)) > 0.5


# --------------------------------------------------------------------------------------- the files


@pytest.fixture(scope="module")
def script():
    from hrec.prepare import planted

    return planted


def test_files_hold_what_make_gives(script, tmp_path):
    out = tmp_path / "made"
    assert script.main(["--size", "tiny", "--out", str(out)]) == 0
    made = make("tiny")
    data, rows = made.data, pd.read_csv(out / "ratings.csv")
    assert list(rows) == ["user_id", "item_id", "label", "rating", "timestamp", "type"]
    assert np.array_equal(rows["user_id"], data.users.ids[data.interactions.user])
    assert np.array_equal(rows["label"], data.interactions.label)
    assert np.array_equal(rows["timestamp"], data.interactions.time)
    assert np.array_equal(np.load(out / "probability.npy"), made.probability)
    assert len(pd.read_csv(out / "pairs.csv")) == len(made.pairs)

    books, columns = pd.read_csv(out / "book.csv", keep_default_na=False), data.kinds["book"].columns
    assert list(books) == ["item_id", *columns]
    authors = columns["authors"]
    row = int(np.argmax(np.diff(authors.offset)))
    expected = authors.values[authors.code[authors.offset[row] : authors.offset[row + 1]] - FIRST]
    assert books["authors"][row].split("|") == list(expected) and len(expected) > 1
    assert np.array_equal(books["publisher"] == "", columns["publisher"].code == MISSING)
    price = pd.to_numeric(books["price"]).to_numpy(np.float32)
    assert np.array_equal(price, columns["price"].value, equal_nan=True)


def test_data_json_is_valid_settings_that_name_every_column(script, tmp_path):
    out = tmp_path / "made"
    script.main(["--size", "tiny", "--out", str(out)])
    settings = DataSettings.model_validate(json.loads((out / "data.json").read_text()))
    assert settings.type == ("book", "music", "film")
    for path in (settings.user_feat_path, settings.inter_feat_path, *settings.item_feat_path.values()):
        assert Path(path).parent == out and Path(path).is_file()
    assert set(settings.feat) == {name for _, name, _ in all_columns(make("tiny").data)}
    assert settings.feat["score"].source == "item"
    assert (settings.feat["authors"].type, settings.feat["authors"].source) == ("token_seq", "item_book")


def test_files_of_all_options_are_read_as_what_make_gives(script, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = ("reviews", "times", "image", "graph")
    assert script.main(["--size", "tiny", *(f"--{option}" for option in options)]) == 0
    out = Path("data") / "planted-tiny-reviews-times-image-graph"
    made, found = make("tiny", **dict.fromkeys(options, True)).data, load(read_settings(out), None)
    assert found.name == out.name and np.array_equal(found.interactions.time, made.interactions.time)
    for kind, table in made.kinds.items():
        np.testing.assert_array_equal(found.kinds[kind].columns["image"].value, table.columns["image"].value)
    texts = [data.interactions.columns["review"] for data in (made, found)]
    assert np.array_equal(*(np.diff(text.offset) for text in texts))
    assert np.array_equal(*(text.vocabulary[text.word] for text in texts))
    graphs = [
        {*zip(g.entities[g.head], g.relations[g.relation], g.entities[g.tail], strict=True)}
        for g in (made.relations, found.relations)
    ]
    assert graphs[0] == graphs[1]


def read_settings(folder: Path) -> DataSettings:
    return DataSettings.model_validate(json.loads((folder / "data.json").read_text()))


def test_a_folder_that_holds_something_is_refused(script, tmp_path, capsys):
    out = tmp_path / "made"
    out.mkdir()
    (out / "thesis.txt").write_text("years of work")
    assert script.main(["--size", "tiny", "--out", str(out), "--force"]) == 1
    assert "something else than planted data" in capsys.readouterr().err
    assert [file.name for file in out.iterdir()] == ["thesis.txt"]


def test_planted_data_is_replaced_by_force_only(script, tmp_path, capsys):
    out = tmp_path / "made"
    assert script.main(["--size", "tiny", "--out", str(out)]) == 0
    before = (out / "ratings.csv").read_bytes()
    assert script.main(["--size", "tiny", "--seed", "1", "--out", str(out)]) == 1
    assert "--force" in capsys.readouterr().err
    assert (out / "ratings.csv").read_bytes() == before
    assert script.main(["--size", "tiny", "--seed", "1", "--out", str(out), "--force"]) == 0
    assert (out / "ratings.csv").read_bytes() != before
    assert [folder.name for folder in tmp_path.iterdir()] == ["made"]
