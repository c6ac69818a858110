from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn import metrics as sklearn

from hrec.pipeline.metrics import METRICS, auc, by_kind, find_metric, gauc, logloss, mae, rmse

A = np.array


def drawn(n: int, seed: int, users: int = 20, levels: int = 15) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores with many ties, labels that they half explain, users."""
    rng = np.random.default_rng(seed)
    score = np.round(rng.normal(size=n) * levels / 6) / levels * 6
    label = (score + rng.normal(size=n) > 0.3).astype(np.float32)
    return score, label, rng.integers(0, users, n)


# ----------------------------------------------------------------------------------------------- auc


def test_auc_is_the_share_of_pairs_in_the_right_order():
    # liked 3 and 1, disliked 2 and 0: (3,2) (3,0) (1,0) are right, (1,2) is wrong
    assert auc(A([3.0, 1, 2, 0]), A([1.0, 1, 0, 0])) == 0.75


def test_auc_counts_a_tie_as_one_half():
    assert auc(A([1.0, 1.0]), A([1.0, 0.0])) == 0.5
    assert auc(A([1.0, 1, 0]), A([1.0, 0, 0])) == 0.75


def test_auc_is_one_for_the_right_order_and_zero_for_the_reverse():
    assert auc(A([-5.0, 0, 7]), A([0.0, 0, 1])) == 1
    assert auc(A([5.0, 0, -7]), A([0.0, 0, 1])) == 0


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("label", [[1.0, 1.0], [0.0, 0.0]])
def test_auc_of_one_class_is_nan_without_a_warning(label):
    assert math.isnan(auc(A([1.0, 2.0]), A(label)))


def test_auc_ranks_infinite_scores():
    assert auc(A([np.inf, np.inf, 0, -np.inf]), A([1.0, 0, 1, 0])) == (0.5 + 1 + 0 + 1) / 4


def test_auc_tells_apart_large_logits_that_a_sigmoid_would_tie():
    assert auc(A([40.0, 41.0]), A([0.0, 1.0])) == 1


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_auc_is_that_of_scikit_learn(seed, kind):
    score, label, _ = drawn(3000, seed)
    score = score.astype(kind)
    assert auc(score, label) == pytest.approx(sklearn.roc_auc_score(label, score), abs=1e-12)


# ---------------------------------------------------------------------------------------------- gauc


def test_gauc_weighs_the_auc_of_each_user_by_all_its_rows():
    # user 7: 3 rows, AUC 1/2; user 2: 2 rows, AUC 1
    score, label, user = A([2.0, 9, 1, 8, 3]), A([1.0, 0, 0, 1, 0]), A([7, 7, 7, 2, 2])
    assert gauc(score, label, user) == pytest.approx((3 * 0.5 + 2 * 1) / 5)


def test_gauc_leaves_out_users_of_one_class():
    score, label, user = A([1.0, 0, 5, 6, 7]), A([1.0, 0, 1, 1, 0]), A([0, 0, 1, 1, 2])
    assert gauc(score, label, user) == 1


def test_gauc_does_not_compare_the_rows_of_two_users():
    # each user is in the right order, all rows together are not
    score, label, user = A([1.0, 0, 101, 100]), A([1.0, 0, 1, 0]), A([0, 0, 1, 1])
    assert gauc(score, label, user) == 1 and auc(score, label) == 0.75


def test_gauc_does_not_tie_equal_scores_of_two_users():
    score, label, user = A([1.0, 0, 2, 1]), A([1.0, 0, 1, 0]), A([0, 0, 1, 1])
    assert gauc(score, label, user) == 1


def test_gauc_is_nan_where_no_user_has_both_classes():
    assert math.isnan(gauc(A([1.0, 2]), A([1.0, 0]), A([0, 1])))


def test_gauc_of_one_user_is_the_auc():
    score, label, _ = drawn(500, 0)
    assert gauc(score, label, np.zeros(500, int)) == pytest.approx(auc(score, label), abs=1e-15)


@pytest.mark.parametrize("seed", range(5))
def test_gauc_is_that_of_scikit_learn_user_by_user(seed):
    score, label, user = drawn(2000, seed, users=300)
    total = weight = 0.0
    for u in np.unique(user):
        mine = user == u
        if 0 < label[mine].sum() < mine.sum():
            total += mine.sum() * sklearn.roc_auc_score(label[mine], score[mine])
            weight += mine.sum()
    assert gauc(score, label, user) == pytest.approx(total / weight, abs=1e-12)


# ------------------------------------------------------------------------------------- of probabilities


def test_logloss_of_logit_zero_is_log_two():
    assert logloss(A([0.0, 0.0]), A([1.0, 0.0])) == pytest.approx(math.log(2))


def test_logloss_by_hand():
    # p = 3/4 for logit log 3
    assert logloss(A([math.log(3)] * 2), A([1.0, 0.0])) == pytest.approx(-(math.log(3 / 4) + math.log(1 / 4)) / 2)


def test_logloss_neither_overflows_nor_cuts_off_large_logits():
    assert logloss(A([1e4, -1e4]), A([0.0, 0.0])) == 5000
    assert logloss(A([50.0]), A([1.0])) == pytest.approx(math.exp(-50), rel=1e-12)
    assert logloss(A([np.inf, -np.inf]), A([1.0, 0.0])) == 0


def test_rmse_and_mae_by_hand():
    # sigmoid is 1/2 and 3/4: errors -1/2 and 3/4
    score, label = A([0.0, math.log(3)]), A([1.0, 0.0])
    assert rmse(score, label) == pytest.approx(math.sqrt((1 / 4 + 9 / 16) / 2))
    assert mae(score, label) == pytest.approx(5 / 8)


@pytest.mark.parametrize("seed", range(3))
def test_logloss_rmse_and_mae_are_those_of_scikit_learn(seed):
    score, label, _ = drawn(2000, seed)
    p = 1 / (1 + np.exp(-score))
    assert logloss(score, label) == pytest.approx(sklearn.log_loss(label.astype(float), p), abs=1e-12)
    assert rmse(score, label) == pytest.approx(sklearn.root_mean_squared_error(label.astype(float), p), abs=1e-12)
    assert mae(score, label) == pytest.approx(sklearn.mean_absolute_error(label.astype(float), p), abs=1e-12)


# -------------------------------------------------------------------------------------- true of each metric

every_metric = pytest.mark.parametrize("name", METRICS)


@every_metric
def test_a_better_score_is_better_in_the_direction_that_the_metric_states(name):
    label, user = A([1.0, 0, 1, 0]), A([0, 0, 1, 1])
    good, bad = (METRICS[name](sign * (2 * label - 1), label, user) for sign in (1, -1))
    assert good > bad if METRICS[name].mode == "max" else good < bad


@every_metric
def test_scores_that_are_nan_are_refused_and_counted(name):
    with pytest.raises(ValueError, match="2 of 3 scores are NaN"):
        METRICS[name](A([np.nan, 1.0, np.nan]), A([1.0, 0, 1]), A([0, 0, 0]))


@every_metric
@pytest.mark.filterwarnings("error")
def test_no_rows_give_nan_without_a_warning(name):
    assert math.isnan(METRICS[name](A([]), A([]), A([], dtype=np.int64)))


@every_metric
def test_the_order_of_rows_does_not_matter(name):
    score, label, user = drawn(400, 1)
    order = np.random.default_rng(0).permutation(400)
    shuffled = METRICS[name](score[order], label[order], user[order])
    assert METRICS[name](score, label, user) == pytest.approx(shuffled, abs=1e-12)


def test_an_unknown_metric_suggests_the_nearest():
    with pytest.raises(ValueError, match=r"no metric 'logloss2'\. Did you mean 'logloss'"):
        find_metric("logloss2")


# -------------------------------------------------------------------------------------------- by kind


def test_by_kind_gives_each_kind_the_pooled_rows_and_the_mean_over_kinds():
    # book: 2 rows, AUC 1; film: 4 rows, AUC 1/4
    score, label = A([2.0, 1, 1, 3, 2, 4]), A([1.0, 0, 1, 1, 0, 0])
    kind, user = A([0, 0, 1, 1, 1, 1]), np.zeros(6, int)
    got = by_kind(["auc"], score, label, user, kind, ["book", "film"])
    assert got == {"auc": (1 + 0.25) / 2, "auc/pooled": auc(score, label), "auc/book": 1, "auc/film": 0.25}


def test_by_kind_leaves_a_kind_where_it_is_not_defined_out_of_the_mean():
    got = by_kind(["auc"], A([2.0, 1, 5]), A([1.0, 0, 1]), A([0, 0, 0]), A([0, 0, 1]), ["book", "film", "song"])
    assert got["auc"] == got["auc/book"] == 1
    assert math.isnan(got["auc/film"]) and math.isnan(got["auc/song"])


def test_by_kind_is_nan_where_no_kind_is_defined():
    got = by_kind(["auc", "mae"], A([2.0, 1]), A([1.0, 0]), A([0, 0]), A([0, 1]), ["book", "film"])
    assert math.isnan(got["auc"]) and got["auc/pooled"] == 1 and not math.isnan(got["mae"])


def test_by_kind_refuses_unknown_metrics_nan_scores_and_a_kind_called_pooled():
    rows = A([2.0, 1]), A([1.0, 0]), A([0, 0]), A([0, 1])
    with pytest.raises(ValueError, match="Did you mean 'gauc'"):
        by_kind(["auc", "gac"], *rows, ["book", "film"])
    with pytest.raises(ValueError, match="1 of 2 scores"):
        by_kind(["auc"], A([np.nan, 1]), *rows[1:], ["book", "film"])
    with pytest.raises(ValueError, match="another name"):
        by_kind(["auc"], *rows, ["book", "pooled"])
