"""What is chosen is chosen by the validation part, whatever the test part says: trials, epochs, weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hrec.config import load
from hrec.datasets import load_split
from hrec.datasets.recdata import RecData
from hrec.experiments.runs import Done, best_of
from hrec.models import find_model
from hrec.pipeline import run as pipeline_run
from hrec.pipeline.run import run

ROOT = Path(__file__).parents[1]


def done(valid: dict[str, float], test: dict[str, float]) -> Done:
    return Done(Path("unused"), {"valid": valid, "test": test})


def test_a_trial_is_chosen_by_the_validation_part_where_the_test_part_says_the_opposite():
    runs = [done({"auc": 0.7}, {"auc": 0.9}), done({"auc": 0.8}, {"auc": 0.6})]
    assert best_of(["first", "second"], runs, ["auc"]) == "second"
    assert runs[0].reached("auc") == (0.7,)


def test_trials_of_one_value_are_ranked_by_the_next_metric():
    same = {"recall@10": 0.5}
    runs = [
        done(same | {"ndcg@10": 0.3}, same | {"ndcg@10": 0.4}),
        done(same | {"ndcg@10": 0.4}, same | {"ndcg@10": 0}),
    ]
    assert best_of(["first", "second"], runs, ["recall@10", "ndcg@10"]) == "second"


def test_a_trial_without_a_value_is_below_every_other():
    lost = Done(Path("unused"), {}, "the loss became nan")
    runs = [lost, done({"auc": float("nan")}, {"auc": 0.9}), done({"auc": 0.1}, {"auc": 0.1})]
    assert best_of(["lost", "nan", "poor"], runs, ["auc"]) == "poor"


class Given:
    """An evaluator whose values are given: those of the validation part fall where those of the test part rise."""

    VALID = (0.6, 0.8, 0.7, 0.7)
    TEST = (0.8, 0.6, 0.9, 0.9)

    def __init__(self, valid: RecData) -> None:
        self.valid, self.number = valid, 0

    def measure(self, model: Any, part: RecData) -> dict[str, float]:
        value = (self.VALID if part is self.valid else self.TEST)[min(self.number, 3)]
        self.number += 1
        return {"gauc": 1 - value, "auc": value, "auc/pooled": value}  # what is watched is not the first


def test_the_epoch_is_chosen_by_the_validation_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    words = ["data=planted-tiny", "opt.epochs=3", "path.cache=null", f"path.output={json.dumps(str(tmp_path))}"]
    config = load("lr", find_model, [*words, 'metrics=["auc"]'])
    parts = load_split(config.run.data, None, lambda line: None)
    monkeypatch.setattr(pipeline_run, "Evaluator", lambda *args: Given(parts.valid))
    result = run(config, show=False, parts=parts)
    assert result["best_epoch"] == 2 and result["valid"]["auc"] == 0.7 and result["test"]["auc"] == 0.9
    (log,) = tmp_path.glob("*/log.jsonl")
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    assert [row["auc"] for row in rows] == [0.6, 0.8, 0.7] and [row["best"] for row in rows] == [True, True, False]
