"""scripts/seeds.py: the table of several seeds, of metrics of rows and of lists."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from hrec.cli import seeds
from hrec.config import ConfigError
from hrec.experiments.runs import Job, do, finished
from hrec.pipeline.checkpoints import CheckpointError

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _in_the_checkout(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)


def table_of(monkeypatch: pytest.MonkeyPatch, out: Path, *words: str) -> list[list[str]]:
    """The cells of the table that a command line writes, heading and rows."""
    line = ["seeds.py", *words[:1], "--data", "planted-tiny", "--seeds", "2", "--out", str(out), *words[1:]]
    monkeypatch.setattr(sys, "argv", line)
    seeds.seeds()
    (path,) = out.glob("*.md")
    lines = path.read_text(encoding="utf-8").splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in (lines[0], *lines[2:3])]


@pytest.mark.parametrize(
    ("config", "titles", "keys"),
    [
        ("wmf", ["test ndcg@10", "book", "music", "film", "all"], ["ndcg@10/book", "ndcg@10"]),
        ("deepmf", ["test auc", "book", "music", "film", "macro", "pooled"], ["auc/book", "auc"]),
    ],
)
def test_the_table_holds_means_and_deviations_over_seeds(
    config: str, titles: list[str], keys: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    settings = ("opt.epochs=1", "path.cache=null")
    heading, row = table_of(monkeypatch, tmp_path, config, "--", *settings)
    assert heading == [*titles, "seconds"] and row[0] == config
    jobs = [Job(config, ("data=planted-tiny", *settings), seed) for seed in range(2)]
    done = [run for job in jobs if (run := finished(job, tmp_path))]
    for key, title in zip(keys, ("book", "macro" if config == "deepmf" else "all"), strict=True):
        values = np.array([run.result["test"][key] for run in done])
        assert row[heading.index(title)] == f"{values.mean():.4f} ± {values.std(ddof=1):.4f}"


def test_every_row_must_measure_the_metric_and_a_kind_that_one_has_not_is_a_dash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    jobs = [Job("bprmf", ("data=planted-tiny", *more)) for more in ((), ('metrics=["recall@5"]',))]
    with pytest.raises(ConfigError, match="bprmf does not measure 'recall@5'"):
        seeds.metric_of(jobs, "recall@5")
    models = ["bprmf", "bprmf:data.single_type=book", "--data", "planted-tiny", "--seeds", "1", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["seeds.py", *models, "--", "opt.epochs=1", "path.cache=null"])
    seeds.seeds()
    lines = next(tmp_path.glob("*.md")).read_text(encoding="utf-8").splitlines()
    heading, whole, book = ([cell.strip() for cell in line.strip("|").split("|")] for line in (lines[0], *lines[2:4]))
    assert heading[:4] == ["test ndcg@10", "book", "music", "film"]
    assert book[1:4] == ["-"] * 3 and book[4].startswith("0.") and "-" not in whole  # of one kind, all is that kind


def test_the_line_of_a_run_names_the_metric_that_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    settings = ("opt.epochs=1", "path.cache=null", "metrics=recall@10,ndcg@10")
    heading, _ = table_of(monkeypatch, tmp_path, "bprmf", "--metric", "ndcg@10", "--", *settings)
    assert heading[0] == "test ndcg@10"
    shown = [line for line in capsys.readouterr().out.splitlines() if line.startswith(("1/2", "2/2"))]
    (run,) = [r for r in (json.loads(p.read_text()) for p in tmp_path.rglob("result.json")) if r["seed"] == 0]
    assert len(shown) == 2 and "recall" not in "".join(shown).partition("metrics=")[0]
    assert f"BPRMF: valid ndcg@10 {run['valid']['ndcg@10']:.4f}, test {run['test']['ndcg@10']:.4f}" in shown[0]


def test_a_table_says_that_candidates_were_sampled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    settings = ("opt.epochs=1", "path.cache=null", "ranking.sampled=5")
    heading, _ = table_of(monkeypatch, tmp_path, "bprmf", "--", *settings)
    assert heading == ["test ndcg@10 (sampled)", "all", "seconds"]


def test_a_seed_of_ones_own_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "argv", ["seeds.py", "lr", "--data", "planted-tiny", "--", "seed=7"])
    with pytest.raises(ConfigError, match="every row has seeds 0 to 2"):
        seeds.seeds()


@pytest.mark.parametrize("words", [["--seeds", "0"], ["--jobs", "-1"]])
def test_counts_below_one_are_refused(words: list[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "argv", ["seeds.py", "lr", "--data", "planted-tiny", *words])
    with pytest.raises(ConfigError, match="at least 1"):
        seeds.seeds()


def test_data_may_be_a_path_and_each_number_of_seeds_has_a_table_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for count in ("1", "2"):
        line = ["seeds.py", "lr", "--data", "configs/data/planted-tiny.json", "--seeds", count, "--out", str(tmp_path)]
        monkeypatch.setattr(sys, "argv", [*line, "--", "opt.epochs=1", "path.cache=null"])
        seeds.seeds()
    assert len(list(tmp_path.glob("*.md"))) == 2


def test_a_finished_run_that_was_given_more_epochs_by_hand_is_not_taken_for_the_job(tmp_path: Path):
    job = Job("lr", ("data=planted-tiny", "opt.epochs=1", "path.cache=null"))
    do(job, tmp_path)
    (config,) = job.folder(tmp_path).glob("*/config.json")
    shown = json.loads(config.read_text())
    shown["opt"]["epochs"] = 4
    config.write_text(json.dumps(shown))
    with pytest.raises(CheckpointError, match="was given 4 epochs since, and 1 are asked for"):
        finished(job, tmp_path)


def test_a_metric_that_a_model_does_not_measure_is_refused_before_anything_is_trained(tmp_path: Path):
    jobs = [Job(name, ("data=planted-tiny",)) for name in ("deepmf", "wmf")]
    assert seeds.metric_of(jobs[:1], None) == "auc" and seeds.metric_of(jobs[1:], "recall@10") == "recall@10"
    with pytest.raises(
        ConfigError, match=r"deepmf watches 'auc': wmf does not measure 'auc', .*put 'metrics=auc' after"
    ):
        seeds.metric_of(jobs, None)
    for wrong, why in (("recal@10", "Did you mean 'recall'"), ("recall@10/book", "write 'recall@10'")):
        with pytest.raises(ConfigError, match=why):
            seeds.metric_of(jobs, wrong)


def test_what_stands_behind_a_colon_is_a_setting():
    with pytest.raises(ConfigError, match=r"'duration:foo': after a ':' comes key\.path=value"):
        seeds._parted("duration:foo")


def test_a_colon_inside_a_value_parts_no_settings():
    assert seeds._parted('wmf:model.b=0.1:data.split={"by":"user","seed":1}:opt.epochs=3') == [
        "wmf",
        "model.b=0.1",
        'data.split={"by":"user","seed":1}',
        "opt.epochs=3",
    ]
