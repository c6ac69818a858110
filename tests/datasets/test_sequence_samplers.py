"""The samplers of sequences, against sequences that are worked out by hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np
import pytest
import torch

from hrec.datasets.batches import Draw, ItemPairs
from hrec.datasets.recdata import Feedback, Interactions, Table, TrainData
from hrec.datasets.sequence_samplers import NextItem, WithinSequence
from hrec.datasets.sequences import SequenceBatch
from hrec.settings import NegativeSettings, SequenceSettings

CPU = torch.device("cpu")
BOOKS, FILMS = 6, 4


def data(rows: str, plain: bool = False) -> TrainData:
    """Rows "user item time" with a '-' behind those with label 0; items from 6 on are films. plain: without labels and
    times."""
    cells = [row.split() for row in rows.split(",")]
    user, item, time = (np.array([int(row[i]) for row in cells]) for i in range(3))
    label = np.array([row[-1] != "-" for row in cells], np.float32)
    kind = (item >= BOOKS).astype(np.int16)
    x = Interactions(
        user.astype(np.int32), item.astype(np.int32), kind, None if plain else label, time=None if plain else time + 0.0
    )
    return TrainData(Table(6), {"book": Table(BOOKS), "film": Table(FILMS, BOOKS)}, x, feedback=Feedback("01"))


def draw(batch_size: int = 2, seed: int = 0, rank: int = 0, world: int = 1) -> Draw:
    return Draw(batch_size, torch.Generator().manual_seed(seed), CPU, rank, world)


# User 3 has books 0 1 2 and film 7 as positives, oldest first 2 7 0 1; user 1 has 5 then 6; user 4 has one positive.
MIXED = "3 0 30, 1 6 9, 3 4 15 -, 3 2 10, 4 3 1, 1 5 2, 3 7 20, 3 1 40, 4 2 2 -"


def sequences(batches: Iterable[SequenceBatch]) -> list[tuple[int, list[int], list[int], list[int]]]:
    """(user, items, kinds, targets) of each row, without padding."""
    out = []
    for batch in batches:
        assert batch.target is not None and batch.user is not None
        for user, *rows, mask in zip(batch.user, batch.item, batch.kind, batch.target, batch.mask, strict=True):
            assert all(not row[~mask].any() for row in rows)
            assert mask.tolist() == sorted(mask.tolist())  # aligned to the right
            out.append((int(user), *(row[mask].tolist() for row in rows)))
    return out


# -------------------------------------------------------------------------------------- the next item


def test_the_target_is_the_next_positive_item_in_order_of_time():
    batches = list(NextItem(data(MIXED), 10, CPU).epoch(draw()))
    assert sorted(sequences(batches)) == [(1, [5], [0], [6]), (3, [2, 7, 0], [0, 1, 0], [7, 0, 1])]
    (batch,) = batches
    assert batch.item.shape == (2, 3)  # as long as its longest row, not as max_length
    assert batch.item.dtype == batch.kind.dtype == batch.user.dtype == torch.int64 and batch.mask.dtype == torch.bool


def test_without_times_the_order_of_the_rows_counts_and_without_labels_every_row():
    made = data(MIXED, plain=True)
    found = {user: (items, target) for user, items, _, target in sequences(NextItem(made, 10, CPU).epoch(draw()))}
    assert found == {3: ([0, 4, 2, 7], [4, 2, 7, 1]), 1: ([6], [5]), 4: ([3], [2])}


def test_a_long_sequence_is_cut_to_its_newest_positions():
    found = sequences(NextItem(data(MIXED), 2, CPU).epoch(draw()))
    assert sorted(found) == [(1, [5], [0], [6]), (3, [7, 0], [1, 0], [0, 1])]


LONG = ",".join(f"0 {item} {time}" for time, item in enumerate([0, 1, 2, 3, 4, 5, 6, 7]))


@pytest.mark.parametrize(
    ("stride", "windows"),
    [
        (None, [[4, 5, 6]]),
        (3, [[4, 5, 6], [1, 2, 3], [0]]),
        (2, [[4, 5, 6], [2, 3, 4], [0, 1, 2]]),
        (1, [[4, 5, 6], [3, 4, 5], [2, 3, 4], [1, 2, 3], [0, 1, 2]]),
    ],
)
def test_windows_slide_over_a_long_sequence_until_its_first_entry(stride, windows):
    found = sequences(NextItem(data(LONG), 3, CPU, stride).epoch(draw()))
    assert sorted(items for _, items, _, _ in found) == sorted(windows)
    assert all(target == [i + 1 for i in items] for _, items, _, target in found)


def test_a_stride_of_the_length_makes_every_entry_but_the_first_a_target_once():
    made = data(LONG + "," + ",".join(f"1 {i} {i}" for i in range(5)))
    targets = Counter((user, t) for user, *_, ts in sequences(NextItem(made, 3, CPU, 3).epoch(draw())) for t in ts)
    assert targets == Counter([(0, i) for i in range(1, 8)] + [(1, i) for i in range(1, 5)])


def test_a_stride_above_the_length_is_refused_in_settings_and_sampler():
    with pytest.raises(ValueError, match="stride is from 1 to max_length, 3, got 4"):
        NextItem(data(LONG), 3, CPU, 4)
    with pytest.raises(ValueError, match="at most max_length, 3"):
        SequenceSettings(max_length=3, stride=4)


def many(users: int = 23, items: int = 10) -> TrainData:
    rng = np.random.default_rng(0)
    pair = rng.permutation(users * items)[: users * items // 2]
    user, item = (a.astype(np.int32) for a in np.divmod(pair, items))
    x = Interactions(user, item, (item >= BOOKS).astype(np.int16), time=rng.permutation(len(pair)) + 0.0)
    return TrainData(Table(users), {"book": Table(BOOKS), "film": Table(FILMS, BOOKS)}, x, feedback=Feedback("01"))


def test_every_user_comes_once_per_epoch_in_a_new_order():
    sampler, once = NextItem(many(), 4, CPU), draw(5)
    epochs = [[user for user, *_ in sequences(sampler.epoch(once))] for _ in range(2)]
    assert epochs[0] != epochs[1] and sorted(epochs[0]) == sorted(epochs[1]) == sorted(set(epochs[0]))
    again = [user for user, *_ in sequences(sampler.epoch(draw(5)))]
    assert again == epochs[0]


def test_the_order_does_not_depend_on_the_indices_of_users():
    made, other = many(), many()
    other.interactions.user[:] = made.n_users - 1 - other.interactions.user
    plain, turned = (sequences(NextItem(one, 4, CPU).epoch(draw(5))) for one in (made, other))
    assert turned == [(made.n_users - 1 - user, *rest) for user, *rest in plain]


@pytest.mark.parametrize("batch_size", [4, 5])
def test_processes_share_every_batch(batch_size: int):
    sampler = NextItem(many(), 4, CPU)
    alone = list(sampler.epoch(draw(batch_size)))
    shares = [list(sampler.epoch(draw(batch_size, rank=rank, world=2))) for rank in range(2)]
    assert [len(share) for share in shares] == [len(alone)] * 2
    for whole, *parts in zip(alone, *shares, strict=True):
        assert sorted(sequences(parts)) == sorted(sequences([whole]))


def test_users_with_one_positive_give_no_batch():
    assert not list(NextItem(data("0 1 1, 1 2 2, 1 3 3 -"), 4, CPU).epoch(draw()))


# --------------------------------------------------------------------------- pairs within a sequence


def pairs(batches: Iterable[ItemPairs]) -> list[tuple[int, int, int]]:
    return [t for b in batches for t in zip(b.user.tolist(), b.anchor.tolist(), b.positive.tolist(), strict=True)]


def drawn_over(sampler: WithinSequence, epochs: int = 300) -> Counter:
    once = draw()
    return Counter(pair for _ in range(epochs) for pair in pairs(sampler.epoch(once)))


def both_ways(user: int, *some: tuple[int, int]) -> set[tuple[int, int, int]]:
    return {(user, a, b) for pair in some for a, b in (pair, pair[::-1])}


def test_without_a_window_every_other_positive_of_the_user_is_drawn():
    of_three = both_ways(3, (0, 1), (0, 2), (0, 7), (1, 2), (1, 7), (2, 7))
    assert set(drawn_over(WithinSequence(data(MIXED), CPU))) == of_three | both_ways(1, (5, 6))


def test_a_window_holds_the_neighbours_in_time():
    assert set(drawn_over(WithinSequence(data(MIXED), CPU, window=1))) == both_ways(3, (2, 7), (7, 0), (0, 1)) | (
        both_ways(1, (5, 6))
    )


def test_within_a_kind_the_window_counts_entries_of_the_kind():
    sampler = WithinSequence(data(MIXED), CPU, window=1, across_kinds=False)
    assert set(drawn_over(sampler)) == both_ways(3, (2, 0), (0, 1))


def test_each_row_is_the_anchor_once_and_each_positive_of_its_window_as_likely():
    sampler = WithinSequence(data(LONG), CPU, window=2)
    anchors = Counter(anchor for _, anchor, _ in pairs(sampler.epoch(draw(3))))
    assert anchors == Counter(range(8))
    of_three = {b: n for (_, a, b), n in drawn_over(sampler, 2000).items() if a == 3}
    assert set(of_three) == {1, 2, 4, 5} and all(420 < n < 580 for n in of_three.values())
    of_none = {b: n for (_, a, b), n in drawn_over(sampler, 2000).items() if a == 0}
    assert set(of_none) == {1, 2} and all(900 < n < 1100 for n in of_none.values())


def test_an_item_makes_no_pair_with_itself():
    found = drawn_over(WithinSequence(data("0 1 1, 0 1 2, 0 2 3"), CPU), 50)
    assert set(found) == both_ways(0, (1, 2))


def test_negatives_are_candidates_of_the_kind_of_the_positive():
    made = many()
    seen = set(zip(made.interactions.user.tolist(), made.interactions.item.tolist(), strict=True))
    batches = list(WithinSequence(made, CPU, negatives=NegativeSettings(pool=3)).epoch(draw(5)))
    for batch in batches:
        assert batch.negative is not None and batch.negative.shape == (len(batch), 3)
        assert ((batch.negative >= BOOKS) == (batch.positive >= BOOKS)[:, None]).all()
    drawn = {(u, n) for b in batches for u, row in zip(b.user.tolist(), b.negative.tolist(), strict=True) for n in row}
    assert drawn and not drawn & seen


def test_a_user_who_has_seen_a_whole_kind_gets_no_negatives_of_it():
    made = data(",".join(f"0 {item} {item}" for item in [0, 1, 6, 7, 8, 9]))
    found = drawn_over(WithinSequence(made, CPU, negatives=NegativeSettings()), 100)
    assert {positive for _, _, positive in found} == {0, 1} and {anchor for _, anchor, _ in found} == {0, 1, 6, 7, 8, 9}


@pytest.mark.parametrize("negatives", [None, NegativeSettings(pool=2)])
def test_processes_share_every_batch_of_pairs(negatives: NegativeSettings | None):
    sampler = WithinSequence(many(), CPU, negatives=negatives)
    alone = list(sampler.epoch(draw(8)))
    shares = [list(sampler.epoch(draw(8, rank=rank, world=2))) for rank in range(2)]
    for whole, first, second in zip(alone, *shares, strict=True):
        for rank, part in enumerate((first, second)):
            assert pairs([part]) == pairs([whole])[rank::2]
            if negatives is not None:
                assert torch.equal(part.negative, whole.negative[rank::2])


def test_pairs_have_a_new_order_in_each_epoch_and_the_same_for_the_same_seed():
    sampler, once = WithinSequence(many(), CPU, window=2), draw()
    first, second = pairs(sampler.epoch(once)), pairs(sampler.epoch(once))
    assert first != second and first == pairs(sampler.epoch(draw())) != pairs(sampler.epoch(draw(seed=1)))


def test_a_window_without_entries_is_refused():
    with pytest.raises(ValueError, match="window is at least 1 entry, got 0"):
        WithinSequence(data(MIXED), CPU, window=0)


# ------------------------------------------------------------------------- negatives of the next item


def seen_by(made: TrainData) -> dict[int, set[int]]:
    seen: dict[int, set[int]] = {}
    for user, item in zip(made.interactions.user.tolist(), made.interactions.item.tolist(), strict=True):
        seen.setdefault(user, set()).add(item)
    return seen


@pytest.mark.parametrize("same_kind", [True, False])
def test_negatives_of_the_next_item_are_unknown_and_of_its_kind_if_asked_for(same_kind):
    made = data(MIXED)
    sampler = NextItem(made, 10, CPU, negatives=NegativeSettings(pool=3, same_kind=same_kind))
    seen, kinds = seen_by(made), set()
    for seed in range(20):
        (batch,) = sampler.epoch(draw(seed=seed))
        assert batch.negative.shape == (*batch.item.shape, 3) and (batch.negative[~batch.mask] == -1).all()
        for row, place in batch.mask.nonzero().tolist():
            drawn, target = batch.negative[row, place].tolist(), int(batch.target[row, place])
            assert not seen[int(batch.user[row])] & set(drawn) and min(drawn) >= 0
            kinds |= {(target >= BOOKS, item >= BOOKS) for item in drawn}
    assert kinds == ({(False, False), (True, True)} if same_kind else {(a, b) for a in (0, 1) for b in (0, 1)})


def test_where_a_kind_has_no_candidate_there_is_no_negative():
    films = ",".join(f"0 {item} {time}" for time, item in enumerate([0, 6, 7, 8, 9, 1]))
    sampler = NextItem(data(films), 10, CPU, negatives=NegativeSettings())
    (batch,) = sampler.epoch(draw())
    assert (batch.negative[0, :4] == -1).all() and batch.negative[0, 4] >= 0  # the last target is a book


def test_several_processes_draw_the_negatives_that_one_would():
    sampler = NextItem(many(), 4, CPU, negatives=NegativeSettings(pool=2))

    def rows(rank: int, world: int) -> dict[int, list[list[int]]]:
        out = {}
        for batch in sampler.epoch(draw(5, rank=rank, world=world)):
            for user, mask, negative in zip(batch.user, batch.mask, batch.negative, strict=True):
                out[int(user)] = negative[mask].tolist()
        return out

    assert rows(0, 2) | rows(1, 2) == rows(0, 1)
