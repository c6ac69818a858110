"""Rows are scored in chunks, by one process or by several, and measured overall and for each kind."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss, roc_auc_score
from torch import Tensor, nn

from hrec.datasets.recdata import Interactions, RecData, Table, TrainData
from hrec.models.base import BaseModel, InnerProductModel
from hrec.pipeline.devices import Processes
from hrec.pipeline.evaluator import Evaluator, scores

USERS, BOOKS, FILMS, ROWS = 13, 11, 7, 101


def make_part(rows: int = ROWS, labels: bool = True) -> RecData:
    rng = np.random.default_rng(0)
    item = rng.integers(0, BOOKS + FILMS, rows).astype(np.int32)
    label = rng.integers(0, 2, rows).astype(np.float32) if labels else None
    x = Interactions(rng.integers(0, USERS, rows).astype(np.int32), item, (item >= BOOKS).astype(np.int16), label)
    return TrainData(Table(USERS), {"book": Table(BOOKS), "film": Table(FILMS, BOOKS)}, x, "part")


@pytest.fixture
def part() -> RecData:
    return make_part()


class Plain(BaseModel):
    """A score that is no inner product, with dropout that only evaluation mode turns off."""

    def __init__(self) -> None:
        super().__init__(self.Config(), make_part())
        torch.manual_seed(0)
        self.users, self.items = nn.Embedding(USERS, 4), nn.Embedding(BOOKS + FILMS, 4)
        self.drop = nn.Dropout(0.5)
        self.asked: list[int] = []

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        self.asked.append(len(user))
        return self.drop(torch.tanh(self.users(user) + self.items(item))).sum(1)


class Inner(InnerProductModel):
    def __init__(self) -> None:
        super().__init__(self.Config(), make_part())
        torch.manual_seed(0)
        self.users, self.items = nn.Embedding(USERS, 4), nn.Embedding(BOOKS + FILMS, 4)
        self.drop = nn.Dropout(0.5)
        self.encoded: list[int] = []

    def user_vectors(self, user: Tensor) -> Tensor:
        self.encoded.append(len(user))
        return self.drop(self.users(user))

    def item_vectors(self, item: Tensor) -> Tensor:
        self.encoded.append(len(item))
        return self.drop(self.items(item))


def pairs(part: RecData) -> tuple[Tensor, Tensor]:
    x = part.interactions
    return torch.from_numpy(x.user).long(), torch.from_numpy(x.item).long()


@pytest.mark.parametrize("make", [Plain, Inner])
@pytest.mark.parametrize("chunk", [1, 7, ROWS, 10_000])
def test_scores_in_chunks_are_those_of_the_model(part, monkeypatch, make, chunk):
    monkeypatch.setattr(make, "rows_at_once", chunk)
    model, (user, item) = make(), pairs(part)
    model.train()
    got = scores(model, user, item)
    assert got.dtype == torch.float32 and not got.requires_grad
    torch.testing.assert_close(got, model.score(user, item).detach(), rtol=0, atol=1e-6)


def test_a_chunk_is_never_larger_than_allowed(part, monkeypatch):
    monkeypatch.setattr(Plain, "rows_at_once", 25)
    model = Plain()
    scores(model, *pairs(part))
    assert model.asked == [25, 25, 25, 25, 1]


def test_each_user_and_item_is_encoded_once_however_many_rows_it_stands_in(part):
    model = Inner()
    scores(model, *pairs(part))
    assert model.encoded == [len(set(part.interactions.user)), len(set(part.interactions.item))]


@pytest.mark.parametrize("make", [Plain, Inner])
def test_no_rows_have_no_scores(make):
    nothing = torch.zeros(0, dtype=torch.int64)
    assert scores(make(), nothing, nothing).shape == (0,)


def test_half_precision_scores_are_measured_as_single():
    model = Plain().to(torch.bfloat16)
    assert scores(model, torch.zeros(3).long(), torch.zeros(3).long()).dtype == torch.float32


def test_metrics_are_those_of_each_kind_of_all_rows_and_the_mean_of_the_kinds(part):
    model, x = Plain(), part.interactions
    got = Evaluator(["auc", "logloss"]).measure(model, part)
    score = model.score(*pairs(part)).detach().numpy()
    film = x.kind == 1
    assert set(got) == {f"{m}{s}" for m in ("auc", "logloss") for s in ("", "/pooled", "/book", "/film")}
    assert got["auc/book"] == pytest.approx(roc_auc_score(x.label[~film], score[~film]))
    assert got["auc/film"] == pytest.approx(roc_auc_score(x.label[film], score[film]))
    assert got["auc/pooled"] == pytest.approx(roc_auc_score(x.label, score))
    assert got["auc"] == pytest.approx((got["auc/book"] + got["auc/film"]) / 2)
    assert got["logloss/pooled"] == pytest.approx(log_loss(x.label, 1 / (1 + np.exp(-score.astype(float)))))


def test_a_model_that_knows_one_kind_is_right_for_that_kind_alone(part):
    class Fixed(Plain):
        def score(self, user: Tensor, item: Tensor) -> Tensor:
            x = part.interactions
            assert user.tolist() == x.user.tolist() and item.tolist() == x.item.tolist()
            return torch.from_numpy(np.where(x.kind == 0, x.label, -x.label))

    got = Evaluator(["auc"]).measure(Fixed(), part)
    assert (got["auc/book"], got["auc/film"], got["auc"]) == (1.0, 0.0, 0.5)


def test_the_model_is_left_in_evaluation_mode_with_its_weights_as_they_were(part):
    model = Plain()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.train()
    first = Evaluator(["auc"]).measure(model, part)
    assert not model.training and first == Evaluator(["auc"]).measure(model, part)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_rows_without_labels_are_refused_with_a_sentence():
    with pytest.raises(ValueError, match="'part' has no labels"):
        Evaluator(["auc"]).measure(Plain(), make_part(labels=False))


@pytest.mark.parametrize("world", [2, 3, 200])
def test_processes_that_share_the_rows_measure_what_one_does(part, monkeypatch, world):
    """Each process in turn, with what the others would send taken from a run of its own."""
    alone = Evaluator(["auc", "gauc", "logloss"]).measure(Plain(), part)
    user, item = pairs(part)
    shares = [
        scores(Plain(), user[r], item[r]).numpy() for r in (Processes(k, world).share(ROWS) for k in range(world))
    ]

    def send(parts: list[np.ndarray], mine: np.ndarray) -> None:
        parts[:] = shares

    monkeypatch.setattr(torch.distributed, "all_gather_object", send)
    for rank in (0, world - 1):
        assert Evaluator(["auc", "gauc", "logloss"], Processes(rank, world)).measure(Plain(), part) == alone
