"""VBPR, CKE, FREEDOM and what they share against their equations, with whole matrices and loops."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hrec.datasets.batches import Draw, Joint, Pairs, Rows, Triples
from hrec.datasets.columns import Categorical, Column, Dense, Sparse, Tokens, joined
from hrec.datasets.recdata import Interactions, Table, TrainData
from hrec.datasets.relations import Relations
from hrec.datasets.samplers import Items, Jointly, Pairwise, Triplewise
from hrec.models.base import BaseModel
from hrec.models.content.cke import CKE
from hrec.models.content.freedom import FREEDOM
from hrec.models.content.vbpr import VBPR
from hrec.models.general.bprmf import BPRMF
from hrec.models.general.lightgcn import LightGCN
from hrec.models.layers.content import as_sparse
from hrec.models.layers.graph import Product
from hrec.models.layers.item_graph import chosen_edges, item_graph
from hrec.models.layers.item_vectors import VectorSettings, item_vectors
from hrec.pipeline.trainer import Trainer
from hrec.settings import NegativeSettings, OptSettings

NAN = np.nan
IMAGE = {
    "book": [[3.0, 4, 0], [NAN, NAN, NAN], [0, 0, 0], [1, 2, 2]],
    "film": [[-6.0, 0, 8], [NAN, NAN, NAN]],
}
"""Items 1 and 5 have no image, and the image of item 2 is 0."""
SOUND = [[1.0, 1], [2, -1], [0.5, 0], [NAN, NAN]]
"""Of books alone; item 3 has none."""
TEXT = Tokens(np.array([0, 3, 3, 4, 6]), np.array([0, 1, 0, 2, 2, 1], np.int32), np.array(["a", "b", "c"]))
"""The text of item 1 is empty, and films have no text."""
POSITIVES = {0: [0, 1, 3], 1: [4], 2: [0, 2, 3, 4, 5], 3: [], 4: [0, 1]}
CPU = torch.device("cpu")


def dense(rows: list[list[float]]) -> Dense:
    return Dense(np.array(rows, np.float32))


def graph() -> Relations:
    """Six items and two other entities, two relations, no triple twice."""
    head, relation, tail = np.array([(0, 0, 6), (1, 0, 6), (4, 1, 7), (6, 1, 7), (3, 0, 7)], np.int32).T
    return Relations(head, relation, tail, np.array(list("abcdefgh")), np.array(["by", "in"]))


def tiny(**changes: Any) -> TrainData:
    user, item = (np.array(a, np.int32) for a in zip(*[(u, i) for u in POSITIVES for i in POSITIVES[u]], strict=True))
    x = Interactions(user, item, (item >= 4).astype(np.int16))
    of_books: dict[str, Column] = {"image": dense(IMAGE["book"]), "sound": dense(SOUND), "text": TEXT}
    kinds = {"book": Table(4, 0, of_books), "film": Table(2, 4, {"image": dense(IMAGE["film"])})}
    return replace(TrainData(Table(5), kinds, x, "tiny"), **changes)


def build(cls: type[BaseModel], data: TrainData | None = None, **settings: Any) -> Any:
    """A model in float64 with weights of the order of 1."""
    model = cls(cls.Config(**settings), data or tiny()).double()
    with torch.no_grad():
        for index, p in enumerate(model.parameters()):
            p.copy_(torch.randn(p.shape, generator=torch.Generator().manual_seed(index)))
    return model


def array(weight: Tensor) -> np.ndarray:
    return weight.detach().numpy()


def close(a: Any, b: Any, within: float = 1e-6) -> None:
    """Vectors of items, and weights of edges, are float32."""
    a, b = (x.detach().numpy() if isinstance(x, Tensor) else x for x in (a, b))
    np.testing.assert_allclose(a, b, rtol=within, atol=within)


def every_score(model: Any, users: int = 5, items: int = 6) -> np.ndarray:
    user, item = torch.meshgrid(torch.arange(users), torch.arange(items), indexing="ij")
    with torch.no_grad():
        return array(model.score(user.flatten(), item.flatten()).view(users, items))


def pairs(pool: int = 1) -> Pairs:
    user, positive = (torch.tensor(a) for a in zip(*[(u, i) for u in POSITIVES for i in POSITIVES[u]], strict=True))
    return Pairs(user, positive, (positive[:, None] + 1 + torch.arange(pool)) % 6)


def literal_bpr(score: np.ndarray, batch: Pairs) -> tuple[float, list[tuple[int, int, int]]]:
    """The mean of -ln sigmoid(x_ui - x_uj), j the negative of largest score; and the triples (u, i, j)."""
    rows = zip(batch.user.tolist(), batch.positive.tolist(), batch.negative.tolist(), strict=True)
    triples = [(u, i, max(js, key=lambda j, u=u: score[u, j])) for u, i, js in rows]
    return float(np.mean([np.log1p(np.exp(score[u, j] - score[u, i])) for u, i, j in triples])), triples


def draw(batch_size: int, seed: int = 0) -> Draw:
    return Draw(batch_size, torch.Generator().manual_seed(seed), CPU)


def fitted(model: BaseModel, data: TrainData, epochs: int = 2, **hyper_params: float) -> BaseModel:
    opt = {"hyper_params": {"lr": 0.05} | hyper_params, "epochs": epochs, "batch_size": 5, "early_stop": None}
    Trainer(OptSettings.model_validate(opt), 0, lambda m: {}).fit(model, data)
    return model


# ------------------------------------------------------------------------------------ item vectors


def test_the_vectors_of_all_kinds_stand_in_one_array_and_what_is_missing_is_masked():
    image, sound = item_vectors(tiny(), VectorSettings(scale="raw"))
    assert (image.name, image.width, sound.name, sound.width) == ("image", 3, "sound", 2)
    assert image.known.tolist() == [True, False, True, True, True, False]
    assert sound.known.tolist() == [True, True, True, False, False, False]
    close(image.value, np.nan_to_num(np.array(IMAGE["book"] + IMAGE["film"])))
    close(sound.value, np.nan_to_num(np.array([*SOUND, [0, 0], [0, 0]])))
    assert image.value.dtype == torch.float32 and not image.state_dict()
    assert str(image) == "image (3 numbers, missing for 2 of 6 items)"


def test_each_scale_is_measured_on_the_vectors_that_are_there():
    there = np.array(IMAGE["book"] + IMAGE["film"])[[0, 2, 3, 4]]
    length = np.linalg.norm(there, axis=1, keepdims=True)
    expected = {
        "unit": there / np.where(length > 0, length, 1),
        "standard": (there - there.mean(0)) / there.std(0),
        "max": there / 8,
        "raw": there,
    }
    for scale, value in expected.items():
        (image,) = item_vectors(tiny(), VectorSettings(columns=("image",), scale=scale))
        close(image.value[image.known], value)
        assert (image.value[~image.known] == 0).all()


def test_columns_are_read_in_the_order_of_the_setting():
    both = item_vectors(tiny(), VectorSettings(columns=("sound", "image")))
    assert [v.name for v in both] == ["sound", "image"]
    assert item_vectors(tiny(), VectorSettings(columns=())) == []


def test_a_name_that_holds_vectors_of_other_widths_in_each_kind_is_a_modality_of_each():
    kinds = dict(tiny().kinds)
    kinds["film"] = Table(2, 4, {"image": dense([[5.0, 0], [0, 7]])})
    book, film, _ = item_vectors(tiny(kinds=kinds), VectorSettings())
    assert (book.name, book.width, film.name, film.width) == ("image of book", 3, "image of film", 2)
    assert book.known.tolist() == [True, False, True, True, False, False]
    close(film.value, np.array([[0, 0]] * 4 + [[1, 0], [0, 1]]))


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("text", "model.columns: column 'text' holds no vectors. Columns of vectors: image, sound"),
        ("poster", "model.columns: no kind of item has a column 'poster'. Columns of vectors: image, sound"),
    ],
)
def test_a_column_without_vectors_is_refused_by_name(column: str, message: str):
    with pytest.raises(ValueError, match=message):
        VBPR(VBPR.Config(columns=(column,)), tiny())


@pytest.mark.parametrize("cls", [VBPR, FREEDOM])
def test_data_without_vectors_are_refused_and_missing_vectors_are_counted(cls: Any):
    bare = tiny(kinds={"book": Table(4), "film": Table(2, 4)})
    with pytest.raises(ValueError, match=f"{cls.__name__} needs vectors of items, and 'tiny' has none"):
        cls(cls.Config(), bare)
    said = "\n".join(cls(cls.Config(), tiny()).remarks)
    assert "image (3 numbers, missing for 2 of 6 items); sound (2 numbers, missing for 3 of 6 items)" in said


# -------------------------------------------------------------------------------------------- VBPR


@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("pool", [1, 3])
def test_vbpr_is_equation_4_and_its_loss_that_of_the_hardest_pairs(biased: bool, pool: int):
    settings = {"item_bias": biased, "visual_bias": biased, "scale": "raw", "embedding_size": 3, "visual_size": 2}
    norms = {"reg_weight": 0.3, "reg_negative": 0.05, "reg_visual": 0.7}
    model, batch = build(VBPR, **settings, **norms), pairs(pool)
    p, q, t = array(model.users.weight), array(model.items.weight), array(model.tastes.weight)
    b = array(model.bias.weight)[:, 0] if biased else np.zeros(6)
    image, sound = np.array(IMAGE["book"] + IMAGE["film"]), np.array([*SOUND, [0, 0], [0, 0]])
    f = np.nan_to_num(np.concatenate([image, sound], 1))
    e, beta = array(model.visual).T, array(model.visual_bias)[:, 0] if biased else np.zeros(5)
    x = np.array([[b[i] + p[u] @ q[i] + t[u] @ (e @ f[i]) + beta @ f[i] for i in range(6)] for u in range(5)])
    close(every_score(model), x)
    terms = model.loss(batch)
    value, triples = literal_bpr(x, batch)
    close(terms["bpr"], value)
    own = [p[u] @ p[u] + t[u] @ t[u] + q[i] @ q[i] + b[i] ** 2 for u, i, _ in triples]
    of_negative = [q[j] @ q[j] + b[j] ** 2 for *_, j in triples]
    close(terms["norm"], 0.15 * np.mean(own) + 0.025 * np.mean(of_negative))
    close(terms["visual_norm"], 0.35 * ((e**2).sum() + (beta**2).sum()))
    assert list(build(VBPR, reg_weight=0).loss(batch)) == ["bpr"]


def test_the_negative_of_vbpr_has_the_weight_of_the_positive_where_it_has_none_of_its_own():
    one, other = (build(VBPR, reg_weight=0.2, reg_negative=value).loss(pairs())["norm"] for value in (None, 0.2))
    assert one == other != build(VBPR, reg_weight=0.2, reg_negative=0.0).loss(pairs())["norm"]


@pytest.mark.parametrize("cls", [VBPR, CKE])
def test_no_weight_of_the_vectors_moves_the_score_of_an_item_without_any(cls: Any):
    model = build(cls).eval()
    of_vectors = ("visual", "visual_bias") if cls is VBPR else ("vectors",)
    before = every_score(model)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name.split(".")[0] in of_vectors:
                p.add_(torch.randn(p.shape, generator=torch.Generator().manual_seed(9)))
    moved = np.abs(every_score(model) - before).max(0) > 1e-6
    assert moved[[0, 3, 4]].all() and not moved[5]


# --------------------------------------------------------------------------------------------- CKE


def test_texts_are_counted_by_word_and_joined_by_their_words():
    counts = as_sparse(TEXT)
    assert isinstance(counts, Sparse)
    assert (counts.offset.tolist(), counts.index.tolist(), counts.value.tolist(), counts.width) == (
        [0, 2, 2, 3, 5],
        [0, 1, 2, 1, 2],
        [2, 1, 1, 1, 1],
        3,
    )
    other = Tokens(np.array([0, 2]), np.array([1, 0], np.int32), np.array(["c", "z"]))
    both = joined([TEXT, other])
    assert isinstance(both, Tokens) and both.offset.tolist() == [0, 3, 3, 4, 6, 8]
    assert both.vocabulary[both.word].tolist() == ["a", "b", "a", "c", "c", "b", "z", "c"]


def literal_codes(model: Any, x: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(codes, reconstruction) of the text autoencoder of one hidden layer: sigmoids, then a linear output."""
    encoder, decoder = model.text.encoder, model.text.decoder.maps

    def sigmoid(z: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-z))

    def layer(linear: Any, z: np.ndarray) -> np.ndarray:
        return z @ array(linear.weight).T + array(linear.bias)

    hidden = sigmoid(x @ array(encoder.first.table.weight) + array(encoder.first.bias))
    code = sigmoid(layer(encoder.above[0], hidden))
    made = layer(decoder[0], sigmoid(layer(decoder[1], code)))
    return code * known[:, None], made


def literal_network(layers: Any, x: np.ndarray) -> np.ndarray:
    for number in (0, 2):
        x = x @ array(layers[number].weight).T + array(layers[number].bias)
        x = np.maximum(x, 0) if number == 0 else x
    return x


@pytest.fixture
def cke() -> Any:
    settings = {"text": {"widths": [4], "scale": "binary", "weight": 0.4}, "vectors": {"hidden": 5, "scale": "raw"}}
    graph_part = {"embedding_size": 2, "weight": 0.7, "reg_weight": 0.2}
    everything = settings | {"graph": graph_part, "embedding_size": 3, "reg_weight": 0.3, "noise": 0.0}
    return build(CKE, tiny(relations=graph()), **everything)


def test_an_item_of_cke_is_the_sum_of_its_parts_and_the_loss_that_of_each(cke: Any):
    words = np.array([[1, 1, 0], [0, 0, 0], [0, 0, 1], [0, 1, 1], [0, 0, 0], [0, 0, 0]], float)
    has_text = words.any(1)
    code, made = literal_codes(cke, words, has_text)
    e = array(cke.items.weight) + array(cke.graph.entities.weight)[:6] + code
    wrong = 0.0
    batch = Joint(pairs(2), Rows(torch.tensor([5, 3, 0, 1])))
    for part, x in zip(cke.vectors, (IMAGE["book"] + IMAGE["film"], [*SOUND, [NAN, NAN], [NAN, NAN]]), strict=True):
        vectors, known = np.nan_to_num(np.array(x)), np.isfinite(x).all(1)
        of_items = literal_network(part.encoder.layers, vectors)
        e = e + of_items * known[:, None]
        missed = ((literal_network(part.decoder.layers, of_items) - vectors) ** 2).sum(1) * known
        wrong += missed[[5, 3, 0, 1]].mean()
    u = array(cke.users.weight)
    close(every_score(cke), u @ e.T)
    terms = cke.loss(batch)
    value, triples = literal_bpr(u @ e.T, batch.pairs)
    close(terms["bpr"], value)
    close(terms["norm"], 0.15 * np.mean([u[a] @ u[a] + e[i] @ e[i] + e[j] @ e[j] for a, i, j in triples]))
    close(terms["text"], 0.4 * (((made - words) ** 2).sum(1) * has_text)[[5, 3, 0, 1]].mean())
    close(terms["vectors"], wrong)
    assert set(terms) == {"bpr", "norm", "text", "vectors"}


@pytest.mark.parametrize("normalised", [True, False])
def test_the_loss_of_a_triple_is_that_of_transr(normalised: bool):
    part = {"embedding_size": 2, "weight": 0.7, "reg_weight": 0.2, "normalised": normalised}
    model = build(CKE, tiny(relations=graph()), graph=part, embedding_size=3)
    v, r, m = (array(t.weight) for t in (model.graph.entities, model.graph.relations, model.graph.maps))
    rows, values, norms = [(0, 0, 6, 7), (4, 1, 7, 2), (6, 1, 7, 0)], [], []

    def length_1(x: np.ndarray) -> np.ndarray:
        return x / np.linalg.norm(x) if normalised else x

    for head, relation, tail, false in rows:
        a, b, c = (length_1(v[x] @ m[relation].reshape(3, 2)) for x in (head, tail, false))
        d = length_1(r[relation])
        near, far = ((a + d - b) ** 2).sum(), ((a + d - c) ** 2).sum()
        values.append(-np.log(1 / (1 + np.exp(-(far - near)))))
        norms.append(a @ a + d @ d + b @ b + c @ c)
    batch = Triples(*torch.tensor(rows).T)
    terms = model.loss(Joint(pairs(), None, batch))
    close(terms["graph"], 0.7 * np.mean(values))
    close(terms["graph_norm"], 0.1 * np.mean(norms))


def test_cke_without_any_part_is_bprmf_bit_for_bit_and_says_what_it_lacks():
    data, models = tiny(kinds={"book": Table(4), "film": Table(2, 4)}), []
    for cls in (CKE, BPRMF):
        torch.manual_seed(3)
        models.append(fitted(cls(cls.Config(reg_weight=0.1), data), data))
    cke, bprmf = models
    assert torch.equal(cke.users.weight, bprmf.users.weight) and torch.equal(cke.items.weight, bprmf.items.weight)
    assert "trained without a knowledge graph, texts, item vectors" in cke.remarks
    full = CKE(CKE.Config(), tiny(relations=graph()))
    assert not any("trained without" in line for line in full.remarks)
    off = CKE(CKE.Config(graph=None, text=None, vectors=None), tiny(relations=graph()))
    assert {name.split(".")[0] for name in off.state_dict()} == {"users", "items"}


def test_a_column_that_a_part_of_cke_cannot_read_is_named_with_its_setting():
    for part, message in (
        ("text", r"model\.text\.columns: no kind of item has a column 'plot'"),
        ("vectors", r"model\.vectors\.columns: no kind of item has a column 'plot'"),
    ):
        with pytest.raises(ValueError, match=message):
            CKE(CKE.Config(**{part: {"columns": ("plot",)}}), tiny())


def test_the_texts_of_cke_are_words_and_categories_but_no_numbers():
    book = tiny().kinds["book"]
    author = Categorical(np.array([2, 3, 0, 2], np.int32), np.array(["x", "y"]))
    kinds = {"book": replace(book, columns={**book.columns, "author": author}), "film": tiny().kinds["film"]}
    assert CKE(CKE.Config(), tiny(kinds=kinds)).text.encoder.first.wide.width == 3 + 4
    with pytest.raises(
        ValueError, match=r"model\.text\.columns: column 'image' holds no words. Columns of words: text"
    ):
        CKE(CKE.Config(text={"columns": ("image",)}), tiny())
    with pytest.raises(ValueError, match=r"model\.vectors\.columns: column 'text' holds no vectors"):
        CKE(CKE.Config(vectors={"columns": ("text",)}), tiny())


def test_the_first_reconstruction_of_texts_is_about_the_mean():
    rng = np.random.default_rng(0)
    word = rng.integers(0, 300, 900).astype(np.int32)
    texts = Tokens(np.arange(0, 901, 30), word, np.array([str(i) for i in range(300)]))
    data = tiny(kinds={"book": Table(30, 0, {"text": texts})})
    part = CKE(CKE.Config(text={"scale": "unit"}, noise=0.0), data).text
    x = part.encoder.first.wide.dense(torch.arange(30))
    assert part.loss(torch.arange(30)) < 1.1 * (x - x.mean(0)).square().sum(1).mean()


def test_noise_is_on_in_training_alone():
    model = build(CKE, noise=0.5)
    model.train()
    torch.manual_seed(0)
    assert not np.allclose(every_score(model), every_score(model))
    model.eval()
    close(every_score(model), every_score(model), within=0)


@pytest.mark.parametrize("batch_size", [1, 3, 4, 100])
def test_an_epoch_of_a_joint_loss_takes_each_pair_each_item_and_each_triple(batch_size: int):
    data = tiny(relations=graph())
    pairwise = Pairwise(data, NegativeSettings(same_kind=False), CPU)
    batches = list(Jointly(pairwise, Items(data), Triplewise(data, CPU)).epoch(draw(batch_size)))
    rows = sum(len(items) for items in POSITIVES.values())
    assert len(batches) == -(-rows // batch_size) and len(batches[0]) == min(batch_size, rows)
    taken = [p for b in batches for p in zip(b.pairs.user.tolist(), b.pairs.positive.tolist(), strict=True)]
    assert sorted(taken) == [(u, i) for u in POSITIVES for i in POSITIVES[u]]
    for name, count in (("items", 6), ("triples", 5)):
        sizes = [len(getattr(b, name)) for b in batches]
        assert sum(sizes) >= count and max(sizes) <= -(-count // len(batches))
    assert {i for b in batches for i in b.items.row.tolist()} == set(range(6))
    triples = {t for b in batches for t in zip(b.triples.head.tolist(), b.triples.tail.tolist(), strict=True)}
    assert triples == set(zip(graph().head.tolist(), graph().tail.tolist(), strict=True))


def test_a_joint_batch_has_none_for_a_part_that_has_no_row():
    data = tiny()
    (batch,) = Jointly(Pairwise(data, NegativeSettings(), CPU)).epoch(draw(100))
    assert batch.items is None and batch.triples is None
    nothing = tiny(relations=replace(graph(), **{n: np.zeros(0, np.int32) for n in ("head", "relation", "tail")}))
    (batch,) = Jointly(Pairwise(data, NegativeSettings(), CPU), None, Triplewise(nothing, CPU)).epoch(draw(100))
    assert batch.triples is None
    assert CKE(CKE.Config(), nothing).graph is None


def test_every_part_of_cke_is_trained_on_a_graph():
    data = tiny(relations=graph())
    torch.manual_seed(0)
    model = CKE(CKE.Config(embedding_size=4), data)
    before = {name: p.clone() for name, p in model.named_parameters()}
    fitted(model, data)
    assert not [name for name, p in model.named_parameters() if torch.equal(p, before[name])]


# ----------------------------------------------------------------------------------------- FREEDOM


def literal_item_graph(k: int, weights: tuple[float, float]) -> np.ndarray:
    """Eq. 1 to 4 with loops; the weights of an item sum to 1 over the modalities that it has."""
    total, share = np.zeros((6, 6)), np.zeros(6)
    for a, rows in zip(weights, (IMAGE["book"] + IMAGE["film"], [*SOUND, [NAN, NAN], [NAN, NAN]]), strict=True):
        x = np.array(rows)
        known = [i for i in range(6) if np.isfinite(x[i]).all()]
        near = np.zeros((6, 6))
        for i in known:
            length = {j: max(np.linalg.norm(x[j]), 1e-12) for j in known}
            cosine = {j: x[i] @ x[j] / length[i] / length[j] for j in known}
            for j in sorted(known, key=lambda j, c=cosine: (-c[j], j))[:k]:
                near[i, j] = 1
            share[i] += a
        d = np.maximum(near.sum(1), 1)
        total += a * near / np.sqrt(np.outer(d, d))
    return total / np.where(share > 0, share, 1)[:, None]


@pytest.mark.parametrize("k", [1, 2, 10])
@pytest.mark.parametrize("weights", [(1.0, 1.0), (0.1, 0.9), (0.0, 1.0)])
def test_the_graph_of_items_is_that_of_equations_1_to_4(k: int, weights: tuple[float, float]):
    s = item_graph(item_vectors(tiny(), VectorSettings(scale="raw")), k, weights)
    made = np.zeros((6, 6))
    made[np.repeat(np.arange(6), np.diff(s.offset)), s.index] = s.value
    close(made, literal_item_graph(k, weights))
    assert s.width == 6 and not made[5].any() and not made[:, 5].any()


def test_the_product_with_a_sparse_matrix_has_the_gradient_of_its_transpose():
    matrix = item_graph(item_vectors(tiny(), VectorSettings()), 2, (0.3, 0.7))
    product = Product(matrix).double()
    table = torch.randn(6, 2, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(product, [table])


def literal_freedom(model: Any, edges: set[tuple[int, int]], s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """h of users and items: LightGCN on these edges, and S^L e of the items."""
    r = np.zeros((5, 6))
    for u, i in edges:
        r[u, i] = 1
    root = np.sqrt(np.outer(np.maximum(r.sum(1), 1), np.maximum(r.sum(0), 1)))
    a = np.block([[np.zeros((5, 5)), r / root], [(r / root).T, np.zeros((6, 6))]])
    e0 = np.concatenate([array(model.users), array(model.items)])
    e = np.mean([np.linalg.matrix_power(a, k) @ e0 for k in range(model.config.n_layers + 1)], axis=0)
    near = np.linalg.matrix_power(s, model.config.item_layers) @ array(model.items)
    return e[:5], e[5:] + near


def edges_of(graph: Any) -> set[tuple[int, int]]:
    owner = torch.repeat_interleave(torch.arange(5), graph.of_user.offset.diff())
    return set(zip(owner.tolist(), graph.of_user.index.tolist(), strict=True))


ALL_EDGES = {(u, i) for u in POSITIVES for i in POSITIVES[u]}


@pytest.mark.parametrize("pool", [1, 2])
@pytest.mark.parametrize("pruned", [0.0, 0.6])
def test_freedom_is_lightgcn_on_the_pruned_graph_plus_the_graph_of_items(pruned: float, pool: int):
    settings = {"embedding_size": 3, "neighbours": 2, "item_layers": 2, "pruned": pruned, "scale": "raw"}
    model = build(FREEDOM, **settings, modality_weights=(0.1, 0.9), modality_loss=0.4, reg_weight=0.2)
    s, batch = literal_item_graph(2, (0.1, 0.9)), pairs(pool)
    model.draw_graph()
    left = edges_of(model.left)
    assert left <= ALL_EDGES and len(left) == int((1 - pruned) * len(ALL_EDGES))
    users, items = literal_freedom(model, left, s)
    terms = model.train().loss(batch)
    value, triples = literal_bpr(users @ items.T, batch)
    close(terms["bpr"], value)
    expected = 0.0
    for m, x in zip(model.modalities, (IMAGE["book"] + IMAGE["film"], [*SOUND, [NAN, NAN], [NAN, NAN]]), strict=True):
        h = np.array(x) @ array(m.map.weight).T + array(m.map.bias)
        value = [np.log1p(np.exp(users[u] @ (h[j] - h[i]))) for u, i, j in triples]
        expected += np.nansum(value) / len(triples)
    close(terms["modalities"], 0.4 * expected)
    e = array(model.items)
    norm = [array(model.users)[u] @ array(model.users)[u] + e[i] @ e[i] + e[j] @ e[j] for u, i, j in triples]
    close(terms["norm"], 0.1 * np.mean(norm))
    model.eval()
    users, items = literal_freedom(model, ALL_EDGES, s)
    close(every_score(model), users @ items.T)


def test_the_users_of_freedom_are_those_of_lightgcn():
    freedom, plain = build(FREEDOM, embedding_size=3).eval(), build(LightGCN, embedding_size=3, n_layers=2).eval()
    with torch.no_grad():
        plain.load_state_dict({name: freedom.state_dict()[name] for name in ("users", "items")})
        close(freedom.user_vectors(torch.arange(5)), plain.user_vectors(torch.arange(5)), within=1e-12)


def test_edges_stay_in_proportion_to_their_chance_and_none_twice():
    chance = torch.tensor([4.0, 2.0, 1.0, 1.0], dtype=torch.float64)
    first = Counter(int(chosen_edges(chance, 1, seed)) for seed in range(4000))
    for edge, share in enumerate((0.5, 0.25, 0.125, 0.125)):
        assert first[edge] / 4000 == pytest.approx(share, abs=0.03)
    for seed in range(20):
        some = chosen_edges(chance, 3, seed).tolist()
        assert some == sorted(set(some)) and len(some) == 3
    assert chosen_edges(chance, 3, 5).tolist() == chosen_edges(chance, 3, 5).tolist()


def test_edges_of_nodes_with_many_edges_are_left_out_more():
    model = FREEDOM(FREEDOM.Config(), tiny())
    of_user, of_item = Counter(u for u, _ in ALL_EDGES), Counter(i for _, i in ALL_EDGES)
    x = tiny().interactions
    expected = [1 / np.sqrt(of_user[u] * of_item[i]) for u, i in zip(x.user.tolist(), x.item.tolist(), strict=True)]
    close(model.edges.chance, np.array(expected), within=1e-12)


def test_each_epoch_prunes_other_edges_and_a_loaded_state_has_those_it_was_saved_with():
    data = tiny()
    torch.manual_seed(0)
    model = FREEDOM(FREEDOM.Config(pruned=0.5), data)
    (stage,) = model.stages(data)
    seen = []
    for _ in range(6):
        stage.each_epoch()
        seen.append(edges_of(model.left))
    assert len(set(map(frozenset, seen))) > 2
    again = FREEDOM(FREEDOM.Config(pruned=0.5), data)
    again.load_state_dict(model.state_dict())
    assert edges_of(again.left) == seen[-1]


def test_rows_of_one_user_and_item_are_one_edge_and_negative_items_are_none():
    x = tiny().interactions
    twice = x.take(np.concatenate([np.arange(len(x)), np.arange(len(x))]))
    label = np.ones(len(twice), np.float32)
    label[[0, len(x)]] = 0  # user 0, item 0
    model = FREEDOM(FREEDOM.Config(), tiny(interactions=replace(twice, label=label)))
    assert len(model.edges) == len(ALL_EDGES) - 1
    assert edges_of(model.graph) == ALL_EDGES - {(0, 0)}


def test_trained_vectors_leave_missing_ones_at_0_and_the_graph_of_items_as_it_is():
    data = tiny()
    torch.manual_seed(0)
    model = FREEDOM(FREEDOM.Config(train_vectors=True, modality_loss=1.0, pruned=0.2), data)
    before = [m.trained.detach().clone() for m in model.modalities]
    s = model.item_graph.rows.value.clone()
    fitted(model, data, epochs=4)
    for m, old in zip(model.modalities, before, strict=True):
        assert (m.trained[~m.vectors.known] == 0).all()
        assert not torch.equal(m.trained, old) and torch.equal(m.vectors.value, old)
    assert torch.equal(model.item_graph.rows.value, s)
    assert all(m.trained is None for m in FREEDOM(FREEDOM.Config(), data).modalities)


@pytest.mark.parametrize("weights", [(1.0,), (0.0, 0.0), (1.0, 1.0, 1.0)])
def test_weights_that_fit_no_modalities_are_refused(weights: tuple[float, ...]):
    with pytest.raises(ValueError, match=r"model\.modality_weights: give 2 numbers, not all 0, for image, sound"):
        FREEDOM(FREEDOM.Config(modality_weights=weights), tiny())


# ----------------------------------------------------------------------------- vectors are of use


def two_tastes(missing: tuple[int, ...] = ()) -> tuple[TrainData, np.ndarray]:
    """Users and items of two groups, 24 items of which the last 4 have no row; the vector of an item reveals its group.
    -> data, bool[users, items], whether the item is of the user's group"""
    rng = np.random.default_rng(0)
    of_user, of_item = np.arange(30) % 2, np.arange(24) % 2
    same = of_user[:, None] == of_item
    user, item = np.nonzero((rng.random(same.shape) < 0.6) & same & (np.arange(24) < 20))
    vector = 2.0 * of_item[:, None] - 1 + 0.3 * rng.standard_normal((24, 3))
    vector[list(missing)] = np.nan
    x = Interactions(user.astype(np.int32), item.astype(np.int32), np.zeros(len(user), np.int16))
    return TrainData(Table(30), {"film": Table(24, 0, {"image": Dense(vector.astype(np.float32))})}, x), same


@pytest.mark.parametrize("cls", [VBPR, CKE, FREEDOM])
def test_an_item_without_a_training_row_is_ranked_by_its_vector(cls: Any):
    data, same = two_tastes(missing=(23,))
    torch.manual_seed(0)
    model = fitted(cls(cls.Config(negatives={"same_kind": False}), data), data, epochs=20, lr=0.01).eval()
    score = every_score(model, 30, 24)
    new, other = score[:, [20, 22]].mean(1), score[:, 21]
    assert ((new > other) == same[:, 20]).mean() > 0.85
    assert np.isfinite(score[:, 23]).all()
