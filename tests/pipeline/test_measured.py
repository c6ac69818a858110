"""The metrics of a run: which are of rows and which of lists, and what early stopping watches."""

from __future__ import annotations

from pathlib import Path

import pytest

from hrec.config import ConfigError, LoadedConfig, load
from hrec.models import find_model
from hrec.pipeline.measured import Metrics, Watched

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def in_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def config(*overrides: str) -> LoadedConfig:
    return load("lr", find_model, ["data=planted-tiny", "device=cpu", *overrides])


def test_metrics_of_rows_and_of_lists_are_separate_and_each_is_there_once():
    metrics = Metrics.of(["auc", "ndcg@10", "auc", "logloss"])
    assert metrics.names == ("auc", "ndcg@10", "logloss")
    assert metrics.rows == ("auc", "logloss") and metrics.lists == ("ndcg@10",)


def test_what_early_stopping_watches_is_measured_without_its_group():
    metrics = Metrics.parse(config('metrics=["logloss"]', "opt.early_stop.metric=recall@5/book"))
    assert metrics.names == ("logloss", "recall@5") and metrics.lists == ("recall@5",)
    assert metrics.watched == (Watched("opt.early_stop", "recall@5/book"),)
    (one,) = metrics.watched
    assert (one.base, one.group, one.of_lists) == ("recall@5", "book", True)


def test_without_early_stopping_nothing_is_watched():
    metrics = Metrics.parse(config('metrics=["auc"]', "opt.early_stop=null"))
    assert metrics.watched == () and metrics.names == ("auc",)


def test_every_wrong_metric_is_named():
    with pytest.raises(ConfigError) as caught:
        Metrics.parse(config('metrics=["auk", "auc/pooled"]', 'opt.early_stop={"metric":"logloss","mode":"max"}'))
    unknown, group, mode = sorted(str(caught.value).split("\n"))
    assert unknown.startswith("metrics: 'auc/pooled': write 'auc'")
    assert group.startswith("metrics: no metric 'auk'. Did you mean 'auc'?")
    assert mode == "opt.early_stop.mode: 'logloss' is better when it is minimal; leave out mode 'max'"


def test_a_run_without_metrics_is_refused():
    with pytest.raises(ConfigError, match="metrics: is empty"):
        Metrics.parse(config("metrics=[]", "opt.early_stop=null"))
