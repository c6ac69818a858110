"""DualNet and CDL against a literal reading of their equations, one pair and one cell at a time."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from hrec.datasets.batches import Block, Draw, Rows
from hrec.datasets.columns import FIRST, Categorical, CategoricalList, Dense, Numeric, Sparse
from hrec.datasets.recdata import Feedback, Interactions, RecData, Split, Table, TrainData
from hrec.datasets.samplers import Dual, Items
from hrec.models.base import BaseModel
from hrec.models.content.cdl import CDL
from hrec.models.content.dualnet import DualNet
from hrec.models.layers import content as contents
from hrec.models.layers.bags import RaggedRows
from hrec.models.layers.content import ContentSettings, content
from hrec.models.layers.least_squares import best_rows
from hrec.models.layers.levels import Decoders, Levels, Shape
from hrec.models.layers.wide import Wide, WideLinear
from hrec.pipeline.stage_run import DivergedError
from hrec.pipeline.trainer import Trainer
from hrec.settings import OptSettings

POSITIVES = {0: [0, 1, 3], 1: [4], 2: [0, 2, 4], 3: []}
"""User 3 has no row, nor has item 5; user 1 dislikes item 2."""
NEGATIVES = [(1, 2)]
WORDS = np.array([[2, 0, 1, 0], [0, 0, 0, 0], [0, 3, 0, 4], [1, 1, 0, 0]], np.float32)


def sparse(array: np.ndarray) -> Sparse:
    row, index = np.nonzero(array)
    offset = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=len(array)))])
    return Sparse(offset, index.astype(np.int32), array[row, index].astype(np.float32), array.shape[1])


def tiny(**more: Any) -> RecData:
    """Four books, of which words are known, and two films with a list and a vector."""
    pairs = [(u, i, 1) for u, row in POSITIVES.items() for i in row] + [(u, i, 0) for u, i in NEGATIVES]
    user, item, label = (np.array(a) for a in zip(*pairs, strict=True))
    rows = Interactions(
        user.astype(np.int32), item.astype(np.int32), (item >= 4).astype(np.int16), label.astype(np.float32)
    )
    genres = CategoricalList(np.array([0, 3, 4]), np.array([0, 1, 0, 1], np.int32) + FIRST, np.array(["a", "b"]))
    film = {"genres": genres, "poster": Dense(np.array([[10, 5], [0, 5]], np.float32))}
    kinds = {"book": Table(4, 0, {"words": sparse(WORDS)}), "film": Table(2, 4, film)}
    return TrainData(Table(4), kinds, rows, feedback=Feedback(**({"cells": "01"} | more)))


CONTENT = np.array(  # words over the largest of their place; genres (two codes of no value first); poster from 0 to 1
    [
        [1, 0, 1, 0, 0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        [0, 1, 0, 1, 0, 0, 0, 0, 0, 0],
        [0.5, 1 / 3, 0, 0, 0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 1, 1, 1, 0],
        [0, 0, 0, 0, 0, 0, 0, 1, 0, 0],
    ]
)
USERS, ITEMS = torch.arange(4), torch.arange(6)
R = np.array([[float(i in POSITIVES[u]) for i in range(6)] for u in range(4)])


def weighted(model: Any) -> Any:
    """The model in float64 with weights of the order of 1, out of training."""
    model = model.double()
    with torch.no_grad():
        for index, p in enumerate(model.parameters()):
            p.copy_(0.7 * torch.randn(p.shape, generator=torch.Generator().manual_seed(index)))
    return model.eval()


def dualnet(data: RecData | None = None, **settings: Any) -> DualNet:
    return weighted(DualNet(DualNet.Config(**{"levels": [3, 4, 2], "scale": "max"} | settings), data or tiny()))


def cdl(data: RecData | None = None, **settings: Any) -> CDL:
    return weighted(CDL(CDL.Config(**{"widths": [4, 3]} | settings), data or tiny()))


def close(a: Tensor, b: Any, within: float = 1e-6) -> None:
    """The inputs are float32, so the first digits of float64 alone agree."""
    torch.testing.assert_close(a.detach(), torch.as_tensor(b, dtype=torch.float64), rtol=within, atol=within)


def array(weight: Tensor) -> np.ndarray:
    return weight.detach().numpy()


def draw(batch_size: int, seed: int = 0, rank: int = 0, world: int = 1) -> Draw:
    return Draw(batch_size, torch.Generator().manual_seed(seed), torch.device("cpu"), rank, world)


# ------------------------------------------------------------------------------------------ content


def test_columns_of_all_kinds_stand_side_by_side_each_in_a_block_of_its_own():
    wide = content(tiny(), ContentSettings())
    close(wide.dense(ITEMS).double(), CONTENT)
    assert wide.width == 10 and len(wide.rows.index) == 9  # the six cells of words and three of genres
    chosen = content(tiny(), ContentSettings(columns=("poster",)))
    close(chosen.dense(ITEMS).double(), CONTENT[:, 8:])


def test_a_column_that_kinds_share_is_one_block():
    data = tiny()
    film = replace(data.kinds["film"], columns={"words": sparse(np.array([[0, 0, 0, 8], [0, 6, 0, 0]], np.float32))})
    wide = content(replace(data, kinds={**data.kinds, "film": film}), ContentSettings())
    assert wide.width == 4
    close(wide.dense(ITEMS)[:, 3].double(), [0, 0, 0.5, 0, 1, 0])
    other = replace(film, columns={"words": sparse(np.ones((2, 3), np.float32))})  # another width, another meaning
    assert content(replace(data, kinds={**data.kinds, "film": other}), ContentSettings()).width == 7


def test_each_scale_is_what_it_says():
    dense = {name: content(tiny(), ContentSettings(scale=name)).dense(ITEMS)[:4, :4] for name in contents.SCALES}
    close(dense["binary"].double(), WORDS > 0)
    close(dense["unit"].double(), WORDS / np.maximum(np.linalg.norm(WORDS, axis=1, keepdims=True), 1e-9))
    weighed = WORDS * np.log(6 / np.array([2, 2, 1, 1]))
    close(dense["tfidf"].double(), weighed / np.maximum(np.linalg.norm(weighed, axis=1, keepdims=True), 1e-9))


def test_categories_and_numbers_are_read_too():
    book = {
        "author": Categorical(np.array([FIRST, 0, FIRST + 1, 1], np.int32), np.array(["Ann", "Bob"])),
        "pages": Numeric(np.array([100, np.nan, 300, 200], np.float32)),
    }
    data = replace(tiny(), kinds={"book": Table(4, 0, book), "film": Table(2, 4)})
    dense = content(data, ContentSettings()).dense(ITEMS)
    close(dense[:4, :4].double(), np.eye(4)[[2, 0, 3, 1]])
    close(dense[:, 4].double(), [0, 0.5, 1, 0.5, 0, 0])  # a missing number is the mean; films have none


LARGE = float(np.finfo(np.float32).max)


def test_numbers_whose_range_leaves_float32_are_brought_to_0_to_1():
    pages = Numeric(np.array([-LARGE, np.nan, LARGE, 0], np.float32))
    poster = Dense(np.array([[-0.9 * LARGE, 1], [0.9 * LARGE, 1]], np.float32))
    kinds = {"book": Table(4, 0, {"pages": pages}), "film": Table(2, 4, {"poster": poster})}
    dense = content(replace(tiny(), kinds=kinds), ContentSettings()).dense(ITEMS)
    close(dense[:4, 0].double(), [0, 0.5, 1, 0.5])
    close(dense[4:, 1:].double(), [[0, 0], [1, 0]])


@pytest.mark.parametrize("scale", list(contents.SCALES))
def test_cells_as_large_as_float32_has_them_are_scaled_as_small_ones(scale: str):
    def scaled(words: np.ndarray) -> Tensor:
        data = tiny()
        book = replace(data.kinds["book"], columns={"words": sparse(words)})
        return content(replace(data, kinds={**data.kinds, "book": book}), ContentSettings(scale=scale)).dense(ITEMS)

    close(scaled(WORDS * np.float32(2.0**125)).double(), scaled(WORDS).double())


@pytest.mark.parametrize("model", [CDL, DualNet])
def test_scores_are_finite_where_numbers_fill_the_range_of_float32(model: type[BaseModel]):
    kinds = {"book": Table(4, 0, {"n": Numeric(np.array([-LARGE, LARGE, 1, 2], np.float32))}), "film": Table(2, 4)}
    data = replace(tiny(), kinds=kinds)
    torch.manual_seed(0)
    widths = {"widths": (3, 2)} if model is CDL else {"levels": (3, 2)}
    built = model(model.Config(**widths), data)
    Trainer(OptSettings(epochs=2, early_stop=None), 0, lambda m: {}).fit(built, data)
    assert torch.isfinite(built.score(torch.arange(4), torch.arange(4))).all()


@pytest.mark.parametrize("error", [FloatingPointError("lambda_u is too small"), torch.linalg.LinAlgError("lambda_u x")])
def test_a_step_that_cannot_be_solved_ends_training_with_a_sentence(error: Exception, monkeypatch: pytest.MonkeyPatch):
    def refuse(*given: Any) -> Tensor:
        raise error

    torch.manual_seed(0)
    model = CDL(CDL.Config(widths=(3, 2), pretrain=False), tiny())
    monkeypatch.setattr("hrec.models.content.cdl.best_rows", refuse)
    with pytest.raises(DivergedError, match=r"stage 'train', epoch 1: lambda_u .* other settings of the model"):
        Trainer(OptSettings(epochs=1, early_stop=None), 0, lambda m: {}).fit(model, tiny())


def test_nothing_to_read_and_a_name_that_is_not_there_are_reported():
    data = tiny()
    bare = replace(data, kinds={kind: replace(t, columns={}) for kind, t in data.kinds.items()})
    with pytest.raises(ValueError, match="needs columns of items to read, and 'data' has none"):
        content(bare, ContentSettings())
    with pytest.raises(ValueError, match=r"no kind of item has a column 'wrods'. Columns: words, genres, poster"):
        content(data, ContentSettings(columns=("wrods",)))
    model = DualNet(DualNet.Config(item_history=True), bare)
    assert torch.isfinite(model.score(USERS, ITEMS[:4])).all()


def test_a_wide_layer_is_the_product_with_the_dense_rows():
    wide = content(tiny(), ContentSettings())
    layer = weighted(WideLinear(wide, 3))
    weight = np.concatenate([array(layer.table.weight), array(layer.of_numbers.weight).T])
    expected = CONTENT @ weight + array(layer.bias)
    close(layer(ITEMS[[4, 1, 2]]), expected[[4, 1, 2]])
    hidden = torch.zeros(8, dtype=torch.bool)
    hidden[[0, 7]] = True
    close(
        layer(ITEMS, hidden=hidden),
        np.where(hidden.numpy().tolist() + [False] * 2, 0, CONTENT) @ weight + array(layer.bias),
    )


def test_noise_sets_a_share_of_the_inputs_to_0_and_leaves_the_others():
    ones = sparse(np.ones((1, 4000), np.float32))
    layer = WideLinear(Wide(ones, np.ones((1, 1000), np.float32)), 1)
    with torch.no_grad():
        layer.table.weight.fill_(1.0)
        layer.of_numbers.weight.fill_(0.001)
    torch.manual_seed(0)
    (found,) = layer(torch.tensor([0]), noise=0.3).flatten().tolist()
    assert round(found % 1, 3) == pytest.approx(0.7, abs=0.05) and int(found) == pytest.approx(2800, abs=120)


def test_first_sums_have_the_deviation_asked_for():
    rng = np.random.default_rng(0)
    wide = Wide(sparse((rng.random((500, 300)) < 0.1) * rng.normal(2, 1, (500, 300)).astype(np.float32)))
    torch.manual_seed(0)
    assert WideLinear(wide, 200, gain=0.1)(torch.arange(500)).std().item() == pytest.approx(0.1, rel=0.1)


# --------------------------------------------------------------------------------- blocks and batches


def test_a_block_of_r_is_that_of_the_dense_matrix():
    ones = dualnet().ones
    user, item = torch.tensor([2, 0, 3]), torch.tensor([4, 5, 0, 1])
    close(ones.block(user, item).double(), R[user][:, item])
    close(ones.block(USERS, ITEMS).double(), R)


def test_an_epoch_walks_all_of_r_without_repetition_in_an_order_that_changes():
    data = tiny()
    seen = {}
    for seed in range(2):
        blocks = list(Dual(data, 2).epoch(draw(2, seed)))
        assert len(blocks) == 2 * 3
        pairs = [(u, i) for b in blocks for u in b.user.tolist() for i in b.item.tolist()]
        assert len(set(pairs)) == len(pairs)
        assert set(pairs) == {(u, i) for u in range(3) for i in range(5)}  # user 3 and item 5 have no row
        seen[seed] = pairs
    assert seen[0] != seen[1]
    (whole,) = Dual(data, None).epoch(draw(10))
    assert sorted(whole.user.tolist()) == [0, 1, 2] and sorted(whole.item.tolist()) == [0, 1, 2, 3, 4]


def test_processes_share_the_users_of_each_block():
    data = tiny()
    alone = list(Dual(data, 2).epoch(draw(3)))
    both = [list(Dual(data, 2).epoch(draw(3, rank=rank, world=2))) for rank in range(2)]
    for one, left, right in zip(alone, *both, strict=True):
        assert torch.equal(torch.cat([left.user, right.user]), one.user) and len(left) and len(right)
        assert torch.equal(left.item, one.item) and torch.equal(right.item, one.item)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_a_share_of_the_blocks_without_a_one_is_skipped(share: float):
    data = tiny()
    positive = [bool(R[b.user.item(), b.item.item()]) for b in Dual(data, 1).epoch(draw(1))]
    empty = positive.count(False)
    assert empty == 15 - 7
    kept = [bool(R[b.user.item(), b.item.item()]) for b in Dual(data, 1, share).epoch(draw(1))]
    assert kept.count(True) == 7 and kept.count(False) == empty - round(share * empty)


def test_items_come_once_those_without_a_row_if_asked():
    for every, expected in ((False, [0, 1, 2, 3, 4]), (True, [0, 1, 2, 3, 4, 5])):
        batches = list(Items(tiny(), every).epoch(draw(4)))
        assert sorted(i for b in batches for i in b.row.tolist()) == expected and len(batches[0]) == 4


# --------------------------------------------------------------------------- DualNet: score and loss


def literal_levels(levels: Levels, x: np.ndarray) -> list[np.ndarray]:
    """The sums of each level for one dense input."""
    weight = array(levels.first.table.weight)
    if levels.first.of_numbers is not None:
        weight = np.concatenate([weight, array(levels.first.of_numbers.weight).T])
    sums = [x @ weight + array(levels.first.bias)]
    for layer in levels.above:
        sums.append(array(layer.weight) @ np.tanh(sums[-1]) + array(layer.bias))
    return sums


def literal_score(model: DualNet, history: np.ndarray, x: np.ndarray, depth: int = 3) -> float:
    """<f(x), g(r)> by the text of section 3.2."""
    config = model.config
    u, v = literal_levels(model.user_net, history)[:depth], literal_levels(model.item_net, x)[:depth]
    top = np.tanh if config.top == "tanh" else lambda z: z
    score = top(u[-1]) @ top(v[-1])
    for number in range(depth - 1) if config.design != "basic" else ():
        left, right = np.tanh(u[number]), np.tanh(v[number])
        if config.design == "branching":
            left, right = (
                array(model.matches[side].branches[number].weight) @ h
                + array(model.matches[side].branches[number].bias)
                for side, h in (("user", left), ("item", right))
            )
        score += left @ right
    return float(score)


HISTORIES = np.array([[float(i in POSITIVES[u]) for i in range(6)] for u in range(4)])


@pytest.mark.parametrize("design", ["basic", "multi_level", "branching"])
@pytest.mark.parametrize("top", ["linear", "tanh"])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_score_is_that_of_the_design(design: str, top: str, depth: int):
    model = dualnet(design=design, top=top, history_scale="sum")
    model.depth = depth
    user, item = (a.flatten() for a in torch.meshgrid(USERS, ITEMS, indexing="ij"))
    expected = [literal_score(model, HISTORIES[u], CONTENT[i], depth) for u in range(4) for i in range(6)]
    close(model.score(user, item), expected)


@pytest.mark.parametrize(("scale", "power"), [("sum", 0.0), ("sqrt", 0.5), ("mean", 1.0)])
def test_a_history_is_divided_by_a_power_of_its_length(scale: str, power: float):
    model = dualnet(history_scale=scale)
    over = np.maximum(HISTORIES.sum(1, keepdims=True), 1) ** power
    expected = [literal_score(model, (HISTORIES / over)[u], CONTENT[2]) for u in range(4)]
    close(model.score(USERS, torch.full((4,), 2)), expected)


def literal_loss(model: DualNet, user: Tensor, item: Tensor, cost: Any) -> float:
    """Eq. 4 over a block, as a double loop over users and items; over the mean cost of nothing."""
    total = 0.0
    for u in user.tolist():
        for i in item.tolist():
            c = model.config.a if R[u, i] else model.config.b
            total += c * cost(R[u, i], literal_score(model, HISTORIES[u], CONTENT[i]))
    nothing = model.config.a * 7 / 15  # seven ones among three users and five items
    return total / (len(user) * len(item)) / nothing


@pytest.mark.parametrize("design", ["basic", "multi_level", "branching"])
def test_the_loss_of_a_block_is_a_double_loop_over_its_cells(design: str):
    model = dualnet(design=design, history_scale="sum", a=0.9, b=0.2)
    user, item = torch.tensor([2, 0]), torch.tensor([4, 1, 0])
    found = model.loss(Block(user, item))
    assert list(found) == ["squared"]
    close(found["squared"], literal_loss(model, user, item, lambda r, s: (r - s) ** 2))


def test_the_logistic_loss_has_the_same_weights():
    model = dualnet(loss="logistic", history_scale="sum", a=0.9, b=0.2)
    user, item = torch.tensor([2, 0]), torch.tensor([4, 1, 0])
    expected = literal_loss(model, user, item, lambda r, s: math.log1p(math.exp(s)) - r * s)
    close(model.loss(Block(user, item))["logistic"], expected)


def test_scores_of_0_cost_1():
    model = dualnet()
    with torch.no_grad():
        for p in model.parameters():
            p.zero_()
    (whole,) = Dual(tiny(), None).epoch(draw(10))
    close(model.loss(whole)["squared"], 1.0)


@pytest.mark.parametrize("design", ["basic", "multi_level", "branching"])
def test_the_loss_of_all_pairs_is_the_sum_of_the_blocks_and_so_is_its_gradient(design: str):
    blocks, whole = dualnet(design=design), dualnet(design=design, all_pairs=True)
    data, cells = tiny(), 15
    found = [(b, blocks.loss(b)["squared"]) for b in Dual(data, 2).epoch(draw(2))]
    mean = torch.stack([loss * len(b.user) * len(b.item) / cells for b, loss in found]).sum()
    (everything,) = Dual(data, None).epoch(draw(10))
    exact = whole.loss(everything)["squared"]
    close(exact, mean.item(), within=1e-9)
    mean.backward()
    exact.backward()
    for (name, p), q in zip(blocks.named_parameters(), whole.parameters(), strict=True):
        assert (p.grad is None) == (q.grad is None), name
        if p.grad is not None:
            close(q.grad.to_dense(), p.grad.to_dense(), within=1e-9)
    parts = [(len(b), whole.loss(b)["squared"]) for b in Dual(data, None).epoch(draw(2))]
    close(torch.stack([n * loss / 3 for n, loss in parts]).sum(), mean.item(), within=1e-9)


def test_the_items_of_a_block_are_hidden_from_the_histories_of_its_users():
    model = dualnet(hide_block=True, history_scale="sum")
    user, item = torch.tensor([0, 2]), torch.tensor([0, 4])
    hidden = HISTORIES.copy()
    hidden[:, [0, 4]] = 0
    scores = [[literal_score(model, hidden[u], CONTENT[i]) for i in (0, 4)] for u in (0, 2)]
    cost = sum(
        (1.0 if R[u, i] else 0.01) * (R[u, i] - scores[a][b]) ** 2
        for a, u in enumerate((0, 2))
        for b, i in enumerate((0, 4))
    )
    close(model.loss(Block(user, item))["squared"], cost / 4 / (7 / 15))
    close(model.score(torch.tensor([0]), torch.tensor([0])), [literal_score(model, HISTORIES[0], CONTENT[0])])


@pytest.mark.parametrize("cells", ["01", "sign"])
def test_both_networks_read_who_likes_what_whatever_other_models_read(cells: str):
    """R of section 3, which is 1 or 0."""
    model = DualNet(DualNet.Config(item_history=True, history_scale="sum", scale="binary"), tiny(cells=cells))
    close(model.user_net.first.wide.dense(USERS).double(), HISTORIES)
    close(model.item_net.first.wide.dense(ITEMS)[:, :4].double(), HISTORIES.T)


def test_users_of_other_processes_are_hidden_from_the_histories_of_a_blocks_items():
    model, items = dualnet(hide_block=True, item_history=True), torch.tensor([0, 4])
    alone = model.loss(Block(torch.tensor([0]), items))["squared"]
    whole = Block(torch.tensor([0]), items, together=torch.tensor([0, 2]))
    hidden = model._of_items(items, torch.tensor([0, 2]))
    u = model._of_users(torch.tensor([0]), items)
    cost = ((u @ hidden.T - torch.ones(1, 2) * torch.tensor([[1.0, 0.0]])).square() * torch.tensor([[1.0, 0.01]])).sum()
    close(model.loss(whole)["squared"], cost.item() / 2 / (7 / 15))
    assert not torch.allclose(model.loss(whole)["squared"], alone)


def test_the_users_of_a_block_are_hidden_from_the_histories_of_its_items():
    model = dualnet(hide_block=True, item_history=True)
    block = Block(torch.tensor([0, 2]), torch.tensor([0, 4]))
    before = model._of_items(block.item, block.user)
    with torch.no_grad():
        model.item_net.first.table.weight[[0, 2]] += (
            1.0  # what users 0 and 2 say of an item: the first inputs are users
        )
    torch.testing.assert_close(model._of_items(block.item, block.user), before)
    assert not torch.allclose(model.item_vectors(block.item), before)
    close(model.item_net.first.wide.dense(ITEMS)[:, 4:].double(), CONTENT)


def test_histories_are_hidden_unless_a_step_takes_all_pairs():
    def hidden(**settings: Any) -> bool:
        return DualNet.Config(**settings).hide_block

    assert hidden(hide_block=None)
    assert not any(hidden(hide_block=None, all_pairs=said) for said in (True, "true", "True", "on", 1))
    assert hidden(hide_block=True) and not hidden(hide_block=False) and not hidden()


@pytest.mark.parametrize("clash", [{"loss": "logistic"}, {"skip_empty_blocks": 0.5}, {"hide_block": True}])
def test_all_pairs_refuses_what_it_cannot_do(clash: dict[str, Any]):
    with pytest.raises(ValidationError, match="all_pairs does not go with " + next(iter(clash))):
        DualNet.Config(all_pairs=True, **clash)


# --------------------------------------------------------------------- DualNet: stages, noise, new ones


def opt(**changes: Any) -> OptSettings:
    base = {"hyper_params": {"lr": 0.01}, "epochs": 2, "batch_size": 2, "early_stop": None}
    return OptSettings.model_validate(base | changes)


def moved(model: BaseModel, data: RecData, **changes: Any) -> dict[str, set[str]]:
    """The weights that each stage moves."""
    out: dict[str, set[str]] = {}
    for stage in model.stages(data):
        before = {name: p.detach().clone() for name, p in model.named_parameters()}
        alone = replace(stage)
        model.stages = lambda data, alone=alone: iter([alone])  # type: ignore[method-assign,misc]
        Trainer(opt(**changes), 0, lambda m: {}).fit(model, data)
        out[stage.name] = {name for name, p in model.named_parameters() if not torch.equal(before[name], p)}
    return out


def test_the_stages_pretrain_level_by_level_refine_with_one_level_more_each_and_train_the_whole():
    model = DualNet(DualNet.Config(levels=(3, 2), block_items=3), tiny())
    by_stage = moved(model, tiny())
    assert list(by_stage) == ["pretrain/1", "pretrain/2", "refine/1", "refine/2", "train"]
    first = {"first.table.weight", "first.bias"}
    item = {f"item_net.{n}" for n in [*first, "first.of_numbers.weight"]}
    assert by_stage["pretrain/1"] == item | {"decoders.maps.0.weight", "decoders.maps.0.bias"}
    above = {f"above.0.{n}" for n in ("weight", "bias")}
    assert by_stage["pretrain/2"] == {f"item_net.{n}" for n in above} | {
        f"decoders.maps.1.{n}" for n in ("weight", "bias")
    }
    assert by_stage["refine/1"] == item | {f"user_net.{n}" for n in first}
    everything = {n for n, _ in model.named_parameters() if not n.startswith("decoders")}
    assert by_stage["refine/2"] == everything and by_stage["train"] == everything


def test_a_level_stacked_on_others_leaves_their_match_as_it_was():
    model = DualNet(DualNet.Config(levels=(3, 2)), tiny())
    model.depth = 1
    one = model.score(USERS, ITEMS[:4])
    model.depth = 2
    with torch.no_grad():
        for net in (model.user_net, model.item_net):
            net.above[0].weight.zero_()
    # the branches begin as the identity; the first level is matched behind its tanh once it is no longer the top
    u, v = (torch.tanh(net(row, 1)[0]) for net, row in ((model.user_net, USERS), (model.item_net, ITEMS[:4])))
    torch.testing.assert_close(model.score(USERS, ITEMS[:4]), (u * v).sum(1))
    torch.testing.assert_close(model.score(USERS, ITEMS[:4]), one, rtol=0.5, atol=0.05)


def test_the_settings_of_regularisation_are_at_work_in_training_alone():
    for settings in ({"user_noise": 0.5}, {"item_noise": 0.5}, {"dropout": 0.5}, {"batch_norm": True}):
        model, whole = DualNet(DualNet.Config(levels=(8, 4), **settings), tiny()), Block(USERS[:3], ITEMS[:5])
        model.train()
        assert model.loss(whole)["squared"] != model.loss(whole)["squared"] or "batch_norm" in settings
        model.eval()
        assert model.loss(whole)["squared"] == model.loss(whole)["squared"]
    model.train()
    alone = model.loss(Block(USERS[:1], ITEMS[:1]))["squared"]  # which has no variance
    assert alone.isfinite()
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm1d)]
    assert len(norms) == 4 and all(m.num_batches_tracked == 2 for m in norms)


def test_new_users_and_new_items_are_encoded_by_the_same_networks():
    """A model of data with one user more, whose history is that of user 0, and with a new item like item 0."""
    data, model = tiny(), dualnet()
    x = data.interactions
    again = x.take(x.user == 0)
    rows = Interactions(
        *(np.concatenate([getattr(x, n), getattr(again, n)]) for n in ("user", "item", "kind", "label"))
    )
    rows.user[len(x) :] = 3
    other = replace(data, interactions=rows)
    newer = dualnet(other)
    newer.load_state_dict(model.state_dict())
    torch.testing.assert_close(newer.user_vectors(torch.tensor([3, 0])), model.user_vectors(torch.tensor([0, 0])))
    words = WORDS.copy()
    words[3] = WORDS[0]
    book = replace(data.kinds["book"], columns={"words": sparse(words)})
    candidates = replace(data, kinds={**data.kinds, "book": book}, interactions=x.take(x.item != 3))
    fresh = dualnet(candidates)
    vectors = fresh.item_vectors(torch.tensor([0, 3]))
    torch.testing.assert_close(vectors[0], vectors[1])


def test_pretraining_leaves_new_items_out_unless_the_setting_says_so():
    data = tiny()
    for every, expected in ((False, {0, 1, 2, 3, 4}), (True, set(range(6)))):
        for cls in (DualNet, CDL):
            stage = next(cls(cls.Config(all_items=every), data).stages(data))
            assert {i for b in stage.sampler.epoch(draw(2)) for i in b.row.tolist()} == expected and not stage.measured


# ------------------------------------------------------------------------------------- autoencoders


def test_the_loss_of_a_level_is_its_squared_error_of_what_it_reads():
    wide = content(tiny(), ContentSettings())
    levels = weighted(Levels(wide, Shape((4, 3), "sigmoid")))
    decoders = weighted(Decoders(levels, "sigmoid"))
    sums = literal_sigmoid(levels)
    for index, read in enumerate([CONTENT, sigmoid(sums[0])]):
        back = decoders.maps[index]
        made = sigmoid(sigmoid(sums[index]) @ array(back.weight).T + array(back.bias))
        rows = torch.tensor([5, 0, 2])
        close(decoders.loss(levels, index, rows, 0.0), ((made - read)[rows] ** 2).sum() / 3)
    code = torch.sigmoid(levels(ITEMS, 2)[-1])
    below = sigmoid(array(code) @ array(decoders.maps[1].weight).T + array(decoders.maps[1].bias))
    close(decoders(levels, code), sigmoid(below @ array(decoders.maps[0].weight).T + array(decoders.maps[0].bias)))


def test_the_third_level_is_to_make_what_the_second_says_without_dropout():
    levels = weighted(Levels(content(tiny(), ContentSettings()), Shape((4, 3, 2), "sigmoid", dropout=0.5))).train()
    decoders = weighted(Decoders(levels, "sigmoid"))
    wanted = levels.clean(ITEMS, 2)
    assert torch.equal(wanted, levels.clean(ITEMS, 2))
    close(wanted, sigmoid(literal_sigmoid(levels)[1]))
    with torch.no_grad():
        decoders.maps[2].weight.zero_()  # then what is made is the bias, whatever dropout left of the code
    made = torch.sigmoid(decoders.maps[2].bias)
    for _ in range(2):
        close(decoders.loss(levels, 2, ITEMS, 0.3), ((made - wanted) ** 2).sum().item() / 6)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def literal_sigmoid(levels: Levels) -> list[np.ndarray]:
    weight = np.concatenate([array(levels.first.table.weight), array(levels.first.of_numbers.weight).T])
    first = CONTENT @ weight + array(levels.first.bias)
    above = levels.above[0]
    return [first, sigmoid(first) @ array(above.weight).T + array(above.bias)]


# ---------------------------------------------------------------------------------------------- CDL


def literal_cdl(model: CDL, users: Tensor, vectors: Tensor) -> Tensor:
    """The objective of CDL in U and V, with the codes as they are; items without a row are not in it."""
    c, known = model.config, range(5)
    codes = model._codes(ITEMS).detach()
    total = c.lambda_u / 2 * users.square().sum()
    for u in range(4):
        for i in known:
            cell = c.a if R[u, i] else c.b
            total = total + cell / 2 * (R[u, i] - users[u] @ vectors[i]) ** 2
    for i in known:
        total = total + c.lambda_v / 2 * (vectors[i] - codes[i]).square().sum()
    return total


def test_the_closed_form_steps_leave_no_gradient_in_what_they_solve():
    model = cdl(a=1.0, b=0.1, lambda_u=0.3, lambda_v=0.7)
    before = model.users.detach().clone()
    model.solve()
    users, vectors = (p.detach().clone().requires_grad_() for p in (model.users, model.items))
    literal_cdl(model, before, vectors).backward()  # V is solved given the U before the step
    close(vectors.grad, np.zeros_like(array(vectors)), within=1e-5)
    literal_cdl(model, users, vectors.detach()).backward()  # U is solved given that V
    close(users.grad, np.zeros_like(array(users)), within=1e-5)
    assert users[3].abs().max() == 0  # of a user without a row nothing is known


def test_a_sweep_never_makes_the_objective_larger():
    model, values = cdl(a=1.0, b=0.1, lambda_u=0.3, lambda_v=0.7, sweeps=2), []
    for _ in range(4):
        values.append(float(literal_cdl(model, model.users.detach(), model.items.detach())))
        model.solve()
    assert values == sorted(values, reverse=True) and values[0] > values[-1]


def test_the_loss_of_cdl_is_the_rest_of_its_objective_over_the_number_of_items():
    model = cdl(lambda_v=3, lambda_n=5, lambda_w=0.7)
    rows = torch.tensor([5, 0, 2])
    codes = model._codes(ITEMS)
    made = model.decoder(model.encoder, codes)
    found = model.loss(Rows(rows))
    away = [(array(codes[i]) - array(model.items[i])) ** 2 for i in (0, 2)]  # item 5 has no row
    close(found["code"], 3 / 2 * np.sum(away) / 3)
    close(found["reconstruction"], 5 / 2 * ((array(made) - CONTENT)[rows] ** 2).sum() / 3)
    every = [array(p) for net in (model.encoder, model.decoder) for p in net.parameters()]
    squares = sum((p**2).sum() for p in every)
    close(found["weights"], 0.7 / 2 / 5 * squares)  # an epoch walks five of the six
    close(cdl(lambda_w=0.7, all_items=True).loss(Rows(rows))["weights"], 0.7 / 2 / 6 * squares)
    total = torch.stack(list(found.values())).sum()
    total.backward()
    assert model.items.grad is None and model.encoder.first.table.weight.grad is not None


@pytest.mark.parametrize("model", [cdl, dualnet])
def test_content_of_new_items_is_not_learnt_from_without_a_word(model: Any):
    shown = [[line for line in model(all_items=every).remarks if "all_items" in line] for every in (False, True)]
    assert shown == [[], ["all_items: learns from the content of 1 items without a training row too"]]


def test_the_vector_of_a_new_item_is_its_code_by_the_weights_of_now():
    model = cdl()
    model.solve()
    with torch.no_grad():
        model.encoder.first.bias.add_(0.3)
    vectors = model.item_vectors(torch.tensor([5, 0, 5]))
    torch.testing.assert_close(vectors[[0, 2]], model._codes(torch.tensor([5, 5])))
    torch.testing.assert_close(vectors[1], model.items[0])


@pytest.mark.parametrize("output", ["sigmoid", "linear"])
def test_the_first_reconstruction_of_cdl_is_the_mean_content_but_for_the_weights(output: str):
    model = CDL(CDL.Config(widths=(4, 3), output=output), tiny())
    with torch.no_grad():
        model.decoder.maps[0].weight.zero_()
        made = model.decoder(model.encoder, model._codes(ITEMS))
    mean = CONTENT.mean(0).clip(1e-4, 1 - 1e-4) if output == "sigmoid" else CONTENT.mean(0)
    close(made.double(), np.tile(mean, (6, 1)), within=1e-5)


def test_cdl_begins_at_the_codes_of_its_pretrained_autoencoder():
    data, model = tiny(), CDL(CDL.Config(widths=(4, 3)), tiny())
    stages = [s for s in model.stages(data) if s.group == "pretrain"]
    stages[-1].then()
    torch.testing.assert_close(model.items.detach(), model._codes(ITEMS).detach())
    assert [s.name for s in stages] == ["pretrain/1", "pretrain/2"]


def test_zeros_that_weigh_more_than_ones_are_refused():
    with pytest.raises(ValidationError, match="b, the weight of the zeros, is at most a"):
        CDL.Config(a=0.1, b=0.2)


# ---------------------------------------------------------------------------------------------- ALS


def random_rows(n: int, m: int, rng: np.random.Generator, share: float) -> tuple[RaggedRows, np.ndarray]:
    dense = (rng.random((n, m)) < share * rng.random((n, 1))).astype(np.float32)
    dense[0] = 0
    dense[1] = 1
    column = sparse(dense)
    return RaggedRows(column.offset, column.index, column.value), dense


@pytest.mark.parametrize("d", [3, 12])  # wider and narrower than most rows are long: both forms
@pytest.mark.parametrize("b", [0.0, 0.05, 1.0])
@pytest.mark.parametrize("at_once", [1, 3000, 1 << 24])
def test_rows_are_solved_exactly(d: int, b: float, at_once: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("hrec.models.layers.least_squares.BUDGET", at_once)
    rng = np.random.default_rng(d)
    positive, dense = random_rows(40, 25, rng, 0.6)
    others, prior = rng.normal(size=(25, d)), rng.normal(size=(40, d))
    for before in (None, prior):
        found = best_rows(
            positive, torch.tensor(others), (1.0, b), 0.3, None if before is None else torch.tensor(before)
        )
        for row in range(40):
            c = np.where(dense[row] > 0, 1.0, b)
            left = (others * c[:, None]).T @ others + 0.3 * np.eye(d)
            right = (others * c[:, None]).T @ dense[row] + 0.3 * (0 if before is None else before[row])
            close(found[row], np.linalg.solve(left, right), within=1e-9)


def test_single_precision_is_close_enough():
    rng = np.random.default_rng(0)
    positive, _ = random_rows(50, 200, rng, 0.3)
    others = torch.tensor(rng.normal(size=(200, 30)) / 5)
    exact = best_rows(positive, others, (1.0, 0.01), 0.1)
    single = best_rows(positive, others.float(), (1.0, 0.01), 0.1)
    torch.testing.assert_close(single.double(), exact, rtol=1e-3, atol=1e-4)


# ------------------------------------------------------------------------------------- they learn


@pytest.mark.parametrize(
    "settings", [{"hide_block": True}, {"all_pairs": True}, {"loss": "logistic"}, {"design": "basic"}]
)
def test_every_form_of_dualnet_finds_what_users_like(settings: dict[str, Any], board: Split):
    torch.manual_seed(0)
    model = DualNet(
        DualNet.Config(levels=(16, 8), block_items=20, pretrain=False, refine=False, **settings), board.train
    )
    Trainer(opt(epochs=30, batch_size=16), 0, lambda m: {}).fit(model, board.train)
    x = board.test.interactions
    with torch.no_grad():
        score = model.score(torch.from_numpy(x.user).long(), torch.from_numpy(x.item).long()).numpy()
    assert score[x.label > 0].mean() > score[x.label == 0].mean() + 0.05
