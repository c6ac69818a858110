from __future__ import annotations

import numpy as np
import torch

from hrec.datasets.candidates import candidate_items
from hrec.datasets.columns import Numeric
from hrec.datasets.negatives import with_negatives
from hrec.datasets.recdata import Feedback, Interactions, RecData, Table, TrainData

CPU = torch.device("cpu")


def data_of(user, item, books: int = 4, films: int = 6, users: int = 5, **more) -> TrainData:
    """Books are items 0.., films follow."""
    user, item = np.array(user, np.int32), np.array(item, np.int32)
    rows = Interactions(user, item, (item >= books).astype(np.int16), **more.pop("rows", {}))
    kinds = {"book": Table(books), "film": Table(films, books)}
    return TrainData(Table(users), kinds, rows, "data", Feedback(**more))


def drawn(data: TrainData) -> tuple[RecData, int]:
    how = data.feedback
    candidates = candidate_items(data, how.popularity, True, CPU)
    return with_negatives(data, how.negatives, candidates, torch.Generator().manual_seed(0))


def test_drawn_items_are_of_the_kind_and_no_row_of_the_data_whatever_their_number():
    rng = np.random.default_rng(0)
    user, item = rng.integers(0, 5, 30), rng.integers(0, 10, 30)
    data = data_of(user, item, negatives=50)
    x = drawn(data)[0].interactions
    new = x.label == 0
    assert new.sum() > 500
    np.testing.assert_array_equal(x.item[new] >= 4, x.kind[new] == 1)
    seen = set(zip(user.tolist(), item.tolist(), strict=True))
    assert not seen & set(zip(x.user[new].tolist(), x.item[new].tolist(), strict=True))


def test_popularity_is_that_of_the_part_that_is_counted():
    """The valid part's own rows say nothing of an item's popularity: four training rows weigh 4 ** 1."""
    train, asked = data_of([0, 1, 2, 3], [0, 0, 0, 0], popularity=1.0), data_of([4], [1], negatives=7000)
    candidates = candidate_items(asked, 1.0, True, CPU, counted=train)
    x = with_negatives(asked, 7000, candidates, torch.Generator().manual_seed(0))[0].interactions
    share = np.bincount(x.item[1:], minlength=10) / 7000
    np.testing.assert_allclose(share[:4], [4 / 6, 0, 1 / 6, 1 / 6], atol=0.02)


def test_one_candidate_of_ten_is_always_found():
    part, missing = drawn(data_of([0] * 9, range(9), books=10, negatives=100))
    assert missing == 0 and part.interactions.item[9:].tolist() == [9] * 900


def test_negatives_follow_the_positives_with_their_user_kind_and_time_and_without_columns():
    extra = {
        "time": np.array([10.0, 20.0]),
        "rating": np.array([5, 4], np.float32),
        "columns": {"hour": Numeric(np.array([1, 2], np.float32))},
    }
    data = data_of([0, 1], [0, 4], negatives=2, rows=extra)
    part, missing = drawn(data)
    x = part.interactions
    assert missing == 0
    assert x.user.tolist() == [0, 1, 0, 0, 1, 1]
    assert x.kind.tolist() == [0, 1, 0, 0, 1, 1]
    assert x.label.tolist() == [1, 1, 0, 0, 0, 0]
    assert x.time.tolist() == [10, 20, 10, 10, 20, 20]
    np.testing.assert_array_equal(x.columns["hour"].value, np.float32([1, 2, np.nan, np.nan, np.nan, np.nan]))
    np.testing.assert_array_equal(x.rating, np.float32([5, 4, np.nan, np.nan, np.nan, np.nan]))
    assert (x.item.dtype, x.label.dtype, x.rating.dtype) == (np.int32, np.float32, np.float32)


def test_rows_without_a_negative_are_left_out_and_counted_and_their_positives_stay():
    data = data_of([0, 0, 0, 0, 1], [0, 1, 2, 3, 0], negatives=1)
    part, missing = drawn(data)
    assert missing == 4
    assert part.interactions.user.tolist() == [0, 0, 0, 0, 1, 1]
    assert part.interactions.label.tolist() == [1, 1, 1, 1, 1, 0]
