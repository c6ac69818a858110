"""BiTGCF, GA-MTCDR and HeroGRAPH against their equations, read literally in numpy, and random walks."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hrec.datasets.batches import Draw, Pairs
from hrec.datasets.histories import edges_of_nodes, positive_history
from hrec.datasets.queries import Queries
from hrec.datasets.recdata import Interactions, RecData, Table, TrainData, keep_kinds
from hrec.datasets.walks import RandomWalks, WalkSettings
from hrec.models.cross_domain._slots import positives_by_kind
from hrec.models.cross_domain.bitgcf import BiTGCF, transfer_shares
from hrec.models.cross_domain.ga_mtcdr import GAMTCDR, attended
from hrec.models.cross_domain.herograph import HeroGRAPH
from hrec.models.general.lightgcn import LightGCN
from hrec.models.layers.bags import Cells
from hrec.models.layers.kinds import ByKind
from hrec.models.layers.neighbours import Neighbours, softmax_of_rows
from hrec.models.layers.nodes import NodeTable, skip_gram
from hrec.pipeline.trainer import Trainer
from hrec.settings import OptSettings

SIZES = {"book": 4, "film": 3, "game": 3}
START = {"book": 0, "film": 4, "game": 7}
POSITIVES = {0: [0, 1, 4, 7, 8], 1: [1, 2, 5, 8], 2: [0, 4, 5, 9], 3: [2, 7, 9], 4: [0, 1], 5: []}
"""User 3 has no film, user 4 books alone, user 5 nothing; item 3 and item 6 are nobody's positives."""
NEGATIVES = {0: [2], 3: [4], 5: [8]}
PAIRS = list(product(range(6), range(10)))
KINDS = list(SIZES)
CPU = torch.device("cpu")


def tiny(order: tuple[str, ...] = ("book", "film", "game")) -> Any:
    rows = [(u, i, 1) for u, items in POSITIVES.items() for i in items]
    rows += [(u, i, 0) for u, items in NEGATIVES.items() for i in items]
    user, item, label = (np.array(a) for a in zip(*rows, strict=True))
    kind = np.searchsorted(list(START.values()), item, side="right") - 1
    x = Interactions(user.astype(np.int32), item.astype(np.int32), kind.astype(np.int16), label.astype(np.float32))
    kinds = {k: Table(n, START[k]) for k, n in SIZES.items()}
    return keep_kinds(TrainData(Table(6), kinds, x), order)


def kind_of(item: int) -> int:
    return int(np.searchsorted(list(START.values()), item, side="right") - 1)


def build(cls: Any, data: RecData | None = None, **settings: Any) -> Any:
    """A model in float64 with weights of the order of 1, in evaluation."""
    model = cls(cls.Config(embedding_size=3, **settings), data or tiny()).double().eval()
    with torch.no_grad():
        for index, p in enumerate(model.parameters()):
            p.copy_(torch.randn(p.shape, generator=torch.Generator().manual_seed(index)))
    return model


def array(x: Tensor) -> np.ndarray:
    return x.detach().numpy()


def close(a: Any, b: Any, within: float = 1e-9) -> None:
    a, b = (x.detach().numpy() if isinstance(x, Tensor) else x for x in (a, b))
    np.testing.assert_allclose(a, b, rtol=within, atol=within)


def every_score(model: Any) -> np.ndarray:
    user, item = (torch.tensor(a) for a in zip(*PAIRS, strict=True))
    with torch.no_grad():
        return array(model.score(user, item).view(6, 10))


def draw(batch_size: int, seed: int = 0, rank: int = 0, world: int = 1) -> Draw:
    return Draw(batch_size, torch.Generator().manual_seed(seed), CPU, rank, world)


BATCH = Pairs(torch.tensor([0, 3, 4, 2]), torch.tensor([4, 9, 1, 0]), torch.tensor([[6, 5], [8, 8], [2, 3], [1, 3]]))
DEGREE = np.array([[sum(kind_of(i) == k for i in POSITIVES[u]) for k in range(3)] for u in range(6)])
MODELS: dict[str, tuple[Any, dict[str, Any]]] = {
    "BiTGCF": (BiTGCF, {}),
    "GAMTCDR": (GAMTCDR, {"hidden": (2, 1)}),
    "HeroGRAPH": (HeroGRAPH, {}),
    "HeroGRAPH-L": (HeroGRAPH, {"light": True}),
}
each_model = pytest.mark.parametrize("name", MODELS)


# ------------------------------------------------------------------------------------------- walks


def neighbours(node: int) -> set[int]:
    if node < 6:
        return {6 + i for i in POSITIVES[node]}
    return {u for u, items in POSITIVES.items() if node - 6 in items}


def test_one_walk_starts_from_every_node_with_an_edge_and_follows_edges():
    walks = RandomWalks(tiny(), WalkSettings(length=6, negatives=2, p=0.5, q=2.0))
    batches = list(walks.epoch(draw(4)))
    node = torch.cat([b.node for b in batches])
    assert [len(b) for b in batches] == [4, 4, 4, 1]
    assert sorted(node[:, 0].tolist()) == [n for n in range(16) if neighbours(n)]
    assert node[:, 0].tolist() != sorted(node[:, 0].tolist())
    assert all(b in neighbours(a) for walk in node.tolist() for a, b in pairwise(walk))
    assert batches[0].negative.shape == (4, 6, 2)


@pytest.mark.parametrize("settings", [{"p": 0.25, "q": 2.0}, {"p": 4.0}, {}])
def test_a_walk_goes_back_by_1_over_p_and_on_by_1_over_q(settings: dict[str, float]):
    """From user 0 with five items, come from item 4, of whose three positions none is the first."""
    walks, n = RandomWalks(tiny(), WalkSettings(**settings)), 40_000
    came, at = torch.full((n,), 6 + 4), torch.zeros(n, dtype=torch.int64)
    count = Counter(walks._next(at, came, torch.Generator().manual_seed(0)).tolist())
    p, q = settings.get("p", 1.0), settings.get("q", 1.0)
    weight = {6 + i: 1 / p if i == 4 else 1 / q for i in POSITIVES[0]}
    assert count.keys() == weight.keys()
    for node, w in weight.items():
        assert count[node] / n == pytest.approx(w / sum(weight.values()), abs=0.01)


def test_negatives_of_walks_are_drawn_by_the_power_of_their_edges():
    walks = RandomWalks(tiny(), WalkSettings(negatives=100, length=50))
    (batch,) = walks.epoch(draw(100))
    share = torch.bincount(batch.negative.flatten(), minlength=16) / batch.negative.numel()
    weight = np.array([len(neighbours(n)) for n in range(16)]) ** 0.75
    close(share, weight / weight.sum(), within=0.01)


def test_several_processes_share_the_walks_of_one():
    walks = RandomWalks(tiny(), WalkSettings(length=3))
    (whole, *_), *parts = (list(walks.epoch(draw(6, rank=r, world=w))) for r, w in ((0, 1), (0, 2), (1, 2)))
    first, second = (part[0] for part in parts)
    assert torch.equal(whole.node[0::2], first.node) and torch.equal(whole.node[1::2], second.node)
    assert torch.equal(whole.negative[1::2], second.negative)


def test_walks_of_one_kind_stay_in_it():
    walks = RandomWalks(tiny().only("film"), WalkSettings(negatives=3))
    for batch in walks.epoch(draw(4)):
        for nodes in (batch.node, batch.negative):
            assert set(nodes.flatten().tolist()) <= {0, 1, 2, 6 + 4, 6 + 5}


@pytest.mark.parametrize("window", [1, 3])
def test_skip_gram_is_that_of_its_pairs_one_by_one(window: int):
    rng = torch.Generator().manual_seed(0)
    c, x = (torch.randn(2, 5, 3, generator=rng, dtype=torch.float64) for _ in range(2))
    n = torch.randn(2, 5, 4, 3, generator=rng, dtype=torch.float64)
    costs = [
        np.log1p(np.exp(-array(c[b, i] @ x[b, j])))
        + sum(np.log1p(np.exp(array(c[b, i] @ n[b, i, k]))) for k in range(4))
        for b, i, j in product(range(2), range(5), range(5))
        if 0 < abs(i - j) <= window
    ]
    close(skip_gram(c, x, n, window), np.mean(costs))


def test_skip_gram_of_a_walk_without_a_step_is_nothing():
    one = torch.ones(2, 1, 3)
    assert skip_gram(one, one, one[:, :, None], 2) == 0


def test_a_node_has_the_row_of_its_user_or_item():
    table = NodeTable(6, Table(3, 4), 2, 1.0)
    rows = table.rows(torch.tensor([6 + 5, 0, 6 + 4, 5, 6 + 6]))
    u, i = table.users.weight, table.items.weight
    assert torch.equal(rows, torch.stack([i[1], u[0], i[0], u[5], i[2]]))


# ----------------------------------------------------------------------------------------- GA-MTCDR


def test_attention_weighs_each_element_by_a_softmax_over_the_kinds_that_are_there():
    rng = np.random.default_rng(0)
    z, a = rng.normal(size=(2, 4, 3, 2))
    present = np.array([[1, 1, 1], [1, 0, 1], [0, 0, 1], [0, 0, 0]], bool)
    expected = np.zeros((4, 2))
    for b, e in product(range(4), range(2)):
        kinds = [k for k in range(3) if present[b, k]]
        total = sum(np.exp(a[b, k, e]) for k in kinds)
        expected[b, e] = sum(np.exp(a[b, k, e]) / total * z[b, k, e] for k in kinds)
    vectors, logit = torch.from_numpy(z).requires_grad_(), torch.from_numpy(a).requires_grad_()
    out = attended(vectors, logit, torch.from_numpy(present))
    close(out, expected)
    out.sum().backward()
    for gradient in (vectors.grad, logit.grad):
        assert torch.isfinite(gradient).all()
        assert not gradient[~torch.from_numpy(present)].any()


def mlp(part: Any, x: np.ndarray) -> np.ndarray:
    for linear in list(part.layers)[::2]:
        x = np.maximum(x @ array(linear.weight).T + array(linear.bias), 0)
    return x


def ga_outputs(model: GAMTCDR) -> tuple[np.ndarray, np.ndarray]:
    """Outputs of all users for each kind [n, 6, d], and of all items [10, d]."""
    z = [array(model.walks[k].center.users.weight) @ array(model.user_inputs[k].weight).T for k in KINDS]
    users = np.zeros((3, 6, 3))
    for t, u in product(range(3), range(6)):
        a = array(model.attention[KINDS[t]].weight)[u].reshape(3, 3)
        mixed = np.zeros(3)
        for e in range(3):
            there = [k for k in range(3) if DEGREE[u, k]]
            w = np.array([np.exp(a[k, e]) for k in there])
            mixed[e] = sum(w / w.sum() * [z[k][u, e] for k in there]) if there else 0
        users[t, u] = mlp(model.user_mlps[KINDS[t]], mixed)
    items = [
        mlp(model.item_mlps[k], array(model.walks[k].center.items.weight) @ array(model.item_inputs[k].weight).T)
        for k in KINDS
    ]
    return users, np.concatenate(items)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / (max(np.linalg.norm(a), 1e-12) * max(np.linalg.norm(b), 1e-12)))


def test_a_score_of_ga_mtcdr_is_the_cosine_of_its_towers():
    model = build(GAMTCDR, hidden=(2, 1))
    users, items = ga_outputs(model)
    expected = [[cosine(users[kind_of(i), u], items[i]) for i in range(10)] for u in range(6)]
    close(every_score(model), expected)
    assert np.std(expected) > 0.1


def test_the_loss_of_ga_mtcdr_is_a_cross_entropy_of_ratings_and_the_lengths_of_outputs():
    data = tiny()
    rating = np.where(data.interactions.label > 0, 1.0 + data.interactions.item % 4, 1).astype(np.float32)
    data = data.with_interactions(replace(data.interactions, rating=rating))
    row = [
        int(np.flatnonzero((data.interactions.user == u) & (data.interactions.item == i))[0])
        for u, i in zip(BATCH.user.tolist(), BATCH.positive.tolist(), strict=True)
    ]
    largest = {k: max(rating[data.interactions.kind == k]) for k in range(3)}
    model = build(GAMTCDR, data, hidden=(2, 1), reg_weight=0.3)
    users, items = ga_outputs(model)
    costs, norms = [], []
    for u, i, js, r in zip(BATCH.user.tolist(), BATCH.positive.tolist(), BATCH.negative.tolist(), row, strict=True):
        for j, share in [(i, rating[r] / largest[kind_of(i)]), *((j, 0.0) for j in js)]:
            h = users[kind_of(i), u]
            y = min(max(1e-6, cosine(h, items[j])), 1 - 1e-6)
            costs.append(-share * np.log(y) - (1 - share) * np.log(1 - y))
            norms.append(0.15 * (h @ h + items[j] @ items[j]))
    terms = model.loss(replace(BATCH, row=torch.tensor(row)))
    close(terms["cross_entropy"], np.mean(costs), within=1e-6)  # r / R is float32
    close(terms["norm"], np.mean(norms))
    without = build(GAMTCDR, data, hidden=(2, 1), reg_weight=0, by_rating=False)
    assert list(without.loss(BATCH)) == ["cross_entropy"] and without.target.eq(1).all()


def test_a_rating_counts_by_the_largest_of_its_kind_and_one_that_is_missing_as_1():
    x = tiny().interactions
    rating = np.where(x.kind == 0, 4.0, 10.0).astype(np.float32)
    rating[0], rating[2], rating[3] = 1, 5, np.nan  # rows of items 0 (book), 4 (film), 7 (game)
    target = build(GAMTCDR, tiny().with_interactions(replace(x, rating=rating))).target
    assert target[:4].tolist() == [0.25, 1.0, 0.5, 1.0]


def test_the_vectors_of_the_walks_are_trained_first_and_then_frozen():
    model = GAMTCDR(GAMTCDR.Config(embedding_size=3, hidden=(1,), negatives={"pool": 1}), tiny())
    stages = list(model.stages(tiny()))
    assert [s.name for s in stages] == ["walk/book", "walk/film", "walk/game", "train"]
    assert [s.measured for s in stages] == [False, False, False, True]

    def state() -> dict[str, Tensor]:
        return {name: p.detach().clone() for name, p in model.named_parameters()}

    def moved(before: dict[str, Tensor]) -> set[str]:
        return {name.split(".")[0] for name, p in state().items() if not torch.equal(p, before[name])}

    seen: list[set[str]] = []
    for stage in stages:
        model.stages = lambda data, stage=stage: iter([stage])  # type: ignore[method-assign]
        before = state()
        opt = {"hyper_params": {"lr": 0.01}, "epochs": 2, "early_stop": None}
        Trainer(OptSettings.model_validate(opt), 0, lambda m: {}).fit(model, tiny())
        seen.append(moved(before))
    assert seen[:3] == [{"walks"}] * 3
    assert "walks" not in seen[3] and "attention" in seen[3]


def test_a_kind_without_a_positive_has_no_walk():
    x = tiny().interactions
    data = tiny().with_interactions(x.take((x.kind != 1) | (x.label == 0)))
    model = GAMTCDR(GAMTCDR.Config(embedding_size=3, hidden=(1,)), data)
    assert [s.name for s in model.stages(data)] == ["walk/book", "walk/game", "train"]


# ------------------------------------------------------------------------------------------- BiTGCF


def adjacency(kind: int | None = None) -> np.ndarray:
    """R / sqrt(d_u d_i) of the positives of one kind, or of all."""
    r = np.zeros((6, 10))
    for u, i in ((u, i) for u, items in POSITIVES.items() for i in items if kind in (None, kind_of(i))):
        r[u, i] = 1
    root = np.sqrt(np.outer(r.sum(1), r.sum(0)))
    return np.divide(r, root, out=np.zeros_like(r), where=root > 0)


def literal_transfer(e: np.ndarray, own: float) -> np.ndarray:
    """e [3, 6, d] after the transfer, one user and kind at a time."""
    out = np.zeros_like(e)
    for k, u in product(range(3), range(6)):
        there = [j for j in range(3) if DEGREE[u, j]]
        if not there or there == [k]:
            out[k, u] = e[k, u]
            continue
        lap = sum(DEGREE[u, j] * e[j, u] for j in there) / DEGREE[u].sum()
        others = [j for j in there if j != k]
        mean = sum(e[j, u] for j in others) / len(others)
        lam = own * e[k, u] + (1 - own) * mean if k in there else mean
        out[k, u] = (lam + lap) / 2
    return out


def literal_bitgcf(model: BiTGCF, own: float, layers: int) -> tuple[np.ndarray, np.ndarray]:
    users = np.stack([array(model.users[k].weight) for k in KINDS])
    items = [array(model.items[k].weight) for k in KINDS]
    of_users, of_items = [users], [np.concatenate(items)]
    for _ in range(layers):
        users = users.copy()
        for k, kind in enumerate(KINDS):
            a = adjacency(k)[:, START[kind] : START[kind] + SIZES[kind]]
            near_u, near_i = a @ items[k], a.T @ users[k]
            items[k] = items[k] + near_i + near_i * items[k]
            users[k] = users[k] + near_u + near_u * users[k]
        users = literal_transfer(users, own)
        of_users.append(users / np.linalg.norm(users, axis=2, keepdims=True))
        of_items.append(np.concatenate(items) / np.linalg.norm(np.concatenate(items), axis=1, keepdims=True))
    return np.concatenate(of_users, 2), np.concatenate(of_items, 1)


@pytest.mark.parametrize("layers", [1, 2])
def test_a_score_of_bitgcf_follows_propagation_and_transfer(layers: int):
    model = build(BiTGCF, n_layers=layers, own_share=0.7)
    users, items = literal_bitgcf(model, 0.7, layers)
    expected = [[users[kind_of(i), u] @ items[i] for i in range(10)] for u in range(6)]
    close(every_score(model), expected, within=1e-5)  # edges and shares are float32


def test_the_loss_of_bitgcf_is_a_cross_entropy_and_the_norm_of_first_vectors():
    model = build(BiTGCF, n_layers=1, reg_weight=0.3)
    score = every_score(model)
    costs, norm = [], 0.0
    for u, i, js in zip(BATCH.user.tolist(), BATCH.positive.tolist(), BATCH.negative.tolist(), strict=True):
        costs += [np.log1p(np.exp(-score[u, i])), *(np.log1p(np.exp(score[u, j])) for j in js)]
        norm += (array(model.users[KINDS[kind_of(i)]].weight)[u] ** 2).sum()
        for j in [i, *js]:
            kind = KINDS[kind_of(j)]
            norm += (array(model.items[kind].weight)[j - START[kind]] ** 2).sum()
    terms = model.loss(BATCH)
    close(terms["bce"], np.mean(costs))
    close(terms["norm"], 0.15 * norm / 4)
    assert list(build(BiTGCF, reg_weight=0).loss(BATCH)) == ["bce"]


def transfer_matrix(degree: np.ndarray, own: float) -> np.ndarray:
    """Weight of the vector of kind j in the new one of kind k, [users, k, j]."""
    d = torch.from_numpy(degree).double()
    shares, n = transfer_shares(d, own), degree.shape[1]
    e = torch.eye(n, dtype=torch.float64)[:, None].expand(n, len(d), n)
    return array(shares.transferred(e, d > 0)).transpose(1, 0, 2)


def test_for_two_kinds_the_transfer_is_that_of_the_two_domains():
    """lambda e + (1 - lambda) e' and (D e + D' e') / (D + D'), their mean."""
    (weight,) = transfer_matrix(np.array([[3, 1]]), 0.8)
    close(weight, [[(0.8 + 0.75) / 2, (0.2 + 0.25) / 2], [(0.2 + 0.75) / 2, (0.8 + 0.25) / 2]], within=1e-6)


def test_a_user_takes_nothing_from_kinds_that_it_lacks():
    weight = transfer_matrix(DEGREE, 0.8)
    close(weight.sum(2), np.ones((6, 3)), within=1e-6)
    assert not weight[3, :, 1].any() and weight[3, 1, 0] > 0 and weight[3, 1, 2] > 0
    close(weight[4], [[1, 0, 0]] * 3)  # books alone
    close(weight[5], np.eye(3))


# ---------------------------------------------------------------------------------------- HeroGRAPH


def literal_hops(layer: Neighbours) -> np.ndarray:
    h = np.concatenate([array(layer.first.users.weight), array(layer.first.items.weight)])
    q, k, u, b = (array(w) for w in (layer.query.weight, layer.key.weight, layer.update.weight, layer.update.bias))
    for hop in range(layer.hops):
        new = []
        for v in range(len(h)):
            near = sorted(neighbours(v))
            logit = np.array([(q @ h[v]) @ (k @ h[w]) / np.sqrt(3) for w in near])
            a = np.exp(logit) / np.exp(logit).sum()
            pooled = sum((x * h[w] for x, w in zip(a, near, strict=True)), np.zeros(3))
            new.append(u @ np.concatenate([h[v], pooled]) + b)
        h = np.array(new) if hop == layer.hops - 1 else np.maximum(new, 0)
    return h


def hero_parts(model: HeroGRAPH, shared: np.ndarray) -> np.ndarray:
    items = np.concatenate([array(model.items[k].weight) for k in KINDS])
    own = [[array(model.users[KINDS[kind_of(i)]].weight)[u] @ items[i] for i in range(10)] for u in range(6)]
    return own + shared[:6] @ shared[6:].T


@pytest.mark.parametrize("hops", [1, 2])
def test_a_score_of_herograph_has_a_part_of_the_kind_and_one_of_the_graph(hops: int):
    model = build(HeroGRAPH, hops=hops)
    close(every_score(model), hero_parts(model, literal_hops(model.shared)))


def test_the_light_form_has_the_vectors_of_lightgcn():
    model = build(HeroGRAPH, light=True, hops=2)
    a = np.zeros((16, 16))
    a[:6, 6:], a[6:, :6] = adjacency(), adjacency().T
    e = np.concatenate([array(model.shared.users.weight), array(model.shared.items.weight)])
    close(every_score(model), hero_parts(model, (e + a @ e + a @ a @ e) / 3), within=1e-6)


def test_the_loss_of_herograph_is_bpr_of_the_hardest_pairs_and_norms():
    model = build(HeroGRAPH, reg_weight=0.3)
    score, shared = every_score(model), literal_hops(model.shared)
    costs, norm = [], 0.0
    for u, i, js in zip(BATCH.user.tolist(), BATCH.positive.tolist(), BATCH.negative.tolist(), strict=True):
        hardest = max(js, key=lambda j, u=u: score[u, j])
        costs.append(np.log1p(np.exp(-(score[u, i] - score[u, hardest]))))
        norm += (array(model.users[KINDS[kind_of(i)]].weight)[u] ** 2).sum() + (shared[u] ** 2).sum()
        for j in (i, hardest):
            kind = KINDS[kind_of(j)]
            norm += (array(model.items[kind].weight)[j - START[kind]] ** 2).sum() + (shared[6 + j] ** 2).sum()
    terms = model.loss(BATCH)
    close(terms["bpr"], np.mean(costs))
    close(terms["norm"], 0.15 * norm / 4)


def test_with_room_for_all_neighbours_a_sample_gives_what_all_give():
    layer = build(HeroGRAPH).shared
    node = torch.tensor([15, 0, 3, 9, 5, 6])
    close(Neighbours.forward(layer, node), layer.all()[node])


def test_sampled_neighbours_are_different_and_each_as_likely():
    layer = Neighbours(positive_history(tiny()), 3, 1, 3, 1.0)
    node = torch.tensor([0, 4, 5]).repeat(6000)  # five items, two and none
    torch.manual_seed(0)
    cells = layer.sample(node)
    assert cells.length[:3].tolist() == [3, 2, 0]
    rows = [part.tolist() for part in cells.column.split(cells.length.tolist())]
    assert all(len(set(row)) == len(row) for row in rows)
    assert all(set(row) == neighbours(4) for row in rows[1::3])
    count = Counter(n for row in rows[::3] for n in row)
    assert count.keys() == neighbours(0)
    assert all(c / 6000 == pytest.approx(3 / 5, abs=0.03) for c in count.values())


def test_a_softmax_of_rows_sums_to_one_and_bears_large_logits():
    cells = Cells(torch.tensor([2, 0, 3]), torch.zeros(5), torch.ones(5))
    logit = torch.tensor([1000.0, 999.0, -1000.0, 0.0, 1.0], dtype=torch.float64)
    e = np.exp(1)
    close(softmax_of_rows(logit, cells), [e / (1 + e), 1 / (1 + e), 0, 1 / (1 + e), e / (1 + e)])


def test_an_evaluation_after_training_sees_weights_that_moved_uncounted():
    model = build(HeroGRAPH)
    before = every_score(model)
    model.train()
    model.shared.update.bias.data += 1  # as fused optimisers do, without a new version
    after = every_score(model.eval())
    close(after, hero_parts(model, literal_hops(model.shared)))
    assert np.abs(after - before).max() > 0.1


# ------------------------------------------------------------------------------------ all of them


def test_edges_by_node_are_those_of_both_sides():
    edges = edges_of_nodes(positive_history(tiny()))
    assert [set(edges.index[a:b]) for a, b in zip(edges.offset, edges.offset[1:], strict=False)] == [
        neighbours(n) for n in range(16)
    ]


def test_positives_are_counted_by_user_and_kind():
    close(positives_by_kind(tiny()), DEGREE)


def with_weights_of(model: Any, other: Any, old_item: Tensor) -> None:
    """Copy the weights of ``other``, kind by kind; old_item int64[10]: the index there of each item."""
    for name, module in model.named_children():
        source = getattr(other, name)
        if isinstance(module, ByKind):
            for kind in module.index:
                module[kind].load_state_dict(source[kind].state_dict())
        else:
            state = source.state_dict()
            by_item = {k: v[old_item] if len(v) == 10 else v for k, v in state.items()}
            module.load_state_dict(by_item)
    if isinstance(model, GAMTCDR):
        place = [other.kinds.names.index(kind) for kind in model.kinds.names]
        for kind in KINDS:
            weight = other.attention[kind].weight.detach().view(6, 3, 3)[:, place].reshape(6, 9)
            model.attention[kind].load_state_dict({"weight": weight})


@each_model
@pytest.mark.parametrize("order", [("game", "book", "film"), ("film", "game", "book")], ids="-".join)
def test_the_order_of_the_kinds_has_no_meaning(name: str, order: tuple[str, ...]):
    cls, settings = MODELS[name]
    model, twin = build(cls, **settings), build(cls, tiny(order), **settings)
    old_item = torch.cat([torch.arange(START[k], START[k] + SIZES[k]) for k in order])
    with_weights_of(twin, model, old_item)
    close(every_score(twin), every_score(model)[:, old_item], within=1e-5)
    new = torch.argsort(old_item)
    moved = Pairs(BATCH.user, new[BATCH.positive], new[BATCH.negative])
    for term, value in model.loss(BATCH).items():
        close(twin.loss(moved)[term], value, within=1e-5)


@each_model
@pytest.mark.parametrize("n", [1, 2])
def test_any_number_of_kinds_will_do(name: str, n: int):
    cls, settings = MODELS[name]
    data = tiny(tuple(KINDS[:n]))
    model = build(cls, data, **settings)
    batch = next(iter(model.sampler(data).epoch(draw(8))))
    loss = torch.stack(list(model.train().loss(batch).values())).sum()
    loss.backward()
    assert torch.isfinite(loss) and all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


@each_model
def test_negatives_are_of_the_kind_of_their_positive(name: str):
    cls, settings = MODELS[name]
    model = build(cls, **settings)
    for batch in model.sampler(tiny()).epoch(draw(4)):
        kinds = model.kinds.index(batch.positive)[:, None]
        assert (model.kinds.index(batch.negative.flatten()).view_as(batch.negative) == kinds).all()
    with pytest.raises(ValueError, match="leave it out"):
        cls.Config(negatives={"same_kind": False})


@each_model
def test_vectors_of_users_and_items_and_lists_give_the_scores(name: str):
    cls, settings = MODELS[name]
    model = build(cls, **settings)
    with torch.no_grad():
        product_of = model.user_vectors(torch.arange(6)) @ model.item_vectors(torch.arange(10)).T
        close(product_of, every_score(model))
        close(model.ranker()(Queries(torch.tensor([4, 0]))), every_score(model)[[4, 0]])


@each_model
def test_what_a_user_likes_in_one_kind_changes_its_scores_in_another(name: str):
    cls, settings = MODELS[name]
    x = tiny().interactions
    fewer = tiny().with_interactions(x.take(~((x.user == 3) & (x.item == 7))))  # a game less
    with_it, without = (every_score(build(cls, data, **settings))[3, 4:7] for data in (tiny(), fewer))
    if name == "GAMTCDR":  # user 3 has another game, so its kinds are the same: take both
        fewer = tiny().with_interactions(x.take(~((x.user == 3) & (x.kind == 2))))
        without = every_score(build(cls, fewer, **settings))[3, 4:7]
    assert np.abs(with_it - without).max() > 1e-3


def test_lightgcn_has_one_graph_over_all_kinds():
    """A book that user 3 likes changes its scores of films."""
    x = tiny().interactions
    fewer = tiny().with_interactions(x.take(~((x.user == 3) & (x.item == 2))))
    with_it, without = (every_score(build(LightGCN, data))[3, 4:7] for data in (tiny(), fewer))
    assert np.abs(with_it - without).max() > 1e-3
