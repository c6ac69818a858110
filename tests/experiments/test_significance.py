"""hrec/experiments/significance.py: tests and corrections, with answers worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from hrec.experiments import significance as statistics


def test_holm_multiplies_by_the_tests_that_are_left_and_never_falls():
    corrected = statistics.holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": float("nan")})
    assert corrected["a"] == pytest.approx(0.03) and corrected["c"] == pytest.approx(0.06)
    assert corrected["b"] == pytest.approx(0.06) and np.isnan(corrected["d"])


def test_a_claim_is_decided_by_its_test_and_its_sign():
    assert statistics.verdict("A above B", 0.1, 0.01).startswith("holds: A above B")
    assert statistics.verdict("A above B", -0.1, 0.01).startswith("does not hold")
    assert statistics.verdict("A above B", 0.1, 0.2).startswith("not decided")
    assert "no test possible" in statistics.verdict("A above B", 0.1, float("nan"))


def test_a_test_over_users_that_points_away_from_the_mean_decides_nothing():
    """One user gains much and all others lose a little: the mean rises, and most ranks are below 0."""
    worse = np.full(50, 0.5)
    better = np.append(np.full(49, 0.49), 1.5)
    test = statistics.compare([0.8, 0.81], [0.79, 0.8], better, worse)
    assert test.difference_users > 0 > test.ranks_users and test.p_users < 0.01
    line = statistics.verdict("A above B", test.difference_users, test.p_users, test.ranks_users)
    assert line.startswith("not decided: A above B") and "most ranks point the other way" in line
    assert statistics.verdict("A", 0.1, 0.01, ranks=0.2).startswith("holds")
    assert statistics.compare([1.0], [0.0], worse, worse + 0.1).ranks_users == -1


def test_a_comparison_pairs_seeds_and_users():
    users = np.array([0.9, 0.8, 0.7, 0.6, 0.9, 0.8, np.nan])
    test = statistics.compare([0.8, 0.81, 0.79], [0.7, 0.72, 0.71], users, users - 0.1)
    assert test.difference == pytest.approx(0.09) and test.p_seeds < 0.01
    assert test.p_users == pytest.approx(2 / 2**6)  # all six differences of one sign
    assert np.isnan(statistics.compare([0.8], [0.7]).p_seeds)
    same = statistics.compare([0.8], [0.8], users, users)
    assert same.difference_users == 0 and np.isnan(same.p_users)


def test_auc_by_user_is_nan_for_users_without_both_labels():
    out = statistics.auc_by_user(np.array([1.0, 2, 3, 4]), np.array([1.0, 0, 1, 1]), np.array([0, 0, 2, 0]), 4)
    np.testing.assert_array_equal(out, [0.5, np.nan, np.nan, np.nan])


def test_the_test_over_seeds_is_paired():
    """Seeds differ by far more than the models do, and each seed has the same model ahead."""
    a = [0.5, 0.6, 0.7, 0.8]
    b = [0.49, 0.591, 0.688, 0.791]
    difference = np.subtract(a, b)
    t = difference.mean() / (difference.std(ddof=1) / 2)
    # of 3 degrees of freedom: P(|T| > t) = 1 - 2/pi (atan(t / sqrt 3) + sqrt 3 t / (3 + t^2))
    expected = 1 - 2 / np.pi * (np.arctan(t / 3**0.5) + 3**0.5 * t / (3 + t * t))
    assert statistics.compare(a, b).p_seeds == pytest.approx(expected) and expected < 0.001
    shuffled = statistics.compare(a, [b[1], b[0], b[3], b[2]])
    assert shuffled.p_seeds > 0.5  # the same values under other seeds decide nothing


def test_the_test_over_users_is_paired():
    """Users differ by far more than the models do."""
    users = np.linspace(0.1, 0.9, 8)
    test = statistics.compare([0.5], [0.5], users + 0.01 * np.arange(1, 9), users)
    assert test.p_users == pytest.approx(2 / 2**8) and test.ranks_users == 1
