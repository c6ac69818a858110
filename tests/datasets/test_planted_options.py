"""Options of planted data: each reveals its part of the truth, and without them nothing has changed."""

from __future__ import annotations

import hashlib
from functools import cache
from itertools import combinations, pairwise

import numpy as np
import pytest
from sklearn.linear_model import RidgeCV
from sklearn.metrics import roc_auc_score

from hrec.datasets import load, load_split, planted
from hrec.datasets import planted_options as options
from hrec.datasets.columns import Dense, Tokens
from hrec.datasets.planted_best import expected_ndcg
from hrec.datasets.planted_lists import best_ndcg, relevance_odds
from hrec.settings import DataSettings

make = cache(planted.make)

DIGESTS = [
    "de4ba2b3dd5d8209e567700501b800670950f1e901491df7350313a421fab214",
    "870618eaf49daf2fbd8d2a14d5a1be23cae3ea574f24794c95d28bf3370e0e85",
]
DIGEST_OF_SMALL = "1d78f789b38158efb04e1747c564cea92ea729df2b86064bd0ffc84d78dc6954"


def explained(x: np.ndarray, y: np.ndarray) -> float:
    """R^2 of a linear probe from x [n, p] to y [n, q], fitted on even rows and measured on odd ones."""
    probe = RidgeCV(np.logspace(-3, 4, 15)).fit(x[::2], y[::2])
    error = ((probe.predict(x[1::2]) - y[1::2]) ** 2).sum()
    return float(1 - error / ((y[1::2] - y[::2].mean(0)) ** 2).sum())


def topics(made: planted.Planted) -> np.ndarray:
    return np.concatenate([items.topics for items in made.hidden.items.values()])


def mean_by(group: np.ndarray, n: int, value: np.ndarray) -> np.ndarray:
    """float[n, d]: mean of the rows of each group, 0 for a group without one."""
    total = np.zeros((n, value.shape[1]))
    np.add.at(total, group, value)
    return total / np.maximum(np.bincount(group, minlength=n), 1)[:, None]


def digest(made: planted.Planted) -> str:
    """Of all arrays of the data; the probabilities to six places, as exp differs between processors."""
    total, x = hashlib.sha256(), made.data.interactions
    arrays = [x.user, x.item, x.kind, x.label, x.rating, x.time, made.pairs, np.round(made.probability, 6)]
    for table in (made.data.users, *made.data.kinds.values()):
        for column in table.columns.values():
            arrays += [v for v in vars(column).values() if isinstance(v, np.ndarray)]
    for array in arrays:
        total.update(str(array.dtype).encode() + array.tobytes())
    return total.hexdigest()


# ------------------------------------------------------------------------------- what stays the same


def test_data_without_options_are_what_they_were():
    assert [digest(make("tiny", seed)) for seed in (0, 3)] == DIGESTS
    assert digest(make("small")) == DIGEST_OF_SMALL
    x, data = make("tiny").data.interactions, make("tiny").data
    assert not x.columns and data.relations is None
    assert not any("image" in table.columns for table in data.kinds.values())


@pytest.mark.parametrize("option", ["reviews", "graph"])
def test_what_does_not_change_choices_changes_nothing_else(option: str):
    assert digest(planted.make("tiny", **{option: True})) == digest(make("tiny"))


def test_options_do_not_change_each_other():
    alone, all_of_them = (
        planted.make("tiny", reviews=True),
        planted.make("tiny", reviews=True, graph=True),
    )
    one, two = alone.data.interactions.columns["review"], all_of_them.data.interactions.columns["review"]
    assert np.array_equal(one.word, two.word) and np.array_equal(one.offset, two.offset)
    graph = planted.make("tiny", graph=True).data.relations
    assert np.array_equal(all_of_them.data.relations.tail, graph.tail)


@pytest.mark.parametrize("option", ["times", "image"])
def test_choices_change_but_counts_and_other_columns_do_not(option: str):
    made, plain = planted.make("tiny", **{option: True}), make("tiny")
    assert not np.array_equal(made.data.interactions.item, plain.data.interactions.item)
    assert np.array_equal(np.bincount(made.data.interactions.kind), np.bincount(plain.data.interactions.kind))
    for kind, table in plain.data.kinds.items():
        assert set(made.data.kinds[kind].columns) - {"image"} == set(table.columns)
        assert np.array_equal(made.data.kinds[kind].columns["score"].value, table.columns["score"].value, True)


def test_the_same_seed_gives_the_same_options_and_another_others():
    one, two, other = (
        planted.make("tiny", seed, reviews=True, times=True, image=True, graph=True) for seed in (1, 1, 2)
    )
    parts = [
        (m.data.interactions.columns["review"].word, m.data.kinds["film"].columns["image"].value, m.data.relations.tail)
        for m in (one, two, other)
    ]
    for a, b, c in zip(*parts, strict=True):
        assert np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
        assert not np.array_equal(a, c, equal_nan=a.dtype.kind == "f")


# ------------------------------------------------------------------------------------------ reviews


def words_by(group: np.ndarray, n: int, column: Tokens) -> np.ndarray:
    """float[n, words]: share of each word in the reviews of each group, int[N]."""
    width = len(column.vocabulary)
    key = np.repeat(group, np.diff(column.offset)).astype(np.int64) * width + column.word
    count = np.bincount(key, minlength=n * width).reshape(n, width)
    return count / np.maximum(count.sum(1, keepdims=True), 1)


def test_reviews_are_well_formed():
    made = planted.make("tiny", reviews=True)
    column = made.data.interactions.columns["review"]
    assert isinstance(column, Tokens) and len(column) == len(made.data.interactions)
    assert column.word.dtype == np.int32 and column.offset.dtype == np.int64
    assert column.offset[-1] == len(column.word) and np.diff(column.offset).min() >= 1
    assert column.word.min() >= 0 and column.word.max() < len(column.vocabulary) == len(set(column.vocabulary))
    assert np.diff(column.offset).mean() == pytest.approx(options.REVIEW_LENGTH, rel=0.05)


def test_reviews_reveal_the_items_topics_and_the_users_taste():
    made = make("small", reviews=True)
    x = made.data.interactions
    items = np.flatnonzero(np.bincount(x.item, minlength=made.data.n_items) >= 5)
    by_item = words_by(x.item, made.data.n_items, x.columns["review"])[items]
    assert explained(by_item, topics(made)[items]) > 0.5
    by_user = words_by(x.user, made.data.n_users, x.columns["review"])
    taste = made.hidden.users.taste.mean(0)
    assert explained(by_user, taste) > 0.4
    assert explained(np.random.default_rng(0).permutation(by_user), taste) < 0.05


def test_words_tell_of_taste_beyond_the_items_that_they_are_about():
    made = make("small", reviews=True)
    x = made.data.interactions
    of_items = mean_by(x.user, made.data.n_users, topics(made)[x.item])
    both = np.concatenate([of_items, words_by(x.user, made.data.n_users, x.columns["review"])], axis=1)
    taste = made.hidden.users.taste.mean(0)
    assert explained(both, taste) > explained(of_items, taste) + 0.05


# -------------------------------------------------------------------------------------------- image


def image_of(made: planted.Planted) -> np.ndarray:
    return np.concatenate([table.columns["image"].value for table in made.data.kinds.values()])


def style_of(made: planted.Planted) -> np.ndarray:
    return np.concatenate(list(made.hidden.styles.items.values()))


def test_images_reveal_style_and_nothing_of_topics_or_quality():
    made = make("small", image=True, reviews=True)
    assert all(isinstance(table.columns["image"], Dense) for table in made.data.kinds.values())
    image = image_of(made)
    missing = np.isnan(image).all(1)
    assert np.array_equal(missing, np.isnan(image).any(1)) and image.dtype == np.float32
    assert missing.mean() == pytest.approx(options.IMAGES_MISSING, abs=0.01)
    assert explained(image[~missing], style_of(made)[~missing]) > 0.7
    quality = np.concatenate([items.quality for items in made.hidden.items.values()])[:, None]
    assert explained(image[~missing], topics(made)[~missing]) < 0.02
    assert explained(image[~missing], quality[~missing]) < 0.02


def test_images_of_a_users_items_tell_the_next_ones():
    made = make("small", image=True)
    x, image = made.data.interactions, np.nan_to_num(image_of(made))
    train = np.arange(len(x)) % 2 == 0
    taste = mean_by(x.user[train], made.data.n_users, image[x.item[train]] - image[x.item[train]].mean(0))
    user, chosen = x.user[~train], x.item[~train]
    other = np.random.default_rng(0).permutation(chosen)  # as popular on the whole
    score = [np.sum(taste[user] * image[item], axis=1) for item in (chosen, other)]
    label = np.repeat([1, 0], len(user))
    assert roc_auc_score(label, np.concatenate(score)) > 0.57


def test_neither_ratings_nor_words_tell_of_style():
    made = make("small", image=True, reviews=True)
    x, style = made.data.interactions, style_of(made)
    affinity = np.sum(made.hidden.styles.taste[x.user] * style[x.item], axis=1)
    assert roc_auc_score(x.label, affinity) == pytest.approx(0.5, abs=0.015)
    word = x.columns["review"]
    often = np.flatnonzero(np.bincount(x.item, minlength=made.data.n_items) >= 5)
    assert explained(words_by(x.item, made.data.n_items, word)[often], style[often]) < 0.02
    assert explained(words_by(x.user, made.data.n_users, word), made.hidden.styles.taste) < 0.05


# -------------------------------------------------------------------------------------------- times


def nearness(made: planted.Planted) -> tuple[float, float]:
    """Mean product of the topics of users' last item and of (the five before, the first five)."""
    x, of_item = made.data.interactions, topics(made)
    order = np.lexsort((x.time, x.user))
    start = np.concatenate([[0], np.cumsum(np.bincount(x.user, minlength=made.data.n_users))])
    ends = [(order[a:b], order[b - 1]) for a, b in pairwise(start) if b - a > 20]
    pairs = [(of_item[x.item[last]], of_item[x.item[rows]]) for rows, last in ends]
    late, early = (np.mean([(last * rows[s].mean(0)).sum() for last, rows in pairs]) for s in (slice(-6, -1), slice(5)))
    return float(late), float(early)


def test_the_order_of_rows_foretells_the_next_item_only_with_times():
    late, early = nearness(make("small", times=True))
    assert late > early + 0.05
    late, early = nearness(make("small"))
    assert abs(late - early) < 0.02


def test_times_are_spread_as_before():
    one, two = make("small").data.interactions.time, make("small", times=True).data.interactions.time
    assert np.all(np.diff(two) >= 0)
    assert np.allclose(np.quantile(one, [0.1, 0.5, 0.9]), np.quantile(two, [0.1, 0.5, 0.9]), rtol=0.02)


# -------------------------------------------------------------------------------------------- graph


def tails_of(made: planted.Planted, relation: str) -> np.ndarray:
    """float[n_items, n_entities]: 1 where the graph has (item, relation, entity); only tails of two items or more."""
    r = made.data.relations
    rows = (r.relation == list(r.relations).index(relation)) & (r.head < made.data.n_items)
    out = np.zeros((made.data.n_items, r.n_entities), np.float32)
    out[r.head[rows], r.tail[rows]] = 1
    return out[:, out.sum(0) > 1]


def test_relations_reveal_topics_but_for_places():
    made = make("small", graph=True)
    assert explained(tails_of(made, "about"), topics(made)) > 0.3
    assert explained(tails_of(made, "made_by"), topics(made)) > 0.3
    assert explained(tails_of(made, "set_in"), topics(made)) < 0.02


def test_the_graph_is_whole_lacks_some_items_and_crosses_kinds():
    made = make("small", graph=True)
    r, n = made.data.relations, made.data.n_items
    assert np.array_equal(r.entities[:n], np.concatenate([t.ids for t in made.data.kinds.values()]))
    assert all(a.dtype == np.int32 for a in (r.head, r.relation, r.tail))
    assert len(np.unique(np.stack([r.head, r.relation, r.tail]), axis=1).T) == len(r)
    ends = np.unique(np.concatenate([r.head, r.tail]))
    assert np.array_equal(ends[ends >= n], np.arange(n, r.n_entities))
    without = 1 - np.count_nonzero(ends < n) / n
    assert options.WITHOUT_TRIPLE < without < options.WITHOUT_TRIPLE + 0.03
    adapted = r.relation == list(r.relations).index("adapted_as")
    pairs = set(map(tuple, made.pairs.tolist()))
    assert set(zip(r.head[adapted].tolist(), r.tail[adapted].tolist(), strict=True)) <= pairs
    assert 0.4 < adapted.sum() / len(pairs) < 0.8
    by = r.relation == list(r.relations).index("made_by")
    kind = np.searchsorted([t.stop for t in made.data.kinds.values()], r.head[by], side="right")
    kinds_of_person = len(np.unique(r.tail[by] * 3 + kind)) / len(np.unique(r.tail[by]))
    assert kinds_of_person > 1.5


def test_the_field_of_a_subject_is_the_topic_of_its_items():
    made = make("small", graph=True)
    r, of_item = made.data.relations, topics(made)
    about, part = (r.relation == list(r.relations).index(name) for name in ("about", "part_of"))
    topic = {e: int(str(r.entities[f]).removeprefix("field_")) for e, f in zip(r.head[part], r.tail[part], strict=True)}
    field = np.array([topic[e] for e in r.tail[about]])
    share = of_item[r.head[about], field].mean()
    assert share > of_item.mean() + 0.2


# ------------------------------------------------------------------------------------- the best lists


def test_expected_ndcg_is_the_mean_over_all_choices_of_relevant_items():
    rng = np.random.default_rng(0)
    for m, k in ((1, 3), (2, 3), (4, 3), (3, 9)):
        odds = rng.exponential(size=6) * [1, 1, 0, 1, 9, 1]
        order = np.argsort(-odds)
        gain = 1 / np.log2(np.arange(k) + 2)
        total = weight = 0.0
        for relevant in combinations(range(6), m):
            chance = np.prod(odds[list(relevant)])
            hit = np.isin(order[:k], relevant)
            total += chance * (hit * gain[: len(hit)]).sum() / gain[:m].sum()
            weight += chance
        assert expected_ndcg(odds[None], np.array([m]), k)[0] == pytest.approx(total / weight)


def parts_of(made: planted.Planted, by_time: bool) -> tuple[np.ndarray, np.ndarray]:
    n = len(made.data.interactions)
    order = np.arange(n) if by_time else np.random.default_rng(0).permutation(n)
    return np.split(order, [int(0.8 * n)])


def measured(made: planted.Planted, score: np.ndarray, known: np.ndarray, held: np.ndarray) -> np.ndarray:
    """NDCG@10 of each user that has a relevant item, of lists in descending order of ``score`` [users, n]."""
    x = made.data.interactions
    score = score.copy()
    score[x.user[known], x.item[known]] = -np.inf
    relevant = np.zeros(score.shape, bool)
    positive = held[x.label[held] > 0]
    relevant[x.user[positive], x.item[positive]] = True
    users = np.flatnonzero(relevant.any(1))
    hit = np.take_along_axis(relevant, np.argsort(-score, axis=1)[:, :10], 1)[users]
    gain = 1 / np.log2(np.arange(10) + 2)
    return (hit * gain).sum(1) / np.cumsum(gain)[np.minimum(relevant[users].sum(1), 10) - 1]


@pytest.mark.parametrize("option", [{}, {"times": True}, {"image": True}])
def test_best_ndcg_is_what_lists_by_the_truth_reach(option: dict):
    expected, reached = [], []
    for seed in range(12):
        made = planted.make("tiny", seed, **option)
        known, held = parts_of(made, by_time="times" in option)
        expected.append(best_ndcg(made, known, held)["ndcg@10"])
        reached.append(measured(made, relevance_odds(made, known, held), known, held))
    error = np.concatenate(reached).std() / np.sqrt(sum(map(len, reached)))
    assert np.mean(expected) == pytest.approx(np.mean([r.mean() for r in reached]), abs=2.5 * error)


def test_no_list_without_the_truth_is_as_good():
    made = make("tiny", image=True)
    known, held = parts_of(made, by_time=False)
    x, best = made.data.interactions, best_ndcg(made, known, held)
    assert set(best) == {"ndcg@10", "ndcg@10/book", "ndcg@10/music", "ndcg@10/film"}
    count = np.bincount(x.item[known], minlength=made.data.n_items).astype(float)
    popular = measured(made, np.tile(count, (made.data.n_users, 1)), known, held)
    assert popular.mean() < best["ndcg@10"] - 0.03


def test_time_raises_the_best_list_of_those_who_know_the_period():
    made = make("tiny", times=True)
    known, held = parts_of(made, by_time=True)
    knowing = measured(made, relevance_odds(made, known, held), known, held).mean()
    blind = planted.Planted(
        made.data, made.probability, made.pairs, np.zeros_like(made.period), made.hidden, made.choices
    )
    assert knowing > 0.3 and not np.allclose(relevance_odds(blind, known, held), relevance_odds(made, known, held))


# ------------------------------------------------------------------------------------------ settings


def settings(**more) -> DataSettings:
    every = {"size": "tiny", "reviews": True, "times": True, "image": True, "graph": True}
    return DataSettings.model_validate({"planted": every, **more})


def test_settings_turn_options_on_and_name_the_data():
    assert settings().name == "planted-tiny-reviews-times-image-graph"
    data = load(settings(), None)
    assert set(data.interactions.columns) == {"review", "probability"}
    assert data.name == settings().name and load(settings(name="mine"), None).name == "mine"
    assert data.relations is not None and "image" in data.kinds["film"].columns


def test_one_kind_keeps_its_items_in_the_graph():
    whole, film = load(settings(), None), load(settings(single_type="film"), None)
    assert len(film.relations) == len(whole.relations)
    assert np.array_equal(film.relations.entities[: film.n_items], film.kinds["film"].ids)
    assert "book_" in "".join(film.relations.entities[film.n_items :])


def test_a_split_gives_training_reviews_to_training_alone():
    whole, parts = load(settings(), None), load_split(settings(), None)
    for part in (parts.train, parts.valid, parts.test):
        assert len(part.interactions.columns["review"]) == len(part.interactions)
        assert part.relations is whole.relations or len(part.relations) == len(whole.relations)
    words = [len(part.interactions.columns["review"].word) for part in (parts.train, parts.valid, parts.test)]
    assert 0.6 < words[0] / len(whole.interactions.columns["review"].word) < 0.8 and words[1:] == [0, 0]


@pytest.mark.parametrize("bad", [{"reviews": "many"}, {"review": True}])
def test_the_options_are_strict(bad: dict):
    with pytest.raises(ValueError, match=r"planted\.review"):
        DataSettings.model_validate({"planted": {"size": "tiny"} | bad})
