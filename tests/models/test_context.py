"""Models of columns against a literal reading of their equations, pair by pair and field by field."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from math import exp, log, sqrt
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hrec.datasets.columns import FIRST, MISSING, UNKNOWN, Categorical, CategoricalList, Dense, Numeric, Sparse, joined
from hrec.datasets.recdata import Interactions, RecData, Table, TrainData
from hrec.models import find_model
from hrec.models.layers import entries
from hrec.models.layers.context import ContextSettings, PairFields

GENRES = np.array(["crime", "drama"])


def made(kinds: int = 1) -> RecData:
    """Two users and two items of each kind; 'genre' is shared, 'pages' belongs to books alone."""
    users = {
        "city": Categorical(np.array([FIRST, MISSING], np.int32), np.array(["Oslo"])),
        "age": Numeric(np.array([20, 40], np.float32)),
    }
    genres = CategoricalList(np.array([0, 2, 2]), np.array([FIRST, FIRST + 1], np.int32), GENRES)
    book = {"genre": genres, "pages": Numeric(np.array([np.nan, 90], np.float32))}
    film = {"genre": CategoricalList(np.array([0, 1, 2]), np.array([FIRST + 1, UNKNOWN], np.int32), GENRES)}
    tables = {"book": Table(2, 0, book)} | ({"film": Table(2, 2, film)} if kinds == 2 else {})
    label = np.array([1, 0], np.float32)
    rows = Interactions(np.arange(2, dtype=np.int32), np.arange(2, dtype=np.int32), np.zeros(2, np.int16), label)
    return TrainData(Table(2, 0, users), tables, rows)


def settings(**more: Any) -> ContextSettings:
    return ContextSettings(embedding_size=3, init_std=0.5, **more)


# ------------------------------------------------------------------------------------------- fields

# What each field of user 0 and item 0 of made() is: (field, code, weight), the literal reading.
USER_0 = [[("user", 0, 1)], [("city", FIRST, 1)], [("age", 1, -1)]]
USER_1 = [[("user", 1, 1)], [("city", MISSING, 1)], [("age", 1, 1)]]
BOOK_0 = [[("item", 0, 1)], [("genre", FIRST, 0.5), ("genre", FIRST + 1, 0.5)], [("pages", 0, 1)]]
BOOK_1 = [[("item", 1, 1)], [("genre", MISSING, 1)], [("pages", 1, 0)]]  # the one known number is the mean
FIELD_SIZES = {"user": 2, "city": 3, "age": 2, "item": 2, "genre": 4, "pages": 2}


def literal_fields(fields: PairFields, sides: list[list[list[tuple[str, int, float]]]]) -> Tensor:
    """[F, d + 1] of one pair: sums of the rows that stand for its fields."""
    start = dict(zip(FIELD_SIZES, np.cumsum([0, *FIELD_SIZES.values()]).tolist(), strict=False))
    weight = fields.table.weight
    return torch.stack([sum(w * weight[start[f] + code] for f, code, w in each) for side in sides for each in side])


def test_every_type_of_column_is_a_field_of_one_matrix():
    fields = PairFields(made(), settings())
    assert fields.count == 6 and len(fields.table.weight) == sum(FIELD_SIZES.values())
    vectors, first_order = fields(torch.tensor([0, 1, 0]), torch.tensor([0, 1, 1]))
    for row, sides in enumerate([[USER_0, BOOK_0], [USER_1, BOOK_1], [USER_0, BOOK_1]]):
        expected = literal_fields(fields, sides)
        torch.testing.assert_close(vectors[row], expected[:, :-1])
        torch.testing.assert_close(first_order[row], expected[:, -1].sum())


def test_in_training_a_row_reads_numbers_without_itself():
    data, age = made(), made().users.columns["age"]
    assert isinstance(age, Numeric)
    less = replace(data.users, columns={**data.users.columns, "age": replace(age, in_training=age.value - 1)})
    other = replace(data.users, columns={**data.users.columns, "age": Numeric(age.value - 1, age.value)})
    fields, alike, plain = (PairFields(replace(data, users=users), settings()) for users in (less, other, data.users))
    for one in (alike, plain):
        one.load_state_dict(fields.state_dict())
    pair = torch.tensor([0, 1]), torch.tensor([0, 1])
    torch.testing.assert_close(fields(*pair), alike(*pair))
    torch.testing.assert_close(fields.eval()(*pair), plain(*pair))
    assert not torch.equal(alike(*pair)[0], plain(*pair)[0])


def test_one_side_alone_has_the_same_vectors():
    fields = PairFields(made(), settings())
    user, item = torch.tensor([1, 0]), torch.tensor([0, 1])
    vectors, _ = fields(user, item)
    torch.testing.assert_close(torch.cat([fields.of("user", user), fields.of("item", item)], 1), vectors)
    bare = PairFields(made(), settings(), first_order=False)
    assert bare.table.weight.shape[1] == fields.table.weight.shape[1] - 1 == bare.width
    assert bare.of("item", item).shape == fields.of("item", item).shape


def test_of_several_kinds_only_what_all_share_is_a_field_and_the_rest_is_reported():
    fields = PairFields(made(kinds=2), settings())
    assert fields.names == {"user": ["user id", "city", "age"], "item": ["item id", "genre"]}
    assert fields.remarks == [
        "fields of users: user id, city, age",
        "fields of items: item id, genre",
        "left out: column 'pages' is one of book alone",
    ]
    vectors, _ = fields(torch.tensor([0]), torch.tensor([2]))  # the first film
    torch.testing.assert_close(vectors[0, 4], fields.table.weight[7 + 4 + FIRST + 1, :-1])


@pytest.mark.parametrize("side", ["user", "item"])
def test_a_column_may_have_the_name_of_an_id(side):
    data, names = made(), ("user", "item", "user id", "item id", "kind")
    table = data.users if side == "user" else data.kinds["book"]
    added = {name: Categorical(np.zeros(table.count, np.int32), np.array(["x"])) for name in names}
    grown = replace(table, columns={**table.columns, **added})
    other = replace(data, users=grown) if side == "user" else replace(data, kinds={"book": grown})
    plain, fields = PairFields(data, settings()), PairFields(other, settings())
    assert fields.count == plain.count + len(names)
    assert len(fields.table.weight) == len(plain.table.weight) + len(names) * (FIRST + 1)
    own = fields.of(side, torch.arange(2))
    assert not torch.equal(own[0, 0], own[1, 0])  # the field of the id still tells the rows apart


def test_a_column_that_cannot_be_used_is_refused_where_the_settings_say_so():
    with pytest.raises(ValueError, match=r"^column 'pages' is one of book alone\. The model .*data\.feat\.NAME=null"):
        PairFields(made(kinds=2), settings(refuse_columns=True))
    assert PairFields(made(), settings(refuse_columns=True)).count == 6


def with_columns(data: RecData, kind: str, **columns: Any) -> RecData:
    table = data.kinds[kind]
    return replace(data, kinds={**data.kinds, kind: replace(table, columns={**table.columns, **columns})})


POSTER = Dense(np.array([[1, 5, 0], [3, 5, 4]], np.float32))  # standardised: -1 and 1, 0 and 0, -1 and 1


def test_a_dense_vector_is_mapped_to_a_field_and_its_weight_of_first_order():
    plain, fields = PairFields(made(), settings()), PairFields(with_columns(made(), "book", poster=POSTER), settings())
    fields.load_state_dict(plain.state_dict(), strict=False)
    assert fields.names["item"] == [*plain.names["item"], "poster"] and fields.count == plain.count + 1
    user, item = torch.tensor([0, 1]), torch.tensor([0, 1])
    (vectors, weight), (without, rest) = fields(user, item), plain(user, item)
    (of_poster,) = fields.vectors["item"]
    both = torch.tensor([[-1.0, 0, -1], [1, 0, 1]]) @ of_poster.map.weight.T
    torch.testing.assert_close(vectors, torch.cat([without, both[:, None, :-1]], 1))
    torch.testing.assert_close(weight, rest + both[:, -1])
    torch.testing.assert_close(fields.of("item", item), vectors[:, 3:])


def test_a_missing_vector_is_trained_and_the_others_alone_set_the_scale():
    poster = Dense(np.array([[1, 2], [np.nan, np.nan], [3, 2], [4, 5]], np.float32))
    data = made(kinds=2)
    data = with_columns(
        with_columns(data, "book", poster=poster.take(np.array([0, 1]))), "film", poster=poster.take(np.array([2, 3]))
    )
    fields = PairFields(data, settings())
    assert fields.names["item"] == ["item id", "genre", "poster"]
    (of_poster,) = fields.vectors["item"]
    last = fields.of("item", torch.arange(4))[:, -1]
    torch.testing.assert_close(last[1], of_poster.missing[:-1])
    known = poster.value[[0, 2, 3]]
    scaled = torch.from_numpy((known - known.mean(0)) / known.std(0))
    torch.testing.assert_close(last[[0, 2, 3]], (scaled @ of_poster.map.weight.T)[:, :-1], check_dtype=False)
    last.sum().backward()
    assert of_poster.missing.grad is not None and of_poster.missing.grad[:-1].tolist() == [1, 1, 1]


def test_a_sparse_vector_is_a_weighted_bag():
    words = Sparse(np.array([0, 2, 2]), np.array([0, 3], np.int32), np.array([3, 1], np.float32), 5)
    fields = PairFields(with_columns(made(), "book", words=words), settings())
    weight = fields.table.weight[-(FIRST + 5) :]
    vectors, _ = fields(torch.tensor([0, 0]), torch.tensor([0, 1]))
    torch.testing.assert_close(vectors[0, -1], (0.75 * weight[FIRST] + 0.25 * weight[FIRST + 3])[:-1])
    torch.testing.assert_close(vectors[1, -1], weight[MISSING, :-1])


def test_vectors_may_be_the_only_fields_of_both_sides():
    data = made()
    data = replace(
        data, users=replace(data.users, columns={"face": POSTER}), kinds={"book": Table(2, 0, {"poster": POSTER})}
    )
    fields = PairFields(data, settings(ids=False))
    vectors, weight = fields(torch.tensor([0, 1, 1]), torch.tensor([1, 0, 1]))
    assert vectors.shape == (3, 2, 3) and fields.names == {"user": ["face"], "item": ["poster"]}
    torch.testing.assert_close(weight[2] - weight[0], 2 * fields.vectors["user"][0].map.weight[-1, [0, 2]].sum())


def test_vectors_are_left_out_where_the_settings_say_so_and_a_side_without_fields_is_refused():
    data = replace(made(), kinds={"book": Table(2, 0, {"poster": POSTER})})
    fields = PairFields(data, settings(vectors="drop"))
    assert "left out: column 'poster' holds vectors" in fields.remarks and fields.count == 4
    assert PairFields(data, settings(refuse_columns=True)).count == 5
    with pytest.raises(ValueError, match="column 'poster' holds vectors"):
        PairFields(data, settings(vectors="drop", refuse_columns=True))
    data = with_columns(data, "book", cover=POSTER)
    remarks = PairFields(data, settings(vectors="drop")).remarks
    assert "left out: columns 'poster', 'cover': each holds vectors" in remarks
    with pytest.raises(ValueError, match="no column of the items to read"):
        PairFields(data, settings(ids=False, vectors="drop"))


def test_numbers_are_cut_into_buckets_of_equal_count():
    column = Numeric(np.array([5, 1, np.nan, 9, 7, 3, 11, 13, 15], np.float32))
    cut = entries.of_buckets(column, 4)
    assert cut.code.tolist() == [
        FIRST + 1,
        FIRST,
        MISSING,
        FIRST + 2,
        FIRST + 1,
        FIRST,
        FIRST + 2,
        FIRST + 3,
        FIRST + 3,
    ]
    assert cut.size == FIRST + 4
    same = entries.of_buckets(Numeric(np.array([4, 4, np.nan], np.float32)), 5)
    assert len({*same.code[:2].tolist()}) == 1 and same.code.max() < same.size
    assert entries.of_buckets(Numeric(np.full(2, np.nan, np.float32)), 3).code.tolist() == [MISSING, MISSING]
    large = np.float32(3e38) * np.linspace(-1, 1, 9, dtype=np.float32)
    assert (
        entries.of_buckets(Numeric(large), 3).code.tolist() == entries.of_buckets(Numeric(large / 9), 3).code.tolist()
    )


def test_joined_columns_tell_categories_by_their_text():
    one = Categorical(np.array([FIRST, MISSING, FIRST + 1], np.int32), np.array(["b", "a"]))
    two = Categorical(np.array([UNKNOWN, FIRST], np.int32), np.array(["a"]))
    both = joined([one, two])
    assert isinstance(both, Categorical) and both.values.tolist() == ["a", "b"]
    assert both.code.tolist() == [FIRST + 1, MISSING, FIRST, UNKNOWN, FIRST]
    lists = [
        CategoricalList(np.array([0, 2]), c.code[[0, 0]], c.values)
        for c in (one, Categorical(two.code[1:], two.values))
    ]
    joined_lists = joined(lists)
    assert isinstance(joined_lists, CategoricalList)
    assert joined_lists.offset.tolist() == [0, 2, 4] and joined_lists.code.tolist() == [FIRST + 1] * 2 + [FIRST] * 2
    assert joined([Numeric(np.ones(1)), Numeric(np.zeros(2))]).value.tolist() == [1, 0, 0]  # type: ignore[union-attr]
    with pytest.raises(ValueError, match="is of type Categorical and Numeric"):
        joined([one, Numeric(np.ones(1))])
    with pytest.raises(ValueError, match="holds vectors of 2 and 3 numbers"):
        joined([Dense(np.ones((1, 2))), Dense(np.ones((1, 3)))])


# ------------------------------------------------------------------------------------------- models


def model_of(name: str, **config: Any) -> Any:
    """A model of made() in float64, evaluation mode, whose every weight has been moved away from its start."""
    cls = find_model(name)
    torch.manual_seed(0)
    model = cls(cls.Config(**({} if name == "LR" else {"embedding_size": 3}) | config), made()).double().eval()
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape, dtype=torch.float64) * 0.5)
    for side in (model.fields.users, model.fields.items):
        side.always.value = side.always.value.double()
    return model


def vectors_of(model: Any) -> tuple[list[list[float]], float]:
    """Vectors and summed weights of first order of (user 0, item 0), as plain numbers."""
    rows = literal_fields(model.fields, [USER_0, BOOK_0]).tolist()
    return [r[:-1] for r in rows], sum(r[-1] for r in rows)


def dot(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def times(a: list[float], b: list[float]) -> list[float]:
    return [x * y for x, y in zip(a, b, strict=True)]


def perceptron(mlp: Any, x: list[float]) -> list[float]:
    linears = [layer for layer in mlp.layers if isinstance(layer, torch.nn.Linear)]
    relus = sum(isinstance(layer, torch.nn.ReLU) for layer in mlp.layers)
    for index, layer in enumerate(linears):
        x = [dot(row, x) + b for row, b in zip(layer.weight.tolist(), layer.bias.tolist(), strict=True)]
        if index < relus:
            x = [max(v, 0.0) for v in x]
    return x


def flat(vectors: list[list[float]]) -> list[float]:
    return [x for v in vectors for x in v]


def softmax(x: list[float]) -> list[float]:
    return [exp(v) / sum(exp(w) for w in x) for v in x]


def lr(model: Any) -> float:
    return model.constant.item() + vectors_of(model)[1]


def fm(model: Any) -> float:
    return lr(model) + sum(dot(v, w) for v, w in combinations(vectors_of(model)[0], 2))


def widedeep(model: Any) -> float:
    return lr(model) + perceptron(model.mlp, flat(vectors_of(model)[0]))[0]


def deepfm(model: Any) -> float:
    return fm(model) + perceptron(model.mlp, flat(vectors_of(model)[0]))[0]


def dcn(model: Any) -> float:
    first = flat(vectors_of(model)[0])
    x = first
    for w, b in zip(model.weight.tolist(), model.bias.tolist(), strict=True):
        inner = dot(x, w)
        x = [f * inner + shift + old for f, shift, old in zip(first, b, x, strict=True)]
    both = x + perceptron(model.mlp, first)
    return lr(model) + dot(model.last.weight[0].tolist(), both) + model.last.bias.item()


def xdeepfm(model: Any) -> float:
    first, direct, out = vectors_of(model)[0], model.config.direct, []
    x = first
    for index, weight in enumerate(model.cin.weights):
        width = len(first[0])
        maps = [
            [
                sum(weight[i, h, j].item() * x[i][t] * first[j][t] for i in range(len(x)) for j in range(len(first)))
                for t in range(width)
            ]
            for h in range(weight.shape[1])
        ]
        last = index == len(model.cin.weights) - 1
        half = len(maps) // 2
        x, shown = (maps, maps) if direct else ([], maps) if last else (maps[:half], maps[half:])
        out += [sum(m) for m in shown]
    linear = dot(model.last.weight[0].tolist(), out) + model.last.bias.item()
    return lr(model) + linear + perceptron(model.mlp, flat(first))[0]


def afm(model: Any) -> float:
    products = [times(v, w) for v, w in combinations(vectors_of(model)[0], 2)]
    w, b, h = model.attention.weight.tolist(), model.attention.bias.tolist(), model.heat.tolist()
    heat = [dot(h, [max(dot(row, p) + c, 0.0) for row, c in zip(w, b, strict=True)]) for p in products]
    pooled = [sum(a * p[t] for a, p in zip(softmax(heat), products, strict=True)) for t in range(3)]
    return lr(model) + dot(model.projection.tolist(), pooled)


def autoint(model: Any) -> float:
    vectors = first = vectors_of(model)[0]
    for layer in model.layers:
        size = layer.project.out_features // 4
        q, k, v, res = (
            [[dot(row, e) for row in w] for e in vectors]
            for w in layer.project.weight.split(size)
            for w in [w.tolist()]
        )
        out = []
        for m in range(len(vectors)):
            row = []
            for h in range(layer.heads):
                part = slice(h * size // layer.heads, (h + 1) * size // layer.heads)
                a = softmax([dot(q[m][part], key[part]) for key in k])
                row += [
                    sum(x * value[part][t] for x, value in zip(a, v, strict=True)) for t in range(size // layer.heads)
                ]
            out.append([max(x + r, 0.0) for x, r in zip(row, res[m], strict=True)])
        vectors = out
    logit = dot(model.last.weight[0].tolist(), flat(vectors)) + model.last.bias.item()
    return lr(model) + logit + (perceptron(model.mlp, flat(first))[0] if model.mlp else 0.0)


def dssm(model: Any) -> float:
    vectors = literal_fields(model.fields, [USER_0, BOOK_0]).tolist()
    x, y = (perceptron(model.towers[s], flat(v)) for s, v in (("user", vectors[:3]), ("item", vectors[3:])))
    return model.log_gamma.exp().item() * dot(x, y) / sqrt(dot(x, x) * dot(y, y)) + model.constant.item()


LITERAL: list[tuple[str, Callable[[Any], float], dict[str, Any]]] = [
    ("LR", lr, {}),
    ("FM", fm, {}),
    ("WideDeep", widedeep, {"mlp_hidden_size": [5, 4]}),
    ("DeepFM", deepfm, {"mlp_hidden_size": [5, 4]}),
    ("DCN", dcn, {"mlp_hidden_size": [5, 4], "cross_layers": 2}),
    ("xDeepFM", xdeepfm, {"mlp_hidden_size": [5], "cin_layer_size": [4, 6, 3]}),
    ("xDeepFM", xdeepfm, {"mlp_hidden_size": [5], "cin_layer_size": [4, 3], "direct": True}),
    ("AFM", afm, {"attention_size": 4}),
    ("AutoInt", autoint, {"attention_size": 4, "n_layers": 2, "mlp_hidden_size": [5]}),
    ("AutoInt", autoint, {"attention_size": 6, "num_heads": 3, "n_layers": 1, "mlp_hidden_size": []}),
    ("DSSM", dssm, {"mlp_hidden_size": [5, 4]}),
    ("DSSM", dssm, {"mlp_hidden_size": [4], "variant": "paper"}),
]


@pytest.mark.parametrize(("name", "literal", "config"), LITERAL)
def test_a_score_is_that_of_the_equation(name: str, literal: Callable[[Any], float], config: dict[str, Any]):
    model = model_of(name, **config)
    score = model.score(torch.tensor([1, 0]), torch.tensor([1, 0]))
    assert score[1].item() == pytest.approx(literal(model), rel=1e-9)


def test_the_bare_cosine_keeps_every_probability_near_one_half():
    model = model_of("DSSM", variant="paper")
    p = torch.sigmoid(model.score(*torch.cartesian_prod(torch.arange(2), torch.arange(2)).T))
    assert not list(n for n, _ in model.named_parameters() if n in ("log_gamma", "constant"))
    assert 1 / (1 + exp(1)) <= p.min() and p.max() <= 1 / (1 + exp(-1))


def test_regularisation_is_that_of_the_papers():
    afm_model, cin = model_of("AFM", reg_weight=3.0), model_of("xDeepFM", reg_weight=0.2, mlp_hidden_size=[5])
    norm = sum(w * w for row in afm_model.attention.weight.tolist() for w in row)
    assert afm_model.regularisation()["reg"].item() == pytest.approx(3 * norm / 2)  # two rows
    weights = [*cin.cin.weights, cin.last.weight, *(x.weight for x in cin.mlp.layers if hasattr(x, "weight"))]
    assert cin.regularisation()["reg"].item() == pytest.approx(0.1 * sum((w**2).sum().item() for w in weights))
    assert model_of("AFM", reg_weight=0).regularisation() == model_of("xDeepFM", reg_weight=0).regularisation() == {}


def test_settings_that_do_not_fit_together_are_refused_with_a_sentence():
    for name, wrong, why in (
        ("xDeepFM", {"cin_layer_size": [5, 4]}, "must be even"),
        ("AutoInt", {"attention_size": 5}, "a multiple of num_heads"),
        ("AutoInt", {"dropout_probs": [0.2, 1.0, 0]}, "below 1"),
    ):
        with pytest.raises(ValueError, match=why):
            find_model(name).Config(**wrong)
    assert json.loads(find_model("LR").Config().model_dump_json())["embedding_size"] == 0
    assert log(find_model("DSSM").Config().gamma) == pytest.approx(log(10))
