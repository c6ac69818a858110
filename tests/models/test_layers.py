"""The layers, and the two models made of them, against plain matrix arithmetic and cases worked by hand."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from torch import Tensor, nn

from hrec.datasets.batches import Points
from hrec.datasets.columns import FIRST, MISSING, UNKNOWN, Categorical, CategoricalList, Dense, Numeric
from hrec.datasets.derived import with_train_columns
from hrec.datasets.histories import History
from hrec.datasets.recdata import Interactions, RecData, Split, Table, TrainData
from hrec.models.base import InnerProductModel
from hrec.models.general.dmf import DMF
from hrec.models.hetero.duration import DURation
from hrec.models.layers import bags
from hrec.models.layers.bags import RaggedRows
from hrec.models.layers.fields import Fields
from hrec.models.layers.histories import HistoryLinear, HistorySettings
from hrec.models.layers.mlp import MLP
from hrec.models.layers.towers import Tower, TwoTowerSettings
from hrec.models.losses import alignment, bce, topology
from hrec.pipeline.trainer import Trainer
from hrec.settings import OptSettings


def rows(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def ints(*values: int) -> Tensor:
    return torch.tensor(values, dtype=torch.int64)


# ------------------------------------------------------------------------------------------- bags

BAGS = {
    "a row twice in a bag": [[0, 3], [3, 3, 1], [4]],
    "empty bags": [[], [2, 1], [], [], [1], []],
    "no entry at all": [[], []],
    "no bag": [],
}
any_bags = pytest.mark.parametrize("content", BAGS.values(), ids=BAGS)


def as_csr(content: Sequence[Sequence[int]], dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    index = torch.tensor([i for bag in content for i in bag], dtype=torch.int64)
    length = torch.tensor([len(bag) for bag in content], dtype=torch.int64)
    return index, length.cumsum(0) - length, rows(len(index), seed=1, dtype=dtype)


def as_matrix(index: Tensor, offset: Tensor, value: Tensor, width: int) -> Tensor:
    """[bags, width], entries of one place added."""
    out = torch.zeros(len(offset), width, dtype=value.dtype)
    for bag, start in enumerate(offset.tolist()):
        stop = offset[bag + 1] if bag + 1 < len(offset) else len(index)
        for at in range(start, int(stop)):
            out[bag, index[at]] += value[at]
    return out


@any_bags
def test_bags_are_the_product_of_a_sparse_matrix_and_the_table(content: list[list[int]]):
    table = bags.EmbeddingTable(5, 3, 1.0)
    csr = as_csr(content, torch.float32)
    expected = as_matrix(*csr, width=5) @ table.weight
    torch.testing.assert_close(table.bags(*csr), expected)
    with torch.no_grad():
        torch.testing.assert_close(table.bags(*csr), expected)


@any_bags
def test_the_gradient_of_bags_is_the_dense_one_sparse_and_coalesced(content: list[list[int]]):
    table, reference = bags.EmbeddingTable(5, 3, 1.0, dense_up_to=0), nn.Parameter(torch.zeros(5, 3))
    index, offset, value = as_csr(content, torch.float32)
    upstream = rows(len(content), 3, seed=2)
    (gradient,) = torch.autograd.grad((table.bags(index, offset, value) * upstream).sum(), [table.weight])
    pooled = F.embedding_bag(index, reference, offset, mode="sum", per_sample_weights=value)
    (pooled * upstream).sum().backward()
    assert gradient.is_sparse and gradient.is_coalesced()
    assert gradient.indices()[0].tolist() == sorted({i for bag in content for i in bag})
    torch.testing.assert_close(gradient.to_dense(), reference.grad)
    torch.testing.assert_close(gradient.to_dense(), as_matrix(index, offset, value, 5).T @ upstream)


@any_bags
def test_the_dense_gradient_of_bags_is_the_product_with_the_transposed_matrix(content: list[list[int]]):
    table = bags.EmbeddingTable(5, 3, 1.0, dense_up_to=math.inf)
    index, offset, value = as_csr(content, torch.float32)
    upstream = rows(len(content), 3, seed=2)
    (gradient,) = torch.autograd.grad((table.bags(index, offset, value) * upstream).sum(), [table.weight])
    assert gradient.layout == torch.strided
    torch.testing.assert_close(gradient, as_matrix(index, offset, value, 5).T @ upstream)


class _DenseGradient(torch.autograd.Function):
    """Passes its input through; gradcheck wants the gradient of a dense input to be dense."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient.to_dense() if gradient.is_sparse else gradient


@any_bags
@pytest.mark.parametrize("dense", [True, False])
def test_the_gradient_of_bags_agrees_with_finite_differences(content: list[list[int]], dense: bool):
    csr = as_csr(content, torch.float64)
    weight = rows(5, 3, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda w: bags._Bags.apply(_DenseGradient.apply(w), *csr, dense), weight)


def test_a_table_that_is_read_twice_has_the_sum_of_both_gradients():
    table = bags.EmbeddingTable(5, 3, 1.0)
    for index in (ints(1, 2), ints(2, 4)):
        table.bags(index, ints(0), torch.ones(2)).sum().backward()
    assert table.weight.grad.to_dense()[:, 0].tolist() == [0, 1, 2, 0, 1]


@pytest.mark.parametrize(("length", "dense"), [(16, True), (17, False)])
def test_bags_and_rows_have_a_dense_gradient_up_to_eight_rows_of_the_table_an_entry(length: int, dense: bool):
    table = bags.EmbeddingTable(length, 3, 1.0)
    for read in (lambda: table.bags(ints(1, 2), ints(0), torch.ones(2)), lambda: table.rows(ints(1, 2))):
        table.zero_grad()
        read().sum().backward()
        assert table.weight.grad.is_sparse is not dense
        assert table.weight.grad.to_dense()[:4].tolist() == [[0] * 3, [1] * 3, [1] * 3, [0] * 3]


def test_a_table_read_densely_and_sparsely_has_the_sum_of_both_gradients():
    table = bags.EmbeddingTable(17, 1, 1.0)
    loss = table.rows(ints(1)).sum() + table.bags(ints(1, 2, 2), ints(0), torch.ones(3)).sum()
    loss.backward()
    assert table.weight.grad.to_dense()[:3, 0].tolist() == [0, 2, 2]


def test_ragged_rows_are_read_in_any_order_and_more_than_once():
    ragged = RaggedRows([0, 2, 2, 5], [7, 8, 4, 5, 6], [1, 2, 3, 4, 5])
    cells = ragged(ints(2, 1, 0, 2))
    assert cells.column.tolist() == [4, 5, 6, 7, 8, 4, 5, 6]
    assert cells.value.tolist() == [3, 4, 5, 1, 2, 3, 4, 5]
    assert cells.length.tolist() == ragged.length(ints(2, 1, 0, 2)).tolist() == [3, 0, 2, 3]
    assert cells.start.tolist() == [0, 3, 3, 5] and cells.owner.tolist() == [0, 0, 0, 2, 2, 3, 3, 3]
    assert cells.length.tolist() == [3, 0, 2, 3]  # none of the others has touched it
    assert ragged(ints()).column.shape == (0,) and not ragged.state_dict()


# -------------------------------------------------------------------------------------- histories

PLAIN = {"scale": "sum", "summary": False, "dropout": 0.0}
"""Y W and nothing else."""
Y = torch.tensor(
    [
        [1.0, 0.0, -1.0, 0.5, 0.0, 0.0],
        [0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
        [0.0, 2.0, 0.0, 0.0, 0.0, -3.0],
        [0.0, 0.0, 0.0, 0.0, 1.0, 0.0],
    ]
)


def as_history(matrix: Tensor) -> History:
    """Its cells are those that are not 0."""
    there = matrix.numpy() != 0
    offset = np.concatenate([[0], there.sum(1).cumsum()])
    return History(offset, there.nonzero()[1].astype(np.int32), matrix.numpy()[there], matrix.shape[1])


def expected_pool(y: Tensor, weight: Tensor, scale: str, summary: bool) -> Tensor:
    """The layer on dense rows."""
    n = (y != 0).sum(1, keepdim=True).float()
    divisor = {"sum": torch.ones_like(n), "sqrt": n.clamp(min=1).sqrt(), "mean": n.clamp(min=1)}[scale]
    pooled = y @ weight / divisor
    return torch.cat([pooled, y.sum(1, keepdim=True) / (n + 3), torch.log(1 + n)], 1) if summary else pooled


each_scale = pytest.mark.parametrize("scale", ["sum", "sqrt", "mean"])
with_and_without_summary = pytest.mark.parametrize("summary", [False, True], ids=["plain", "summary"])
ROWS = [0, 2, 0, 1, 3, 0, 2, 2, 1, 3, 0]  # rows come more than once, row 1 is empty
COLUMNS = [2, 5, 0, 3, 4, 1, 5, 0, 0, 0, 2]  # with and without a cell of the pair; 3 and 4: the row's only cell


@each_scale
@with_and_without_summary
def test_a_history_layer_is_the_product_of_dense_rows_and_the_weights(scale: str, summary: bool):
    layer = HistoryLinear(as_history(Y), 2, HistorySettings(scale=scale, summary=summary, dropout=0.0))
    out = layer(ints(*ROWS))
    torch.testing.assert_close(out, expected_pool(Y[ROWS], layer.table.weight, scale, summary))
    assert out.shape == (len(ROWS), layer.width)


@each_scale
@with_and_without_summary
def test_leaving_the_target_out_is_the_product_with_that_cell_set_to_0(scale: str, summary: bool):
    layer = HistoryLinear(as_history(Y), 2, HistorySettings(scale=scale, summary=summary, dropout=0.0))
    own = Y[ROWS, COLUMNS] != 0
    without = Y[ROWS]
    without[torch.arange(len(ROWS)), COLUMNS] = 0
    out = layer(ints(*ROWS), ints(*COLUMNS))
    torch.testing.assert_close(out[own], expected_pool(without, layer.table.weight, scale, summary)[own])


def test_a_pair_without_a_cell_loses_an_average_cell_so_that_counts_do_not_tell_drawn_negatives():
    layer = HistoryLinear(as_history(Y), 2, HistorySettings(scale="sqrt", dropout=0.0))
    negative = layer(ints(0, 3, 1), ints(1, 0, 0))  # rows of 3, 1 and no cells, none of them the pair's own
    pooled = (Y[0] @ layer.table.weight) * (2 / 3) / 2**0.5
    torch.testing.assert_close(negative[0], torch.cat([pooled, torch.tensor([0.5 * 2 / 3 / 5, np.log(3)]).float()]))
    assert not negative[1:].any()
    positive = layer(ints(0), ints(0))
    assert positive[0, -1] == negative[0, -1], "the number of cells left must be the same with and without an own one"


@each_scale
def test_the_gradient_of_a_history_layer_is_that_of_the_dense_product(scale: str):
    layer = HistoryLinear(as_history(Y), 2, HistorySettings(scale=scale, dropout=0.0))
    without = Y[ROWS]
    without[torch.arange(len(ROWS)), COLUMNS] = 0
    upstream = rows(len(ROWS), layer.width)
    upstream[Y[ROWS, COLUMNS] == 0] = 0  # a pair without a cell of its own loses an average one: tested below
    (layer(ints(*ROWS), ints(*COLUMNS)) * upstream).sum().backward()
    reference = layer.table.weight.detach().clone().requires_grad_()
    (expected_pool(without, reference, scale, True) * upstream).sum().backward()
    torch.testing.assert_close(layer.table.weight.grad.to_dense(), reference.grad)


@pytest.mark.parametrize("leave_out", [None, ints(3, 0)], ids=["whole", "left_out"])
def test_histories_that_are_all_empty_give_zeros(leave_out: Tensor | None):
    layer = HistoryLinear(as_history(torch.zeros(3, 6)), 2, HistorySettings())
    out = layer(ints(2, 2), leave_out)
    assert not out.any() and out.shape == (2, 4)
    out.sum().backward()
    assert not layer.table.weight.grad.to_dense().any()


def test_cells_are_dropped_in_training_only_and_the_others_scaled_up():
    y = torch.ones(1, 2000)
    layer = HistoryLinear(as_history(y), 1, HistorySettings(**PLAIN | {"dropout": 0.25}))
    nn.init.ones_(layer.table.weight)
    torch.manual_seed(0)
    drawn = layer(ints(0)).item()
    assert drawn != 2000 and drawn == pytest.approx(2000, rel=0.05)
    assert layer.eval()(ints(0)).item() == 2000


def test_the_target_is_left_out_as_dropout_has_left_it():
    """Whatever stands in the target's own cell, and whether it is dropped, nothing of it remains."""
    big = Y.clone()
    big[0, 2] = 1000
    layers = [HistoryLinear(as_history(y), 2, HistorySettings(dropout=0.5)) for y in (Y, big)]
    layers[1].load_state_dict(layers[0].state_dict())
    for seed in range(20):
        outs = []
        for layer in layers:
            torch.manual_seed(seed)
            outs.append(layer(ints(0, 0, 2), ints(2, 2, 1)))
        torch.testing.assert_close(*outs, rtol=1e-5, atol=1e-4)


# ----------------------------------------------------------------------------------------- fields


def described(**columns: Any) -> Table:
    return Table(4, 10, columns)


COLOUR = Categorical(np.array([FIRST + 1, MISSING, UNKNOWN, FIRST], np.int32), np.array(["red", "blue"]))
GENRES = CategoricalList(
    np.array([0, 2, 2, 3, 6]),
    np.array([FIRST, FIRST + 2, FIRST + 1, FIRST, UNKNOWN, FIRST + 2], np.int32),
    np.array(["a", "b", "c"]),
)
PRICE = Numeric(np.array([1, np.nan, 5, 3], np.float32))  # mean 3, deviation sqrt(8 / 3)
YEAR = Numeric(np.array([-1, 1, 1, -1], np.float32))
IMAGE = Dense(np.array([[0, 7], [2, 7], [2, 7], [0, 7]], np.float32))


def test_fields_of_every_type_stand_side_by_side():
    fields = Fields(described(price=PRICE, colour=COLOUR, year=YEAR, genres=GENRES, image=IMAGE), 2, 1.0)
    w = fields.table.weight
    assert w.shape == (4 + 5, 2)
    genre = w[4:]
    embedded = [
        (w[FIRST + 1], (genre[FIRST] + genre[FIRST + 2]) / 2),
        (w[MISSING], genre[MISSING]),  # an empty list is a missing one, in its own field's row
        (w[UNKNOWN], genre[FIRST + 1]),
        (w[FIRST], (genre[FIRST] + genre[UNKNOWN] + genre[FIRST + 2]) / 3),
    ]
    z = 2 / (8 / 3) ** 0.5
    numbers = torch.tensor([[-z, 0, -1, -1, 0], [0, 1, 1, 1, 0], [z, 0, 1, 1, 0], [0, 0, -1, -1, 0]])
    expected = torch.stack([torch.cat([*embedded[r], numbers[r]]) for r in range(4)])
    assert fields.width == expected.shape[1]
    for chosen in ([0, 1, 2, 3], [3, 3, 0, 2, 1], [2]):
        torch.testing.assert_close(fields(ints(*chosen)), expected[chosen])


@pytest.mark.parametrize("buckets", [None, 2])
def test_in_training_a_row_reads_numbers_without_itself(buckets: int | None):
    """1, 2, 3, 6 is read as 0, 1, 2, 5 in training: over the mean 3 and the deviation sqrt(7 / 2) of the first."""
    value, others = np.array([1, 2, 3, 6], np.float32), np.array([0, 1, 2, 5], np.float32)
    count = Numeric(value, in_training=others)
    fields = Fields(described(count=count, year=YEAR), 2, 1.0, buckets=buckets)
    alike = Fields(described(count=Numeric(others, value), year=YEAR), 2, 1.0, buckets=buckets)
    plain = Fields(described(count=Numeric(value), year=YEAR), 2, 1.0, buckets=buckets)
    for other in (alike, plain):
        other.load_state_dict(fields.state_dict())
    every = ints(0, 1, 2, 3)
    torch.testing.assert_close(fields(every), alike(every))
    torch.testing.assert_close(fields.eval()(every), plain(every))
    assert not torch.equal(fields(every), fields.train()(every))
    if buckets is None:
        torch.testing.assert_close(fields(every)[:, 0], torch.tensor([-3.0, -2, -1, 2]) / 3.5**0.5)


def test_numbers_in_buckets_are_embedded_as_categories_are():
    """PRICE is 1, missing, 5, 3 and YEAR -1, 1, 1, -1 up to scale: two buckets each, cut at the median."""
    fields = Fields(described(price=PRICE, colour=COLOUR, year=YEAR, image=IMAGE), 2, 1.0, buckets=2)
    w, at = fields.table.weight, {"price": 0, "colour": FIRST + 2, "year": FIRST + 2 + 4}
    assert w.shape == (at["year"] + FIRST + 2, 2) and fields.width == 3 * 2 + 2  # vectors stay numbers
    low, high = FIRST, FIRST + 1
    price, year = [low, MISSING, high, high], [low, high, high, low]
    got = fields(ints(0, 1, 2, 3))
    torch.testing.assert_close(got[:, :2], w[[at["price"] + code for code in price]])
    torch.testing.assert_close(got[:, 4:6], w[[at["year"] + code for code in year]])
    torch.testing.assert_close(got[:, 2:4], w[[at["colour"] + code for code in COLOUR.code.tolist()]])


def test_only_the_rows_of_the_categories_in_the_batch_get_a_gradient():
    fields = Fields(described(colour=COLOUR, genres=GENRES), 2, 1.0)
    fields(ints(0, 1)).sum().backward()
    gradient = fields.table.weight.grad.to_dense()[:, 0]
    assert gradient.tolist() == [1, 0, 0, 1, 1, 0, 0.5, 0, 0.5]


def test_fields_can_be_chosen_and_keep_the_order_of_the_choice():
    fields = Fields(described(price=PRICE, year=YEAR, colour=COLOUR), 2, 1.0, ["year", "price"])
    assert fields.width == 3 and not list(fields.parameters())
    assert fields(ints(1)).tolist() == [[1, 0, 1]]


def test_a_table_without_columns_gives_vectors_of_width_0():
    fields = Fields(described(), 2, 1.0)
    assert fields.width == 0 and fields(ints(3, 0)).shape == (2, 0)


def test_numbers_are_cut_off_at_four_deviations():
    value = np.zeros(101, np.float32)
    value[7] = 1e6  # ten deviations from the mean
    fields = Fields(Table(101, 0, {"price": Numeric(value)}), 2, 1.0)
    assert fields(ints(7, 8)).flatten().tolist() == pytest.approx([4, -0.1], rel=1e-5)


def test_numbers_that_are_all_missing_or_all_the_same_tell_nothing():
    nothing = Numeric(np.full(4, np.nan, np.float32))
    assert Fields(described(a=nothing), 2, 1.0)(ints(0, 3)).tolist() == [[0, 1], [0, 1]]
    same = Numeric(np.full(4, 9, np.float32))
    assert Fields(described(a=same), 2, 1.0)(ints(0, 3)).tolist() == [[0], [0]]


def test_large_numbers_close_together_stay_different():
    years = Numeric(np.array([1_199_145_600, 1_299_145_600, 1_199_145_600, 1_299_145_600], np.float32))
    assert Fields(described(time=years), 2, 1.0)(ints(0, 1)).flatten().tolist() == pytest.approx([-1, 1], rel=1e-4)


# --------------------------------------------------------------------------------- mlp and towers


def test_an_mlp_has_a_relu_between_its_layers_and_at_the_end_only_if_set():
    x = rows(50, 3)
    for last_relu in (False, True):
        mlp = MLP([3, 5, 2], last_relu=last_relu)
        first, second = (layer for layer in mlp.layers if isinstance(layer, nn.Linear))
        out = (x @ first.weight.T + first.bias).clamp(min=0) @ second.weight.T + second.bias
        torch.testing.assert_close(mlp(x), out.clamp(min=0) if last_relu else out)
        assert (mlp(x) < 0).any() != last_relu
        assert mlp(x).shape == (50, 2) and (mlp.width_in, mlp.width_out) == (3, 2)


def test_an_mlp_drops_its_inputs_in_training_only():
    mlp, x = MLP([40, 30, 2], dropout=0.5), rows(8, 40)
    assert sum(isinstance(layer, nn.Dropout) for layer in mlp.layers) == 2
    assert not torch.equal(mlp(x), mlp(x))
    assert torch.equal(mlp.eval()(x), mlp(x))
    assert not any(isinstance(layer, nn.Dropout) for layer in MLP([4, 3, 2]).layers)


def tower(width_in: int, widths: list[int], **settings) -> Tower:
    return Tower(width_in, widths, TwoTowerSettings(dropout=0, **settings))


def test_two_towers_with_a_bias_give_the_inner_product_and_a_number_of_each():
    left, right = tower(3, [4], bias=True), tower(5, [6, 4], bias=True, last_relu=True)
    for side in (left, right):
        nn.init.normal_(side.bias.weight)
        nn.init.normal_(side.bias.bias)
    x, y = rows(7, 3), rows(7, 5, seed=1)
    expected = (left.mlp(x) * right.mlp(y)).sum(1) + left.bias(x)[:, 0] + right.bias(y)[:, 0]
    torch.testing.assert_close((left.as_left(x) * right.as_right(y)).sum(1), expected)


def test_two_towers_without_a_bias_give_the_plain_inner_product():
    left, right = tower(3, [4], bias=False), tower(5, [4], bias=False)
    x, y = rows(7, 3), rows(7, 5, seed=1)
    assert torch.equal(left.as_left(x), left.mlp(x)) and torch.equal(right.as_right(y), right.mlp(y))


def test_the_bias_of_a_tower_begins_at_0():
    assert not tower(3, [4], bias=True).bias(rows(2, 3)).any()


# ------------------------------------------------------------------------------- DMF and DURation

each = pytest.mark.parametrize("cls", [DMF, DURation])
SMALL = {
    "user_emb_size": 2,
    "item_emb_size": 3,
    "user_hidden_size_list": [4, 2],
    "item_hidden_size_list": [3, 2],
    "dropout": 0.0,
}


def tiny() -> RecData:
    """Three users; books 0 to 2 with two columns, films 3 and 4 with one."""
    book = {
        "price": Numeric(np.array([1, 2, 3], np.float32)),
        "colour": Categorical(np.array([FIRST, FIRST + 1, FIRST], np.int32), np.array(["red", "blue"])),
    }
    kinds = {"book": Table(3, 0, book), "film": Table(2, 3, {"mins": Numeric(np.array([90, 120], np.float32))})}
    user, item = np.array([0, 0, 0, 1, 1, 2], np.int32), np.array([0, 1, 3, 1, 4, 3], np.int32)
    label = np.array([1, 0, 1, 1, 0, 0], np.float32)
    users = Table(3, 0, {"age": Numeric(np.array([20, 40, 30], np.float32))})
    return TrainData(users, kinds, Interactions(user, item, (item >= 3).astype(np.int16), label))


def build(cls: type[InnerProductModel], data: RecData, **settings: Any) -> Any:
    history = {"history": PLAIN | settings.pop("history", {})}
    extra = {"token_emb_size": 2, "item_map_hidden_size_list": [5, 3]} if cls is DURation else {}
    model = cls(cls.Config(**SMALL | extra | history | settings), data)
    with torch.no_grad():
        for index, p in enumerate(model.parameters()):
            p.copy_(rows(*p.shape, seed=index))
    return model


def linear(layer: nn.Linear, x: np.ndarray) -> np.ndarray:
    return layer.weight.detach().numpy() @ x + layer.bias.detach().numpy()


def mlp(layers: MLP, x: np.ndarray, last_relu: bool = False) -> np.ndarray:
    steps = [layer for layer in layers.layers if isinstance(layer, nn.Linear)]
    for step in steps:
        x = linear(step, x)
        x = np.maximum(x, 0) if step is not steps[-1] or last_relu else x
    return x


def dense_y(data: RecData) -> np.ndarray:
    """The label matrix, +1 and -1."""
    y = np.zeros((data.n_users, data.n_items), np.float32)
    x = data.interactions
    y[x.user, x.item] = np.where(x.label > 0, 1, -1)
    return y


AGE = np.array([-1.5, 1.5, 0]) / 1.5**0.5  # 20, 40, 30: deviation sqrt(200 / 3)
PRICES = AGE[[0, 2, 1]]
MINS = np.array([-1.0, 1.0])


@pytest.mark.parametrize("last_relu", [False, True])
def test_dmf_worked_out_row_by_row(last_relu: bool):
    data = tiny()
    model, y = build(DMF, data, bias=False, last_relu=last_relu).eval(), dense_y(tiny())
    for u in range(3):
        for i in range(5):
            left = mlp(model.user_tower.mlp, y[u] @ model.users.table.weight.detach().numpy(), last_relu)
            right = mlp(model.item_tower.mlp, y[:, i] @ model.items.table.weight.detach().numpy(), last_relu)
            assert model.score(ints(u), ints(i)).item() == pytest.approx(left @ right, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("last_relu", [False, True])
def test_duration_worked_out_row_by_row(last_relu: bool):
    data = tiny()
    model, y = build(DURation, data, last_relu=last_relu).eval(), dense_y(tiny())
    colour = model.fields["book"].table.weight.detach().numpy()[[FIRST, FIRST + 1, FIRST]]
    raw = [np.array([*colour[i], PRICES[i]]) for i in range(3)] + [MINS[i : i + 1] for i in range(2)]
    for u in range(3):
        for i in range(5):
            user = np.array([*(y[u] @ model.users.table.weight.detach().numpy()), AGE[u]])
            mapped = mlp(model.maps["book" if i < 3 else "film"], raw[i])
            item = np.concatenate([y[:, i] @ model.items.table.weight.detach().numpy(), mapped])
            expected = mlp(model.user_tower.mlp, user, last_relu) @ mlp(model.item_tower.mlp, item, last_relu)
            expected += linear(model.user_tower.bias, user)[0] + linear(model.item_tower.bias, item)[0]
            assert model.score(ints(u), ints(i)).item() == pytest.approx(expected, rel=1e-4, abs=1e-4)
            np.testing.assert_allclose(model.mapped(ints(i))[0].detach().numpy(), mapped, rtol=1e-4, atol=1e-5)


def test_dmf_with_all_weights_one_worked_by_hand():
    """User 0 has +1, -1, +1, so 1 in each of two places, 2 in each of four, 8 in each of two. Item 3 has +1 of user 0
    and -1 of user 2: 0. Item 0 has +1: 1 in each of three, 3 in each of three, 9 in each of two. 8 * 9 * 2 = 144."""
    model = build(DMF, tiny(), bias=False).eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.fill_(0.0 if name.endswith("bias") else 1.0)
    assert model.score(ints(0, 0, 2), ints(0, 3, 0)).tolist() == [144, 0, 0]  # user 2 has -1: the ReLU gives 0


def points(data: RecData, *where: int) -> Points:
    x = data.interactions.take(np.array(where))
    return Points(torch.from_numpy(x.user).long(), torch.from_numpy(x.item).long(), torch.from_numpy(x.label))


def total_bce(terms: dict[str, Tensor]) -> float:
    return terms["bce"].item()


@each
@pytest.mark.parametrize("history", [{}, {"scale": "sqrt", "summary": True}], ids=["plain", "scaled"])
def test_the_loss_of_a_pair_is_that_of_a_model_that_has_never_seen_the_pair(
    cls: type[InnerProductModel], history: dict[str, Any]
):
    data = tiny()
    model, whole = build(cls, data, history=history), build(cls, data, history=history | {"leave_target_out": False})
    for row in range(len(data.interactions)):
        batch = points(data, row)
        kind = "book" if batch.item < 3 else "film"
        given = {kind: batch} if cls is DURation else batch
        others = np.delete(np.arange(len(data.interactions)), row)
        blind = build(cls, data.with_interactions(data.interactions.take(others)), history=history)
        blind.load_state_dict(model.state_dict())
        expected = bce(blind.score(batch.user, batch.item), batch.label).item()
        assert total_bce(model.loss(given)) == pytest.approx(expected, rel=1e-4)
        expected = bce(whole.score(batch.user, batch.item), batch.label).item()
        assert total_bce(whole.loss(given)) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("gamma", [None, 0.3])
def test_the_terms_of_duration_are_the_losses_of_its_pieces(gamma: float | None):
    data = tiny()
    model = build(DURation, data, history={"leave_target_out": False}, gamma=gamma, alpha=3.0, beta=0.25, align_rows=2)
    batch = {"book": points(data, 0, 1, 3), "film": points(data, 2, 4, 5, 2)}
    terms = model.loss(batch)
    assert list(terms) == ["bce", "align", "topology"]
    each_kind = [bce(model.score(b.user, b.item), b.label) for b in batch.values()]
    torch.testing.assert_close(terms["bce"], sum(each_kind))
    mapped = {kind: model.mapped(b.item) for kind, b in batch.items()}
    torch.testing.assert_close(terms["align"], 3.0 * alignment([m[:2] for m in mapped.values()], gamma))
    preserved = topology(model.fields["book"](batch["book"].item), mapped["book"])  # a film has one number
    torch.testing.assert_close(terms["topology"], 0.25 * preserved)


def test_a_kind_can_weigh_by_its_rows_of_which_the_largest_kind_has_weight_1():
    data = tiny()
    data = data.with_interactions(data.interactions.take(np.array([0, 1, 3, 2, 4])))  # three of books, two of films
    model = build(DURation, data, weight_by_rows=True, alpha=0.0, beta=0.0, history={"leave_target_out": False})
    book, film = points(data, 0, 1, 2), points(data, 3, 4)
    each = [bce(model.score(b.user, b.item), b.label) for b in (book, film)]
    torch.testing.assert_close(model.loss({"book": book, "film": film})["bce"], each[0] + 2 / 3 * each[1])


def test_topology_is_summed_over_every_kind_of_two_numbers_or_more():
    data = tiny()
    film = {"mins": Numeric(np.array([90, 120], np.float32)), "year": Numeric(np.array([1990, 2010], np.float32))}
    data = replace(data, kinds=data.kinds | {"film": Table(2, 3, film)})
    model = build(DURation, data, beta=0.25)
    batch = {"book": points(data, 0, 1, 3), "film": points(data, 2, 4, 5)}
    of_kind = []
    for kind, b in batch.items():
        raw = model.fields[kind](model.kinds.row(kind, b.item))
        of_kind.append(topology(raw, model.mapped(b.item)))
    assert all(value > 0 for value in of_kind)
    torch.testing.assert_close(model.loss(batch)["topology"], 0.25 * sum(of_kind))


def test_topology_gives_the_raw_features_no_gradient():
    """Where the map is 0 nothing flows through it, so nothing may reach the embeddings."""
    data = tiny()
    model = build(DURation, data)
    for p in model.maps["book"].parameters():
        nn.init.zeros_(p)
    terms = model.loss({"book": points(data, 0, 1, 3), "film": points(data, 2, 4)})
    assert terms["topology"] > 0
    (gradient,) = torch.autograd.grad(terms["topology"], [model.fields["book"].table.weight])
    assert not gradient.to_dense().any()


@pytest.mark.parametrize(
    ("weights", "left"),
    [
        ({"alpha": 0.0}, ["bce", "topology"]),
        ({"beta": 0.0}, ["bce", "align"]),
        ({"alpha": 0.0, "beta": 0.0}, ["bce"]),
    ],
)
def test_a_term_of_weight_0_is_left_out(weights: dict[str, float], left: list[str]):
    data = tiny()
    model = build(DURation, data, **weights)
    assert list(model.loss({"book": points(data, 0, 1), "film": points(data, 2, 4)})) == left


def test_one_kind_alone_has_nothing_to_be_aligned_with():
    data = tiny()
    assert list(build(DURation, data).loss({"book": points(data, 0, 1)})) == ["bce", "topology"]


@pytest.mark.parametrize("row_wise", [False, True], ids=["adam", "row_wise"])
@pytest.mark.parametrize("frozen", [True, False], ids=["frozen", "trained"])
def test_frozen_attribute_embeddings_stay_as_drawn_and_all_other_weights_move(
    frozen: bool, row_wise: bool, board: Split
):
    torch.manual_seed(0)
    model = DURation(DURation.Config(frozen_attributes=frozen), board.train)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    attributes = {name for name in before if name.startswith(("fields.", "user_fields."))}
    drawn = torch.cat([before[name].flatten() for name in attributes])
    assert len(attributes) == 4 and drawn.std().item() == pytest.approx(1.0 if frozen else 0.01, rel=0.1)
    decay = {"lr": 0.01, "weight_decay": 0.1}  # it moves weights that have no gradient too
    opt = OptSettings(hyper_params=decay, epochs=2, batch_size=64, row_wise=row_wise, early_stop=None)
    Trainer(opt, 0, lambda m: {}).fit(model, board.train)
    still = {name for name, p in model.named_parameters() if torch.equal(p, before[name])}
    assert still == (attributes if frozen else set())


@pytest.mark.parametrize("frozen", [True, False], ids=["frozen", "trained"])
def test_a_training_row_reads_counts_without_itself_whether_attributes_learn_or_not(frozen: bool, board: Split):
    train = with_train_columns(board, ["count"]).train
    model, seen = DURation(DURation.Config(frozen_attributes=frozen), train), []
    count = train.users.columns["train_count"]
    assert isinstance(count, Numeric) and isinstance(model.user_fields, Fields)
    others = Fields(Table(train.n_users, 0, {"train_count": count.own_row_out}), 1, 1.0)(torch.arange(train.n_users))
    model.user_fields.numbers.register_forward_hook(
        lambda module, row, out: seen.append((out[:, -1:] - others[row[0]]).abs().max())
    )
    Trainer(OptSettings(epochs=1, early_stop=None), 0, lambda m: {}).fit(model, train)
    assert seen and max(seen) < 1e-6


def test_items_of_mixed_kinds_are_mapped_each_by_the_map_of_its_kind(board: Split):
    train = board.train
    model = DURation(DURation.Config(), train)
    item = torch.randperm(train.n_items, generator=torch.Generator().manual_seed(0)).repeat(2)
    together = model.mapped(item)
    for kind, table in train.kinds.items():
        here = (item >= table.start) & (item < table.stop)
        own = model.maps[kind](model.fields[kind](item[here] - table.start))
        torch.testing.assert_close(together[here], own)
    assert model.mapped(item[:0]).shape == (0, 64)


def without_columns(data: RecData, *kinds: str) -> RecData:
    return replace(
        data, kinds={k: replace(table, columns={}) if k in kinds else table for k, table in data.kinds.items()}
    )


def test_a_kind_without_columns_is_mapped_to_one_trained_vector_and_is_not_compared():
    data = without_columns(tiny(), "film")
    model = build(DURation, data)
    mapped = model.mapped(ints(3, 4, 0))
    assert torch.equal(mapped[0], model.maps["film"].vector) and torch.equal(mapped[0], mapped[1])
    terms = model.loss({"book": points(data, 0, 1), "film": points(data, 2, 4)})
    assert list(terms) == ["bce", "topology"]
    assert terms["topology"] == build(DURation, data).loss({"book": points(data, 0, 1)})["topology"]
    sum(terms.values()).backward()
    assert model.maps["film"].vector.grad.any()


@pytest.mark.parametrize("relative", [False, True])
def test_a_kind_of_one_number_is_aligned_and_has_no_topology(relative: bool):
    data = tiny()
    model = build(DURation, data, relative_topology=relative)
    assert model.remarks == ["topology leaves out film: a single number has no covariance (Eq. 5)"]
    book, film = {"book": points(data, 0, 1)}, {"film": points(data, 2, 4)}
    assert list(model.loss(film)) == ["bce"]
    terms = model.loss(book | film)
    assert list(terms) == ["bce", "align", "topology"] and terms["topology"] == model.loss(book)["topology"]


def test_data_without_any_column_leaves_the_classification_loss_alone():
    data = replace(without_columns(tiny(), "book", "film"), users=Table(3))
    model = build(DURation, data)
    assert list(model.loss({"book": points(data, 0, 1), "film": points(data, 2, 4)})) == ["bce"]
    assert torch.isfinite(model.score(ints(0, 1, 2), ints(0, 3, 4))).all()


@each
def test_the_variant_paper_fills_in_what_is_not_given(cls: type[InnerProductModel]):
    settings = cls.Config(variant="paper")
    assert settings.last_relu and not settings.bias and settings.dropout == 0
    assert settings.history.scale == "sum" and not settings.history.summary and settings.history.dropout == 0
    plain = cls.Config()
    assert plain.variant == "hrec" and not plain.last_relu and plain.bias
    if cls is DURation:
        assert settings.gamma == 0.5 and plain.gamma is None
        assert settings.map_last_relu and not plain.map_last_relu


@pytest.mark.parametrize("more", [{"variant": "paper"}, {"map_last_relu": True}, {}])
def test_mapped_attributes_are_negative_only_without_the_last_relu(
    more: dict[str, Any], make_board: Callable[..., Split]
):
    train = make_board(1).train
    torch.manual_seed(0)
    mapped = DURation(DURation.Config(**more), train).eval().mapped(torch.arange(train.n_items))
    assert mapped.max() > 0 and (mapped.min() >= 0) == bool(more)


@each
def test_a_given_key_wins_over_the_variant(cls: type[InnerProductModel]):
    settings = cls.Config(variant="paper", bias=True, history={"scale": "mean"})
    assert settings.bias and settings.last_relu
    assert settings.history.scale == "mean" and not settings.history.summary
    assert cls.Config(**json.loads(settings.model_dump_json())) == settings


@each
def test_towers_of_different_widths_are_refused(cls: type[InnerProductModel]):
    with pytest.raises(ValidationError, match="must end in the same width"):
        cls.Config(user_hidden_size_list=[8, 4], item_hidden_size_list=[8])


@each
def test_the_variant_paper_never_scores_below_0(cls: type[InnerProductModel], make_board: Callable[..., Split]):
    """Why it is not the default: with a ReLU at the end no probability falls below one half."""
    train = make_board(1).train
    model = cls(cls.Config(variant="paper"), train).eval()
    user, item = torch.meshgrid(torch.arange(train.n_users), torch.arange(train.n_items), indexing="ij")
    assert model.score(user.flatten(), item.flatten()).min() >= 0
