"""DCNv2, FinalMLP and DIN against a literal reading of their equations in numpy, and pretrained vectors of items."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from hrec.datasets.batches import Points
from hrec.datasets.columns import Dense, Numeric
from hrec.datasets.queries import Queries, UnknownUserError
from hrec.datasets.recdata import Feedback, Interactions, Table, TrainData
from hrec.datasets.sequences import SequenceBatch, Sequences
from hrec.models import find_model
from hrec.models.context.dcnv2 import cross
from hrec.models.context.din import ActivationUnit, masked_softmax, without_one
from hrec.models.context.finalmlp import Fusion, Gate
from hrec.models.layers.deep import BatchNorm, Deep, Dice
from hrec.models.layers.pretrained import principal_components

NAMES = ("DCNv2", "FinalMLP", "DIN")
USERS, ITEMS, WIDTH = 4, 7, 3
ROWS = {0: [3, 1, 4, 1, 5], 1: [2, 6], 2: [4]}
SMALL: dict[str, dict[str, Any]] = {
    "DCNv2": {"cross_layers": 2, "mlp_hidden_size": [5, 4]},
    "FinalMLP": {"mlp1_hidden_size": [6], "mlp2_hidden_size": [5, 4], "num_heads": 2, "gate_hidden_size": [3]},
    "DIN": {"attention_hidden_size": [4], "mlp_hidden_size": [5], "max_length": 3},
}


def made(**columns: Any) -> TrainData:
    pairs = [(u, i, 1) for u, items in ROWS.items() for i in items] + [(0, 6, 0), (2, 0, 0)]
    user, item, label = (np.array(a) for a in zip(*pairs, strict=True))
    ids = (user.astype(np.int32), item.astype(np.int32), np.zeros(len(pairs), np.int16))
    x = Interactions(*ids, label.astype(np.float32), time=np.arange(len(pairs)) + 0.0)
    users = {"age": Numeric(np.array([20, 30, 40, 50], np.float32))}
    return TrainData(Table(USERS, 0, users), {"film": Table(ITEMS, 0, columns)}, x, feedback=Feedback("01"))


def model_of(name: str, data: TrainData | None = None, **settings: Any) -> Any:
    """In float64 and evaluation, with statistics and weights that all matter."""
    cls = find_model(name)
    torch.manual_seed(0)
    config = cls.Config(**{"embedding_size": WIDTH, "init_std": 0.5} | SMALL[name] | settings)
    return randomised(cls(config, data or made()).double())


def randomised(module: nn.Module) -> Any:
    for weight in module.parameters():
        if weight.dim() == 1:
            nn.init.normal_(weight)
    for norm in (m for m in module.modules() if isinstance(m, BatchNorm)):
        nn.init.normal_(norm.running_mean)
        nn.init.uniform_(norm.running_var, 0.5, 2)
    return module.double().eval()


# --------------------------------------------------------------------------------------- literal readings


def array(x: torch.Tensor) -> np.ndarray:
    return x.detach().numpy()


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def softmax(x: np.ndarray) -> np.ndarray:
    return np.exp(x) / np.exp(x).sum()


def linear(layer: Any, x: np.ndarray) -> np.ndarray:
    return array(layer.weight) @ x + (0 if layer.bias is None else array(layer.bias))


def normed(norm: Any, x: np.ndarray) -> np.ndarray:
    y = (x - array(norm.running_mean)) / np.sqrt(array(norm.running_var) + norm.eps)
    return y if norm.weight is None else y * array(norm.weight) + array(norm.bias)


def dice(layer: Any, x: np.ndarray) -> np.ndarray:
    p = sigmoid(normed(layer.norm, x))
    return p * x + (1 - p) * array(layer.alpha) * x


def deep(mlp: Any, x: np.ndarray) -> np.ndarray:
    """One row."""
    for layer in mlp.layers:
        if isinstance(layer, nn.Linear):
            x = linear(layer, x)
        elif isinstance(layer, BatchNorm):
            x = normed(layer, x)
        elif isinstance(layer, Dice):
            x = dice(layer, x)
        elif isinstance(layer, nn.ReLU):
            x = np.maximum(x, 0)
    return x


def user_fields(model: Any, user: int) -> np.ndarray:
    """[user id, standardised age]"""
    table = array(model.fields.table.weight)
    age = (np.array([20, 30, 40, 50]) - 35) / np.sqrt(125)
    return np.concatenate([table[user], np.float32(age[user]) * table[USERS + 1]])


def item_fields(model: Any, item: int) -> np.ndarray:
    return array(model.fields.table.weight)[USERS + 2 + item]


def fields_of(model: Any, user: int, item: int) -> np.ndarray:
    return np.concatenate([user_fields(model, user), item_fields(model, item)])


# ----------------------------------------------------------------------------------------------- layers


def test_dice_measures_the_batch_in_training_and_keeps_what_it_measured():
    layer, x = Dice(2).double(), torch.tensor([[1.0, -2], [3, 4], [5, 1]], dtype=torch.float64)
    nn.init.constant_(layer.alpha, 0.3)
    y = array(x)
    p = sigmoid((y - y.mean(0)) / np.sqrt(y.var(0) + 1e-9))
    np.testing.assert_allclose(array(layer(x)), p * y + (1 - p) * 0.3 * y, rtol=1e-6)
    layer.eval()
    np.testing.assert_allclose(array(layer(x[:1]))[0], dice(layer, y[0]), rtol=1e-9)


@pytest.mark.parametrize("activation", ["relu", "dice"])
def test_a_perceptron_is_linear_normalised_activated_and_takes_any_number_of_rows(activation: Any):
    mlp = randomised(Deep([3, 4, 2], activation, batch_norm=True))
    x = torch.randn(5, 3, dtype=torch.float64)
    np.testing.assert_allclose(array(mlp(x)), [deep(mlp, row) for row in array(x)], rtol=1e-9)
    mlp.train()
    assert mlp(x[:1]).shape == (1, 2) and mlp(x[:0]).shape == (0, 2)  # no deviation to divide by


@pytest.mark.parametrize(("rank", "experts"), [(None, None), (2, None), (2, 3)])
def test_a_cross_is_that_of_the_equation(rank: int | None, experts: int | None):
    torch.manual_seed(0)
    layer = randomised(cross(4, rank, experts))
    first, x = (torch.randn(2, 4, dtype=torch.float64) for _ in range(2))
    for row, (x0, xl) in enumerate(zip(array(first), array(x), strict=True)):
        if rank is None:
            expected = x0 * linear(layer.linear, xl) + xl
        elif experts is None:
            v, u = layer.linear
            expected = x0 * linear(u, linear(v, xl)) + xl
        else:
            v, c, u, b = (array(w) for w in (layer.v, layer.c, layer.u, layer.bias))
            gate = softmax(array(layer.gate.weight) @ xl)
            each = [x0 * (u[k].T @ np.tanh(c[k].T @ np.tanh(v[k].T @ xl)) + b) for k in range(experts)]
            expected = sum(g * e for g, e in zip(gate, each, strict=True)) + xl
        np.testing.assert_allclose(array(layer(first, x))[row], expected, rtol=1e-6)


def literal_fusion(fusion: Any, x: np.ndarray, y: np.ndarray) -> float:
    total = linear(fusion.of_first, x)[0] + linear(fusion.of_second, y)[0]
    parts = zip(np.split(x, fusion.heads), np.split(y, fusion.heads), array(fusion.weight), strict=True)
    return total + sum(
        x_k[i] * w[i, j] * y_k[j] for x_k, y_k, w in parts for i in range(len(x_k)) for j in range(len(y_k))
    )


def test_the_fusion_is_bilinear_in_each_head():
    fusion = randomised(Fusion(6, 4, 2))
    x, y = torch.randn(3, 6, dtype=torch.float64), torch.randn(3, 4, dtype=torch.float64)
    expected = [literal_fusion(fusion, a, b) for a, b in zip(array(x), array(y), strict=True)]
    np.testing.assert_allclose(array(fusion(x, y)), expected, rtol=1e-6)


def literal_gate(gate: Any, x: np.ndarray) -> np.ndarray:
    context = x[array(gate.at)] if gate.vector is None else array(gate.vector)
    return 2 * sigmoid(linear(gate.last, deep(gate.mlp, context)))


@pytest.mark.parametrize("number", [[0, 2], []])
def test_a_gate_reads_the_fields_of_its_context_or_a_vector(number: list[int]):
    gate, x = randomised(Gate(number, 2, (3,), 6)), torch.randn(2, 6, dtype=torch.float64)
    np.testing.assert_allclose(array(gate(x)), [literal_gate(gate, row) for row in array(x)], rtol=1e-6)
    assert gate.at.tolist() == ([0, 1, 4, 5] if number else [])


def literal_unit(unit: Any, target: np.ndarray, history: list[np.ndarray]) -> np.ndarray:
    if not history:
        return np.zeros_like(target)
    inputs = [np.concatenate([target, v, target - v, target * v]) for v in history]
    weight = np.array([linear(unit.last, deep(unit.mlp, x))[0] for x in inputs])
    weight = softmax(weight) if unit.softmax else weight
    return sum(w * v for w, v in zip(weight, history, strict=True))


@pytest.mark.parametrize("softmax_of", [False, True])
@pytest.mark.parametrize("activation", ["relu", "dice"])
def test_the_activation_unit_pools_what_is_no_padding(activation: Any, softmax_of: bool):
    torch.manual_seed(0)
    unit = randomised(ActivationUnit(2, (3,), activation, 0.0, softmax_of))
    target = torch.randn(3, 2, dtype=torch.float64)
    mask = torch.tensor([[0, 1, 1], [0, 0, 0], [1, 1, 1]]).bool()
    entries = torch.randn(5, 2, dtype=torch.float64)
    found = array(unit(target, entries, mask))
    histories = [array(entries[:2]), [], array(entries[2:])]
    for row, history in enumerate(histories):
        np.testing.assert_allclose(found[row], literal_unit(unit, array(target[row]), list(history)), rtol=1e-6)


def test_a_masked_logit_counts_nothing_however_small_the_others_are():
    mask = torch.tensor([[False, True, True], [False, False, False]])
    torch.testing.assert_close(masked_softmax(torch.tensor([-2e9, -2e9]), mask), torch.tensor([0.5, 0.5]))


# ----------------------------------------------------------------------------------------------- models


def literal_dcnv2(model: Any, user: int, item: int) -> float:
    first = x = fields_of(model, user, item)
    for layer in model.crosses:
        x = first * linear(layer.linear, x) + x
    x = deep(model.mlp, x) if model.config.stacked else np.concatenate([x, deep(model.mlp, first)])
    return linear(model.last, x)[0]


def literal_finalmlp(model: Any, user: int, item: int) -> float:
    x = fields_of(model, user, item)
    gates = [1, 1] if model.gates is None else [literal_gate(gate, x) for gate in model.gates]
    return literal_fusion(model.fusion, *(deep(s, g * x) for s, g in zip(model.streams, gates, strict=True)))


NEWEST = {0: [4, 1, 5], 1: [2, 6], 2: [4], 3: []}
"""The newest three distinct positives, oldest first."""


def literal_din(model: Any, user: int, item: int, history: list[int] | None = None) -> float:
    target = item_fields(model, item)
    items = NEWEST[user] if history is None else history
    interest = literal_unit(model.attention, target, [item_fields(model, i) for i in items])
    return linear(model.last, deep(model.mlp, np.concatenate([user_fields(model, user), target, interest])))[0]


@pytest.mark.parametrize(
    ("name", "literal", "settings"),
    [
        ("DCNv2", literal_dcnv2, {}),
        ("DCNv2", literal_dcnv2, {"stacked": True, "batch_norm": True}),
        ("FinalMLP", literal_finalmlp, {"batch_norm": True}),
        ("FinalMLP", literal_finalmlp, {"context1": [], "context2": ["age", "item id"]}),
        ("FinalMLP", literal_finalmlp, {"feature_selection": False, "num_heads": 1}),
        ("DIN", literal_din, {}),
        ("DIN", literal_din, {"softmax": True, "attention_activation": "relu", "activation": "relu"}),
    ],
)
def test_a_score_is_that_of_the_equation(name: str, literal: Any, settings: dict[str, Any]):
    model = model_of(name, **settings)
    pairs = [(0, 2), (0, 5), (1, 6), (2, 0), (3, 3)]
    score = model.score(*torch.tensor(pairs).T)
    np.testing.assert_allclose(array(score), [literal(model, u, i) for u, i in pairs], rtol=1e-6)


def test_the_norm_is_that_of_all_vectors_of_fields():
    model = model_of("DCNv2", reg_weight=0.3)
    batch = Points(torch.tensor([0, 1]), torch.tensor([1, 2]), torch.tensor([1.0, 0.0], dtype=torch.float64))
    table = array(model.fields.table.weight)
    assert model.loss(batch)["norm"].item() == pytest.approx(0.15 * (table**2).sum())
    assert "norm" not in model_of("DCNv2").loss(batch)


# ------------------------------------------------------------------------------------ the history of DIN


def test_in_training_every_pair_loses_one_item_its_own_where_it_is_there():
    item = torch.tensor([[0, 3, 1, 5], [0, 0, 2, 6], [0, 0, 0, 0]])
    mask = torch.tensor([[0, 1, 1, 1], [0, 0, 1, 1], [0, 0, 0, 0]]).bool()
    history, left = SequenceBatch(item, torch.zeros_like(item), mask), set()
    for seed in range(30):
        torch.manual_seed(seed)
        kept = without_one(history, torch.tensor([1, 4, 0]))
        assert kept[0].tolist() == [False, True, False, True] and not kept[2].any()
        assert kept[1].sum() == 1 and not kept[1, :2].any()
        left.add(int(kept[1].nonzero()))
    assert left == {2, 3}


def test_the_loss_of_a_pair_does_not_know_that_its_item_is_a_positive():
    model = model_of("DIN", max_length=4)
    batch = Points(torch.tensor([0]), torch.tensor([1]), torch.tensor([1.0], dtype=torch.float64))
    expected = np.log1p(np.exp(-literal_din(model, 0, 1, [3, 4, 5])))  # 3 4 1 5 without 1
    assert model.loss(batch)["bce"].item() == pytest.approx(expected, rel=1e-6)


def test_a_history_of_a_known_user_replaces_that_of_training_and_an_unknown_one_is_refused():
    model, data = model_of("DIN"), made()
    rows = Interactions(
        np.array([0, 0, 0], np.int32),
        np.array([2, 0, 6], np.int32),
        np.zeros(3, np.int16),
        np.array([1, 0, 1], np.float32),
        time=np.array([1.0, 2.0, 3.0]),
    )
    history = Sequences.of(data, rows, 1)
    scores = array(model.ranker()(Queries(torch.tensor([2]), history))[0])
    np.testing.assert_allclose(scores, [literal_din(model, 2, i, [2, 6]) for i in range(ITEMS)], rtol=1e-6)
    with pytest.raises(UnknownUserError):
        model.ranker()(Queries(torch.tensor([-1]), history))


# -------------------------------------------------------------------------------------- pretrained vectors


def vectors(width: int = 5) -> np.ndarray:
    value = np.random.default_rng(0).normal(size=(ITEMS, width)).astype(np.float32)
    value[6] = np.nan
    return value


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("mode", ["sum", "concat"])
def test_pretrained_vectors_are_mapped_and_added_or_put_behind(name: str, mode: str):
    model = model_of(name, made(vec=Dense(vectors())), pretrained={"column": "vec", "mode": mode})
    item, adapter = torch.tensor([2, 6]), model.pretrained.adapter
    own = array(model.fields.of("item", item).flatten(1))
    x = vectors()[2] / np.linalg.norm(vectors()[2])
    mapped = np.stack([array(adapter.maps[0].weight) @ x, array(adapter.missing)])
    expected = np.concatenate([own, mapped], 1) if mode == "concat" else own + mapped
    np.testing.assert_allclose(array(model.items(item)), expected, rtol=1e-6)
    assert own.shape == (2, WIDTH) and "vec" not in "".join(model.remarks)  # the column is no field as well
    assert torch.isfinite(model.score(item % USERS, item)).all()
    batch = Points(item % USERS, item, torch.tensor([1.0, 0.0], dtype=torch.float64))
    sum(model.loss(batch).values()).backward()
    assert adapter.maps[0].weight.grad.any() and adapter.missing.grad.any()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("width", [2, WIDTH, 5])
def test_the_vectors_of_items_may_begin_as_pretrained_ones(name: str, width: int):
    data = made(vec=Dense(vectors(width)))
    model = model_of(name, data, pretrained={"column": "vec", "mode": "init"})
    plain = model_of(name)
    rows, before = (array(m.fields.table.weight)[USERS + 2 :][:ITEMS] for m in (model, plain))
    x = principal_components(torch.from_numpy(vectors(width)[:6]), WIDTH, 0.5).numpy()
    np.testing.assert_allclose(rows[:6, : x.shape[1]], x, rtol=1e-5)
    np.testing.assert_array_equal(rows[6], before[6])  # without a vector
    assert [n for n, _ in model.named_parameters()] == [n for n, _ in plain.named_parameters()]


def test_principal_components_keep_distances_as_well_as_so_many_numbers_can():
    rng = np.random.default_rng(1)
    flat = rng.normal(size=(20, 2)) @ rng.normal(size=(2, 6)) + 5  # a plane in six dimensions
    y = principal_components(torch.from_numpy(flat), 2, 0.1).numpy()
    assert y.std() == pytest.approx(0.1) and abs(y.mean(0)).max() < 1e-12
    before, after = (np.linalg.norm(a[:, None] - a, axis=2) for a in (flat, y))
    np.testing.assert_allclose(after / after.max(), before / before.max(), atol=1e-9)
    assert not principal_components(torch.ones(3, 4), 2, 0.1).any()


def test_settings_that_do_not_fit_the_data_or_each_other_are_refused():
    column = {"column": "age"}
    with pytest.raises(ValueError, match=r"^model\.pretrained\.column: no kind of item has a column 'age'"):
        model_of("DIN", pretrained=column)
    with pytest.raises(ValueError, match="set ids to true"):
        find_model("DIN").Config(ids=False, pretrained=column)
    with pytest.raises(ValueError, match=r"^model\.context1: no field 'country'\. Fields: user id, age, item id"):
        model_of("FinalMLP", context1=["country"])
    with pytest.raises(ValueError, match=r"mlp2_hidden_size must be a multiple of num_heads, got 7"):
        find_model("FinalMLP").Config(mlp2_hidden_size=[7])
    with pytest.raises(ValueError, match="of low rank; set 'rank'"):
        find_model("DCNv2").Config(experts=2)


def test_the_order_of_a_repeated_item_is_that_of_its_newest_row():
    data = made()
    x = data.interactions
    again = replace(data, interactions=x.take(np.flatnonzero(x.user == 0)))
    model = model_of("DIN", again)
    assert model.histories(torch.tensor([0])).item.tolist() == [3, 4, 1, 5]
