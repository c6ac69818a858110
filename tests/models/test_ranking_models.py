"""BPRMF, LightGCN, WMF, EASE, ItemKNN and Popularity against their equations, with whole matrices and loops."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hrec.datasets.batches import Draw, Pairs
from hrec.datasets.histories import positive_history
from hrec.datasets.queries import Queries
from hrec.datasets.recdata import Interactions, RecData, Split, Table, TrainData
from hrec.models.base import BaseModel
from hrec.models.general import itemknn
from hrec.models.general.bprmf import BPRMF
from hrec.models.general.ease import EASE
from hrec.models.general.itemknn import ItemKNN
from hrec.models.general.lightgcn import LightGCN
from hrec.models.general.popularity import Popularity
from hrec.models.general.wmf import WMF
from hrec.models.layers import cooccurrence, least_squares
from hrec.models.layers.graph import Graph
from hrec.pipeline.evaluator import Evaluator
from hrec.pipeline.trainer import Trainer
from hrec.settings import OptSettings, RankingSettings

POSITIVES = {0: [0, 1, 3], 1: [4], 2: [0, 2, 3, 4], 3: [], 4: [0, 1]}
"""User 3 likes nothing, and nobody likes item 5."""
NEGATIVES = {0: [2], 1: [0, 5], 3: [1]}
PAIRS = list(product(range(5), range(6)))


def tiny(labelled: bool = True) -> RecData:
    rows = [(u, i, 1) for u, items in POSITIVES.items() for i in items]
    rows += [(u, i, 0) for u, items in NEGATIVES.items() for i in items] if labelled else []
    user, item, label = (np.array(a) for a in zip(*rows, strict=True))
    x = Interactions(user.astype(np.int32), item.astype(np.int32), (item >= 4).astype(np.int16))
    x = replace(x, label=label.astype(np.float32)) if labelled else x
    return TrainData(Table(5), {"book": Table(4), "film": Table(2, 4)}, x)


def many(users: int = 40, items: int = 30, seed: int = 0) -> RecData:
    """Likes of very different length, from none to nearly all."""
    rng = np.random.default_rng(seed)
    user, item = np.nonzero(rng.random((users, items)) < rng.random((users, 1)) ** 3)
    x = Interactions(user.astype(np.int32), item.astype(np.int32), np.zeros(len(user), np.int16))
    return TrainData(Table(users + 1), {"book": Table(items + 1)}, x)


def matrix(data: RecData) -> np.ndarray:
    """R, or X: 1 where a user likes an item."""
    out, x = np.zeros((data.n_users, data.n_items)), data.interactions
    positive = slice(None) if x.label is None else x.label > 0
    out[x.user[positive], x.item[positive]] = 1
    return out


def build(cls: type[BaseModel], data: RecData | None = None, **settings: Any) -> Any:
    """A model in float64 with weights of the order of 1."""
    model = cls(cls.Config(**settings), data or tiny()).double()
    with torch.no_grad():
        for index, p in enumerate(model.parameters()):
            p.copy_(torch.randn(p.shape, generator=torch.Generator().manual_seed(index)))
    return model


def solved(cls: type[BaseModel], data: RecData | None = None, **settings: Any) -> Any:
    model = build(cls, data, **settings)
    (stage,) = model.stages(data or tiny())
    stage.solve()
    return model


def array(weight: Tensor) -> np.ndarray:
    return weight.detach().numpy()


def close(a: Any, b: Any, within: float = 1e-9) -> None:
    np.testing.assert_allclose(
        a.detach().numpy() if isinstance(a, Tensor) else a,
        b.detach().numpy() if isinstance(b, Tensor) else b,
        rtol=within,
        atol=within,
    )


def every_score(model: BaseModel, data: RecData) -> np.ndarray:
    user, item = torch.meshgrid(torch.arange(data.n_users), torch.arange(data.n_items), indexing="ij")
    with torch.no_grad():
        return array(model.score(user.flatten(), item.flatten()).view(data.n_users, data.n_items))


def pairs(pool: int = 2) -> Pairs:
    """A row for each like, with ``pool`` other items."""
    user, positive = (torch.tensor(a) for a in zip(*[(u, i) for u in POSITIVES for i in POSITIVES[u]], strict=True))
    return Pairs(user, positive, (positive[:, None] + 1 + torch.arange(pool)) % 6)


def literal_bpr(score: np.ndarray, batch: Pairs) -> tuple[float, list[tuple[int, int, int]]]:
    """-ln sigmoid(x_ui - x_uj) for the negative j that scores highest, their mean; and the triples (u, i, j)."""
    triples = [
        (u, i, max(js, key=lambda j, u=u: score[u, j]))
        for u, i, js in zip(batch.user.tolist(), batch.positive.tolist(), batch.negative.tolist(), strict=True)
    ]
    return float(np.mean([-np.log(1 / (1 + np.exp(-(score[u, i] - score[u, j])))) for u, i, j in triples])), triples


each_pool = pytest.mark.parametrize("pool", [1, 3])


# ------------------------------------------------------------------------------------------ BPRMF


@each_pool
@pytest.mark.parametrize("biased", [False, True])
def test_bprmf_is_an_inner_product_and_its_loss_that_of_the_hardest_pairs(biased: bool, pool: int):
    model, batch = build(BPRMF, embedding_size=3, item_bias=biased, reg_weight=0.3), pairs(pool)
    p, q = array(model.users.weight), array(model.items.weight)
    b = array(model.bias.weight)[:, 0] if biased else np.zeros(6)
    expected = p @ q.T + b
    close(every_score(model, tiny()), expected)
    terms = model.loss(batch)
    value, triples = literal_bpr(expected, batch)
    close(terms["bpr"], value)
    bias = [b[i] ** 2 + b[j] ** 2 for _, i, j in triples]
    norm = [(p[u] ** 2).sum() + (q[i] ** 2).sum() + (q[j] ** 2).sum() for u, i, j in triples]
    close(terms["norm"], 0.15 * np.mean(np.add(norm, bias)))
    assert list(build(BPRMF, reg_weight=0).loss(batch)) == ["bpr"]


def test_the_first_vectors_of_bprmf_have_the_deviation_of_xavier_or_the_one_that_is_set():
    data = TrainData(Table(2000), {"book": Table(500)}, tiny().interactions)
    for settings, users, items in (({}, (2 / 2064) ** 0.5, (2 / 564) ** 0.5), ({"init_std": 0.3}, 0.3, 0.3)):
        model = BPRMF(BPRMF.Config(**settings), data)
        assert model.users.weight.std().item() == pytest.approx(users, rel=0.02)
        assert model.items.weight.std().item() == pytest.approx(items, rel=0.02)


@pytest.mark.parametrize("cls", [BPRMF, LightGCN])
def test_pairs_are_drawn_as_the_settings_say(cls: type[BaseModel]):
    model = build(cls, negatives={"pool": 3, "same_kind": False})
    (stage,) = model.stages(tiny())
    batches = list(stage.sampler.epoch(Draw(4, torch.Generator().manual_seed(0), torch.device("cpu"))))
    drawn = [(u, i, js) for b in batches for u, i, js in zip(b.user, b.positive, b.negative.tolist(), strict=True)]
    assert sorted((int(u), int(i)) for u, i, _ in drawn) == [(u, i) for u in POSITIVES for i in POSITIVES[u]]
    for u, _, js in drawn:
        assert len(js) == 3 and not {*POSITIVES[int(u)], *NEGATIVES.get(int(u), [])} & set(js)
    assert any(j >= 4 for _, i, js in drawn for j in js if i < 4)


# --------------------------------------------------------------------------------------- LightGCN


def literal_vectors(model: LightGCN, data: RecData, layers: int) -> np.ndarray:
    """Eq. 6 to 8: E of users above items, (E0 + A E0 + ... + A^K E0) / (K + 1), A = D^-1/2 [0 R; R^T 0] D^-1/2."""
    r = matrix(data)
    a = np.block([[np.zeros((len(r), len(r))), r], [r.T, np.zeros((r.shape[1], r.shape[1]))]])
    root = np.sqrt(a.sum(1))
    a = np.divide(a, np.outer(root, root), out=np.zeros_like(a), where=a > 0)
    e0 = np.concatenate([array(model.users), array(model.items)])
    return np.mean([np.linalg.matrix_power(a, k) @ e0 for k in range(layers + 1)], axis=0)


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("labelled", [True, False])
def test_a_score_of_lightgcn_is_that_of_its_matrix_form(layers: int, labelled: bool):
    data = tiny(labelled)
    model = build(LightGCN, data, embedding_size=3, n_layers=layers)
    e = literal_vectors(model, data, layers)
    close(every_score(model, data), e[:5] @ e[5:].T, within=1e-6)  # the weights of the edges are float32
    close(model.user_vectors(torch.tensor([3])), array(model.users)[[3]] / (layers + 1))
    close(model.item_vectors(torch.tensor([5])), array(model.items)[[5]] / (layers + 1))


@each_pool
def test_the_loss_of_lightgcn_is_bpr_and_the_norm_of_the_first_vectors(pool: int):
    model, batch = build(LightGCN, embedding_size=3, reg_weight=0.3), pairs(pool)
    e = literal_vectors(model, tiny(), 3)
    value, triples = literal_bpr(e[:5] @ e[5:].T, batch)
    terms, u, i = model.loss(batch), array(model.users), array(model.items)
    close(terms["bpr"], value, within=1e-6)
    close(
        terms["norm"],
        0.15 * np.mean([(u[a] ** 2).sum() + (i[b] ** 2).sum() + (i[c] ** 2).sum() for a, b, c in triples]),
    )
    assert list(build(LightGCN, reg_weight=0).loss(batch)) == ["bpr"]


def test_the_gradient_of_a_step_over_the_graph_agrees_with_finite_differences():
    graph = Graph(positive_history(tiny())).double()
    tables = [torch.randn(n, 2, dtype=torch.float64).requires_grad_() for n in (5, 6)]
    assert torch.autograd.gradcheck(graph, tables)


def test_lightgcn_walks_the_graph_once_for_an_evaluation_and_again_once_the_weights_have_moved(board: Split):
    model, walks = LightGCN(LightGCN.Config(), board.train), []
    walk = model.propagated

    def counted() -> tuple[Tensor, Tensor]:
        walks.append(model.training)
        return walk()

    model.propagated = counted
    evaluator = Evaluator(["auc", "recall@5"], ranking=(RankingSettings(eval_memory_mb=1), board))
    seen = []

    def look(m: BaseModel) -> dict[str, float]:
        measured = evaluator.measure(m, board.valid)
        seen.append(walks.count(False))
        with torch.no_grad():
            assert torch.equal(model.vectors()[0], walk()[0])
        return measured

    opt = {"hyper_params": {"lr": 0.01}, "epochs": 4, "batch_size": 64, "early_stop": None}
    Trainer(OptSettings.model_validate(opt), 0, look).fit(model, board.train)
    assert seen == [1, 2, 3, 4] and walks.count(True) >= 4


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.load_state_dict({name: p + 1 for name, p in m.state_dict().items()}),
        lambda m: m.users.add_(1.0),
        lambda m: m.double(),
    ],
    ids=["load_state_dict", "in place", "double"],
)
def test_vectors_that_were_kept_are_those_of_the_weights(change: Callable[[LightGCN], Any]):
    model, user = LightGCN(LightGCN.Config(), tiny()).eval(), torch.arange(5)
    with torch.no_grad():
        before = model.user_vectors(user)
        assert model.vectors()[0] is model.vectors()[0]
        change(model)
        after = model.user_vectors(user)
        assert torch.equal(after, model.propagated()[0])
        assert after.dtype != before.dtype or not torch.equal(after, before)


# -------------------------------------------------------------------------------------------- WMF


def dense_solution(r: np.ndarray, v: np.ndarray, a: float, b: float, l2: float | np.ndarray) -> np.ndarray:
    """DualNet's Eq. 2, row by row: (V^T C_i V + l I)^-1 V^T C_i r_i, the columns of its V being rows here."""
    out = []
    for row, weight in zip(r, np.broadcast_to(l2, len(r)), strict=True):
        c = np.diag(np.where(row > 0, a, b))
        out.append(np.linalg.solve(v.T @ c @ v + weight * np.eye(v.shape[1]), v.T @ c @ row))
    return np.array(out)


def weights_of_norms(model: WMF, r: np.ndarray, l2: float) -> np.ndarray:
    """l (c_i / c)^l_exponent of the rows of R, where c_i is the sum of C over the row; l of a row without a cell."""
    c = model.config
    weight, positive = np.where(r > 0, c.a, c.b).sum(1), r.any(1)
    return np.where(positive, l2 * (weight / weight[positive].mean()) ** c.l_exponent, l2)


def dense_objective(model: WMF, r: np.ndarray) -> float:
    """DualNet's Eq. 1, over every cell."""
    c, u, v = model.config, array(model.users.weight), array(model.items.weight)
    fit = (np.where(r > 0, c.a, c.b) * (r - u @ v.T) ** 2).sum()
    of_users, of_items = weights_of_norms(model, r, c.l_u), weights_of_norms(model, r.T, c.l_v)
    return fit + of_users @ (u**2).sum(1) + of_items @ (v**2).sum(1)


WEIGHTS = [(1.0, 0.01), (2.0, 0.0), (0.3, 0.3), (0.5, 0.1)]
each_weight = pytest.mark.parametrize(("a", "b"), WEIGHTS)
each_width = pytest.mark.parametrize("width", [2, 9, 64])
"""Narrower than most histories, in the middle of them, wider than all."""
each_exponent = pytest.mark.parametrize("l_exponent", [0.0, 1.5])


@each_weight
@each_width
@each_exponent
@pytest.mark.parametrize("budget", [2**15, 50, 1])
def test_a_half_sweep_of_wmf_is_the_dense_solution(
    a: float, b: float, width: int, l_exponent: float, budget: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(least_squares, "BUDGET", budget)
    data = many()
    model = build(WMF, data, embedding_size=width, a=a, b=b, l_u=0.3, l_v=0.7, l_exponent=l_exponent)
    r = matrix(data)
    of_users, of_items = weights_of_norms(model, r, 0.3), weights_of_norms(model, r.T, 0.7)
    assert len(set(of_users)) > 5 if l_exponent and a != b else set(of_users.round(12)) == {0.3}
    model.solve_users()
    close(model.users.weight, dense_solution(r, array(model.items.weight), a, b, of_users), within=1e-8)
    model.solve_items()
    close(model.items.weight, dense_solution(r.T, array(model.users.weight), a, b, of_items), within=1e-8)
    close(model.objective(), dense_objective(model, r))


@each_width
def test_in_float32_a_sweep_of_wmf_is_within_rounding_of_the_dense_one(width: int):
    data = many(users=150, items=200)
    model, r = WMF(WMF.Config(embedding_size=width, init_std=0.3), data), matrix(data)
    for _ in range(3):
        loss = model.solve()
    before = array(model.users.weight).astype(np.float64), array(model.items.weight).astype(np.float64)
    model.solve_users()
    close(model.users.weight, dense_solution(r, before[1], 1, 0.01, 1), within=2e-5)
    model.users.weight.data.copy_(torch.from_numpy(before[0]))
    assert loss == pytest.approx(dense_objective(model, r), rel=1e-6)


@pytest.mark.parametrize("cg_steps", [None, 1, 3])
@each_weight
@each_exponent
def test_no_half_sweep_of_wmf_raises_the_objective(a: float, b: float, cg_steps: int | None, l_exponent: float):
    data = many()
    settings = dict(embedding_size=7, a=a, b=b, l_u=0.2, l_v=0.1, cg_steps=cg_steps, l_exponent=l_exponent)
    model = build(WMF, data, **settings)
    values = [model.objective()]
    for _ in range(6):
        for half in (model.solve_users, model.solve_items):
            half()
            values.append(model.objective())
    assert all(after <= before * (1 + 1e-12) for before, after in pairwise(values))
    assert values[-1] < 0.9 * values[0]


@each_weight
@each_exponent
@pytest.mark.parametrize("together", [2**24, 30, 1])
def test_conjugate_gradients_come_to_the_exact_solution(
    a: float, b: float, l_exponent: float, together: int, monkeypatch: pytest.MonkeyPatch
):
    """All rows at once, four at a time (the last piece has fewer), and one by one."""
    monkeypatch.setattr(least_squares, "TOGETHER", together)
    data = many()
    settings = dict(embedding_size=7, a=a, b=b, l_exponent=l_exponent)
    exact, steps = (build(WMF, data, cg_steps=n, **settings) for n in (None, 30))
    for model in (exact, steps):
        model.solve()
    close(steps.users.weight, exact.users.weight, within=1e-6)
    close(steps.items.weight, exact.items.weight, within=1e-6)
    close(steps.objective(), dense_objective(steps, matrix(data)))
    rough = build(WMF, data, cg_steps=1, **settings)
    rough.solve()
    assert a == b or not np.allclose(array(rough.users.weight), array(exact.users.weight), atol=1e-3)


def test_who_has_no_row_gets_the_vector_0_from_wmf():
    for cg_steps, l_exponent in product((None, 20), (0.0, 2.0)):
        model = solved(WMF, cg_steps=cg_steps, b=0.01 if l_exponent == 0 else 0.0, l_exponent=l_exponent)
        zero = [(model.users.weight[3] == 0).all(), (model.items.weight[5] == 0).all()]
        close(np.array(zero), 1) if cg_steps is None else close(model.users.weight[3], np.zeros(64), within=1e-8)


@pytest.mark.parametrize("budget", [1, 7, 1000])
def test_batches_of_rows_hold_every_cell_once_and_keep_to_the_budget(budget: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(least_squares, "BUDGET", budget)
    data = many()
    model, seen = build(WMF, data), set()
    for row, index in least_squares.padded(model.of_user, none=data.n_items):
        length = (index < data.n_items).sum(1)
        assert index.numel() <= budget or len(row) == 1
        assert length.max() == index.shape[1] and length.min() > 0.7 * index.shape[1]
        for u, items in zip(row.tolist(), index.tolist(), strict=True):
            cells = {(u, i) for i in items if i < data.n_items}
            assert not cells & seen
            seen |= cells
    assert seen == set(zip(*np.nonzero(matrix(data)), strict=True))


# ------------------------------------------------------------------------------------------- EASE


@pytest.mark.parametrize("data", [tiny(), tiny(labelled=False), many()], ids=["labelled", "implicit", "many"])
def test_each_column_of_ease_is_the_ridge_regression_of_an_item_on_the_others(data: RecData):
    model, x = solved(EASE, data, l2=0.7), matrix(data)
    expected = np.zeros((data.n_items, data.n_items))
    for i in range(data.n_items):
        others = np.arange(data.n_items) != i
        left = x[:, others]
        expected[others, i] = np.linalg.solve(left.T @ left + 0.7 * np.eye(data.n_items - 1), left.T @ x[:, i])
    close(model.weight, expected)
    close(every_score(model, data), x @ expected)
    close(model.solve(), ((x - x @ expected) ** 2).sum() / len(x), within=1e-7)


@pytest.mark.parametrize("l2", [1e-45, 1e-12, 1e38, 1e300])
def test_ease_names_the_setting_of_a_system_that_cannot_be_solved(l2: float):
    data = tiny()
    twice = data.interactions.take(data.interactions.item == 0)  # two items that the same users like: a singular matrix
    rows = [replace(twice, item=np.full_like(twice.item, item)) for item in (0, 1)]
    both = replace(
        rows[0], **{f: np.concatenate([getattr(r, f) for r in rows]) for f in ("user", "item", "kind", "label")}
    )
    model = EASE(EASE.Config(l2=l2), data.with_interactions(both))
    with pytest.raises(FloatingPointError, match=rf"model\.l2={re.escape(f'{l2:g}')} cannot be worked with"):
        model.solve()


def test_ease_refuses_more_items_than_memory_is_allowed_for():
    wide = replace(tiny(), kinds={"book": Table(20_000)})
    with pytest.raises(ValueError, match=r"20,000 items need 4,800 MB, and model.memory_mb allows 4,096"):
        EASE(EASE.Config(), wide)
    assert EASE(EASE.Config(memory_mb=1), tiny()).weight.shape == (6, 6)


# ---------------------------------------------------------------------------------------- ItemKNN


def literal_neighbours(x: np.ndarray, k: int, shrink: float) -> np.ndarray:
    """s_ij in row i, 0 where j is none of the k items most like i."""
    n, count = x.shape[1], x.sum(0)
    s = np.zeros((n, n))
    for i, j in product(range(n), repeat=2):
        if i != j and count[i] and count[j]:
            s[i, j] = (x[:, i] @ x[:, j]) / (np.sqrt(count[i] * count[j]) + shrink)
    for row in s:
        row[np.argsort(-row)[k:]] = 0
    return s


@pytest.mark.parametrize("cells", [2**25, 40])
@pytest.mark.parametrize(("k", "shrink"), [(100, 0.0), (2, 0.0), (1, 3.0), (3, 3.0)])
def test_a_score_of_itemknn_is_the_sum_of_cosines_to_neighbours_that_the_user_likes(
    k: int, shrink: float, cells: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(cooccurrence, "CELLS", cells)
    data = distinct()
    model, x = solved(ItemKNN, data, neighbours=k, shrink=shrink), matrix(data)
    close(every_score(model, data), x @ literal_neighbours(x, k, shrink).T)


def test_of_equally_alike_items_the_first_are_neighbours():
    """Every user likes all of 30 items, so that each is as much like each other."""
    user, item = (a.ravel().astype(np.int32) for a in np.indices((4, 30)))
    data = TrainData(Table(4), {"book": Table(30)}, Interactions(user, item, np.zeros(120, np.int16)))
    neighbour = solved(ItemKNN, data, neighbours=3).neighbour
    assert neighbour[0].tolist() == [1, 2, 3] and neighbour[1].tolist() == [0, 2, 3]
    assert neighbour[20].tolist() == [0, 1, 2]


def test_cosines_that_are_equal_as_fractions_are_equal():
    """3 / sqrt(6 * 3) and 1 / sqrt(2 * 1) are the root of a half; item 0 is as much like item 1 as like item 2."""
    likes = {0: range(6), 1: (0, 1, 2), 2: (0, 1, 2), 3: (10, 11), 4: (10,), 5: (11,)}
    user, item = (np.array(a, np.int32) for a in zip(*((u, i) for i, who in likes.items() for u in who), strict=True))
    data = TrainData(Table(12), {"book": Table(6)}, Interactions(user, item, np.zeros(len(user), np.int16)))
    model = solved(ItemKNN, data, neighbours=2)
    assert model.neighbour[0].tolist() == [1, 2] and model.neighbour[3].tolist() == [4, 5]
    assert len({*model.similarity[0].tolist(), *model.similarity[3].tolist()}) == 1


def distinct() -> RecData:
    """Likes without a tie among the cosines of an item, so that there is one answer to which are the largest."""
    for seed in range(100):
        data = many(users=60, items=8, seed=seed)
        s = literal_neighbours(matrix(data), 100, 0.0)
        if all(len({round(v, 9) for v in row if v}) == np.count_nonzero(row) for row in s):
            return data
    raise AssertionError


def test_cosines_of_the_tiny_data_by_hand():
    """Items 0 and 1 have users {0, 2, 4} and {0, 4}: 2 / sqrt(3 * 2). Item 3 has {0, 2}: 2 / sqrt(3 * 2), 1 / 2."""
    model = solved(ItemKNN, neighbours=2)
    score = every_score(model, tiny())
    assert model.neighbour[1].tolist() == [0, 3]
    close(score[4, 1], 2 / 6**0.5)
    close(score[0, 1], 2 / 6**0.5 + 1 / 2)
    assert (score[3] == 0).all() and (score[:, 5] == 0).all()


# ------------------------------------------------------------------------------------- Popularity


def test_popularity_counts_who_likes_an_item():
    model = solved(Popularity)
    close(every_score(model, tiny()), [[3, 2, 1, 2, 2, 0]] * 5)


def test_popularity_within_a_kind_is_a_share_of_it():
    model = solved(Popularity, per_kind=True)
    close(every_score(model, tiny()), [[3 / 8, 2 / 8, 1 / 8, 2 / 8, 1, 0]] * 5, within=1e-7)


# ------------------------------------------------------------------------------- what they share


@pytest.mark.parametrize("cls", [BPRMF, LightGCN, WMF, EASE, ItemKNN, Popularity])
def test_a_ranker_scores_as_score_does(cls: type[BaseModel], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(itemknn, "USERS", 3)
    for data in (tiny(), many()):
        model = solved(cls, data) if "solve" in cls.stage_groups else build(cls, data)
        with torch.no_grad():
            ranked = model.ranker()(Queries(torch.arange(data.n_users).flip(0)))
        close(array(ranked)[::-1], every_score(model, data), within=1e-6)


@pytest.mark.parametrize("cells", [1, 40, 2**25])
def test_cooccurrences_are_the_product_of_the_matrix_with_itself(cells: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cooccurrence, "CELLS", cells)
    data = many()
    found = list(cooccurrence.cooccurrences(positive_history(data)))
    assert [i for here, _ in found for i in range(here.start, here.stop)] == list(range(data.n_items))
    x = matrix(data)
    close(np.concatenate([rows.toarray() for _, rows in found]), x.T @ x)


@pytest.mark.parametrize("cls", [EASE, ItemKNN, Popularity, WMF])
def test_data_in_which_nobody_likes_anything_can_be_solved(cls: type[BaseModel]):
    nothing = tiny().with_interactions(
        replace(tiny().interactions, label=np.zeros(len(tiny().interactions), np.float32))
    )
    assert (every_score(solved(cls, nothing), nothing) == 0).all()
