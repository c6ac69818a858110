from __future__ import annotations

import json

import numpy as np
import pytest

from hrec.pipeline.early_stopping import EarlyStopping


def test_a_larger_value_is_better_in_mode_max_and_a_smaller_one_in_mode_min():
    up, down = EarlyStopping(3), EarlyStopping(3, "min")
    assert [up.improved(v) for v in (0.5, 0.6, 0.4)] == [True, True, False] and up.best == 0.6
    assert [down.improved(v) for v in (0.5, 0.6, 0.4)] == [True, False, True] and down.best == 0.4


def test_an_equal_value_is_not_better():
    stop = EarlyStopping(1)
    assert stop.improved(0.5) and not stop.improved(0.5) and stop.finished


def test_it_is_finished_after_patience_evaluations_in_a_row_without_a_better_value():
    stop = EarlyStopping(2)
    seen = []
    for value in (0.5, 0.4, 0.6, 0.5, 0.55):
        stop.improved(value)
        seen.append(stop.finished)
    assert seen == [False, False, False, False, True]


@pytest.mark.parametrize("mode", ["max", "min"])
def test_nan_is_never_better_not_even_than_nothing(mode):
    stop = EarlyStopping(2, mode)
    assert not stop.improved(float("nan")) and stop.best is None
    assert stop.improved(0.5)
    assert not stop.improved(float("nan")) and stop.best == 0.5 and stop.waited == 1


def test_nan_counts_against_patience():
    stop = EarlyStopping(2)
    stop.improved(float("nan"))
    stop.improved(float("nan"))
    assert stop.finished


@pytest.mark.parametrize("cut", range(7))
def test_a_run_cut_anywhere_and_resumed_through_json_decides_as_one_that_was_not(cut):
    values = [np.float32(v) for v in (0.1, 0.3, np.nan, 0.3, 0.31, 0.2, 0.1)]
    whole, first, second = EarlyStopping(3), EarlyStopping(3), EarlyStopping(3)
    expected = [(whole.improved(v), whole.finished) for v in values]
    got = [(first.improved(v), first.finished) for v in values[:cut]]
    second.restore(json.loads(json.dumps(first.state(), allow_nan=False)))
    got += [(second.improved(v), second.finished) for v in values[cut:]]
    assert got == expected and second == whole
