"""Candidates: never an item that the user has seen, each with the chance of its weight, for every user and kind."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hrec.datasets import candidates as candidates_module
from hrec.datasets import samplers
from hrec.datasets.batches import Draw, Pairs
from hrec.datasets.candidates import Candidates, candidate_items, distinct_ranks
from hrec.datasets.recdata import Interactions, RecData, Table, TrainData
from hrec.datasets.samplers import Pairwise, PerKind
from hrec.settings import NegativeSettings

CPU = torch.device("cpu")
USERS, BOOKS, FILMS = 17, 9, 6


def data(rows: int = 120, labels: bool = False) -> RecData:
    rng = np.random.default_rng(3)
    key = rng.permutation(USERS * (BOOKS + FILMS))[:rows]
    key = key[key // (BOOKS + FILMS) < USERS - 1]  # the last user has seen nothing
    whole = np.arange(BOOKS) + 2 * (BOOKS + FILMS)  # user 2 has seen all books
    user, item = np.divmod(np.unique(np.append(key, whole)), BOOKS + FILMS)
    label = rng.integers(0, 2, len(user)).astype(np.float32) if labels else None
    x = Interactions(user.astype(np.int32), item.astype(np.int32), (item >= BOOKS).astype(np.int16), label)
    return TrainData(Table(USERS), {"book": Table(BOOKS), "film": Table(FILMS, BOOKS)}, x)


def seen(of: RecData) -> set[tuple[int, int]]:
    return set(zip(of.interactions.user.tolist(), of.interactions.item.tolist(), strict=True))


@pytest.mark.parametrize("same_kind", [True, False])
def test_each_rank_is_one_candidate_in_order(same_kind: bool):
    given = data()
    candidates = candidate_items(given, 0.0, same_kind, CPU)
    spans = [(0, BOOKS), (BOOKS, BOOKS + FILMS)] if same_kind else [(0, BOOKS + FILMS)]
    for user in range(USERS):
        for index, (start, stop) in enumerate(spans):
            free = [i for i in range(start, stop) if (user, i) not in seen(given)]
            u, s = torch.full((len(free),), user), torch.full((len(free),), index)
            assert candidates.left[user * len(spans) + index] == len(free)
            assert candidates.at(u, s, torch.arange(len(free))).tolist() == free


@pytest.mark.parametrize(
    ("popularity", "bits_up_to"), [(0.0, candidates_module.BITS_UP_TO), (0.0, 0), (0.75, 0), (2.0, 0)]
)
def test_draws_have_the_chances_of_their_weights(popularity: float, bits_up_to: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(candidates_module, "BITS_UP_TO", bits_up_to)
    given, n = data(), 200_000
    count = np.maximum(np.bincount(given.interactions.item, minlength=BOOKS + FILMS), 1.0) ** popularity
    candidates = candidate_items(given, popularity, True, CPU)
    assert (candidates.bits is not None) == (bits_up_to > 0)
    for user in (0, 5, USERS - 1):
        u = torch.full((n,), user)
        drawn = candidates.draw(u, torch.ones_like(u), torch.Generator().manual_seed(user)).numpy()
        free = [i for i in range(BOOKS, BOOKS + FILMS) if (user, i) not in seen(given)]
        expected = np.zeros(BOOKS + FILMS)
        expected[free] = count[free] / count[free].sum()
        np.testing.assert_allclose(np.bincount(drawn, minlength=BOOKS + FILMS) / n, expected, atol=0.006)


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_weights_of_any_scale_are_drawn_by_their_shares(scale: float):
    """Too large for whole numbers as they are, or far below 1."""
    candidates = Candidates.of(np.array([1]), np.array([2]), 1_000, np.array([1, 3, 8, 4]) * scale, [(0, 4)], CPU)
    user = torch.ones(100_000, dtype=torch.long)
    drawn = candidates.draw(user, torch.zeros_like(user), torch.Generator().manual_seed(0))
    np.testing.assert_allclose(np.bincount(drawn) / len(user), [1 / 8, 3 / 8, 0, 4 / 8], atol=0.006)
    last = torch.tensor([999])
    assert candidates.at(last, last * 0, candidates.left[last] - 1).tolist() == [3]


def test_an_item_of_weight_0_is_never_drawn():
    candidates = Candidates.of(np.array([0]), np.array([2]), 1, np.array([0.0, 1, 1, 0, 1, 0]), [(0, 6)], CPU)
    zero = torch.zeros(2, dtype=torch.long)
    assert candidates.at(zero, zero, torch.tensor([0, 1])).tolist() == [1, 4] and candidates.left.tolist() == [2]


def test_who_has_seen_all_has_nothing_left_whatever_the_weights():
    for popularity in (0.0, 0.3):
        candidates = candidate_items(data(), popularity, True, CPU)
        assert candidates.any_left(torch.tensor([2, 2, 3]), torch.tensor([0, 1, 0])).tolist()[0] is False


def test_distinct_ranks_are_distinct_fair_and_end_where_there_are_no_more():
    ranks = distinct_ranks(np.array([3, 7, 0, 50]), 5, np.random.default_rng(0))
    assert ranks[0].tolist() == [0, 1, 2, -1, -1] and ranks[2].tolist() == [-1] * 5
    assert len(set(ranks[1])) == 5 and ranks[1].max() < 7 and len(set(ranks[3])) == 5
    many = distinct_ranks(np.full(30_000, 6), 3, np.random.default_rng(1))
    np.testing.assert_allclose(np.bincount(many.ravel(), minlength=6) / 30_000, 0.5, atol=0.015)


def test_many_distinct_ranks_of_few_are_drawn_the_same_way_but_by_order():
    ranks = distinct_ranks(np.array([3, 7, 0, 50]), 5_000, np.random.default_rng(0))
    assert ranks.shape == (4, 5_000)
    for row, size in zip(ranks, (3, 7, 0, 50), strict=True):
        assert sorted(row[:size]) == list(range(size)) and (row[size:] == -1).all()
    first = distinct_ranks(np.full(20_000, 6), 40, np.random.default_rng(1))[:, 0]
    np.testing.assert_allclose(np.bincount(first) / 20_000, 1 / 6, atol=0.015)


def drawn(given: RecData, batch_size: int = 16, seed: int = 0, **settings: object) -> list[Pairs]:
    sampler = Pairwise(given, NegativeSettings(**settings), CPU)
    return list(sampler.epoch(Draw(batch_size, torch.Generator().manual_seed(seed), CPU)))


@pytest.mark.parametrize("ahead", [samplers.DRAWN_AHEAD, 70, 1])
@pytest.mark.parametrize("pool", [1, 4])
@pytest.mark.parametrize("same_kind", [True, False])
def test_pairs_hold_every_positive_once_with_its_negatives(
    pool: int, same_kind: bool, ahead: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(samplers, "DRAWN_AHEAD", ahead)  # of one batch, of a few, of all
    given = data(labels=True)
    pairs = drawn(given, pool=pool, same_kind=same_kind)
    assert {len(b) for b in pairs[:-1]} == {16} and len(pairs[-1]) <= 16
    x = given.interactions
    assert x.label is not None
    positive = {(u, i) for u, i, y in zip(x.user.tolist(), x.item.tolist(), x.label.tolist(), strict=True) if y > 0}
    if same_kind:
        positive -= {(2, i) for i in range(BOOKS)}  # nothing left to set against them
    got = [(u, i) for b in pairs for u, i in zip(b.user.tolist(), b.positive.tolist(), strict=True)]
    assert sorted(got) == sorted(positive)
    for b in pairs:
        assert b.negative.shape == (len(b), pool)
        assert not {(u, i) for u, row in zip(b.user.tolist(), b.negative.tolist(), strict=True) for i in row} & seen(
            given
        )
        if same_kind:
            assert ((b.negative >= BOOKS) == (b.positive >= BOOKS)[:, None]).all()


def test_the_same_seed_draws_the_same_and_an_epoch_draws_anew():
    one, same, other = drawn(data()), drawn(data()), drawn(data(), seed=1)
    assert all(torch.equal(a.negative, b.negative) for a, b in zip(one, same, strict=True))
    assert not all(torch.equal(a.negative, b.negative) for a, b in zip(one, other, strict=True))


def test_pairs_by_kind():
    given = data()
    draw = Draw(16, torch.Generator().manual_seed(0), CPU)
    for step in PerKind(given, lambda view, rows: Pairwise(view, NegativeSettings(), CPU)).epoch(draw):
        assert (step["film"].negative >= BOOKS).all() and (step["book"].negative < BOOKS).all()
