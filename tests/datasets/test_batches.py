"""What the samplers hand out in one epoch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np
import pytest
import torch

from hrec.datasets import samplers
from hrec.datasets.batches import Draw, Points
from hrec.datasets.candidates import candidate_items
from hrec.datasets.recdata import Feedback, Interactions, RecData, Table, TrainData
from hrec.datasets.samplers import PerKind, Pointwise

BOOKS, FILMS, USERS = 12, 8, 9


def label_of(user: np.ndarray | int, item: np.ndarray | int) -> np.ndarray | int:
    """A label that a pair can be recognised by."""
    return (user + 2 * item) % 3 % 2


def data(books: int = 23, films: int = 10, label: bool = True, **more) -> RecData:
    """So many different rows of books, and then of films."""
    rng = np.random.default_rng(0)
    book, film = rng.permutation(USERS * BOOKS)[:books], rng.permutation(USERS * FILMS)[:films]
    user = np.concatenate([book // BOOKS, film // FILMS]).astype(np.int32)
    item = np.concatenate([book % BOOKS, BOOKS + film % FILMS]).astype(np.int32)
    rows = Interactions(
        user, item, (item >= BOOKS).astype(np.int16), label_of(user, item).astype(np.float32) if label else None
    )
    return TrainData(Table(USERS), {"book": Table(BOOKS), "film": Table(FILMS, BOOKS)}, rows, "data", Feedback(**more))


def draw(batch_size: int = 4, seed: int = 0, rank: int = 0, world: int = 1) -> Draw:
    return Draw(batch_size, torch.Generator().manual_seed(seed), torch.device("cpu"), rank, world)


def triples(batches: Iterable[Points]) -> list[tuple[int, int, float]]:
    return [t for b in batches for t in zip(b.user.tolist(), b.item.tolist(), b.label.tolist(), strict=True)]


def rows_of(made: RecData) -> list[tuple[int, int, float]]:
    x = made.interactions
    label = np.ones(len(x)) if x.label is None else x.label
    return list(zip(x.user.tolist(), x.item.tolist(), label.tolist(), strict=True))


# -------------------------------------------------------------------------------------- pointwise


@pytest.mark.parametrize("batch_size", [1, 4, 33, 100])
def test_an_epoch_holds_every_row_once_with_its_own_label(batch_size: int):
    made = data()
    batches = list(Pointwise(made).epoch(draw(batch_size)))
    assert Counter(triples(batches)) == Counter(rows_of(made))
    assert [len(b) for b in batches[:-1]] == [batch_size] * (len(batches) - 1)
    assert sum(len(b) for b in batches) == 33


def test_batches_are_tensors_of_the_types_that_models_take():
    batch = next(Pointwise(data()).epoch(draw()))
    assert (batch.user.dtype, batch.item.dtype, batch.label.dtype) == (torch.int64, torch.int64, torch.float32)


@pytest.mark.parametrize("more", [{}, {"negatives": 2, "label": False}], ids=["labelled", "implicit"])
def test_the_same_seed_draws_the_same_batches_and_another_one_others(more: dict):
    made = data(**more)
    first, again, other = (triples(Pointwise(made).epoch(draw(seed=seed))) for seed in (1, 1, 2))
    assert first == again != other


def test_every_epoch_has_an_order_of_its_own():
    once = draw()
    epochs = [triples(Pointwise(data()).epoch(once)) for _ in range(2)]
    assert epochs[0] != epochs[1] and epochs[0] != rows_of(data()) and Counter(epochs[0]) == Counter(epochs[1])


def test_nothing_is_drawn_from_the_random_state_that_all_share():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    list(PerKind(data(negatives=1, label=False)).epoch(draw()))
    assert torch.equal(torch.get_rng_state(), before)


def test_implicit_rows_are_positive_and_mixed_with_negatives_of_the_same_kind():
    made = data(label=False, negatives=3)
    drawn = triples(Pointwise(made).epoch(draw()))
    positive, others = ([t for t in drawn if t[2] == label] for label in (1, 0))
    assert Counter(positive) == Counter(rows_of(made))
    assert len(others) == 3 * 33
    seen = {(u, i) for u, i, _ in positive}
    assert not seen & {(u, i) for u, i, _ in others}
    for_each = [Counter((u, i >= BOOKS) for u, i, _ in part) for part in (positive, others)]
    assert {key: 3 * n for key, n in for_each[0].items()} == for_each[1]
    assert {label for _, _, label in drawn[:20]} == {0, 1}  # mixed, not one after the other


def test_negatives_are_drawn_anew_every_epoch():
    once, made = draw(), data(label=False, negatives=3)
    epochs = [Counter(t for t in triples(Pointwise(made).epoch(once)) if t[2] == 0) for _ in range(2)]
    assert epochs[0] != epochs[1]


def test_rows_without_labels_are_positive():
    assert set(next(Pointwise(data(label=False)).epoch(draw(33))).label.tolist()) == {1}


def test_no_rows_give_no_batch():
    assert not list(Pointwise(data(0, 0)).epoch(draw()))


@pytest.mark.parametrize("more", [{}, {"negatives": 2, "label": False}], ids=["labelled", "implicit"])
def test_two_processes_together_have_every_batch_of_one(more: dict):
    made = data(**more)
    alone = list(Pointwise(made).epoch(draw(6)))
    shares = [list(Pointwise(made).epoch(draw(6, rank=rank, world=2))) for rank in (0, 1)]
    for whole, first, second in zip(alone, *shares, strict=True):
        assert Counter(triples([whole])) == Counter(triples([first, second]))
        assert abs(len(first) - len(second)) <= 1


def test_of_a_last_batch_with_fewer_rows_than_processes_some_have_the_same_row():
    made = data(10, 0)
    alone = list(Pointwise(made).epoch(draw(4)))[-1]
    shares = [list(Pointwise(made).epoch(draw(4, rank=rank, world=3))) for rank in range(3)]
    assert [[len(b) for b in share] for share in shares] == [[2, 2, 1], [1, 1, 1], [1, 1, 1]]
    assert triples([share[-1] for share in shares]) == [*triples([alone]), triples([alone])[0]]


# --------------------------------------------------------------------------------------- per kind


def kinds_in(batch: Points) -> set[str]:
    return {"film" if i >= BOOKS else "book" for i in batch.item.tolist()}


@pytest.mark.parametrize(("books", "films"), [(23, 10), (3, 30), (8, 8)])
def test_a_step_has_one_batch_of_every_kind_in_the_order_of_the_kinds(books: int, films: int):
    for step in PerKind(data(books, films)).epoch(draw()):
        assert list(step) == ["book", "film"]
        assert all(kinds_in(batch) == {kind} for kind, batch in step.items())


def test_the_kind_with_the_most_rows_sets_the_length_and_has_every_row_once():
    made = data(23, 10)
    steps = list(PerKind(made).epoch(draw()))
    assert len(steps) == 6  # of 4 books, the last of 3
    assert Counter(triples(s["book"] for s in steps)) == Counter(rows_of(made.only("book")))
    steps = list(PerKind(data(3, 30)).epoch(draw()))
    assert len(steps) == 8
    assert Counter(triples(s["film"] for s in steps)) == Counter(rows_of(data(3, 30).only("film")))


def test_a_kind_that_runs_out_starts_again_in_a_new_order():
    made = data(60, 10)
    films = [s["film"] for s in PerKind(made).epoch(draw())]
    assert [len(b) for b in films] == [4, 4, 2] * 5
    rounds = [triples(films[i : i + 3]) for i in range(0, 15, 3)]
    assert all(Counter(r) == Counter(rows_of(made.only("film"))) for r in rounds)
    assert len({tuple(r) for r in rounds}) == 5


def test_a_kind_without_rows_is_left_out():
    steps = list(PerKind(data(8, 0)).epoch(draw()))
    assert [list(step) for step in steps] == [["book"], ["book"]]


def test_no_rows_of_any_kind_give_no_step():
    assert not list(PerKind(data(0, 0)).epoch(draw()))


def test_per_kind_draws_the_same_for_the_same_seed():
    first, again, other = (
        [triples(step.values()) for step in PerKind(data()).epoch(draw(seed=seed))] for seed in (1, 1, 2)
    )
    assert first == again != other


def test_two_processes_have_the_same_kinds_in_every_step_and_together_the_whole():
    made = data(23, 9)
    alone = list(PerKind(made).epoch(draw()))
    shares = [list(PerKind(made).epoch(draw(rank=rank, world=2))) for rank in (0, 1)]
    for step, first, second in zip(alone, *shares, strict=True):
        assert list(first) == list(second)
        assert Counter(triples([step["book"]])) == Counter(triples([first["book"], second["book"]]))


def test_what_users_have_not_seen_is_worked_out_once_for_all_epochs(monkeypatch: pytest.MonkeyPatch):
    made, worked_out = data(negatives=1, label=False), []
    monkeypatch.setattr(samplers, "candidate_items", lambda *a, **b: worked_out.append(a) or candidate_items(*a, **b))
    sampler = PerKind(made)
    for epoch in range(3):
        assert list(sampler.epoch(draw(seed=epoch)))
    assert len(worked_out) == 2


def test_the_one_row_of_a_kind_is_in_every_step_of_both_processes():
    made = data(8, 1)
    shares = [list(PerKind(made).epoch(draw(rank=rank, world=2))) for rank in (0, 1)]
    for share in shares:
        assert [list(step) for step in share] == [["book", "film"]] * 2
        assert triples(step["film"] for step in share) == rows_of(made.only("film")) * 2
