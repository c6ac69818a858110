"""FISM, NAIS and NCF against a literal reading of their equations, one pair and one cell at a time."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from hrec.datasets.batches import Points
from hrec.datasets.histories import user_history
from hrec.datasets.queries import Queries
from hrec.datasets.recdata import Feedback, Interactions, RecData, Split, Table, TrainData
from hrec.models.base import BaseModel
from hrec.models.general import nais
from hrec.models.general.fism import FISM
from hrec.models.general.nais import NAIS
from hrec.models.general.ncf import NCF
from hrec.models.layers import attention
from hrec.models.layers.attention import Cells
from hrec.pipeline.trainer import Trainer
from hrec.settings import OptSettings

HISTORY = {0: {0: 2.0, 1: -1.0, 3: 0.5}, 1: {4: -1.5}, 2: {0: 1.0, 2: 3.0, 3: -2.0, 4: -2.0}, 3: {}}
"""Ratings less their mean, of which user 3 has none, nor has item 5. User 1's only cell is that of item 4."""
PAIRS = [(0, 0), (0, 3), (1, 4), (2, 0), (2, 2), (2, 4), (0, 1), (2, 3)]
NO_CELL = [(0, 2), (1, 0), (3, 0), (3, 5), (2, 5)]


def tiny() -> RecData:
    cells = [(u, i, v) for u, row in HISTORY.items() for i, v in row.items()]
    user, item, value = (np.array(a) for a in zip(*cells, strict=True))
    label = (value > 0).astype(np.float32)
    rows = Interactions(user.astype(np.int32), item.astype(np.int32), (item >= 4).astype(np.int16), label)
    rows = replace(rows, rating=value.astype(np.float32))
    return TrainData(Table(4), {"book": Table(4), "film": Table(2, 4)}, rows, feedback=Feedback("rating"))


def build(cls: type[BaseModel], data: RecData | None = None, **settings: Any) -> Any:
    """A model in float64 with weights of the order of 1."""
    model = cls(cls.Config(**settings), data or tiny()).double()
    with torch.no_grad():
        for index, p in enumerate(model.parameters()):
            p.copy_(torch.randn(p.shape, generator=torch.Generator().manual_seed(index)))
    return model


def points(pairs: list[tuple[int, int]]) -> Points:
    user, item = (torch.tensor(a) for a in zip(*pairs, strict=True))
    return Points(user, item, (torch.arange(len(pairs)) % 2).double())


def literal_bce(logits: list[float], batch: Points) -> float:
    """-log of the chance of each label, log(1 + e^-x) where it is 1 and log(1 + e^x) where it is 0, their mean."""
    terms = [np.logaddexp(0, -x if y else x) for x, y in zip(logits, batch.label.tolist(), strict=True)]
    return float(np.mean(terms))


def close(a: Tensor, b: Tensor | float | list[float], within: float = 1e-9) -> None:
    torch.testing.assert_close(a, torch.as_tensor(b, dtype=torch.float64), rtol=within, atol=within)


def array(weight: Tensor) -> np.ndarray:
    return weight.detach().numpy()


def without(u: int, i: int) -> dict[int, float]:
    return {j: v for j, v in HISTORY[u].items() if j != i}


# ------------------------------------------------------------------------------------------- FISM


def literal_fism(model: FISM, u: int, i: int, cells: dict[int, float]) -> float:
    p, q = array(model.users.table.weight), array(model.items.weight)
    total = sum((v * p[j] @ q[i] for j, v in cells.items()), 0.0)
    return model.user_bias.weight[u].item() + model.item_bias.weight[i].item() + total * _power(model, cells)


def _power(model: FISM | NAIS, cells: dict[int, float]) -> float:
    return len(cells) ** -model.config.alpha if cells else 0.0


each_alpha = pytest.mark.parametrize("alpha", [0.0, 0.3, 0.5, 1.0])


@each_alpha
def test_a_score_of_fism_is_that_of_its_equation(alpha: float):
    model = build(FISM, embedding_size=3, alpha=alpha)
    user, item = (a.flatten() for a in torch.meshgrid(torch.arange(4), torch.arange(6), indexing="ij"))
    pairs = zip(user.tolist(), item.tolist(), strict=True)
    close(model.score(user, item), [literal_fism(model, u, i, HISTORY[u]) for u, i in pairs])


@each_alpha
def test_fism_learns_from_a_pair_without_its_own_cell(alpha: float):
    model, batch = build(FISM, embedding_size=3, alpha=alpha), points(PAIRS)
    terms = model.loss(batch)
    close(terms["bce"], literal_bce([literal_fism(model, u, i, without(u, i)) for u, i in PAIRS], batch))


def test_a_drawn_negative_of_fism_loses_an_average_cell():
    model, batch = build(FISM, embedding_size=3, alpha=1.0), points([(0, 2)])
    cells = {j: v * 2 / 3 for j, v in HISTORY[0].items()}
    own = model.user_bias.weight[0].item() + model.item_bias.weight[2].item()
    logit = own + (literal_fism(model, 0, 2, cells) - own) * 3 / 2  # the mean is over two cells, not three
    close(model.loss(batch)["bce"], literal_bce([logit], batch), within=1e-6)  # 2 / 3 is a float32


def test_the_penalty_of_fism_is_the_mean_of_that_of_each_pair():
    model, batch = build(FISM, embedding_size=3, reg_weights=[0.3, 0.7]), points(PAIRS + NO_CELL)
    p, q = array(model.users.table.weight), array(model.items.weight)
    norm = [(q[i] ** 2).sum() + sum((p[j] ** 2).sum() for j in HISTORY[u]) for u, i in PAIRS + NO_CELL]
    bias = [model.user_bias.weight[u].item() ** 2 + model.item_bias.weight[i].item() ** 2 for u, i in PAIRS + NO_CELL]
    terms = model.loss(batch)
    close(terms["norm"], 0.15 * float(np.mean(norm)))
    close(terms["bias"], 0.35 * float(np.mean(bias)))
    assert list(build(FISM, reg_weights=[0, 0]).loss(batch)) == ["bce"]


@pytest.mark.parametrize("cls", [FISM, NAIS])
def test_a_global_bias_is_added_to_every_pair_and_has_no_penalty(cls: type[FISM] | type[NAIS]):
    settings = {"embedding_size": 3}
    with_, without_ = build(cls, global_bias=True, **settings), build(cls, **settings)
    assert without_.bias is None
    with_.load_state_dict(without_.state_dict() | {"bias": torch.tensor([0.7])})
    user, item = (a.flatten() for a in torch.meshgrid(torch.arange(4), torch.arange(6), indexing="ij"))
    close(with_.score(user, item) - 0.7, without_.score(user, item).detach(), within=1e-6)
    with torch.no_grad():
        close(with_.ranker()(Queries(torch.arange(4))).flatten(), with_.score(user, item))
    batch = points(PAIRS)
    a, b = (model.loss(batch) for model in (with_, without_))
    assert all(torch.equal(a[term], b[term]) for term in a if term != "bce") and not torch.equal(a["bce"], b["bce"])
    sum(a.values()).backward()
    assert with_.bias.grad.abs().item() > 0


def test_a_user_without_cells_is_scored_by_the_biases_alone():
    for cls in (FISM, NAIS):
        model = build(cls)
        score = model.score(torch.tensor([3, 3]), torch.tensor([0, 5]))
        close(score, model.user_bias.weight[3] + model.item_bias.weight[[0, 5], 0])


# ------------------------------------------------------------------------------------------- NAIS


def literal_logit(model: NAIS, i: int, j: int) -> float:
    p, q = array(model.targets.weight)[i], array(model.history.weight)[j]
    x = p * q if model.config.algorithm == "prod" else np.concatenate([p, q])
    return array(model.h) @ np.maximum(array(model.hidden.weight) @ x + array(model.hidden.bias), 0)


def literal_nais(model: NAIS, u: int, i: int, cells: dict[int, float]) -> float:
    p, q = array(model.targets.weight), array(model.history.weight)
    weight = {j: math.exp(literal_logit(model, i, j)) for j in cells}
    divisor = sum(weight.values()) ** model.config.beta
    total = sum((weight[j] / divisor * v * p[i] @ q[j] for j, v in cells.items()), 0.0)
    return model.user_bias.weight[u].item() + model.item_bias.weight[i].item() + total * _power(model, cells)


each_algorithm = pytest.mark.parametrize("algorithm", ["prod", "concat"])
each_beta = pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
small = {"embedding_size": 3, "weight_size": 4}


@each_algorithm
@each_beta
@each_alpha
def test_a_score_of_nais_is_that_of_its_equations(algorithm: str, beta: float, alpha: float):
    model = build(NAIS, algorithm=algorithm, beta=beta, alpha=alpha, **small)
    user, item = (a.flatten() for a in torch.meshgrid(torch.arange(4), torch.arange(6), indexing="ij"))
    pairs = zip(user.tolist(), item.tolist(), strict=True)
    close(model.score(user, item), [literal_nais(model, u, i, HISTORY[u]) for u, i in pairs])


@each_algorithm
@each_beta
@each_alpha
def test_lists_of_nais_have_the_scores_of_pairs(
    algorithm: str, beta: float, alpha: float, monkeypatch: pytest.MonkeyPatch
):
    model = build(NAIS, algorithm=algorithm, beta=beta, alpha=alpha, **small)
    user, item = torch.tensor([3, 0, 2, 1]), torch.arange(6)
    with torch.no_grad():
        pairs = model.score(user.repeat_interleave(6), item.repeat(4)).view(4, 6)
        close(model.ranker()(Queries(user)), pairs)
        for limit, value in (("CHUNK", 13), ("LOWEST", 2.0), ("PAIRS", 35)):
            monkeypatch.setattr(nais, limit, value)
            close(model.ranker()(Queries(user)), pairs)


@each_algorithm
@each_beta
def test_nais_learns_from_a_pair_without_its_own_cell_and_leaves_others_whole(algorithm: str, beta: float):
    model = build(NAIS, algorithm=algorithm, beta=beta, alpha=0.5, **small)
    batch = points(PAIRS + NO_CELL)
    expected = [literal_nais(model, u, i, without(u, i)) for u, i in PAIRS + NO_CELL]
    close(model.loss(batch)["bce"], literal_bce(expected, batch))


def test_where_negatives_are_drawn_nais_takes_a_random_cell_from_a_pair_without_its_own():
    model = build(NAIS, replace(tiny(), feedback=Feedback("rating", negatives=1)), beta=0.5, alpha=0.5, **small)
    kept = points(PAIRS)
    close(model.loss(kept)["bce"], literal_bce([literal_nais(model, u, i, without(u, i)) for u, i in PAIRS], kept))
    for u, i in NO_CELL:
        one = points([(u, i)])
        histories = [{k: v for k, v in HISTORY[u].items() if k != j} for j in HISTORY[u]] or [{}]
        expected = {round(literal_bce([literal_nais(model, u, i, cells)], one), 9) for cells in histories}
        assert {round(model.loss(one)["bce"].item(), 9) for _ in range(60)} == expected


def test_where_negative_rows_have_no_cell_nais_takes_as_many_cells_from_a_pair_of_either_label(board: Split):
    """Or the number of cells would tell the label."""
    data = replace(board.train, feedback=Feedback("liked"))
    model = NAIS(NAIS.Config(max_history=None), data)
    x = data.interactions
    user, item = (torch.from_numpy(a.astype(np.int64)) for a in (x.user, x.item))
    before = model.rows.length(user)
    left = torch.diff(model._cells(model.rows(user), item, leave_out=True)[0].offset)
    assert torch.equal(before - left, before.clamp(max=1)) and 0 < x.label.mean() < 1


def test_the_penalty_of_nais_is_the_mean_of_that_of_each_pair():
    model, batch = build(NAIS, reg_weights=[0.3, 0.7, 0.1], **small), points(PAIRS + NO_CELL)
    p, q = array(model.targets.weight), array(model.history.weight)
    each = [0.3 * (p[i] ** 2).sum() + 0.7 * sum((q[j] ** 2).sum() for j in without(u, i)) for u, i in PAIRS + NO_CELL]
    close(model.loss(batch)["norm"], float(np.mean(each)) + 0.1 * float((array(model.hidden.weight) ** 2).sum()))
    assert list(build(NAIS, reg_weights=[0, 0, 0]).loss(batch)) == ["bce"]


def test_large_logits_of_the_attention_do_not_overflow():
    model = NAIS(NAIS.Config(beta=1.0), tiny())
    with torch.no_grad():
        for p in model.parameters():
            p.fill_(1.0)
        model.h.fill_(100.0)  # each logit is 100 * 64 * 65, and all are alike: the mean of the cells times 64
        score = model.score(torch.tensor([0, 2]), torch.tensor([1, 5]))
    assert score.tolist() == [2 + 64 * 0.5, 2 + 64 * 0.0]


@each_algorithm
def test_scores_in_chunks_are_the_scores_at_once(algorithm: str, monkeypatch: pytest.MonkeyPatch):
    model, batch = build(NAIS, algorithm=algorithm, **small), points(NO_CELL + PAIRS + NO_CELL)
    whole = model.score(batch.user, batch.item)
    for chunk in (1, 2, 5):
        monkeypatch.setattr(nais, "CHUNK", chunk)
        close(model.score(batch.user, batch.item), whole)
    assert model.score(batch.user[:0], batch.item[:0]).shape == (0,)


# -------------------------------------------------------------------------------------- attention


def cells_of(*rows: list[int]) -> Cells:
    length = torch.tensor([len(r) for r in rows])
    offset = torch.cat([torch.zeros(1, dtype=torch.int64), length.cumsum(0)])
    flat = torch.tensor([j for r in rows for j in r], dtype=torch.int64)
    return Cells(offset, torch.repeat_interleave(torch.arange(len(rows)), length), flat)


RAGGED = {
    "several": ([0, 3], [], [1], [], [3, 2, 1, 0, 4], [2, 2], []),
    "empty": ([], []),
    "first is empty": ([], [1, 2]),
}


@pytest.mark.parametrize("block", [1, 3, 100])
@pytest.mark.parametrize("rows", RAGGED.values(), ids=RAGGED)
@pytest.mark.parametrize("attend", [attention.attend_product, attention.attend_concat])
def test_the_gradient_of_the_attention_agrees_with_finite_differences(
    attend: Any, rows: tuple[list[int], ...], block: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(attention.BLOCK, "cpu", block)
    cells, width = cells_of(*rows), 3 if attend is attention.attend_product else 6
    shapes = [(len(rows), 3), (5, 3), (4, width), (4,), (4,)]
    weights = [
        torch.randn(s, generator=torch.Generator().manual_seed(n), dtype=torch.float64).requires_grad_()
        for n, s in enumerate(shapes)
    ]
    value = torch.linspace(-1, 2, len(cells.row), dtype=torch.float64)

    def score(*given: Tensor) -> Tensor:
        return attention.pool(*attend(*given, cells), value, 0.5, cells)

    assert torch.autograd.gradcheck(score, weights)


def test_blocks_are_whole_pairs_and_hold_every_cell_once(monkeypatch: pytest.MonkeyPatch):
    cells = cells_of(*RAGGED["several"])
    for size in (1, 2, 4, 1000):
        monkeypatch.setitem(attention.BLOCK, "cpu", size)
        seen: list[int] = []
        for pairs, here in cells.blocks():
            assert here.start == cells.offset[pairs.start] and here.stop == cells.offset[pairs.stop]
            seen += range(here.start, here.stop)
        assert seen == list(range(len(cells.row)))


# --------------------------------------------------------------------------------- length of history


@pytest.mark.parametrize("cls", [FISM, NAIS])
def test_max_history_keeps_that_many_cells_of_a_user(cls: type[BaseModel]):
    model, whole = build(cls, max_history=2), build(cls, max_history=None)
    rows = model.rows if cls is NAIS else model.users.rows
    assert torch.diff(rows.offset).tolist() == [2, 1, 2, 0]
    user = torch.tensor([0, 2])
    assert (model.score(user, user) - whole.score(user, user)).abs().min() > 1e-3
    assert torch.equal(model.score(user, user), build(cls, max_history=2).score(user, user))


def test_the_default_length_of_histories_is_100_for_nais_and_all_for_fism():
    rng, n = np.random.default_rng(0), 150
    rows = Interactions(np.zeros(n, np.int32), rng.permutation(n).astype(np.int32), np.zeros(n, np.int16))
    data = TrainData(Table(1), {"book": Table(n)}, replace(rows, label=np.ones(n, np.float32)))
    assert len(NAIS(NAIS.Config(), data).rows.index) == 100
    assert len(FISM(FISM.Config(), data).users.rows.index) == len(user_history(data).index) == n


# -------------------------------------------------------------------------------------------- NCF


def literal_part(part: nn.Module, u: int, i: int) -> float:
    p, q = array(part.users.weight)[u], array(part.items.weight)[i]
    x = p * q
    if hasattr(part, "tower"):
        x = np.concatenate([p, q])
        for layer in part.tower.layers:
            if isinstance(layer, nn.Linear):
                x = np.maximum(array(layer.weight) @ x + array(layer.bias), 0)
    return float(array(part.out.weight)[0] @ x + array(part.out.bias)[0])


SMALL = {"embedding_size": 3, "mlp_hidden_size": [4, 2]}


@pytest.mark.parametrize("parts", [["gmf"], ["mlp"], ["gmf", "mlp"], ["mlp", "gmf"]], ids="+".join)
def test_a_score_of_ncf_is_that_of_its_equations(parts: list[str]):
    model, batch = build(NCF, parts=parts, **SMALL), points(PAIRS + NO_CELL)
    expected = [sum(literal_part(model.parts[name], u, i) for name in parts) for u, i in PAIRS + NO_CELL]
    close(model.score(batch.user, batch.item), expected)
    close(model.loss(batch)["bce"], literal_bce(expected, batch))
    assert set(model.parts) == set(parts)


def test_the_parts_have_vectors_of_their_own():
    model = build(NCF)
    assert sum(p.shape == (4, 64) for p in model.parameters()) == 2
    assert sum(p.shape == (6, 64) for p in model.parameters()) == 2


def test_without_pretraining_there_is_one_stage_of_all_weights():
    model = build(NCF)
    (stage,) = model.stages(tiny())
    assert stage.group == "train" and len(list(stage.params)) == len(list(model.parameters()))


def pretrained(model: NCF) -> Iterator[str]:
    for stage in model.stages(tiny()):
        yield stage.name
        stage.then()


def test_a_part_is_pretrained_and_scored_by_itself():
    model, batch = build(NCF, pretrain=True, **SMALL), points(PAIRS)
    seen = []
    for name in pretrained(model):
        seen.append(name)
        parts = [name] if name != "train" else ["gmf", "mlp"]
        expected = [sum(literal_part(model.parts[part], u, i) for part in parts) for u, i in PAIRS]
        close(model.score(batch.user, batch.item), expected)
    assert seen == ["gmf", "mlp", "train"]
    for stage in build(NCF, pretrain=True).stages(tiny()):
        assert stage.group == ("train" if stage.name == "train" else "pretrain")


@pytest.mark.parametrize("alpha", [0.0, 0.2, 0.5])
def test_both_begin_as_alpha_of_the_one_and_the_rest_of_the_other(alpha: float):
    model, batch = build(NCF, pretrain=True, alpha=alpha, **SMALL), points(PAIRS + NO_CELL)
    gmf, mlp = (model.parts[name](batch.user, batch.item) for name in ("gmf", "mlp"))
    assert list(pretrained(model))[-1] == "train"
    close(model.score(batch.user, batch.item), alpha * gmf + (1 - alpha) * mlp)


def test_pretraining_moves_one_part_at_a_time(board: Split):
    model = NCF(NCF.Config(pretrain=True, **SMALL), board.train)
    before = {name: p.clone() for name, p in model.named_parameters()}
    seen = {}

    def look(stepped: BaseModel) -> dict[str, float]:
        seen[len(seen)] = {n.split(".")[1] for n, p in stepped.named_parameters() if not torch.equal(p, before[n])}
        return {}

    opt = OptSettings.model_validate({"epochs": 1, "early_stop": None, "stages": {"pretrain": {"epochs": 2}}})
    Trainer(opt, 0, look).fit(model, board.train)
    assert list(seen.values()) == [{"gmf"}, {"gmf"}, {"gmf", "mlp"}, {"gmf", "mlp"}, {"gmf", "mlp"}]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"parts": ["gmf", "gmf"]}, "names each part once"),
        ({"parts": []}, "at least 1 item"),
        ({"parts": ["mlp"], "pretrain": True}, "parts has only mlp"),
    ],
)
def test_parts_that_make_no_sense_are_refused(settings: dict[str, Any], message: str):
    with pytest.raises(ValidationError, match=message):
        NCF.Config(**settings)


def test_settings_of_the_published_files_are_taken():
    fism = FISM.Config(**json.loads('{"embedding_size": 64, "reg_weights": [1e-2, 1e-2], "alpha": 0}'))
    assert fism == FISM.Config() and "split_to" in FISM.published_unused
    text = '{"embedding_size": 64, "weight_size": 64, "reg_weights": [1e-7, 1e-7, 1e-5], "alpha": 0, "beta": 0.5}'
    assert NAIS.Config(**json.loads(text)) == NAIS.Config() and "split_to" in NAIS.published_unused
    with pytest.raises(ValidationError):
        NAIS.Config(beta=1.5)
