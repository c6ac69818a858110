"""CCCF and DDTCDR against their equations, read literally pair by pair in double precision, and what they share."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from hrec.datasets.batches import Draw, Points
from hrec.datasets.columns import FIRST, MISSING, Categorical, CategoricalList, Numeric
from hrec.datasets.recdata import Interactions, RecData, Table, TrainData
from hrec.models.base import BaseModel
from hrec.models.hetero.cccf import CCCF
from hrec.models.hetero.ddtcdr import DDTCDR
from hrec.models.hetero.duration import DURation
from hrec.models.layers.bags import EmbeddingTable
from hrec.models.layers.fields import Fields
from hrec.models.layers.kinds import Kinds, joined, split, summed_bce
from hrec.models.layers.mlp import Constant

KIND_OF = ["book", "book", "book", "film", "film", "song", "song"]
STARTS = {"book": 0, "film": 3, "song": 5}
USERS = 5
SMALL: dict[type[BaseModel], dict[str, Any]] = {
    CCCF: {
        "user_emb_size": 3,
        "item_emb_size": 3,
        "token_emb_size": 2,
        "user_hidden_size_list": [4, 2],
        "item_hidden_size_list": [5, 2],
    },
    DDTCDR: {"latent_dim": 3, "token_emb_size": 2, "layers": [5, 4], "alpha": 0.3},
}
both = pytest.mark.parametrize("cls", [CCCF, DDTCDR])


def ints(*values: int) -> Tensor:
    return torch.tensor(values, dtype=torch.int64)


def tiny(user_columns: bool = True) -> RecData:
    """Five users; books 0 to 2 with three columns, films 3 and 4 with one, songs 5 and 6 with none.

    Rows: user 0 in every kind, user 1 in books and songs, user 2 in films alone, user 3 in songs alone, user 4 in
    none. Book 2 and song 6 have no row.
    """
    book = {
        "price": Numeric(np.array([1, 2, 3], np.float32)),
        "colour": Categorical(np.array([FIRST, FIRST + 1, MISSING], np.int32), np.array(["red", "blue"])),
        "genres": CategoricalList(
            np.array([0, 2, 2, 3]), np.array([FIRST, FIRST + 1, FIRST], np.int32), np.array(["a", "b"])
        ),
    }
    film = {"mins": Numeric(np.array([90, 120], np.float32))}
    kinds = {"book": Table(3, 0, book), "film": Table(2, 3, film), "song": Table(2, 5)}
    pairs = [(0, 0), (0, 3), (0, 5), (1, 1), (1, 5), (2, 4), (2, 3), (3, 5), (1, 0)]
    user, item = np.array(pairs, np.int32).T
    kind = np.array([list(STARTS).index(KIND_OF[i]) for i in item], np.int16)
    label = np.array([1, 0, 1, 1, 0, 1, 0, 1, 0], np.float32)
    age = {"age": Numeric(np.array([20, 40, 30, 25, 35], np.float32))} if user_columns else {}
    return TrainData(Table(USERS, 0, age), kinds, Interactions(user, item, kind, label))


def build(cls: type[BaseModel], data: RecData, **settings: Any) -> Any:
    """A model in double precision whose weights are all far from 0."""
    model = cls(cls.Config(**SMALL[cls] | settings), data).double().eval()
    with torch.no_grad():
        for index, p in enumerate(model.parameters()):
            p.copy_(torch.randn(*p.shape, generator=torch.Generator().manual_seed(index), dtype=torch.float64))
    return model


def array(weight: Tensor) -> np.ndarray:
    return weight.detach().numpy()


def mlp(module: nn.Module, x: np.ndarray) -> np.ndarray:
    """Linear layers with ReLU between them; one trained vector where there is nothing to read."""
    if isinstance(module, Constant):
        assert not x.size
        return array(module.vector)
    linear = [layer for layer in module.modules() if isinstance(layer, nn.Linear)]
    for layer in linear:
        x = array(layer.weight) @ x + array(layer.bias)
        x = np.maximum(x, 0) if layer is not linear[-1] else x
    return x


def standardised(*values: float) -> np.ndarray:
    x = np.array(values)
    return ((x - x.mean()) / x.std()).astype(np.float32).astype(np.float64)


def columns_of(item: int, token: np.ndarray | None) -> np.ndarray:
    """What a tower reads of an item; ``token`` is the table of the books' categories: four colours, then genres."""
    if KIND_OF[item] == "song":
        return np.zeros(0)
    if KIND_OF[item] == "film":
        return standardised(90, 120)[item - 3 : item - 2]
    genres = 4  # two colours after the rows for missing and unknown ones
    colour = token[[FIRST, FIRST + 1, MISSING][item]]
    listed = [[FIRST, FIRST + 1], [MISSING], [FIRST]][item]
    return np.array([*colour, *np.mean([token[genres + g] for g in listed], axis=0), standardised(1, 2, 3)[item]])


def columns_of_user(user: int, there: bool) -> np.ndarray:
    return standardised(20, 40, 30, 25, 35)[user : user + 1] if there else np.zeros(0)


# ------------------------------------------------------------------------------------------- CCCF


def cccf_by_hand(model: CCCF, user: int, item: int, user_columns: bool) -> float:
    """<p_u, q_i> + <f(a_u), g_k(a_i)> + b_u + b_i."""
    p, q = array(model.users.weight)[user], array(model.items.weight)[item]
    tower = model.item_content[KIND_OF[item]]
    token = array(tower[0].table.weight) if KIND_OF[item] == "book" else None
    content = mlp(model.user_content, columns_of_user(user, user_columns)) if user_columns else None
    if content is None:
        content = array(model.user_content[1].vector)
    described = mlp(tower[1], columns_of(item, token))
    return sum(p[:3] * q[:3]) + p[3] + q[3] + sum(content * described)


@pytest.mark.parametrize("user_columns", [True, False])
def test_cccf_worked_out_pair_by_pair(user_columns: bool):
    model = build(CCCF, tiny(user_columns))
    for user, item in product(range(USERS), range(len(KIND_OF))):
        expected = cccf_by_hand(model, user, item, user_columns)
        assert model.score(ints(user), ints(item)).item() == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_cccf_with_weights_set_by_hand():
    """p = (1, 2, 3), b_u = 10; q = (1, 1, 1), b_i = 20; both content vectors (2, 2): 6 + 10 + 20 + 8 = 44."""
    model = build(CCCF, tiny(user_columns=False))
    with torch.no_grad():
        model.users.weight.copy_(torch.tensor([1.0, 2, 3, 10]).expand(USERS, 4))
        model.items.weight.copy_(torch.tensor([1.0, 1, 1, 20]).expand(7, 4))
        model.user_content[1].vector.fill_(2)
        model.item_content["song"][1].vector.fill_(2)
    assert model.score(ints(0, 4), ints(5, 6)).tolist() == [44, 44]


def test_the_content_view_of_cccf_is_all_that_new_items_with_the_same_columns_share():
    model = build(CCCF, tiny())
    with torch.no_grad():
        model.items.weight[[5, 6]] = 0
    score = model.score(ints(0, 0), ints(5, 6))
    assert score[0] == score[1]


def test_cccf_with_different_embedding_or_tower_widths_is_refused():
    with pytest.raises(ValidationError, match=r"user_emb_size and item_emb_size must be the same .*, got 3 and 4"):
        CCCF.Config(user_emb_size=3, item_emb_size=4)
    with pytest.raises(ValidationError, match="must end in the same width"):
        CCCF.Config(user_hidden_size_list=[4, 2], item_hidden_size_list=[4, 3])


def test_content_of_cccf_is_learnt_where_neither_users_nor_items_have_columns():
    """One vector for all users times one for all songs is the bias of the songs."""
    model = CCCF(CCCF.Config(**SMALL[CCCF]), tiny(user_columns=False))
    model.loss({"song": batches(tiny())["song"]})["bce"].backward()
    for part in (model.user_content, model.item_content["song"]):
        assert all(p.grad.abs().max() > 0 for p in part.parameters())


def test_a_step_of_cccf_has_gradients_of_the_users_and_items_of_its_batch_alone():
    data = tiny()
    model = build(CCCF, data)
    for table in (model.users, model.items):
        table.weight.dense_up_to = 0
    model.loss(batches(data))["bce"].backward()
    assert model.users.weight.grad.is_sparse and model.items.weight.grad.is_sparse
    moved = model.items.weight.grad.to_dense().abs().sum(1) > 0
    assert moved.tolist() == [True, True, False, True, True, True, False]


# ----------------------------------------------------------------------------------------- DDTCDR

SEEN = {0: ["book", "film", "song"], 1: ["book", "song"], 2: ["film"], 3: ["song"], 4: []}
PAIRS = {("book", "film"): 0, ("book", "song"): 1, ("film", "song"): 2}


def x_map(model: DDTCDR, k: str, other: str) -> np.ndarray:
    """X_kl, or the transpose of X_lk."""
    maps = array(model.maps)
    return maps[PAIRS[k, other]] if (k, other) in PAIRS else maps[PAIRS[other, k]].T


def user_by_hand(model: DDTCDR, user: int, k: str, user_columns: bool) -> np.ndarray:
    def own(kind: str) -> np.ndarray:
        a = columns_of_user(user, user_columns)
        return array(model.users[kind].weight)[user] + mlp(model.user_maps[kind], a)

    if k in SEEN[user] or not SEEN[user]:
        return own(k)
    return np.mean([x_map(model, other, k) @ own(other) for other in SEEN[user]], axis=0)


def ddtcdr_by_hand(model: DDTCDR, user: int, item: int, user_columns: bool = True) -> float:
    """(1 - alpha) RS_k(w_uk, v_i) + alpha mean over l != k of RS_l(X_kl w_uk, v_i)."""
    k, alpha = KIND_OF[item], model.config.alpha
    token = array(model.item_fields["book"].table.weight)
    v = array(model.items.weight)[item] + mlp(model.item_maps[k], columns_of(item, token))
    w = user_by_hand(model, user, k, user_columns)
    others = [other for other in STARTS if other != k]
    across = [mlp(model.networks[other], np.array([*(x_map(model, k, other) @ w), *v]))[0] for other in others]
    return (1 - alpha) * mlp(model.networks[k], np.array([*w, *v]))[0] + alpha * sum(across) / len(across)


@pytest.mark.parametrize("user_columns", [True, False])
def test_ddtcdr_worked_out_pair_by_pair(user_columns: bool):
    model = build(DDTCDR, tiny(user_columns))
    for user, item in product(range(USERS), range(len(KIND_OF))):
        expected = ddtcdr_by_hand(model, user, item, user_columns)
        assert model.score(ints(user), ints(item)).item() == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_ddtcdr_with_two_kinds_is_the_dual_form_of_its_paper():
    """r_A = (1 - alpha) RS_A(w_A, v) + alpha RS_B(X w_A, v); r_B the same with X^T."""
    data = tiny()
    rows = data.interactions.take(data.interactions.kind < 2)
    model = build(DDTCDR, replace(data, kinds={k: data.kinds[k] for k in ("book", "film")}, interactions=rows))
    assert model.maps.shape == (1, 3, 3)
    x = array(model.maps)[0]
    for item, own, other, carry in ((0, "book", "film", x), (3, "film", "book", x.T)):
        w = array(model.user_latent(own, ints(0)))[0]
        v = array(model.item_latent(own, ints(item)))[0]
        within = mlp(model.networks[own], np.array([*w, *v]))[0]
        across = mlp(model.networks[other], np.array([*(carry @ w), *v]))[0]
        assert model.score(ints(0), ints(item)).item() == pytest.approx(0.7 * within + 0.3 * across, rel=1e-12)


def test_the_maps_of_ddtcdr_begin_orthogonal_so_that_the_way_there_and_back_is_none():
    model = DDTCDR(DDTCDR.Config(**SMALL[DDTCDR]), tiny())
    w = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    for k, other in product(STARTS, STARTS):
        if k != other:
            there = model.carried(w, k, other)
            torch.testing.assert_close(model.carried(there, other, k), w)
            torch.testing.assert_close(there @ there.T, w @ w.T)
            assert (there - w).abs().max() > 1e-2
    assert model.loss(batches(tiny()))["orthogonality"].item() < 1e-10


def test_the_orthogonality_of_ddtcdr_is_summed_over_the_pairs_of_kinds_and_weighted():
    model = build(DDTCDR, tiny(), orthogonality=0.25)
    expected = sum(np.sum((x @ x.T - np.eye(3)) ** 2) for x in array(model.maps))
    assert model.loss(batches(tiny()))["orthogonality"].item() == pytest.approx(0.25 * expected, rel=1e-12)
    with torch.no_grad():
        model.maps.copy_(2 * torch.eye(3))  # 4 I - I: 9 in each of 3 places of 3 maps
    assert model.loss(batches(tiny()))["orthogonality"].item() == pytest.approx(0.25 * 81, rel=1e-12)


def test_the_orthogonality_of_ddtcdr_is_worked_out_in_full_precision_also_where_the_rest_is_not():
    model = DDTCDR(DDTCDR.Config(**SMALL[DDTCDR]), tiny())
    whole = {kind: replace(b, label=b.label.float()) for kind, b in batches(tiny()).items()}
    with torch.autocast("cpu", torch.bfloat16):
        terms = model.loss(whole)
    assert terms["orthogonality"].item() < 1e-10


def test_the_dual_part_of_the_cross_entropy_reaches_every_map_and_the_other_kinds_network():
    """In the published code it is detached."""
    data = tiny()
    model = build(DDTCDR, data)
    model.loss(batches(data))["bce"].backward()
    assert (model.maps.grad.abs().sum((1, 2)) > 0).all()
    model.zero_grad()
    films = {"film": batches(data)["film"]}
    model.loss(films)["bce"].backward()
    assert model.networks["book"].layers[-1].weight.grad.any() and model.networks["song"].layers[-1].weight.grad.any()
    assert model.maps.grad[PAIRS["book", "film"]].any() and model.maps.grad[PAIRS["film", "song"]].any()
    assert not model.maps.grad[PAIRS["book", "song"]].any()


def test_without_alpha_the_kinds_of_ddtcdr_are_strangers():
    data = tiny()
    model = build(DDTCDR, data, alpha=0.0)
    before = model.score(ints(0, 0), ints(0, 5))
    with torch.no_grad():
        for p in [*model.networks["film"].parameters(), model.maps]:
            p.add_(1)
    assert torch.equal(model.score(ints(0, 0), ints(0, 5)), before)


def test_a_user_who_is_new_in_one_kind_is_scored_by_what_the_user_did_in_the_others():
    data = tiny()
    model = build(DDTCDR, data)
    before = model.score(ints(3, 3), ints(0, 5))  # user 3 has songs alone
    with torch.no_grad():
        model.users["book"].weight[3] += 1
    assert torch.equal(model.score(ints(3, 3), ints(0, 5)), before)
    with torch.no_grad():
        model.users["song"].weight[3] += 1
    assert (model.score(ints(3, 3), ints(0, 5)) - before).abs().min() > 1e-3


def test_building_ddtcdr_for_three_kinds_leaves_its_settings_as_they_are():
    """In the published code each network lengthens the list of layers."""
    config = DDTCDR.Config(**SMALL[DDTCDR])
    before = config.model_dump()
    model = DDTCDR(config, tiny())
    assert config.model_dump() == before
    shapes = {kind: [tuple(p.shape) for p in model.networks[kind].parameters()] for kind in STARTS}
    assert shapes["book"] == shapes["film"] == shapes["song"] == [(5, 6), (5,), (4, 5), (4,), (1, 4), (1,)]


# ------------------------------------------------------------------------------------------- both


def batches(data: RecData) -> dict[str, Points]:
    """All training rows, by kind."""
    x, out = data.interactions, {}
    for index, kind in enumerate(data.kinds):
        here = x.kind == index
        user, item = (torch.from_numpy(a[here]).long() for a in (x.user, x.item))
        out[kind] = Points(user, item, torch.from_numpy(x.label[here]).double())
    return out


BY_HAND: dict[type[BaseModel], Any] = {CCCF: lambda m, u, i: cccf_by_hand(m, u, i, True), DDTCDR: ddtcdr_by_hand}


@both
def test_the_cross_entropy_is_a_mean_over_the_rows_of_a_kind_and_a_sum_over_the_kinds(cls: type[BaseModel]):
    data = tiny()
    model = build(cls, data)
    expected = 0.0
    for batch in batches(data).values():
        terms = []
        for user, item, label in zip(batch.user.tolist(), batch.item.tolist(), batch.label.tolist(), strict=True):
            probability = 1 / (1 + np.exp(-BY_HAND[cls](model, user, item)))
            terms.append(-np.log(probability if label else 1 - probability))
        expected += np.mean(terms)
    assert model.loss(batches(data))["bce"].item() == pytest.approx(expected, rel=1e-10)


@both
def test_pairs_of_all_kinds_mixed_are_scored_as_each_alone(cls: type[BaseModel]):
    model = build(cls, tiny())
    pairs = torch.cartesian_prod(torch.arange(USERS), torch.arange(7))
    pairs = pairs[torch.randperm(len(pairs), generator=torch.Generator().manual_seed(0))]
    expected = [BY_HAND[cls](model, u, i) for u, i in pairs.tolist()]
    np.testing.assert_allclose(array(model.score(*pairs.T)), expected, rtol=1e-12, atol=1e-12)
    assert model.score(ints(), ints()).shape == (0,)


@both
def test_dropout_is_off_in_evaluation(cls: type[BaseModel]):
    model = build(cls, tiny(), dropout=0.5)
    pairs = (ints(0, 1, 2, 3), ints(0, 3, 5, 6))
    assert torch.equal(model.score(*pairs), model.score(*pairs))
    model.train()
    torch.manual_seed(0)
    assert not torch.equal(model.score(*pairs), model.score(*pairs))


@both
def test_a_kind_that_is_missing_from_a_batch_is_left_out(cls: type[BaseModel]):
    data = tiny()
    model, whole = build(cls, data), batches(data)
    one_by_one = [model.loss({kind: batch})["bce"] for kind, batch in whole.items()]
    torch.testing.assert_close(sum(one_by_one), model.loss(whole)["bce"])


@both
def test_embeddings_of_categories_are_weights_that_are_trained_and_saved(cls: type[BaseModel]):
    """In the published code they stay outside of the model."""
    data = tiny()
    model = build(cls, data)
    (name,) = [n for n in model.state_dict() if n.endswith("table.weight")]
    model.loss(batches(data))["bce"].backward()
    assert dict(model.named_parameters())[name].grad.to_dense().any()


# -------------------------------------------------------------------------------- what they share


def test_each_hands_the_items_of_a_kind_to_its_part_and_puts_the_values_back_in_order():
    kinds, asked = Kinds(tiny()), []

    def part(kind: str, here: Tensor) -> Tensor:
        asked.append((kind, here.tolist()))
        return torch.stack([kinds.row(kind, item[here]), here], 1).double()

    item = ints(6, 0, 2, 5, 0)
    assert kinds.each(item, part, 2).tolist() == [[1, 0], [0, 1], [2, 2], [0, 3], [0, 4]]
    assert asked == [("book", [1, 2, 4]), ("song", [0, 3])]  # no film, so none is asked about
    assert kinds.each(item[:0], part, 2).shape == (0, 2)
    assert not kinds.state_dict()


def test_each_gives_at_least_single_precision_and_passes_gradients_on():
    kinds, weight = Kinds(tiny()), torch.ones(3, dtype=torch.bfloat16, requires_grad=True)
    out = kinds.each(ints(3, 0, 4), lambda kind, here: weight[here])
    assert out.dtype == torch.float32
    (out * torch.tensor([1.0, 2, 4])).sum().backward()
    assert weight.grad.tolist() == [1, 2, 4]
    assert kinds.each(ints(3), lambda kind, here: here.double()).dtype == torch.float64


def test_joined_batches_are_split_again():
    whole = batches(tiny())
    points = joined(whole)
    assert points.user.tolist() == [0, 1, 1, 0, 2, 2, 0, 1, 3]
    again = split(points.item, whole)
    assert list(again) == list(whole) and all(torch.equal(again[kind], whole[kind].item) for kind in whole)


def test_the_summed_cross_entropy_of_undecided_logits_is_log_2_for_each_kind_times_its_weight():
    whole = batches(tiny())
    logits = {kind: torch.zeros(len(b), dtype=torch.float64) for kind, b in whole.items()}
    assert summed_bce(logits, whole).item() == pytest.approx(3 * np.log(2))
    assert summed_bce(logits, whole, {"book": 1.0, "film": 0.5, "song": 0.25}).item() == pytest.approx(1.75 * np.log(2))


def test_rows_of_a_table_are_looked_up_and_have_sparse_gradients():
    table = EmbeddingTable(4, 2, 1.0, dense_up_to=0)
    rows = table.rows(ints(3, 0, 3))
    assert torch.equal(rows, table.weight[[3, 0, 3]]) and table.rows(ints()).shape == (0, 2)
    rows.sum().backward()
    assert table.weight.grad.is_sparse and table.weight.grad.to_dense()[:, 0].tolist() == [1, 0, 0, 2]


@pytest.mark.parametrize("cls", [CCCF, DDTCDR, DURation])
def test_numbers_in_buckets_are_read_and_trained(cls: type[BaseModel]):
    """Books have one column of numbers: in buckets, its two halves get a row each of one matrix, and a gradient."""
    data = tiny()
    plain, cut = (cls(cls.Config(**SMALL.get(cls, {}), buckets=buckets), data) for buckets in (None, 2))
    tables = [[m.table for m in model.modules() if isinstance(m, Fields) and m.n_tokens] for model in (plain, cut)]
    assert [len(t) for t in tables] == [1, 3]  # books' categories; those, users' ages and films' minutes
    cut.train()
    (stage,) = cut.stages(data)
    batch = next(iter(stage.sampler.epoch(Draw(4, torch.Generator().manual_seed(0), torch.device("cpu")))))
    torch.stack(list(stage.loss(batch).values())).sum().backward()
    assert all(table.weight.grad is not None for table in tables[1])
    assert not any(m.n_numbers for m in cut.modules() if isinstance(m, Fields))
