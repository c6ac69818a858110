from __future__ import annotations

import numpy as np
import pytest

from hrec.datasets.columns import Numeric
from hrec.datasets.negatives import TRIES, draw_unseen, pair_keys, popularity_weights, with_negatives
from hrec.datasets.recdata import Interactions, RecData, Table


def data_of(user, item, books: int = 4, films: int = 6, users: int = 5, **more) -> RecData:
    """Books are items 0.., films follow."""
    user, item = np.array(user, np.int32), np.array(item, np.int32)
    rows = Interactions(user, item, (item >= books).astype(np.int16), **more.pop("rows", {}))
    return RecData(Table(users), {"book": Table(books), "film": Table(films, books)}, rows, **more)


def draw(
    data: RecData, user: int, kind: int, n: int, weights: np.ndarray | None = None, *, seed: int = 0
) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return draw_unseen(np.full(n, user), np.full(n, kind), data, pair_keys(data), rng, weights)


def test_keys_are_sorted_and_do_not_overflow_32_bits():
    data = data_of([70_000, 1, 70_000], [3, 99_999, 2], books=50_000, films=50_000, users=70_001)
    assert pair_keys(data).tolist() == [199_999, 7_000_000_002, 7_000_000_003]


def test_seen_pairs_of_large_narrow_ids_are_recognised():
    data = data_of([70_000], [3], books=50_000, films=50_000, users=70_001)
    user, weights = np.full(100, 70_000, np.int32), np.zeros(100_000)
    weights[[2, 3]] = 1
    drawn = draw_unseen(user, np.zeros(100, np.int16), data, pair_keys(data), np.random.default_rng(0), weights)
    assert drawn.tolist() == [2] * 100


def test_drawn_items_are_of_the_kind_and_unseen_and_every_unseen_item_is_drawn():
    data = data_of([0, 0, 0, 1], [0, 1, 4, 2])
    assert set(draw(data, 0, 0, 200).tolist()) == {2, 3}
    assert set(draw(data, 0, 1, 200).tolist()) == {5, 6, 7, 8, 9}
    assert set(draw(data, 4, 0, 200).tolist()) == {0, 1, 2, 3}


def test_rows_of_different_users_and_kinds_are_drawn_together():
    rng = np.random.default_rng(0)
    user, item = rng.integers(0, 5, 30), rng.integers(0, 10, 30)
    data = data_of(user, item)
    asked, kind = rng.integers(0, 5, 500), rng.integers(0, 2, 500)
    drawn = draw_unseen(asked, kind, data, pair_keys(data), rng)
    found = drawn >= 0
    np.testing.assert_array_equal(drawn[found] >= 4, kind[found] == 1)
    seen = set(zip(user.tolist(), item.tolist(), strict=True))
    assert not seen & set(zip(asked[found].tolist(), drawn[found].tolist(), strict=True))
    for u, k in {(int(u), int(k)) for u, k in zip(asked[~found], kind[~found], strict=True)}:
        assert {(u, i) for i in (range(4) if k == 0 else range(4, 10))} <= seen


def test_uniform_draws_are_uniform_over_the_unseen():
    drawn = draw(data_of([0], [0]), 0, 0, 30_000)
    np.testing.assert_allclose(np.bincount(drawn, minlength=4) / 30_000, [0, 1 / 3, 1 / 3, 1 / 3], atol=0.01)


def test_weighted_draws_are_proportional_within_the_kind():
    weights = np.array([1, 2, 3, 4, 1000, 0, 0, 0, 0, 1000], float)
    data = data_of([0], [1])
    books = np.bincount(draw(data, 0, 0, 30_000, weights), minlength=4) / 30_000
    films = np.bincount(draw(data, 0, 1, 30_000, weights) - 4, minlength=6) / 30_000
    np.testing.assert_allclose(books, [1 / 8, 0, 3 / 8, 4 / 8], atol=0.01)
    np.testing.assert_allclose(films, [0.5, 0, 0, 0, 0, 0.5], atol=0.01)


def test_the_same_seed_draws_the_same_items():
    data = data_of([0], [0])
    assert draw(data, 0, 1, 50, seed=1).tolist() == draw(data, 0, 1, 50, seed=1).tolist()
    assert draw(data, 0, 1, 50, seed=1).tolist() != draw(data, 0, 1, 50, seed=2).tolist()


def test_a_user_who_has_seen_the_whole_kind_gets_minus_one_after_bounded_tries():
    data = data_of([0, 0, 0, 0], [0, 1, 2, 3])
    assert draw(data, 0, 0, 3).tolist() == [-1, -1, -1]


def test_one_unseen_item_of_ten_is_nearly_always_found():
    data = data_of([0] * 9, range(9), books=10)
    assert TRIES >= 100
    assert draw(data, 0, 0, 1000).tolist() == [9] * 1000


def test_no_seen_pair_at_all_and_no_row_at_all_are_fine():
    data = data_of([], [])
    assert (draw(data, 0, 0, 5) >= 0).all()
    assert draw(data, 0, 0, 0).tolist() == []


def test_a_kind_without_an_item_to_draw_is_named():
    with pytest.raises(ValueError, match="kind 'film'"):
        draw(data_of([0], [0], films=0), 0, 1, 1)
    with pytest.raises(ValueError, match="kind 'book'"):
        draw(data_of([0], [0]), 0, 0, 1, np.array([0, 0, 0, 0, 1, 1, 1, 1, 1, 1.0]))


def test_popularity_weights_are_counts_to_the_power_and_no_row_counts_as_one():
    data = data_of([0, 1, 2, 3, 0], [0, 0, 0, 0, 1], popularity=0.5)
    assert popularity_weights(data).tolist() == [2, 1, 1, 1, 1, 1, 1, 1, 1, 1]
    assert popularity_weights(data_of([0], [0])) is None


def test_negatives_follow_the_positives_and_keep_their_user_kind_time_and_columns():
    extra = {
        "time": np.array([10.0, 20.0]),
        "rating": np.array([5, 4], np.float32),
        "columns": {"hour": Numeric(np.array([1, 2], np.float32))},
    }
    data = data_of([0, 1], [0, 4], negatives=2, rows=extra)
    part, missing = with_negatives(data, pair_keys(data), np.random.default_rng(0))
    x = part.interactions
    assert missing == 0 and part.negatives == 0
    assert x.user.tolist() == [0, 1, 0, 0, 1, 1]
    assert x.kind.tolist() == [0, 1, 0, 0, 1, 1]
    assert x.label.tolist() == [1, 1, 0, 0, 0, 0]
    assert x.time.tolist() == [10, 20, 10, 10, 20, 20]
    assert x.columns["hour"].value.tolist() == [1, 2, 1, 1, 2, 2]
    np.testing.assert_array_equal(x.rating, np.float32([5, 4, np.nan, np.nan, np.nan, np.nan]))
    assert (x.item.dtype, x.label.dtype, x.rating.dtype) == (np.int32, np.float32, np.float32)


def test_rows_without_an_unseen_item_are_left_out_and_counted_and_their_positives_stay():
    data = data_of([0, 0, 0, 0, 1], [0, 1, 2, 3, 0], negatives=1)
    part, missing = with_negatives(data, pair_keys(data), np.random.default_rng(0))
    assert missing == 4
    assert part.interactions.user.tolist() == [0, 0, 0, 0, 1, 1]
    assert part.interactions.label.tolist() == [1, 1, 1, 1, 1, 0]
