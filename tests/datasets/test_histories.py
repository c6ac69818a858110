"""The matrix of who interacted with what, cell by cell."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from hrec.datasets.histories import (
    CELLS,
    History,
    default_cells,
    item_history,
    positive_history,
    thinned,
    transposed,
    user_history,
)
from hrec.datasets.recdata import Feedback, Interactions, RecData, Table, TrainData

NAN = float("nan")


def data(**changes) -> RecData:
    """Four users, the last without a row; books 0 and 1, films 2 to 4, of which 4 is without a row."""
    rows = {
        "user": np.array([2, 0, 0, 1, 0], np.int32),
        "item": np.array([1, 3, 0, 0, 2], np.int32),
        "kind": np.array([0, 1, 0, 0, 1], np.int16),
        "label": np.array([1, 0, 1, 0, 1], np.float32),
        "rating": np.array([5, 1, 4, 0, NAN], np.float32),
    }
    cells = changes.pop("cells", "sign")
    return TrainData(
        Table(4), {"book": Table(2), "film": Table(3, 2)}, Interactions(**rows | changes), "five rows", Feedback(cells)
    )


def cells_of(history: History) -> list[dict[int, float]]:
    """Row by row: column -> value."""
    row = [slice(a, b) for a, b in pairwise(history.offset)]
    return [dict(zip(history.index[r].tolist(), history.value[r].tolist(), strict=True)) for r in row]


BY_USER = {
    "01": [{0: 1, 2: 1, 3: 1}, {0: 1}, {1: 1}, {}],
    "liked": [{0: 1, 2: 1}, {}, {1: 1}, {}],
    "rating": [{0: 4, 3: 1}, {0: 0}, {1: 5}, {}],  # a rating of 0 is a rating, none is none
    "sign": [{0: 1, 2: 1, 3: -1}, {0: -1}, {1: 1}, {}],
    "centred": [{0: 1.5, 3: -1.5}, {0: -2.5}, {1: 2.5}, {}],  # the mean of 5, 1, 4 and 0 is 2.5
}
BY_ITEM = {
    "01": [{0: 1, 1: 1}, {2: 1}, {0: 1}, {0: 1}, {}],
    "liked": [{0: 1}, {2: 1}, {0: 1}, {}, {}],
    "rating": [{0: 4, 1: 0}, {2: 5}, {}, {0: 1}, {}],
    "sign": [{0: 1, 1: -1}, {2: 1}, {0: 1}, {0: -1}, {}],
    "centred": [{0: 1.5, 1: -2.5}, {2: 2.5}, {}, {0: -1.5}, {}],
}


def test_every_sort_of_cell_is_tested_here():
    assert set(CELLS) == set(BY_USER) == set(BY_ITEM)


@pytest.mark.parametrize("cells", CELLS)
def test_a_history_holds_the_cells_of_its_row(cells: str):
    train = data(cells=cells)
    assert cells_of(user_history(train)) == BY_USER[cells]
    assert cells_of(item_history(train)) == BY_ITEM[cells]


def test_a_history_is_csr_of_narrow_arrays_with_ascending_columns():
    history = user_history(data())
    assert history.offset.tolist() == [0, 3, 4, 5, 5]
    assert history.index.tolist() == [0, 2, 3, 0, 1]
    assert history.value.tolist() == [1, 1, -1, -1, 1]
    assert (history.offset.dtype, history.index.dtype, history.value.dtype) == (np.int64, np.int32, np.float32)
    assert len(history) == 4 and history.width == 5
    assert len(item_history(data())) == 5 and item_history(data()).width == 4


def test_the_histories_of_one_kind_have_the_columns_of_all():
    film = data().only("film")
    assert cells_of(user_history(film)) == [{2: 1, 3: -1}, {}, {}, {}]
    assert user_history(film).width == 5


@pytest.mark.parametrize("cells", CELLS)
def test_no_rows_give_empty_histories(cells: str):
    train = data(cells=cells)
    none = train.with_interactions(train.interactions.take(np.array([], int)))
    assert cells_of(item_history(replace(none, feedback=Feedback("01")))) == [{}] * 5
    assert cells_of(user_history(none)) == [{}] * 4


@pytest.mark.parametrize(("cells", "needs"), [("liked", "a label"), ("sign", "a label"), ("rating", "ratings")])
def test_cells_of_what_the_data_lacks_are_refused_with_a_way_out(cells: str, needs: str):
    bare = data(label=None, rating=None, cells=cells)
    message = f"^data.inter_matrix_type '{cells}' needs {needs}, and this data has none; use '01'$"
    with pytest.raises(ValueError, match=message):
        user_history(bare)
    assert cells_of(user_history(data(label=None, rating=None, cells="01"))) == BY_USER["01"]


def test_the_default_cells_tell_most_of_what_there_is():
    assert default_cells(data().interactions) == "centred"
    assert default_cells(data(rating=None).interactions) == "sign"
    assert default_cells(data(rating=np.full(5, NAN, np.float32)).interactions) == "sign"
    assert default_cells(data(rating=None, label=None).interactions) == "01"


def test_large_histories_are_grouped_as_a_plain_loop_would():
    rng = np.random.default_rng(0)
    pair = rng.permutation(40 * 70)[:600]
    user, item = (pair // 70).astype(np.int32), (pair % 70).astype(np.int32)
    rating = rng.normal(size=600).astype(np.float32)
    rows = Interactions(user, item, np.zeros(600, np.int16), rating=rating)
    made = TrainData(Table(40), {"book": Table(70)}, rows, feedback=Feedback("rating"))
    by_user: list[dict[int, float]] = [{} for _ in range(40)]
    by_item: list[dict[int, float]] = [{} for _ in range(70)]
    for u, i, r in zip(user.tolist(), item.tolist(), rating.tolist(), strict=True):
        by_user[u][i] = by_item[i][u] = r
    assert cells_of(user_history(made)) == by_user and cells_of(item_history(made)) == by_item
    index, offset = user_history(made).index, user_history(made).offset
    assert all(np.all(np.diff(index[a:b]) > 0) for a, b in pairwise(offset))


def test_a_thinned_history_holds_at_most_that_many_cells_of_each_row_as_they_were():
    whole = user_history(data())
    for most in (1, 2, 3):
        thin = thinned(whole, most)
        for few, all_of_them in zip(cells_of(thin), cells_of(whole), strict=True):
            assert len(few) == min(most, len(all_of_them)) and few.items() <= all_of_them.items()
        assert thin.width == whole.width and (thin.offset.dtype, thin.index.dtype) == (np.int64, np.int32)
    assert thinned(whole, 3) is whole and thinned(whole, None) is whole


def test_thinning_is_the_same_each_time_and_takes_each_cell_as_often():
    n = 60
    whole = History(np.array([0, n, n, 2 * n]), np.tile(np.arange(n, dtype=np.int32), 2), np.ones(2 * n, np.float32), n)
    assert cells_of(thinned(whole, 20)) == cells_of(thinned(whole, 20)) != cells_of(thinned(whole, 20, seed=1))
    kept = np.concatenate([thinned(whole, 20, seed).index for seed in range(300)])
    assert np.all(np.abs(np.bincount(kept, minlength=n) - 200) < 60)  # 200 expected, deviation 11.5
    assert all(np.all(np.diff(thinned(whole, 20).index[a:b]) > 0) for a, b in ((0, 20), (20, 40)))


def test_histories_without_a_cell_are_thinned_to_themselves():
    none = History(np.zeros(4, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32), 5)
    assert cells_of(thinned(none, 1)) == [{}] * 3


def test_a_positive_history_holds_each_positive_item_once_whatever_the_cells_are():
    twice = {
        name: np.append(getattr(data().interactions, name), getattr(data().interactions, name)[2])
        for name in ("user", "item", "kind", "label", "rating")
    }
    positive = BY_USER["liked"]
    for train in (data(), data(cells="rating"), data(**twice)):
        assert cells_of(positive_history(train)) == positive
    assert cells_of(positive_history(data(label=None))) == BY_USER["01"]
    assert cells_of(positive_history(data(label=np.zeros(5, np.float32)))) == [{}] * 4


@pytest.mark.parametrize("cells", CELLS)
def test_the_history_of_users_transposed_is_that_of_items(cells: str):
    train = data(cells=cells)
    there = transposed(user_history(train))
    assert cells_of(there) == cells_of(item_history(train)) and there.width == train.n_users
    assert cells_of(transposed(there)) == cells_of(user_history(train))
