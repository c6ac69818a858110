"""SASRec, GRU4Rec and their losses against a literal reading of the equations, position by position."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from hrec.datasets.batches import Draw
from hrec.datasets.columns import Dense, Numeric
from hrec.datasets.queries import Queries, UnknownUserError
from hrec.datasets.recdata import Feedback, Interactions, Table, TrainData
from hrec.datasets.sequences import SequenceBatch, Sequences
from hrec.models import find_model
from hrec.models.layers.full_softmax import full_softmax
from hrec.models.sequential._base import SequentialModel
from hrec.pipeline.trainer import Trainer
from hrec.settings import OptSettings

ITEMS = 9
ROWS = {0: [3, 1, 4, 1, 5], 1: [2, 6], 2: [8], 3: []}
"""The positive items of each user, oldest first; item 0 is of nobody."""
SMALL: dict[str, dict[str, Any]] = {
    "SASRec": {"embedding_size": 4, "num_heads": 2, "inner_size": 6, "sequences": {"max_length": 4}},
    "GRU4Rec": {"embedding_size": 4, "hidden_size": 3, "n_layers": 2, "sequences": {"max_length": 4}},
}
each_model = pytest.mark.parametrize("name", SMALL)


def made(**columns: Any) -> TrainData:
    """The rows of ROWS, and one negative row of user 3."""
    pairs = [(u, i, 1) for u, items in ROWS.items() for i in items] + [(3, 7, 0)]
    user, item, label = (np.array(a) for a in zip(*pairs, strict=True))
    x = Interactions(
        user.astype(np.int32),
        item.astype(np.int32),
        np.zeros(len(pairs), np.int16),
        label.astype(np.float32),
        time=np.arange(len(pairs)) + 0.0,
    )
    return TrainData(Table(len(ROWS)), {"film": Table(ITEMS, 0, columns)}, x, feedback=Feedback("01"))


def model_of(name: str, data: TrainData | None = None, **settings: Any) -> Any:
    """In float64, without dropout, weights of the size of 1."""
    cls = find_model(name)
    torch.manual_seed(0)
    model = cls(cls.Config(**SMALL[name] | {"init_std": 0.5} | settings), data or made()).double().eval()
    for weight in model.parameters():
        if weight.dim() == 1:  # norms and biases too are to matter
            torch.nn.init.normal_(weight)
    return model


def batches(model: SequentialModel, data: TrainData | None = None, seed: int = 0) -> list[SequenceBatch]:
    draw = Draw(8, torch.Generator().manual_seed(seed), torch.device("cpu"))
    return list(model.sampler(data or made()).epoch(draw))


# ------------------------------------------------------------------------------------- the hidden states


def norm(x: np.ndarray, layer: Any) -> np.ndarray:
    weight, bias = (w.detach().numpy() for w in (layer.weight, layer.bias))
    return (x - x.mean()) / np.sqrt(x.var() + layer.eps) * weight + bias


def sasrec(model: Any, items: list[int]) -> list[np.ndarray]:
    """h at each position of one sequence, without padding."""
    table, positions = model.items.table.weight.detach().numpy(), model.positions.detach().numpy()
    x = [table[i] + positions[len(positions) - len(items) + t] for t, i in enumerate(items)]
    for block in model.blocks:
        w_q, w_k, w_v = np.split(block.project.weight.detach().numpy(), 3)
        w1, b1, w2, b2 = (p.detach().numpy() for p in block.perceptron.parameters())
        y = [norm(v, block.before_attention) for v in x]
        attended = []
        for t in range(len(y)):
            heads = []
            for part in np.split(np.arange(w_q.shape[0]), block.heads):
                q = (w_q @ y[t])[part]
                logit = np.array([q @ (w_k @ y[s])[part] for s in range(t + 1)]) / np.sqrt(len(part))
                weight = np.exp(logit) / np.exp(logit).sum()
                heads.append(sum(a * (w_v @ y[s])[part] for s, a in enumerate(weight)))
            attended.append(x[t] + np.concatenate(heads))
        x = [s + w2 @ np.maximum(w1 @ norm(s, block.before_perceptron) + b1, 0) + b2 for s in attended]
    return [norm(v, model.norm) if model.config.last_norm else v for v in x]


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def gru4rec(model: Any, items: list[int]) -> list[np.ndarray]:
    x = [model.items.table.weight.detach().numpy()[i] for i in items]
    for layer in range(model.config.n_layers):
        w, u, b, c = (
            getattr(model.gru, f"{name}_l{layer}").detach().numpy().reshape(3, model.config.hidden_size, -1)
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        h, out = np.zeros(model.config.hidden_size), []
        for v in x:
            read, kept = ([m[g] @ a + n[g][:, 0] for g in range(3)] for m, a, n in ((w, v, b), (u, h, c)))
            reset, update = sigmoid(read[0] + kept[0]), sigmoid(read[1] + kept[1])
            h = (1 - update) * np.tanh(read[2] + reset * kept[2]) + update * h
            out.append(h)
        x = out
    return [model.last.weight.detach().numpy() @ h + model.last.bias.detach().numpy() for h in x]


LITERAL = {"SASRec": sasrec, "GRU4Rec": gru4rec}


@pytest.mark.parametrize(
    ("name", "settings"),
    [("SASRec", {}), ("SASRec", {"last_norm": False, "num_heads": 1, "n_layers": 1}), ("GRU4Rec", {})],
)
def test_the_states_are_those_of_the_equations_with_and_without_padding(name: str, settings: dict[str, Any]):
    model = model_of(name, **settings)
    item = torch.tensor([[3, 1, 4, 2], [0, 0, 0, 7], [0, 0, 5, 8]])
    mask = torch.tensor([[1, 1, 1, 1], [0, 0, 0, 1], [0, 0, 1, 1]]).bool()
    states = model._states(model.items(item), mask).detach().numpy()
    for row, items in enumerate([[3, 1, 4, 2], [7], [5, 8]]):
        np.testing.assert_allclose(states[row, 4 - len(items) :], LITERAL[name](model, items), rtol=1e-9, atol=1e-12)
        assert not states[row, : 4 - len(items)].any()


@each_model
def test_a_user_is_the_newest_positive_items_in_order(name: str):
    model = model_of(name)
    score = model.score(torch.tensor([0, 0, 2]), torch.tensor([2, 0, 5])).detach()
    table = model.items.table.weight.detach().numpy()
    states = {u: LITERAL[name](model, ROWS[u][-4:])[-1] for u in (0, 2)}
    np.testing.assert_allclose(score, [states[u] @ table[i] for u, i in ((0, 2), (0, 0), (2, 5))], rtol=1e-9)
    assert not model.user_vectors(torch.tensor([3])).any()  # without a positive row


@each_model
def test_a_history_takes_the_place_of_the_training_rows(name: str):
    model, data = model_of(name), made()
    rows = Interactions(
        np.array([0, 0, 0], np.int32),
        np.array([6, 3, 2], np.int32),
        np.zeros(3, np.int16),
        np.array([1, 0, 1], np.float32),
        time=np.array([2.0, 1.0, 3.0]),
    )
    history = Sequences.of(data, rows, 1)
    expected = torch.from_numpy(LITERAL[name](model, [6, 2])[-1]) @ model.items.table.weight.T
    for user in (-1, 0):
        scores = model.ranker()(Queries(torch.tensor([user]), history))
        torch.testing.assert_close(scores[0], expected)
    with pytest.raises(UnknownUserError):
        model.ranker()(Queries(torch.tensor([-1])))


# ---------------------------------------------------------------------------------------------- losses


@pytest.mark.parametrize("cells", [1, 20, 10_000])
def test_the_softmax_in_chunks_is_the_plain_one_with_its_gradients(cells: int):
    torch.manual_seed(0)
    query, item = (torch.randn(n, 3, dtype=torch.float64, requires_grad=True) for n in (7, 5))
    target = torch.randint(0, 5, (7,))
    plain = F.cross_entropy(query @ item.T, target)
    chunked = full_softmax(query, item, target, cells)
    torch.testing.assert_close(chunked, plain)
    torch.testing.assert_close(*(torch.autograd.grad(3 * loss, (query, item)) for loss in (chunked, plain)))


def test_the_softmax_holds_for_large_logits_and_for_no_query():
    query = torch.tensor([[1e4]], requires_grad=True)
    assert full_softmax(query, torch.tensor([[1.0], [0.0]]), torch.tensor([0])).item() == 0
    assert full_softmax(query[:0], torch.ones(2, 1), torch.zeros(0, dtype=torch.int64)).item() == 0


def softplus(x: float) -> float:
    return float(np.log1p(np.exp(x)))


PAIRS = {
    "bce": lambda p, n: softplus(-p) + softplus(n),
    "bpr": lambda p, n: softplus(n - p),
    "top1": lambda p, n: float(sigmoid(np.array(n - p)) + sigmoid(np.array(n * n))),
}


@each_model
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("loss", ["ce", *PAIRS])
def test_the_loss_is_the_mean_over_the_positions_of_that_of_the_equation(name: str, loss: str, shared: bool):
    pool = {} if loss == "ce" else {"negatives": {"same_kind": False, "pool": 2}}
    model = model_of(name, loss=loss, shared_items=shared, **pool)
    (batch,) = batches(model)
    table = (model.items if shared else model.compared).table.weight.detach().numpy()
    terms = []
    for row in range(len(batch)):
        places = batch.mask[row].nonzero()[:, 0].tolist()
        for t, h in zip(places, LITERAL[name](model, batch.item[row, places].tolist()), strict=True):
            score = table @ h
            own = score[int(batch.target[row, t])]
            if loss == "ce":
                terms.append(np.log(np.exp(score).sum()) - own)
            else:
                terms += [PAIRS[loss](own, score[n]) for n in batch.negative[row, t].tolist()]
    assert len(terms) == (5 if loss == "ce" else 10)  # four positions of user 0, one of user 1
    assert model.loss(batch)[loss].item() == pytest.approx(np.mean(terms), rel=1e-9)


@each_model
@pytest.mark.parametrize("loss", ["ce", "bce"])
def test_padding_gives_the_item_of_its_index_no_gradient(name: str, loss: str):
    """Padding has index 0; read from a table of its own, item 0 is in no sequence."""
    model = model_of(name, loss=loss, shared_items=False)
    (batch,) = batches(model)
    assert bool((~batch.mask).any()) and not batch.item[~batch.mask].any()
    model.loss(batch)[loss].backward()
    gradient = model.items.table.weight.grad
    gradient = gradient.to_dense() if gradient.is_sparse else gradient
    assert not gradient[0].any() and gradient[3].any()


def test_a_position_without_a_negative_left_does_not_count():
    model = model_of("SASRec", loss="bce")
    (batch,) = batches(model)
    without = batch.negative.clone()
    without[batch.user == 1] = -1
    alone = replace(batch, negative=without)
    one = batch.take(slice(int(batch.user.tolist().index(0)), int(batch.user.tolist().index(0)) + 1))
    torch.testing.assert_close(model.loss(alone)["bce"], model.loss(one)["bce"])
    assert model.loss(replace(batch, negative=torch.full_like(without, -1)))["bce"].item() == 0


# --------------------------------------------------------------------------------------- vectors of items


def vectors() -> np.ndarray:
    value = np.random.default_rng(0).normal(size=(ITEMS, 6)).astype(np.float32)
    value[7] = np.nan
    return value


@each_model
@pytest.mark.parametrize("ids", [True, False])
def test_an_item_may_be_its_vector_mapped_alone_or_with_its_own(name: str, ids: bool):
    data = made(text=Dense(vectors()), pages=Numeric(np.ones(ITEMS, np.float32)))
    model = model_of(name, data, item_vectors="text", ids=ids)
    x = vectors()[3] / np.linalg.norm(vectors()[3])
    adapter = model.items.adapter
    expected = {3: x @ adapter.maps[0].weight.detach().numpy().T, 7: adapter.missing.detach().numpy()}
    found = model.item_vectors(torch.tensor([3, 7])).detach()
    for row, item in enumerate((3, 7)):
        own = model.items.table.weight[item].detach().numpy() if ids else 0
        np.testing.assert_allclose(found[row], expected[item] + own, rtol=1e-6)
    assert (model.items.table is None) == (not ids)
    assert "columns of items are not read: pages" in model.remarks
    model.loss(batches(model, data)[0])["ce"].backward()
    assert adapter.maps[0].weight.grad.any() and adapter.missing.grad.any()


def test_settings_that_name_no_vectors_or_leave_nothing_are_refused():
    data = made(pages=Numeric(np.ones(ITEMS, np.float32)))
    with pytest.raises(ValueError, match=r"^model\.item_vectors: column 'pages' holds no vectors"):
        model_of("SASRec", data, item_vectors="pages")
    with pytest.raises(ValueError, match="leaves nothing of an item"):
        find_model("SASRec").Config(ids=False)
    with pytest.raises(ValueError, match="a multiple of num_heads, got 50"):
        find_model("SASRec").Config(num_heads=3)


def test_the_score_of_a_short_sequence_does_not_depend_on_longer_ones():
    """Positions count from the newest entry, and units do not run over padding."""
    for name in SMALL:
        model = model_of(name)
        users: Tensor = torch.tensor([1, 0])
        torch.testing.assert_close(model.user_vectors(users)[0], model.user_vectors(users[:1])[0])


# --------------------------------------------------------------------------------------- what can be learnt


def in_a_circle(users: int = 40, items: int = 12, length: int = 6) -> TrainData:
    """Every user walks from a random item to the next one, 11 to 0."""
    first = np.random.default_rng(0).integers(0, items, users)
    item = ((first[:, None] + np.arange(length)) % items).ravel().astype(np.int32)
    user = np.repeat(np.arange(users), length).astype(np.int32)
    x = Interactions(user, item, np.zeros(len(user), np.int16), time=np.tile(np.arange(length), users) + 0.0)
    return TrainData(Table(users), {"film": Table(items)}, x, feedback=Feedback("01"))


@pytest.mark.parametrize(
    ("name", "settings"),
    [("SASRec", {}), ("SASRec", {"loss": "bce", "num_heads": 2}), ("GRU4Rec", {}), ("GRU4Rec", {"loss": "bpr"})],
)
def test_the_next_item_is_found_where_order_alone_says_it(name: str, settings: dict[str, Any]):
    """Each item is as frequent, and the items of a history say nothing of what is next but by their order."""
    data, cls = in_a_circle(), find_model(name)
    torch.manual_seed(0)
    model = cls(cls.Config(embedding_size=16, dropout=0.0, sequences={"max_length": 6}, **settings), data)
    options = OptSettings(hyper_params={"lr": 0.01}, epochs=40, batch_size=8, early_stop=None)
    Trainer(options, 0, lambda m: {}).fit(model, data)
    model.eval()
    with torch.no_grad():
        scores = model.ranker()(Queries(torch.arange(data.n_users)))
    seen = torch.from_numpy(data.interactions.item).long().view(data.n_users, -1)
    scores.scatter_(1, seen, -torch.inf)
    assert (scores.argmax(1) == (seen[:, -1] + 1) % 12).float().mean() > 0.95
