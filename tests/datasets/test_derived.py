"""Columns made from the training part: hand-worked numbers, and nothing of the other parts in them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hrec.datasets.columns import Numeric, joined
from hrec.datasets.derived import with_train_columns
from hrec.datasets.recdata import Interactions, Split, Table, TrainData


def rows(user, item, rating=None, label=None) -> Interactions:
    item = np.array(item, np.int32)
    as_float = (None if v is None else np.array(v, np.float32) for v in (label, rating))
    return Interactions(np.array(user, np.int32), item, (item >= 2).astype(np.int16), *as_float)


def parts(train: Interactions, test: Interactions) -> Split:
    kinds = {"book": Table(2), "film": Table(2, start=2)}
    data = TrainData(Table(3), kinds, train)
    return Split(data, data.with_interactions(test), data.with_interactions(test))


TRAIN = rows([0, 0, 1], [0, 2, 0], rating=[5, 2, 2])  # mean rating 3
TEST = rows([2, 2], [1, 3], rating=[1, 1])


def test_counts_and_means_are_those_of_the_training_part_by_kind():
    grown = with_train_columns(parts(TRAIN, TEST), ["count", "mean"])
    for part in (grown.train, grown.valid, grown.test):
        book, film, users = part.kinds["book"].columns, part.kinds["film"].columns, part.users.columns
        np.testing.assert_allclose(book["train_count"].value, [np.log(3), 0], rtol=1e-6)
        np.testing.assert_allclose(film["train_count"].value, [np.log(2), 0], rtol=1e-6)
        np.testing.assert_allclose(users["train_count"].value, [np.log(3), np.log(2), 0], rtol=1e-6)
        np.testing.assert_allclose(book["train_mean"].value, [(2 - 1) / 5, 0], rtol=1e-6)
        np.testing.assert_allclose(film["train_mean"].value, [-1 / 4, 0], rtol=1e-6)
        np.testing.assert_allclose(users["train_mean"].value, [(2 - 1) / 5, -1 / 4, 0], rtol=1e-6)


def test_a_training_row_reads_the_count_of_the_others():
    """Three rows of user 0: each of them finds two others, as a test row finds all three."""
    train = with_train_columns(parts(rows([0, 0, 0, 1], [0, 1, 2, 0]), TEST), ["count"]).train
    users = train.users.columns["train_count"]
    assert isinstance(users, Numeric)
    np.testing.assert_allclose(users.value, np.log([4, 2, 1]), rtol=1e-6)
    np.testing.assert_allclose(users.own_row_out.value, np.log([3, 1, 1]), rtol=1e-6)
    assert users.own_row_out.reference is users.value  # both are measured alike
    np.testing.assert_allclose(users.take(np.array([1, 0])).own_row_out.value, np.log([1, 3]), rtol=1e-6)
    books, films = (train.kinds[kind].columns["train_count"] for kind in ("book", "film"))
    both = joined([books, films])
    assert isinstance(both, Numeric)
    np.testing.assert_allclose(both.own_row_out.value, np.log([2, 1, 1, 1]), rtol=1e-6)
    assert isinstance(joined([films, Numeric(films.value)]), Numeric)


def test_test_rows_change_nothing():
    other = replace(TEST, rating=np.array([5, 5], np.float32), item=np.array([0, 2], np.int32))
    one, two = (with_train_columns(parts(TRAIN, test), ["count", "mean"]).train for test in (TEST, other))
    for name, column in one.kinds["book"].columns.items():
        assert isinstance(column, Numeric)
        np.testing.assert_array_equal(column.value, two.kinds["book"].columns[name].value)


def test_without_ratings_labels_are_averaged_and_without_both_it_is_refused():
    positive = rows([0, 0, 1, 1], [0, 2, 0, 3], label=[1, 0, 1, 0])
    grown = with_train_columns(parts(positive, TEST), ["mean"])
    np.testing.assert_allclose(grown.train.kinds["book"].columns["train_mean"].value, [1 / 5, 0], rtol=1e-6)
    with pytest.raises(ValueError, match="needs ratings or labels"):
        with_train_columns(parts(rows([0], [0]), TEST), ["mean"])


def test_no_names_change_nothing():
    whole = parts(TRAIN, TEST)
    assert with_train_columns(whole, []) is whole
