"""Which rows land in which part. Every row carries its own number as its rating: a part tells which rows it holds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch

from hrec.datasets import encoding
from hrec.datasets.batches import Draw
from hrec.datasets.recdata import Feedback, Interactions, RecData, Split, Table
from hrec.datasets.samplers import Pairwise, Pointwise
from hrec.datasets.splitting import part_sizes, split
from hrec.settings import (
    ColdItems,
    ColdUsers,
    ColumnSplit,
    InMatrix,
    LeaveOneOut,
    NegativeSettings,
    RandomSplit,
    TimeSplit,
    UserSplit,
)

WAYS = [
    RandomSplit(seed=3),
    UserSplit(by="user", seed=3),
    LeaveOneOut(by="leave_one_out", seed=3),
    TimeSplit(by="time", seed=3),
    ColdUsers(by="cold_users", seed=3),
    ColdItems(by="cold_items", seed=3),
    InMatrix(by="in_matrix", seed=3),
]
DRAWN = [way for way in WAYS if way.by not in ("time", "leave_one_out")]
every_way = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.by)


def made(n: int = 2000, users: int = 60, items: tuple[int, ...] = (40, 80), seed: int = 0) -> RecData:
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, len(items), n).astype(np.int16)
    start = np.cumsum((0, *items))
    item = (start[kind] + rng.integers(0, np.array(items)[kind])).astype(np.int32)
    user = rng.integers(0, users, n).astype(np.int32)
    number = np.arange(n, dtype=np.float32)
    time = rng.integers(0, n // 4, n).astype(np.float64)  # with ties
    kinds = {f"kind{i}": Table(count, int(start[i])) for i, count in enumerate(items)}
    return RecData(Table(users), kinds, Interactions(user, item, kind, number % 2, number, time))


def of_users(*user: int, time: list[float] | None = None) -> RecData:
    n = len(user)
    number = np.arange(n, dtype=np.float32)
    rows = Interactions(np.int32(user), np.arange(n, dtype=np.int32), np.zeros(n, np.int16), rating=number)
    return RecData(
        Table(max(user) + 1), {"book": Table(n)}, replace(rows, time=None if time is None else np.array(time))
    )


def rows(part: RecData) -> list[int]:
    return part.interactions.rating.astype(int).tolist()


def parts(done: Split) -> tuple[list[int], list[int], list[int]]:
    return rows(done.train), rows(done.valid), rows(done.test)


# ------------------------------------------------------------------------------------ true of every way


@every_way
def test_parts_never_overlap_and_keep_the_order_of_rows(way):
    train, valid, test = parts(split(made(), way))
    together = train + valid + test
    assert len(set(together)) == len(together)
    assert all(part == sorted(part) and part for part in (train, valid, test))
    if way.by != "cold_users":
        assert len(together) == 2000


@every_way
def test_same_seed_gives_the_same_rows(way):
    assert parts(split(made(), way)) == parts(split(made(), way))


@pytest.mark.parametrize("way", DRAWN, ids=lambda way: way.by)
def test_another_seed_gives_other_rows(way):
    assert parts(split(made(), way)) != parts(split(made(), way.model_copy(update={"seed": 4})))


@every_way
def test_rows_stay_whole(way):
    data = made()
    test = split(data, way).test.interactions
    whole = data.interactions.take(np.array(rows(split(data, way).test)))
    for name in ("user", "item", "kind", "label", "time"):
        np.testing.assert_array_equal(getattr(test, name), getattr(whole, name))


@every_way
def test_no_global_random_state_is_read_or_moved(way):
    np.random.seed(1)  # noqa: NPY002
    before = np.random.get_state()[1].tolist()  # noqa: NPY002
    split(made(), way)
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002


@every_way
def test_one_line_of_the_log_has_the_sizes(way):
    lines: list[str] = []
    done = split(made(), way, log=lines.append)
    sizes = "{:,} training, {:,} validation and {:,} test rows".format(*map(len, parts(done)))
    assert [line for line in lines if sizes in line and way.by in line]


# ------------------------------------------------------------------------------------------ rounding


@pytest.mark.parametrize(
    ("count", "ratio", "expected"),
    [
        (100, (0.7, 0.2, 0.1), (70, 20, 10)),
        (100, (0.42, 0.29, 0.29), (42, 29, 29)),  # 0.29 * 100 is 28.999999999999996 in binary
        (100, (8, 1, 1), (80, 10, 10)),  # not added up to 1
        (19, (0.8, 0.1, 0.1), (17, 1, 1)),  # 1.9 rounded down
        (5, (0.8, 0.1, 0.1), (3, 1, 1)),  # an empty part takes one from train
        (2, (0.8, 0.1, 0.1), (1, 0, 1)),  # test before valid
        (1, (0.8, 0.1, 0.1), (1, 0, 0)),
        (1, (0.01, 0.01, 0.98), (1, 0, 0)),
        (0, (0.8, 0.1, 0.1), (0, 0, 0)),
    ],
)
def test_valid_and_test_are_rounded_down_and_train_gets_the_rest(count, ratio, expected):
    assert tuple(int(size) for size in part_sizes(np.int64(count), ratio)) == expected


def recbole_sizes(total: int, ratio: tuple[float, ...]) -> list[int]:
    """RecBole's rule in its own words: a loop over the parts, from the last."""
    sizes = [int(r * total + 1e-7) for r in ratio]
    sizes[0] = total - sum(sizes[1:])
    for i in range(1, len(ratio)):
        if sizes[0] <= 1:
            break
        if 0 < ratio[-i] * total < 1 - 1e-7:
            sizes[-i] += 1
            sizes[0] -= 1
    return sizes


@pytest.mark.parametrize("ratio", [(0.8, 0.1, 0.1), (0.7, 0.2, 0.1), (0.5, 0.05, 0.45), (0.1, 0.1, 0.8)])
def test_rounding_is_that_of_recbole_for_any_count(ratio):
    count = np.arange(1, 300)
    ours = np.stack(part_sizes(count, ratio), axis=1)
    assert ours.tolist() == [recbole_sizes(int(c), ratio) for c in count]


# ----------------------------------------------------------------------------------- what each way promises


def test_random_split_has_the_ratio_over_all_rows():
    assert [len(p) for p in parts(split(made(1000), RandomSplit(ratio=(0.7, 0.2, 0.1))))] == [700, 200, 100]


def test_user_split_has_the_ratio_within_each_user():
    data = made()
    done = split(data, UserSplit(by="user", ratio=(0.7, 0.2, 0.1)))
    total, *counts = (np.bincount(p.interactions.user, minlength=60) for p in (data, done.train, done.valid, done.test))
    np.testing.assert_array_equal(counts, part_sizes(total, (0.7, 0.2, 0.1)))


def test_user_split_leaves_the_single_row_of_a_user_in_train():
    train, valid, test = parts(split(of_users(0, 1, 1, 1, 2), UserSplit(by="user")))
    assert {0, 4} <= set(train) and len(valid) == len(test) == 1


def test_leave_one_out_takes_the_last_two_rows_of_each_user_by_time():
    data = of_users(0, 1, 0, 1, 0, 1, time=[9, 1, 5, 2, 7, 3])
    assert parts(split(data, LeaveOneOut(by="leave_one_out"))) == ([1, 2], [3, 4], [0, 5])


def test_leave_one_out_breaks_ties_by_row_order():
    assert parts(split(of_users(0, 0, 0, 0, time=[5, 5, 5, 5]), LeaveOneOut(by="leave_one_out"))) == ([0, 1], [2], [3])


def test_leave_one_out_leaves_users_of_fewer_than_three_rows_in_train():
    data = of_users(0, 1, 1, 2, 2, 2, time=[0, 1, 2, 3, 4, 5])
    lines: list[str] = []
    assert parts(split(data, LeaveOneOut(by="leave_one_out"), log=lines.append)) == ([0, 1, 2, 3], [4], [5])
    assert lines[0] == "leave one out: 2 users with fewer than 3 rows stay in the training part whole"


def of_kinds(rows: str, time: list[float] | None = None) -> RecData:
    """Rows "user kind", each of another item; kinds are 'a' and 'b'."""
    cells = [row.split() for row in rows.split(",")]
    data = of_users(*(int(user) for user, _ in cells), time=time)
    kind = np.array([kind == "b" for _, kind in cells], np.int16)
    n = len(cells)  # items of a come first
    item = np.argsort(np.argsort(kind, kind="stable"), kind="stable").astype(np.int32)
    tables = {"a": Table(n - kind.sum()), "b": Table(int(kind.sum()), int(n - kind.sum()))}
    return replace(data, kinds=tables, interactions=replace(data.interactions, item=item, kind=kind))


def test_leave_one_out_per_kind_takes_the_last_two_rows_of_each_user_and_kind():
    """User 0 has three rows of both kinds, user 1 three of b and one of a, which stays in training."""
    data = of_kinds("0 a,0 b,0 a,0 b,0 a,0 b,1 b,1 b,1 a,1 b", time=[9, 1, 5, 2, 7, 3, 3, 2, 4, 1])
    lines: list[str] = []
    way = LeaveOneOut(by="leave_one_out", per_kind=True)
    assert parts(split(data, way, log=lines.append)) == ([1, 2, 8, 9], [3, 4, 7], [0, 5, 6])
    assert (
        lines[0] == "leave one out: 1 pairs of a user and a kind with fewer than 3 rows stay in the training part whole"
    )
    assert parts(split(data, LeaveOneOut(by="leave_one_out")))[2] == [0, 8]


def test_equal_times_of_two_kinds_are_not_divided_by_leave_one_out_per_kind():
    data = of_kinds("0 a,0 b,0 a,0 b,0 a,0 b", time=[1.0, 1, 2, 2, 3, 3])
    assert said_of_times(data, LeaveOneOut(by="leave_one_out"))
    assert not said_of_times(data, LeaveOneOut(by="leave_one_out", per_kind=True))
    data = of_kinds("0 a,0 b,0 a,0 b,0 a,0 b", time=[1.0, 1, 2, 3, 3, 3])
    assert len(said_of_times(data, LeaveOneOut(by="leave_one_out", per_kind=True))) == 1


def test_the_ratio_holds_within_each_user_and_kind():
    data = of_kinds(",".join(["0 a"] * 10 + ["0 b"] * 20 + ["1 b"] * 10))
    for seed in range(5):
        done = split(data, UserSplit(by="user", ratio=(0.7, 0.2, 0.1), per_kind=True, seed=seed))
        for part, sizes in ((done.train, (7, 14, 7)), (done.valid, (2, 4, 2)), (done.test, (1, 2, 1))):
            x = part.interactions
            assert np.bincount(2 * x.user + x.kind, minlength=4).tolist() == [sizes[0], sizes[1], 0, sizes[2]]


def test_leave_one_out_without_times_draws_and_says_so():
    lines: list[str] = []
    data = of_users(*[0] * 5, *[1] * 5)
    seen = {tuple(rows(split(data, LeaveOneOut(by="leave_one_out", seed=s), log=lines.append).test)) for s in range(20)}
    assert len(seen) > 5 and all(a < 5 <= b for a, b in seen)
    assert "no times" in lines[0]


def test_time_split_puts_the_newest_rows_into_test_and_breaks_ties_by_row_order():
    data = of_users(*range(10), time=[9, 0, 1, 1, 1, 1, 1, 1, 1, 5])
    assert parts(split(data, TimeSplit(by="time"))) == ([1, 2, 3, 4, 5, 6, 7], [8, 9], [0])


def said_of_times(data: RecData, way: TimeSplit | LeaveOneOut) -> list[str]:
    lines: list[str] = []
    split(data, way, log=lines.append)
    return [line for line in lines if "same time" in line]


def test_time_split_says_how_many_rows_share_the_time_of_each_cut():
    way = TimeSplit(by="time", ratio=(0.5, 0.3, 0.2))
    time = [1.0, 2, 3, 4, 7, 7, 7, 7, 9, 9]
    (line,) = said_of_times(of_users(*[0] * 10, time=time), way)  # the cut before 9 parts no rows of equal times
    assert "4 of 10 rows have the same time as the cut between training and validation, 7 s" in line
    assert "(1 train, 3 valid, 0 test)" in line
    both = said_of_times(of_users(*[0] * 10, time=[5.0] * 10), way)
    assert len(both) == 2 and all("10 of 10 rows" in line and "(5 train, 3 valid, 2 test)" in line for line in both)
    assert not said_of_times(of_users(*[0] * 10, time=[1.0, 1, 2, 2, 3, 6, 7, 7, 9, 9]), way)


def test_leave_one_out_says_of_how_many_users_equal_times_are_divided():
    users, time = [0] * 3 + [1] * 4 + [2] * 3, [1.0, 2, 3, 1, 1, 2, 3, 4, 5, 5]
    (line,) = said_of_times(of_users(*users, time=time), LeaveOneOut(by="leave_one_out"))
    assert "1 of 3 users have rows of the same time" in line
    assert not said_of_times(of_users(*users), LeaveOneOut(by="leave_one_out"))
    assert not said_of_times(of_users(*users, time=[1.0, 2, 3, 1, 1, 2, 3, 4, 5, 6]), LeaveOneOut(by="leave_one_out"))


def test_time_split_without_times_names_the_setting():
    with pytest.raises(ValueError, match=r"data\.TIME_FIELD"):
        split(of_users(0, 1, 2), TimeSplit(by="time"))


def test_a_missing_time_is_refused_rather_than_taken_for_the_newest():
    with pytest.raises(ValueError, match="1 of 3 rows"):
        split(of_users(0, 1, 2, time=[1, np.nan, 3]), TimeSplit(by="time"))


@pytest.mark.parametrize("most", [0, 1, 3])
def test_cold_users_keep_few_training_rows_and_other_users_keep_all(most):
    data = made(users=300)
    plain, cold = split(data, RandomSplit(seed=3)), split(data, ColdUsers(by="cold_users", max_train=most, seed=3))
    is_cold = np.bincount(cold.test.interactions.user, minlength=300) > 0
    count = np.bincount(cold.train.interactions.user, minlength=300)
    available = np.zeros(300, int)
    for row in set(range(2000)) - set(rows(cold.valid)) - set(rows(cold.test)):
        available[data.interactions.user[row]] += 1
    assert len(cold.valid.interactions) == len(plain.valid.interactions)
    assert 50 < is_cold.sum() < 250
    np.testing.assert_array_equal(count, np.where(is_cold, np.minimum(available, most), available))


def test_cold_users_say_how_many_rows_were_dropped():
    lines: list[str] = []
    done = split(made(users=300), ColdUsers(by="cold_users"), log=lines.append)
    assert f"{2000 - sum(map(len, parts(done))):,} training rows dropped" in lines[0]


def test_cold_users_keep_rows_at_random_and_not_the_first():
    kept = {tuple(rows(split(of_users(*[0] * 20), ColdUsers(by="cold_users", seed=s)).train)) for s in range(20)}
    assert len(kept) == 20 and any(min(k) > 4 for k in kept)


def test_cold_items_have_no_training_row_and_the_ratio_holds_in_each_kind():
    done = split(made(), ColdItems(by="cold_items", ratio=(0.7, 0.2, 0.1)))
    items = [
        [np.unique(p.only(k).interactions.item) for p in (done.train, done.valid, done.test)] for k in done.train.kinds
    ]
    assert [[len(part) for part in kind] for kind in items] == [[28, 8, 4], [56, 16, 8]]
    together = np.concatenate([part for kind in items for part in kind])
    assert len(np.unique(together)) == len(together)


# --------------------------------------------------------------------------------------------- sample


@every_way
def test_sample_keeps_its_share_of_each_kind_of_training_row_and_no_other_part_changes(way):
    full, less = split(made(), way), split(made(), way, sample=0.3)
    assert parts(full)[1:] == parts(less)[1:]
    assert set(rows(less.train)) < set(rows(full.train))
    for kind in full.train.kinds:
        whole = len(full.train.only(kind).interactions)
        assert len(less.train.only(kind).interactions) == np.ceil(0.3 * whole - 1e-7)


def test_sample_by_name_leaves_the_other_kinds_alone():
    full, less = split(made(), RandomSplit()), split(made(), RandomSplit(), sample={"kind1": 0.5})
    assert rows(less.train.only("kind0")) == rows(full.train.only("kind0"))
    assert len(rows(less.train.only("kind1"))) == -(-len(rows(full.train.only("kind1"))) // 2)


def test_a_smaller_sample_is_part_of_a_larger_one():
    small, large = (split(made(), RandomSplit(), sample=share).train for share in (0.2, 0.4))
    assert set(rows(small)) < set(rows(large))


def test_sample_of_one_keeps_all():
    assert parts(split(made(), RandomSplit(), sample=1.0)) == parts(split(made(), RandomSplit()))


def test_sample_says_how_many_rows_were_dropped():
    lines: list[str] = []
    split(made(1000), RandomSplit(), sample=0.5, log=lines.append)
    assert "350 of 700" in lines[0] or "351 of 700" in lines[0]


def test_sample_of_an_unknown_kind_suggests_the_nearest():
    with pytest.raises(ValueError, match="Did you mean 'kind1'"):
        split(made(), RandomSplit(), sample={"kid1": 0.5})


@pytest.mark.parametrize("share", [0.0, -0.1, 1.01, float("nan")])
def test_sample_refuses_a_share_outside_0_to_1(share):
    with pytest.raises(ValueError, match="above 0 and at most 1"):
        split(made(), RandomSplit(), sample={"kind0": share})


# ---------------------------------------------------------------------------------- negatives, implicit data


def implicit() -> RecData:
    data = made(600, items=(100, 200))
    return data.with_interactions(replace(data.interactions, label=None))


def drawing(negatives: int = 2, popularity: float = 0.0) -> Feedback:
    return Feedback("01", negatives, popularity)


@pytest.mark.parametrize("popularity", [0.0, 0.75])
def test_implicit_valid_and_test_get_labels_and_drawn_rows_of_pairs_that_no_part_holds(popularity):
    data = implicit()
    done = split(data, RandomSplit(), feedback=drawing(popularity=popularity))
    plain = split(data, RandomSplit())
    pairs = set(zip(data.interactions.user.tolist(), data.interactions.item.tolist(), strict=True))
    for part, positive in ((done.valid, plain.valid), (done.test, plain.test)):
        x, n = part.interactions, len(positive.interactions)
        assert x.label.tolist() == [1] * n + [0] * 2 * n
        np.testing.assert_array_equal(x.item[:n], positive.interactions.item)
        assert not pairs & set(zip(x.user[n:].tolist(), x.item[n:].tolist(), strict=True))


def test_implicit_train_is_left_to_the_sampler_and_other_parts_are_explicit():
    done = split(implicit(), RandomSplit(), feedback=drawing())
    assert done.train.interactions.label is None and done.train.feedback.negatives == 2
    assert done.valid.interactions.label is not None and done.test.interactions.label is not None


def test_pairs_dropped_from_train_are_not_drawn_as_negatives():
    data = of_users(*[0] * 10)  # ten of eleven items seen, most of them in dropped rows
    data = replace(data, kinds={"book": Table(11)})
    test = split(data, ColdUsers(by="cold_users", max_train=1), feedback=drawing(3)).test.interactions
    assert test.item[test.label == 0].tolist() == [10, 10, 10]


def test_the_sample_does_not_change_uniform_negatives():
    full, less = (split(implicit(), RandomSplit(), sample, feedback=drawing()) for sample in (None, 0.2))
    np.testing.assert_array_equal(full.test.interactions.item, less.test.interactions.item)


def test_negatives_are_the_same_for_the_same_seed():
    one, two = (split(implicit(), RandomSplit(), feedback=drawing(popularity=1)) for _ in range(2))
    np.testing.assert_array_equal(one.test.interactions.item, two.test.interactions.item)


def test_negatives_that_cannot_be_drawn_are_counted():
    lines: list[str] = []
    data = of_users(*[0] * 10)  # the user has seen all ten
    done = split(data, RandomSplit(), None, lines.append, drawing())
    assert done.test.interactions.label.tolist() == [1]
    assert "6 left out" in lines[-1]


@pytest.mark.parametrize("popularity", [0.0, 0.75])
def test_new_items_are_set_against_new_ones_and_never_drawn_in_training(popularity):
    done = split(implicit(), ColdItems(by="cold_items"), feedback=drawing(popularity=popularity))
    known = done.train.has_rows()
    for part in (done.valid, done.test):
        drawn = part.interactions.item[part.interactions.label == 0]
        assert len(drawn) and not known[part.interactions.item].any()
    draw = Draw(64, torch.Generator().manual_seed(0), torch.device("cpu"))
    for batch in Pointwise(done.train).epoch(draw):
        assert known[batch.item].all()
    for pairs in Pairwise(done.train, NegativeSettings(pool=3), draw.device).epoch(draw):
        assert known[pairs.negative].all()


def test_each_row_is_set_against_items_known_as_its_own_is():
    """The newest rows hold new items and known ones, of one kind more than of the other."""
    data = implicit()
    x = data.interactions
    data = data.with_interactions(replace(x, time=np.where(x.item < 100, x.item, x.item % 50).astype(np.float64)))
    done = split(data, TimeSplit(by="time"), feedback=drawing())
    known = done.train.has_rows()
    shares = []
    for part in (done.valid, done.test):
        rows, n = part.interactions, int(part.interactions.label.sum())
        assert len(rows) == 3 * n
        source = np.repeat(np.arange(n), 2)
        np.testing.assert_array_equal(known[rows.item[n:]], known[rows.item[:n]][source])
        np.testing.assert_array_equal(rows.kind[n:], rows.kind[:n][source])
        shares.append(known[rows.item].mean())
    assert done.train.negatives_from_train_only and any(0 < share < 1 for share in shares)


def test_known_items_are_set_against_known_ones_where_others_are_held_out():
    done = split(implicit(), InMatrix(by="in_matrix", unknown_items=0.3), feedback=drawing())
    known = done.train.has_rows()
    assert not known.all()
    for part in (done.valid, done.test):
        assert known[part.interactions.item].all()


def test_other_splits_draw_from_all_items():
    done = split(implicit(), RandomSplit(ratio=(0.2, 0.4, 0.4)), feedback=drawing())
    assert not done.train.negatives_from_train_only and not done.train.has_rows()[done.test.interactions.item].all()


# ------------------------------------------------------------------------ in-matrix, and parts by a column


def test_in_matrix_no_item_is_new_in_validation_or_test():
    data, said = made(400, items=(100, 200)), []
    plain = split(data, RandomSplit(ratio=(3, 1, 1), seed=3))
    known = set(plain.train.interactions.item)
    expected = [[r for r in rows(part) if data.interactions.item[r] in known] for part in (plain.valid, plain.test)]
    done = split(data, InMatrix(by="in_matrix", seed=3), log=said.append)
    assert [rows(done.valid), rows(done.test)] == expected
    moved = 400 - sum(map(len, expected)) - len(rows(plain.train))
    assert moved and f"in-matrix: {moved} validation and test rows" in said[0]
    assert sorted([row for part in parts(done) for row in part]) == list(range(400))


def test_in_matrix_holds_out_a_share_of_the_items_and_leaves_the_rest_as_it_was():
    data, said = made(400, items=(100, 200)), []
    plain = split(data, InMatrix(by="in_matrix", seed=3))
    done = split(data, InMatrix(by="in_matrix", seed=3, unknown_items=0.25), log=said.append)
    x, read = data.interactions, np.unique(data.interactions.item)
    left = np.unique([x.item[row] for part in parts(done) for row in part])
    assert len(left) == len(read) - round(0.25 * len(read))
    for before, after in zip(parts(plain), parts(done), strict=True):
        assert [row for row in before if x.item[row] in left] == list(after)
    assert f"{len(read) - len(left)} of {len(read)} items held out" in " ".join(said)


NAMED = ["train", "test", "train", None, "valid", "test", "later"]


def shown(*values: str | None) -> RecData:
    """Rows of seven users, with a column that tells their part."""
    data = of_users(*range(len(values)))
    column = encoding.categorical([pa.array(values, pa.string())])[0]
    return data.with_interactions(replace(data.interactions, columns={"p1": column}))


def test_a_column_tells_the_part_of_each_row():
    said: list[str] = []
    assert parts(split(shown(*NAMED), ColumnSplit(by="column", column="p1"), log=said.append)) == ([0, 2], [4], [1, 5])
    assert "split by column 'p1': 2 rows dropped" in said[0]


def test_a_share_of_the_test_rows_is_validation_where_the_column_names_none():
    way = ColumnSplit(by="column", column="p1", valid_share=0.25)
    train, valid, test = parts(split(shown("train", *["test"] * 8), way))
    assert train == [0] and len(valid) == 2 and sorted(valid + test) == list(range(1, 9))
    assert parts(split(shown(*NAMED), way)) == ([0, 2], [4], [1, 5])  # where it names some, they are the ones


def test_a_column_that_is_not_there_or_tells_nothing_is_said():
    with pytest.raises(ValueError, match=r"data.split.column: 'data' has no column 'p9'"):
        split(shown(*NAMED), ColumnSplit(by="column", column="p9"))
    with pytest.raises(ValueError, match=r"should say 'train', 'valid' or 'test'; it holds 'a', 'b'"):
        split(shown("a", "b"), ColumnSplit(by="column", column="p1"))
