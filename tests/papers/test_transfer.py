"""Gain, tie and loss of a model against another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hrec.experiments.runs import Done
from hrec.papers.catart.transfer import transfer

METRIC = "ndcg@10/book"


def runs(folder: Path, name: str, *values: np.ndarray) -> list[Done]:
    """One run per seed, with these values of the users."""
    out = []
    for seed, users in enumerate(values):
        path = folder / f"{name}{seed}"
        path.mkdir()
        np.savez(path / "test_users.npz", **{METRIC: users})
        out.append(Done(path, {"test": {METRIC: float(np.nanmean(users))}}))
    return out


@pytest.fixture
def users() -> np.ndarray:
    value = np.random.default_rng(0).random(300)
    value[::7] = np.nan  # users without an item of the kind
    return value


def test_a_difference_that_users_and_seeds_agree_on_is_a_gain_or_a_loss(tmp_path, users):
    plain, better = runs(tmp_path, "a", users, users), runs(tmp_path, "b", users + 0.05, users + 0.03)
    gain = transfer(better, plain, METRIC)
    assert gain.verdict == "gain" and gain.difference == pytest.approx(0.04) and str(gain) == "+4.00 (gain)"
    assert transfer(plain, better, METRIC).verdict == "loss"


def test_seeds_that_disagree_are_a_tie(tmp_path, users):
    plain = runs(tmp_path, "a", users, users)
    mixed = runs(tmp_path, "b", users + 0.09, users - 0.01)
    found = transfer(mixed, plain, METRIC)
    assert found.low > 0 and found.verdict == "tie"


def test_users_that_disagree_are_a_tie(tmp_path, users):
    noise = np.resize([0.2, -0.19], len(users))
    found = transfer(runs(tmp_path, "b", users + noise), runs(tmp_path, "a", users), METRIC)
    assert found.low < 0 < found.high and found.verdict == "tie"
