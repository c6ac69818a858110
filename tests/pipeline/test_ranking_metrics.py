"""Metrics of lists: hand-worked cases, and another library's values on random input."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torchmetrics.functional import retrieval

from hrec.pipeline.metrics import direction
from hrec.pipeline.ranking_metrics import USER_METRICS, Lists, mean_of_users, of_catalogue, of_users

LOG3, LOG4 = math.log2(3), math.log2(4)


def lists(hit: list[list[int]], relevant: list[int], item: list[list[int]] | None = None) -> Lists:
    hits = np.array(hit, bool)
    items = np.arange(hits.size).reshape(hits.shape) if item is None else np.array(item)
    return Lists(np.arange(len(hits)), items, hits, np.array(relevant))


@pytest.mark.parametrize(
    ("name", "hit", "relevant", "value"),
    [
        ("recall@3", [1, 0, 1], 4, 2 / 4),
        ("recall@2", [1, 0, 1], 4, 1 / 4),
        ("precision@3", [1, 0, 1], 4, 2 / 3),
        ("precision@6", [1, 0, 1], 4, 2 / 6),  # three candidates in all: the list is short, k stays 6
        ("recall@6", [1, 0, 1], 4, 2 / 4),
        ("ndcg@3", [0, 1, 1], 2, (1 / LOG3 + 1 / LOG4) / (1 + 1 / LOG3)),
        ("ndcg@3", [1, 1, 0], 2, 1.0),
        ("ndcg@2", [0, 1, 1], 5, (1 / LOG3) / (1 + 1 / LOG3)),
        ("ndcg@6", [0, 1, 1], 2, (1 / LOG3 + 1 / LOG4) / (1 + 1 / LOG3)),
        ("hit@2", [0, 0, 1], 1, 0.0),
        ("hit@3", [0, 0, 1], 1, 1.0),
        ("mrr@3", [0, 1, 1], 2, 1 / 2),
        ("mrr@1", [0, 1, 1], 2, 0.0),
        ("map@3", [1, 0, 1], 2, (1 + 2 / 3) / 2),
        ("map@3", [0, 1, 1], 4, (1 / 2 + 2 / 3) / 4),
        ("recall@3", [0, 0, 0], 2, 0.0),
        ("ndcg@3", [0, 0, 0], 2, 0.0),
    ],
)
def test_hand_worked_lists(name: str, hit: list[int], relevant: int, value: float):
    assert of_users(name, lists([hit], [relevant]))[0] == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize("name", USER_METRICS)
def test_users_who_like_nothing_are_left_out_of_the_mean(name: str):
    some = lists([[1, 0], [0, 0], [0, 1]], [1, 0, 2])
    value = of_users(f"{name}@2", some)
    assert np.isnan(value[1]) and mean_of_users(f"{name}@2", some) == pytest.approx((value[0] + value[2]) / 2)
    assert math.isnan(mean_of_users(f"{name}@2", lists([[0, 0]], [0])))


OTHERS = {
    "recall": retrieval.retrieval_recall,
    "precision": retrieval.retrieval_precision,
    "ndcg": retrieval.retrieval_normalized_dcg,
    "hit": retrieval.retrieval_hit_rate,
    "mrr": retrieval.retrieval_reciprocal_rank,
}


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("k", [1, 5, 20])
def test_values_are_those_of_torchmetrics(name: str, k: int):
    rng = np.random.default_rng(k)
    score, positive = rng.random((50, 40)), rng.random((50, 40)) < 0.1
    positive[:, 3] |= ~positive.any(1)
    order = np.argsort(-score, axis=1)
    ours = of_users(f"{name}@{k}", Lists(np.arange(50), order, np.take_along_axis(positive, order, 1), positive.sum(1)))
    theirs = [
        float(OTHERS[name](torch.tensor(s), torch.tensor(t), top_k=k)) for s, t in zip(score, positive, strict=True)
    ]
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_map_over_the_whole_list_is_that_of_torchmetrics():
    """Cut off at k, theirs divides by the hits found; ours, like trec_eval, by what is relevant."""
    rng = np.random.default_rng(0)
    score, positive = rng.random((30, 25)), rng.random((30, 25)) < 0.2
    positive[:, 3] |= ~positive.any(1)
    order = np.argsort(-score, axis=1)
    ours = of_users("map@25", Lists(np.arange(30), order, np.take_along_axis(positive, order, 1), positive.sum(1)))
    theirs = [
        float(retrieval.retrieval_average_precision(torch.tensor(s), torch.tensor(t)))
        for s, t in zip(score, positive, strict=True)
    ]
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_catalogue_metrics_by_hand():
    shown = lists([[1, 0]] * 3, [1] * 3, [[0, 1], [0, 2], [0, -1]])  # counts 3, 1, 1, 0 of four candidates
    popularity = np.array([10, 4, 1, 7])
    assert of_catalogue("coverage@2", shown, popularity, 4) == 3 / 4
    assert of_catalogue("coverage@1", shown, popularity, 4) == 1 / 4
    assert of_catalogue("popularity@2", shown, popularity, 4) == pytest.approx((30 + 4 + 1) / 5)
    # G = sum (2 i - n - 1) c / (n sum c) with c ascending 0, 1, 1, 3
    assert of_catalogue("gini@2", shown, popularity, 4) == pytest.approx((-3 * 0 - 1 + 1 + 3 * 3) / (4 * 5))


def test_gini_is_0_where_all_are_shown_alike_and_near_1_where_one_is():
    alike = lists([[1], [1], [1]], [1] * 3, [[0], [1], [2]])
    assert of_catalogue("gini@1", alike, np.ones(3), 3) == pytest.approx(0)
    one = lists([[1]] * 3, [1] * 3, [[5]] * 3)
    assert of_catalogue("gini@1", one, np.ones(100), 100) == pytest.approx(0.99)


def test_without_lists_nothing_is_covered_and_the_rest_has_no_value():
    none = Lists(np.zeros(0, int), np.zeros((0, 3), int), np.zeros((0, 3), bool), np.zeros(0, int))
    assert of_catalogue("coverage@3", none, np.ones(3), 3) == 0
    assert math.isnan(of_catalogue("gini@3", none, np.ones(3), 3))
    assert math.isnan(of_catalogue("popularity@3", none, np.ones(3), 3))


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("recal@10", "Did you mean 'recall'"),
        ("recall@", "a whole number"),
        ("recall@0", "a whole number"),
        ("recall@ten", "a whole number"),
        ("recal", "no metric 'recal'"),
    ],
)
def test_a_name_that_means_nothing_gets_a_sentence(name: str, says: str):
    with pytest.raises(ValueError, match=says):
        direction(name)


def test_directions():
    assert direction("ndcg@10/book") == "max" and direction("gini@10") == "min" and direction("logloss") == "min"
