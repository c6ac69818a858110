"""JRL, eJRL and their views against literal readings of the equations, on a few rows and on planted data."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from hrec.cli.train import main
from hrec.datasets import planted
from hrec.datasets.batches import Draw, Pairs
from hrec.datasets.columns import Dense, Tokens
from hrec.datasets.queries import Queries
from hrec.datasets.recdata import Interactions, RecData, TrainData
from hrec.datasets.recdata import Table as Rows
from hrec.datasets.sequences import Sequences
from hrec.models import find_model, views
from hrec.models.base import BaseModel
from hrec.models.layers.bags import EmbeddingTable
from hrec.models.views.jrl import JRL
from hrec.models.views.view import View
from hrec.models.views.words import Words
from hrec.pipeline import reports
from hrec.pipeline.evaluator import Evaluator
from hrec.pipeline.finished import load_finished
from hrec.pipeline.trainer import Trainer
from hrec.settings import OptSettings

THREE = {"review": {}, "image": {}, "rating": {}}
USER, ITEM = np.array([0, 0, 1, 2, 1], np.int32), np.array([0, 1, 0, 2, 3], np.int32)
RATING = np.array([5, 3, 4, np.nan, 1], np.float32)
TEXT = Tokens(np.array([0, 2, 5, 5, 6, 8]), np.array([0, 1, 1, 1, 2, 3, 0, 3], np.int32), np.array(list("abcd")))
"""Row 2 has no words."""
SEEN = np.array([[0.5, -0.2], [1, 2], [np.nan, np.nan], [0, 1], [3, -1]], np.float32)
"""Item 2 has no image; item 4 and user 3 have no row."""


def few_rows(**columns: Any) -> TrainData:
    rows = Interactions(USER, ITEM, np.zeros(5, np.int16), None, RATING, None, {"review": TEXT})
    return TrainData.of(RecData(Rows(4), {"thing": Rows(5, 0, {"image": Dense(SEEN)} | columns)}, rows))


def batch(rows: list[int], negative: list[int]) -> Pairs:
    user, item = (torch.from_numpy(a[rows]).long() for a in (USER, ITEM))
    return Pairs(user, item, torch.tensor(negative)[:, None], torch.tensor(rows))


BATCH = batch([0, 1, 2, 3], [2, 3, 4, 0])


def built(name: str = "JRL", data: TrainData | None = None, **settings: Any) -> Any:
    cls = find_model(name)
    torch.manual_seed(0)
    model = cls(cls.Config(**{"embedding_size": 3, "init_half_width": 0.7} | settings), data or few_rows())
    return model.double()


def literal(weight: Tensor) -> np.ndarray:
    return weight.detach().numpy()


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-np.asarray(x)))


def elu(x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x, np.expm1(x))


# ------------------------------------------------------------------------------------------ words


def test_products_of_bags_and_their_gradients_are_those_of_gathered_rows():
    torch.manual_seed(1)
    table = EmbeddingTable(6, 3, 1.0).double()
    left = torch.randn(3, 3, dtype=torch.float64, requires_grad=True)
    index, offset = torch.tensor([0, 5, 5, 2, 0]), torch.tensor([0, 2, 2])  # the second bag is empty
    bag = torch.tensor([0, 0, 2, 2, 2])
    weight = torch.randn(5, dtype=torch.float64)
    for dense_up_to in (0.0, 100.0):
        table.weight.dense_up_to = dense_up_to
        got = table.dots(left, index, offset)
        plain = (left[bag] * table.weight[index]).sum(1)
        torch.testing.assert_close(got, plain)
        ours, theirs = (torch.autograd.grad((x * weight).sum(), (left, table.weight)) for x in (got, plain))
        torch.testing.assert_close(ours[0], theirs[0])
        torch.testing.assert_close(ours[1].to_dense(), theirs[1])


def test_the_weights_of_a_bag_have_a_gradient():
    table = EmbeddingTable(6, 3, 1.0).double()
    value = torch.randn(4, dtype=torch.float64, requires_grad=True)
    index, offset = torch.tensor([1, 4, 4, 0]), torch.tensor([0, 3])
    assert torch.autograd.gradcheck(lambda v: table.bags(index, offset, v), (value,))


def test_a_document_is_charged_for_its_words_and_for_negative_words(monkeypatch: pytest.MonkeyPatch):
    """Eq. 3 with the expectation replaced by the mean over the words drawn."""
    model = built(views={"review": {"negatives": 5, "weight": 1.0}})
    view = model.view("review")
    drawn = torch.tensor([0, 3, 3])
    monkeypatch.setattr(Words, "_drawn", lambda self: drawn)
    words, reviews = literal(view.words.vectors.weight), literal(view.connection.reviews.weight)
    expected, document = 0.0, {0: 0, 1: 1, 3: 2, 4: 3}  # the training row of each document
    for row in (0, 1, 3):
        d = reviews[document[row]]
        for w in TEXT.word[TEXT.offset[row] : TEXT.offset[row + 1]]:
            expected -= np.log(sigmoid(words[w] @ d)) + 5 * np.mean(np.log(sigmoid(-words[drawn.numpy()] @ d)))
    assert float(view.own_loss(BATCH).detach()) == pytest.approx(expected / 4)


def test_negative_words_are_drawn_by_the_power_of_their_training_count():
    view = built(views={"review": {"noise": 200_000}}).view("review")
    torch.manual_seed(0)
    found = np.bincount(view.words._drawn().numpy(), minlength=4) / 200_000
    count = np.array([2, 3, 1, 2]) ** 0.75
    np.testing.assert_allclose(found, count / count.sum(), atol=0.005)


# ------------------------------------------------------------------------------------- connections


def reviews_of(model: JRL, users: bool) -> np.ndarray:
    """u_1 or v_1 of all, with a loop over the reviews."""
    c = model.view("review").connection
    edges, ends, n = (c.to_user, USER, 4) if users else (c.to_item, ITEM, 5)
    out = np.zeros((n, 3))
    for document, row in enumerate([0, 1, 3, 4]):
        out[ends[row]] += literal(edges.weight.weight)[document] * literal(c.reviews.weight)[document]
    return out


def test_users_and_items_are_sums_of_their_reviews_by_learned_scalars_that_start_at_the_mean():
    model = built(views={"review": {}})
    c = model.view("review").connection
    np.testing.assert_allclose(literal(c.to_user.weight.weight)[:, 0], [0.5, 0.5, 1, 1])
    np.testing.assert_allclose(literal(c.to_item.weight.weight)[:, 0], [1, 1, 1, 1])
    with torch.no_grad():
        c.to_user.weight.weight.uniform_(-1, 1)
    np.testing.assert_allclose(literal(model.user_vectors(torch.arange(4))), reviews_of(model, True))
    np.testing.assert_allclose(literal(model.item_vectors(torch.arange(5))), reviews_of(model, False))


@pytest.mark.parametrize("fixed", [False, True])
def test_the_pairs_own_review_is_left_out_of_both_sides(fixed: bool):
    gradient = "own_loss" if fixed else "full"
    model = built(views={"review": {}}, entity_gradient=gradient)
    c = model.view("review").connection
    user, items = (literal(v) for v in model.view("review").vectors_of(BATCH))
    own = [0, 1, None, 2]
    for i, document in enumerate(own):
        d = 0 if document is None else literal(c.reviews.weight)[document]
        a, b = (0 if document is None else literal(e.weight.weight)[document] for e in (c.to_user, c.to_item))
        np.testing.assert_allclose(user[i], reviews_of(model, True)[USER[i]] - a * d, atol=1e-12)
        np.testing.assert_allclose(items[i], reviews_of(model, False)[ITEM[i]] - b * d, atol=1e-12)
        np.testing.assert_allclose(items[4 + i], reviews_of(model, False)[BATCH.negative[i, 0]], atol=1e-12)
    inside = built(views={"review": {}}, exclude_target=False).view("review").vectors_of(BATCH)
    np.testing.assert_allclose(literal(inside[0]), reviews_of(model, True)[USER[:4]])


@pytest.mark.parametrize("gradient", ["full", "own_loss"])
@pytest.mark.parametrize("connection", ["edges", "documents", "chain"])
def test_the_ranking_term_moves_entities_unless_they_have_their_own_loss_alone(gradient: str, connection: str):
    chosen = {"review": {"connection": connection}, "image": {}, "rating": {}}
    model = built(views=chosen, entity_gradient=gradient)
    terms = model.loss(BATCH)
    entities = {
        "edges": lambda c: [c.reviews.weight],
        "documents": lambda c: [c.of_user.weight, c.of_item.weight],
        "chain": lambda c: [c.of_user.weight, c.of_item.weight],
    }[connection](model.view("review").connection)
    entities += [model.view("image").entities.weight, model.view("rating").users.weight]
    scalars = [model.view("image").to_user.weight.weight, model.view("image").to_item.weight]
    found = torch.autograd.grad(terms["ranking"], entities + scalars, allow_unused=True)
    moved = [g is not None and float(g.to_dense().abs().sum()) > 0 for g in found]
    assert moved == [gradient == "full"] * len(entities) + [True] * 2


@pytest.mark.parametrize("connection", ["edges", "documents", "chain"])
def test_users_and_items_without_an_entity_have_the_vector_zero(connection: str):
    model = built(views={"review": {"connection": connection}, "image": {}, "rating": {}})
    user = literal(model.user_vectors(torch.arange(4))).reshape(4, 3, 3)
    item = literal(model.item_vectors(torch.arange(5))).reshape(5, 3, 3)
    zero = lambda v: (v == 0).all(-1).tolist()  # noqa: E731
    assert zero(user) == [[False] * 3, [False] * 3, [False, True, False], [True] * 3]  # user 2's item has no image
    assert zero(item)[2] == [False, True, False] and zero(item)[4] == [True, False, True]


def test_a_chain_predicts_the_reviews_of_its_ends(monkeypatch: pytest.MonkeyPatch):
    model = built(views={"review": {"connection": "chain", "noise": 2}})
    view = model.view("review")
    c, drawn = view.connection, torch.tensor([1, 3])
    monkeypatch.setattr(Words, "_drawn", lambda self: torch.tensor([0]))
    monkeypatch.setattr(torch, "randint", lambda *args, **named: drawn)
    reviews, words = literal(c.reviews.weight), literal(view.words.vectors.weight)
    expected = 0.0
    for row, document in ((0, 0), (1, 1), (3, 2)):
        for end in (literal(c.of_user.weight)[USER[row]], literal(c.of_item.weight)[ITEM[row]]):
            expected -= np.log(sigmoid(end @ reviews[document]))
            expected -= 5 * np.mean(np.log(sigmoid(-reviews[[1, 3]] @ end)))
        for w in TEXT.word[TEXT.offset[row] : TEXT.offset[row + 1]]:
            d = reviews[document]
            expected -= np.log(sigmoid(words[w] @ d)) + 5 * np.log(sigmoid(-words[0] @ d))
    assert float(view.own_loss(BATCH).detach()) == pytest.approx(expected / 4)


# ------------------------------------------------------------------------- images, titles, ratings


def test_an_image_is_decoded_from_its_entity_and_an_item_without_one_is_not():
    model = built(views={"image": {"scale": "raw"}})
    view = model.view("image")
    a, b, p = (literal(w) for w in (view.decoder.weight, view.decoder.bias, view.entities.weight))
    expected = sum(((elu(a @ p[i] + b) - SEEN[i]) ** 2).sum() for i in ITEM[:3])  # row 3 is of item 2
    assert float(view.own_loss(BATCH).detach()) == pytest.approx(expected / 4, rel=1e-6)
    assert view.config.weight == pytest.approx(1e-4 * 4096 / 2)
    assert built(views={"image": {"weight": 0.5}}).view("image").config.weight == 0.5


def test_a_user_is_the_mean_of_the_images_of_the_users_items_less_the_target():
    model = built(views={"image": {}})
    p = literal(model.view("image").entities.weight)
    np.testing.assert_allclose(literal(model.user_vectors(torch.arange(2))), [(p[0] + p[1]) / 2, (p[0] + p[3]) / 2])
    user, items = (literal(v) for v in model.view("image").vectors_of(BATCH))
    np.testing.assert_allclose(user, [p[1] / 2, p[0] / 2, p[3] / 2, 0 * p[0]], atol=1e-12)
    np.testing.assert_allclose(items[:4], [p[0], p[1], p[0], 0 * p[0]])


def test_several_views_of_vectors_each_read_their_column():
    data = few_rows(sound=Dense(np.ones((5, 7), np.float32)))
    model = built(data=data, views={"image": {"column": "image"}, "front": {"of": "image", "column": "sound"}})
    assert model.view("image").vectors.width == 2 and model.view("front").vectors.width == 7
    assert built(data=data).names == ["review", "image", "sound", "rating"]


def test_a_title_is_a_document_of_its_item():
    title = Tokens(np.array([0, 1, 1, 3, 3, 4]), np.array([0, 1, 1, 0], np.int32), np.array(["x", "y"]))
    view = built(data=few_rows(title=title), views={"title": {}}).view("title")
    assert view.known.tolist() == [True, False, True, False, True]
    cells = view.words.documents(torch.tensor([0, 2]))
    assert cells.length.tolist() == [1, 2] and cells.column.tolist() == [0, 1, 1]
    assert torch.isfinite(view.own_loss(BATCH))


def test_a_rating_is_predicted_by_two_elu_layers_that_start_at_the_mean():
    view = built(views={"rating": {}}).view("rating")
    u1, c1, u2, c2 = (literal(w) for w in (view.hidden.weight, view.hidden.bias, view.out.weight, view.out.bias))
    assert c2 == pytest.approx(np.nanmean(RATING))
    expected = 0.0
    for row in range(3):  # row 3 has no rating
        r = literal(view.users.weight)[USER[row]] * literal(view.items.weight)[ITEM[row]]
        expected += float((elu(u2 @ elu(u1 @ r + c1) + c2)[0] - RATING[row]) ** 2)
    assert float(view.own_loss(BATCH).detach()) == pytest.approx(expected / 4)


# ------------------------------------------------------------------------------------------- joint


@pytest.mark.parametrize("merge", ["concatenation", "average"])
@pytest.mark.parametrize("gain", ["sigmoid", "log_sigmoid"])
def test_views_meet_in_the_ranking_term_of_the_merged_vectors(merge: str, gain: str):
    model = built(merge=merge, ranking=gain, exclude_target=False, reg_weight=0.4)
    assert model.names == list(THREE)
    of_views = [
        (literal(v.user_vectors(torch.arange(4))), literal(v.item_vectors(torch.arange(5))))
        for v in model.views.values()
    ]
    join = (lambda x: np.concatenate(x, 1)) if merge == "concatenation" else (lambda x: np.mean(x, 0))
    user, item = (join([v[side] for v in of_views]) for side in (0, 1))
    u, up, down = user[USER[:4]], item[ITEM[:4]], item[BATCH.negative[:, 0].numpy()]
    x = (u * up).sum(1) - (u * down).sum(1)
    terms = {name: float(term.detach()) for name, term in model.loss(BATCH).items()}
    assert terms["ranking"] == pytest.approx(np.mean(1 - sigmoid(x) if gain == "sigmoid" else -np.log(sigmoid(x))))
    assert terms["norm"] == pytest.approx(0.2 * np.mean((u**2 + up**2 + down**2).sum(1)))
    assert terms["image"] == pytest.approx(float(model.view("image").own_loss(BATCH).detach()) * 1e-4 * 2048)
    assert terms.keys() == {"ranking", "norm", *THREE}


def test_the_extendable_objective_is_a_sum_over_views():
    model = built("eJRL", exclude_target=False)
    terms = model.loss(BATCH)
    for name in model.names:
        view = model.view(name)
        u, items = view.user_vectors(BATCH.user), view.item_vectors(torch.cat([BATCH.positive, BATCH.negative[:, 0]]))
        x = (u * (items[:4] - items[4:])).sum(1)
        torch.testing.assert_close(terms[f"{name} ranking"], torch.sigmoid(-x).mean())
    assert terms.keys() == {*THREE, *(f"{name} ranking" for name in THREE)}


@pytest.mark.parametrize("name", ["JRL", "eJRL"])
def test_the_gradient_of_a_view_depends_on_no_other_view_of_ejrl(name: str):
    def gradient(shift: float) -> list[Tensor]:
        model = built(name)
        with torch.no_grad():
            for weight in model.view("rating").parameters():
                weight.add_(shift)
        terms = {key: term for key, term in model.loss(BATCH).items() if key != "review"}  # which draws words
        found = torch.autograd.grad(sum(terms.values()), list(model.view("image").parameters()))
        return [g.to_dense() for g in found]

    same = all(torch.equal(a, b) for a, b in zip(gradient(0.0), gradient(0.5), strict=True))
    assert same == (name == "eJRL")


# -------------------------------------------------------------------------------- together or alone


@pytest.fixture(scope="module")
def tiny() -> TrainData:
    data = planted.make("tiny", reviews=True, image=True).data
    return TrainData.of(data.with_interactions(data.interactions.take(np.arange(0, 4000, 3))))


def trained(name: str, data: TrainData, chosen: dict[str, Any], clip: float | None = None, **settings: Any) -> Any:
    cls = find_model(name)
    torch.manual_seed(5)
    model = cls(cls.Config(views=chosen, embedding_size=8, **settings), data)
    opt = {"epochs": 2, "early_stop": None, "batch_size": 256, "hyper_params": {"lr": 0.01}, "clip_grad": clip}
    Trainer(OptSettings.model_validate(opt), 5, lambda m: {}).fit(model, data)
    return model


def weights(model: Any, view: str) -> dict[str, str]:
    """The sha256 of each tensor of a view."""
    state = model.view(view).state_dict()
    return {name: hashlib.sha256(value.numpy().tobytes()).hexdigest() for name, value in state.items()}


CLIP = 1e-3
"""So small that every step is clipped."""


def test_views_trained_together_and_alone_have_the_same_bits(tiny: TrainData):
    together = trained("eJRL", tiny, THREE, CLIP)
    for name in THREE:
        alone = trained("eJRL", tiny, {name: {}}, CLIP)
        assert weights(alone, name) == weights(together, name)
    other_order = trained("eJRL", tiny, {"rating": {}, "review": {}}, CLIP)
    assert weights(other_order, "review") == weights(together, "review")


@pytest.mark.parametrize(
    ("name", "settings"), [("JRL", {}), ("eJRL", {"together": True})], ids=["JRL", "global clipping"]
)
def test_views_that_share_a_score_or_the_clipping_depend_on_each_other(name: str, settings: Any, tiny: TrainData):
    both = trained(name, tiny, {"rating": {}, "image": {}}, CLIP, **settings)
    alone = trained(name, tiny, {"rating": {}}, CLIP, **settings)
    assert weights(both, "rating") != weights(alone, "rating")


def test_global_clipping_is_all_that_couples_views_of_one_stage_that_draw_nothing(tiny: TrainData):
    """Without clipping, views that draw no words learn the same in one stage with others."""
    both = trained("eJRL", tiny, {"rating": {}, "image": {}}, None, together=True)
    alone = trained("eJRL", tiny, {"rating": {}}, None, together=True)
    assert weights(both, "rating") == weights(alone, "rating")


def test_the_score_is_the_sum_of_the_views_scores(tiny: TrainData):
    joint = trained("eJRL", tiny, THREE).double()
    user = torch.arange(tiny.n_users).repeat_interleave(tiny.n_items)
    item = torch.arange(tiny.n_items).repeat(tiny.n_users)
    alone = [trained("eJRL", tiny, {name: {}}).double() for name in THREE]
    with torch.no_grad():
        total, single = joint.score(user, item), [model.score(user, item) for model in alone]
    torch.testing.assert_close(total, sum(single), rtol=1e-12, atol=1e-15)
    assert all(float(one.abs().max()) > 0 for one in single)


def test_while_a_view_trains_it_alone_is_measured(tiny: TrainData):
    model = find_model("eJRL")(find_model("eJRL").Config(views=THREE, embedding_size=8), tiny)
    seen = []
    opt = OptSettings.model_validate({"epochs": 1, "early_stop": None, "batch_size": 4096})

    def measure(m: Any) -> dict[str, float]:
        seen.append(list(m.scoring))
        return {}

    Trainer(opt, 0, measure).fit(model, tiny)
    assert seen == [["review"], ["image"], ["rating"]] and list(model.scoring) == list(THREE)


def test_an_unknown_user_is_the_sum_of_the_views_fits(tiny: TrainData):
    model = trained("eJRL", tiny, THREE)
    queries = Queries(
        torch.tensor([-1, -1]), Sequences.of(tiny, tiny.interactions, tiny.n_users).take(torch.tensor([0, 7]))
    )
    parts = [trained("eJRL", tiny, {name: {}}).query_vectors(queries) for name in THREE]
    torch.testing.assert_close(model.query_vectors(queries), torch.cat(parts, 1))


# ------------------------------------------------------------------------------- what is left out


def gap(exclude: bool) -> float:
    """AUC on the training rows less that on the test rows."""
    made = planted.make("tiny", reviews=True)
    x = made.data.interactions
    test = np.random.default_rng(0).random(len(x)) < 0.3
    train = TrainData.of(made.data.with_interactions(x.take(~test)))
    cls = find_model("JRL")
    torch.manual_seed(0)
    model = cls(cls.Config(views={"review": {}}, exclude_target=exclude, ranking="log_sigmoid"), train)
    opt = {"epochs": 12, "early_stop": None, "batch_size": 512, "hyper_params": {"lr": 0.01}}
    Trainer(OptSettings.model_validate(opt), 0, lambda m: {}).fit(model, train)
    auc = [
        Evaluator(["auc"]).measure(model, part)["auc"] for part in (train, made.data.with_interactions(x.take(test)))
    ]
    return auc[0] - auc[1]


def test_a_pairs_own_review_widens_the_gap_between_training_and_test():
    assert gap(exclude=False) > gap(exclude=True) + 0.02


# ------------------------------------------------------------------------------- memory and extension


def saved(model: BaseModel, one: Any) -> int:
    """The most numbers that a tensor kept for the backward pass has."""
    sizes = [0]

    def keep(x: Tensor) -> Tensor:
        sizes.append(x.numel())
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        torch.stack(list(model.loss(one).values())).sum().backward()
    return max(sizes)


@pytest.mark.parametrize("connection", ["edges", "documents", "chain"])
def test_no_tensor_of_words_times_size_is_kept(connection: str):
    """200 reviews of 300 words each over 40 words, with vectors of 32 numbers."""
    n, length, size = 200, 300, 32
    rng = np.random.default_rng(0)
    text = Tokens(
        np.arange(n + 1) * length, rng.integers(0, 40, n * length).astype(np.int32), np.arange(40).astype(str)
    )
    user, item = (rng.integers(0, 50, n).astype(np.int32) for _ in range(2))
    rows = Interactions(user, item, np.zeros(n, np.int16), columns={"review": text})
    data = TrainData.of(RecData(Rows(50), {"thing": Rows(50)}, rows))
    cls = find_model("JRL")
    model = cls(cls.Config(views={"review": {"connection": connection}}, embedding_size=size), data)
    (one,) = model.sampler(data).epoch(Draw(n, torch.Generator().manual_seed(0), torch.device("cpu")))
    assert saved(model, one) <= n * length


class Constant(View):
    """A fourth view, as small as a view can be."""

    def __init__(self, name: str, config: Any, data: TrainData, shared: Any) -> None:
        super().__init__(name, config, data, shared)
        self.both = shared.table(1)

    def own_loss(self, batch: Pairs) -> Tensor:
        return self.both.weight.square().sum()

    def user_vectors(self, user: Tensor) -> Tensor:
        return self.both.rows(torch.zeros_like(user))

    item_vectors = user_vectors


@pytest.fixture
def a_fourth_view(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(views.VIEWS, "constant", f"{__name__}:Constant")
    monkeypatch.setattr(views.importlib, "import_module", sys.modules.__getitem__)


def test_a_fourth_view_is_a_class_and_a_line(a_fourth_view: None):
    model = built(views={"rating": {}, "constant": {"weight": 2.0}})
    assert model.user_vectors(torch.arange(4)).shape == (4, 6)
    term = model.loss(BATCH)["constant"]
    torch.testing.assert_close(term, 2 * model.view("constant").both.weight.square().sum())


def run(*arguments: str) -> int:
    return main([*arguments, "--device", "cpu"], "hrec train")


@pytest.fixture
def train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Run a command line; the folder of the run."""

    def call(*arguments: str) -> Path:
        before = set((tmp_path / "out").glob("*"))
        assert run(*arguments) == 0
        (folder,) = set((tmp_path / "out").glob("*")) - before
        return folder

    monkeypatch.chdir(Path(__file__).parents[2])
    monkeypatch.setattr(reports, "draw_curves", lambda *args: None)
    return call


QUICK = ["data.planted.size=tiny", "opt.epochs=1", "metrics=ndcg@10", "model.embedding_size=8", "path.cache=null"]


def test_a_run_is_extended_by_a_view_and_its_old_weights_stay(train: Callable[..., Path], tmp_path: Path, capsys: Any):
    quick = [*QUICK, f"path.output={tmp_path / 'out'}"]
    old = train("ejrl", *quick, 'model.views={"review":{},"rating":{}}')
    new = train("ejrl", "--extend", str(old), "--view", "image")
    alone = train("ejrl", *quick, 'model.views={"image":{}}')
    models = [load_finished(folder, torch.device("cpu")).model for folder in (old, new, alone)]
    for name in ("review", "rating"):
        assert weights(models[1], name) == weights(models[0], name)
    assert weights(models[1], "image") == weights(models[2], "image")
    assert run("--resume", str(new)) == 0
    capsys.readouterr()

    def refused(*arguments: str) -> str:
        assert run(*arguments) == 2
        return capsys.readouterr().err

    assert "has this view" in refused("--extend", str(new), "--view", "image")
    assert "go together" in refused("--extend", str(new)) and "go together" in refused("ejrl", "--view", "image")
    assert "no view called 'imge'. Did you mean 'image'" in refused("--extend", str(old), "--view", "imge")
    changed = refused("--extend", str(old), "--view", "image", "data.split.seed=4")
    assert "data.split" in changed
    assert "eJRL" in refused("bprmf", "--extend", str(old), "--view", "image")


def test_views_that_the_data_chose_can_be_extended_too(train: Callable[..., Path], tmp_path: Path):
    quick = [*QUICK, f"path.output={tmp_path / 'out'}", "data.planted.image=false"]
    old = train("ejrl", *quick, "model.exclude_target=false")
    new = train("--extend", str(old), "--view", "second", 'model.views.second={"of":"rating"}')
    models = [load_finished(folder, torch.device("cpu")).model for folder in (old, new)]
    assert models[0].names == ["review", "rating"] and models[1].names == ["review", "rating", "second"]
    assert all(weights(models[0], name) == weights(models[1], name) for name in models[0].names)
    assert not models[1].config.exclude_target


# ------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"views": {"imag": {}}}, "no view called 'imag'. Did you mean 'image'"),
        ({"views": {"a.b": {"of": "image"}}}, "letters, digits and _"),
        ({"views": {"image": {"colum": "x"}}}, "image.colum: unknown key. Did you mean 'column'"),
        ({"views": {}}, "at least 1"),
    ],
)
def test_wrong_views_are_refused_with_the_nearest_name(given: dict[str, Any], said: str):
    with pytest.raises(ValidationError, match=said.replace(".", r"\.")):
        find_model("JRL").Config(**given)


def test_ejrl_refuses_an_average_and_to_train_nothing():
    with pytest.raises(ValidationError, match="an average couples the views"):
        find_model("eJRL").Config(merge="average")
    with pytest.raises(ValidationError, match="nothing to train"):
        find_model("eJRL").Config(views={"rating": {}}, frozen=("rating",))
    with pytest.raises(ValueError, match="frozen: no view called 'sound'"):
        built("eJRL", frozen=("sound",))


def test_data_without_what_a_view_reads_is_refused_in_a_sentence():
    data = few_rows()
    bare = replace(data, kinds={"thing": Rows(5)}, interactions=Interactions(USER, ITEM, np.zeros(5, np.int16)))
    for name, said in (("review", "texts: none"), ("image", "has none"), ("rating", "RATING_FIELD"), ("title", "none")):
        with pytest.raises(ValueError, match=rf"model\.views\.{name} needs .*{said}"):
            built(data=bare, views={name: {}})
    with pytest.raises(ValueError, match="JRL needs reviews, vectors of items or ratings"):
        built(data=bare)
    with pytest.raises(ValueError, match=r"model\.views\.image\.column: .*'sound'"):
        built(views={"image": {"column": "sound"}})
