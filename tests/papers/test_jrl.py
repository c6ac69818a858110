"""hrec reproduce jrl: every run that an experiment asks for has valid settings, and a view is added on tiny data."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import pytest

from hrec.config import ConfigError
from hrec.experiments.lists import Row
from hrec.experiments.runs import Done, Job
from hrec.papers.jrl import adding, tables
from hrec.papers.jrl.runs import METRICS, SOURCES, Options
from hrec.pipeline import reports
from hrec.pipeline.kept_views import kept_from


class Quick(Options):
    """Two epochs of small models."""

    def job(self, model: str, metrics: Sequence[str], *overrides: str, seed: int = 0) -> Job:
        few = () if model in ("Popularity", "EASE") else ("opt.epochs=2", "opt.eval_step=2", "model.embedding_size=8")
        return super().job(model, metrics, *overrides, *few, seed=seed)


def rows_of(options: Options) -> list[Row]:
    """The rows of all tables and figures of the paper that the data can have."""
    rows = tables.rows_of_table3(options) + tables.rows_of_figure4(options)
    return rows + (tables.rows_of_figure3(128) if "Image" in options.source.models else [])


@pytest.mark.parametrize("data", SOURCES)
def test_every_run_of_every_experiment_has_valid_settings(data: str, tmp_path: Path):
    options = Options(data, tmp_path, trials=2)
    for row in rows_of(options):
        for trial in options.trials_of(row.model):
            options.job(row.model, METRICS, *trial, *row.overrides).load()


@pytest.mark.parametrize("data", ["instruments", "movielens", "planted", "tiny"])
def test_every_run_with_an_added_view_has_valid_settings(data: str, tmp_path: Path):
    options = Options(data, tmp_path)
    had = adding.views_of(options.job("eJRL", METRICS))
    for view, row in zip(had, adding.rows_before(had), strict=True):
        job = options.job(row.model, METRICS, *row.overrides)
        assert set(job.load().model.views) == set(had) - {view}
        found = adding.extended(job, Done(tmp_path, {}), had, view).load()
        assert set(found.model.frozen) == set(had) - {view} and list(found.model.views) == list(had)


def test_figure_3_sets_multiples_of_the_papers_weight_for_the_width_of_the_vectors(tmp_path: Path):
    options = Options("tiny", tmp_path)
    train = tables.split_of(options.job("JRL", METRICS).load()).train
    width = tables.image_width(options, train)
    assert width == next(c for t in train.kinds.values() for n, c in t.columns.items() if n == "image").value.shape[1]
    weights = {}
    for row in tables.rows_of_figure3(width):
        weights[row.labels] = options.job(row.model, METRICS, *row.overrides).load().model.views["image"].weight
    assert weights["JRL", "x0"] == 0
    assert weights["Image", "x1"] == weights["eJRL", "x1"] == pytest.approx(1e-4 * 4096 / width)
    assert weights["JRL", "x10"] == pytest.approx(1e-3 * 4096 / width)


def test_a_view_is_added_to_a_finished_run_at_its_own_cost_and_with_the_same_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(reports, "draw_curves", lambda *args: None)
    options = Quick("tiny", tmp_path, seeds=1, trials=1)
    adding.views(options)
    folder = tmp_path / "jrl-views-tiny"
    with (folder / "table.csv").open(encoding="utf-8") as file:
        heading, *lines = csv.reader(file)
    assert heading == ["run", "seconds", "of eJRL from scratch", *METRICS]
    names = ("review", "image", "rating")
    of = {line[0]: line[1:] for line in lines}
    assert list(of)[:6] == [label for name in names for label in (f"without {name}", f"{name} added to it")]
    scratch = of["eJRL, all views from scratch"]
    assert scratch[1] == "100 %" and "JRL, all views from scratch" in of
    for name in names:
        assert of[f"{name} added to it"][2:] == scratch[2:] != of[f"without {name}"][2:]
    report = (folder / "report.md").read_text(encoding="utf-8")
    assert "differs by at most 0.00 points" in report
    assert all(f"a view that is added raises NDCG@10: {name}" in report for name in names)
    stamps = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("result.json")}
    assert len(stamps) == 3 + 3 + 2
    adding.views(options)
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("result.json")} == stamps


@pytest.mark.parametrize("data", ["beauty", "clothing"])
def test_data_without_two_views_or_without_images_are_refused(data: str, tmp_path: Path):
    with pytest.raises(ConfigError, match=f"--data {data} has no two views. Data that have: instruments, movielens"):
        adding.views(Options(data, tmp_path))
    with pytest.raises(ConfigError, match=f"--data {data} has no view 'Image'"):
        tables.figure3(Options(data, tmp_path))


def test_views_that_are_kept_are_frozen_at_the_weights_of_the_run(tmp_path: Path):
    frozen, source = kept_from(tmp_path / "run", ["review", "rating"])
    assert frozen == 'model.frozen=["review", "rating"]'
    assert f'"run": "{tmp_path / "run"}"' in source and '"views.view_rating": "views.view_rating"' in source
