"""scripts/sweep.py: whole searches on tiny planted data, the study they leave, and the spaces in configs/sweeps/."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest
from optuna import Trial, TrialPruned, create_study
from optuna.pruners import MedianPruner, NopPruner
from optuna.trial import TrialState

from hrec.cli import sweep
from hrec.config import ConfigError, load
from hrec.datasets.recdata import Split
from hrec.experiments import runs
from hrec.models import find_model
from hrec.pipeline.stage_run import DivergedError, Interrupted
from hrec.tuning import study as studies
from hrec.tuning import trial as trials
from hrec.tuning import work
from hrec.tuning.space import check_space, read_space
from hrec.tuning.study import Study

ROOT = Path(__file__).parents[2]

SPACE = {
    "opt.hyper_params.lr": {"type": "float", "low": 0.001, "high": 0.1, "log": True},
    "model.user_emb_size,model.item_emb_size": {"type": "choice", "values": [4, 8]},
}
FIXED = ["opt.epochs=1", "model.user_hidden_size_list=[4]", "model.item_hidden_size_list=[4]", "path.cache=null"]
SPACES = sorted((ROOT / "configs" / "sweeps").glob("*.json"))


@pytest.fixture(autouse=True)
def _in_the_checkout(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    """A tiny search of DMF."""
    space = write(tmp_path / "space.json", SPACE)
    return ["deepmf", *FIXED, "--data", "planted-tiny", "--space", str(space), "--out", str(tmp_path / "out")]


def write(path: Path, space: dict) -> Path:
    path.write_text(json.dumps(space), encoding="utf-8")
    return path


def folder_of(tmp_path: Path) -> Path:
    (folder,) = (tmp_path / "out").glob("*/")
    return folder


def opened(folder: Path) -> Study:
    """The study in a folder, as another process would open it."""
    return Study(folder, read_space(folder.parents[1] / "space.json"), "max", 0, NopPruner())


def params_in(folder: Path) -> list[dict]:
    return [t.params for t in opened(folder).counted()]


# ------------------------------------------------------------------------------------ whole searches


def test_a_search_leaves_a_report_and_settings_that_can_be_run(
    tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    whole = runs.split_of
    monkeypatch.setattr(trials, "split_of", lambda c: Split(whole(c).train, whole(c).valid, None))  # no test part
    # the counts at a run's start are those of all parts
    monkeypatch.setattr("hrec.pipeline.prepare.counts_table", lambda parts: "")
    monkeypatch.setattr("hrec.pipeline.prepare.kinds_of_one_class", lambda parts: [])
    monkeypatch.setattr("hrec.pipeline.prepare.metrics_without_value", lambda config, parts: [])
    monkeypatch.setattr(sys, "argv", ["scripts/sweep.py"])
    assert sweep.main([*words, "--trials", "3"]) == 0
    folder = folder_of(tmp_path)
    rows = (folder / "table.csv").read_text().splitlines()
    assert rows[0].startswith("trial,valid auc,opt.hyper_params.lr,") and len(rows) == 4
    report = (folder / "report.md").read_text()
    assert "3 trials: 3 complete" in report and "(history.png)" in report and "(importance.png)" in report
    assert all((folder / name).stat().st_size > 5_000 for name in ("history.png", "importance.png"))
    python, script, *line = shlex.split(capsys.readouterr().out.splitlines()[-1])
    assert (python, script, line[0]) == ("python", "train_hete.py", "deepmf")
    pasted, best = load("deepmf", find_model, line[1:]), load(str(folder / "best.json"), find_model)
    assert pasted.run.opt == best.run.opt and pasted.model == best.model
    found = opened(folder).best()
    assert found is not None and best.run.opt.hyper_params["lr"] == pytest.approx(
        found.params["opt.hyper_params.lr"], rel=1e-3
    )
    assert best.model.user_emb_size == best.model.item_emb_size == int(found.params[list(SPACE)[1]])


def test_what_a_list_is_made_of_makes_another_study(words: list[str], tmp_path: Path):
    """Recall among ten items is no recall among all; of rows' metrics the lists say nothing."""
    config = load("bprmf", find_model, ["data=planted-tiny"])
    sampled = load("bprmf", find_model, ["data=planted-tiny", "ranking.sampled=10", "ranking.eval_memory_mb=7"])
    chunked = load("bprmf", find_model, ["data=planted-tiny", "ranking.eval_memory_mb=7"])
    space = read_space(tmp_path / "space.json")
    of_lists, of_rows = (trials.Search("bprmf", (), space, metric) for metric in ("recall@10", "auc"))
    assert sweep.digest(config, of_lists, 0) == sweep.digest(chunked, of_lists, 0)
    assert sweep.digest(config, of_lists, 0) != sweep.digest(sampled, of_lists, 0)
    assert sweep.digest(config, of_rows, 0) == sweep.digest(sampled, of_rows, 0)


@pytest.mark.parametrize(
    ("config", "metric"), [("wmf", []), ("bprmf", ["--metric", "recall@10"]), ("ease", ["--metric", "ndcg@5/book"])]
)
def test_models_of_lists_are_searched_by_metrics_of_lists(
    tmp_path: Path, config: str, metric: list[str], capsys: pytest.CaptureFixture
):
    words = [config, "opt.epochs=1", "path.cache=null", "--data", "planted-tiny", "--out", str(tmp_path / "out")]
    assert sweep.main([*words, *metric, "--trials", "1"]) == 0
    name = metric[1] if metric else "ndcg@10"
    assert f"valid {name} 0." in capsys.readouterr().out
    assert (folder_of(tmp_path) / "table.csv").read_text().startswith(f"trial,valid {name},")


def test_a_search_goes_on_as_if_it_had_not_stopped(tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture):
    assert sweep.main([*words, "--trials", "1"]) == 0
    assert sweep.main([*words, "--trials", "3"]) == 0
    resumed = params_in(folder_of(tmp_path))
    report = (folder_of(tmp_path) / "report.md").read_text()
    assert sweep.main([*words, "--trials", "2"]) != 0  # its report would be of more trials than its command says
    assert "has 3 already; give --trials 3" in capsys.readouterr().err
    assert (folder_of(tmp_path) / "report.md").read_text() == report
    assert sweep.main([*words, "--trials", "3"]) == 0  # nothing is left to do
    assert params_in(folder_of(tmp_path)) == resumed and len({p["opt.hyper_params.lr"] for p in resumed}) == 3
    words[words.index("--out") + 1] = str(tmp_path / "again" / "out")
    (tmp_path / "again").mkdir()
    write(tmp_path / "again" / "space.json", SPACE)
    assert sweep.main([*words, "--trials", "3"]) == 0
    assert params_in(folder_of(tmp_path / "again")) == resumed


@pytest.mark.slow
def test_another_process_joins_and_waits_for_what_this_one_is_at(tmp_path: Path, words: list[str]):
    assert sweep.main([*words, "--trials", "1"]) == 0
    with opened(folder_of(tmp_path)) as study:
        mine = study.take(3)
        assert mine is not None and mine.number == 1
        command = [sys.executable, "scripts/sweep.py", *words, "--trials", "3"]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as other:
            assert other.stdout is not None
            for line in other.stdout:
                if "waiting for trials of other processes" in line:
                    break
            assert [t.number for t in study.trials(TrialState.COMPLETE)] == [0, 2]
            assert study.take(3) is None
            study.close(mine, TrialState.COMPLETE, 0.9)
            printed = other.stdout.read()
        assert other.returncode == 0 and "3 trials: 3 complete" in printed and "best.json" in printed
        assert len({t.user_attrs["process"] for t in study.counted()}) == 3


@pytest.mark.slow
def test_trials_side_by_side_are_as_many_as_wanted(tmp_path: Path, words: list[str], capfd: pytest.CaptureFixture):
    assert sweep.main([*words, "--trials", "3", "--jobs", "2"]) == 0
    assert not capfd.readouterr().err
    ended = opened(folder_of(tmp_path)).trials()
    assert [t.state for t in ended] == 3 * [TrialState.COMPLETE]
    assert ended[1].datetime_start < ended[0].datetime_complete


def test_a_trial_that_cannot_be_solved_or_held_does_not_end_the_search(tmp_path: Path):
    fixed = ["--data", "planted-tiny", "--out", str(tmp_path / "out"), "path.cache=null"]
    space = write(tmp_path / "space.json", {"model.l2": {"type": "choice", "values": [1e-9, 1e-8]}})
    assert sweep.main(["ease", *fixed, "--space", str(space), "--trials", "2"]) == 2
    assert "model.l2=1e-0" in opened(folder_of(tmp_path)).counted()[1].user_attrs["diverged"]
    fixed[3] = str(tmp_path / "large" / "out")
    large = {"model.embedding_size": {"type": "choice", "values": [10**11, 10**12]}}
    (tmp_path / "large").mkdir()
    space = write(tmp_path / "large" / "space.json", large)
    assert sweep.main(["bprmf", *fixed, "--space", str(space), "--trials", "2"]) == 2
    assert "model.embedding_size=1" in opened(folder_of(tmp_path / "large")).counted()[1].user_attrs["diverged"]


def test_a_diverged_trial_counts_and_the_search_goes_on(
    tmp_path: Path, words: list[str], monkeypatch: pytest.MonkeyPatch
):
    space = SPACE | {"opt.hyper_params.lr": {"type": "choice", "values": [1e20, 2e20]}}
    write(tmp_path / "space.json", space)
    assert sweep.main([*words, "--trials", "2"]) == 2  # each is recorded, and there is nothing to choose from
    assert "2 trials: 0 complete, 0 pruned, 2 diverged" in (folder_of(tmp_path) / "report.md").read_text()
    assert "became" in opened(folder_of(tmp_path)).counted()[0].user_attrs["diverged"]


def test_other_errors_end_the_search_with_their_message(
    tmp_path: Path, words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    def stop(*args: object) -> float:
        raise ConfigError("no batch to train on")

    monkeypatch.setattr(trials, "train", stop)
    assert sweep.main(words) == 2 and capsys.readouterr().err == "no batch to train on\n"
    assert not params_in(folder_of(tmp_path))  # it does not count


# ------------------------------------------------------------------------------------------ the study


@pytest.fixture
def study(tmp_path: Path) -> Study:
    write(tmp_path / "space.json", SPACE)
    return opened(tmp_path / "out" / "study")


def test_a_trial_of_a_killed_process_does_not_count(study: Study):
    with opened(study.folder) as killed:
        assert killed.take(1)
        with study:
            assert study.take(1) is None
            past = time.time() - studies.PATIENCE - 1
            os.utime(killed.alive.path, (past, past))
            trial = study.take(1)
            assert trial is not None and trial.number == 1 and [t.number for t in study.counted()] == [1]
            assert trial.params == killed.mine[0].params and len(trial.params) == 2
            # the one taken for dead, if it comes back, changes nothing
            killed.close(killed.mine[0], TrialState.COMPLETE, 0.5)
            assert study.trials()[0].state == TrialState.FAIL


def kill(study: Study) -> None:
    """The process of a study is gone without a word."""
    study.alive.over.set()
    study.alive.path.unlink()


def do_one(study: Study) -> dict:
    trial = study.take(9)
    assert trial is not None
    study.close(trial, TrialState.COMPLETE, 0.5)
    return trial.params


def test_a_search_that_was_killed_tries_what_it_would_have_tried(study: Study, tmp_path: Path):
    write(tmp_path / "space.json", SPACE)
    with opened(tmp_path / "out" / "whole") as whole:
        expected = [do_one(whole) for _ in range(4)]
    killed = opened(study.folder).__enter__()
    done = [do_one(killed)]
    assert killed.take(9)
    kill(killed)
    with pytest.raises(KeyboardInterrupt), opened(study.folder) as stopped:
        again = stopped.take(9)
        assert again is not None and again.params == expected[1]
        raise KeyboardInterrupt
    with study:
        done += [do_one(study) for _ in range(3)]
    assert done == expected and len(study.counted()) == 4


def test_a_trial_killed_while_it_was_drawn_is_drawn_again(study: Study, monkeypatch: pytest.MonkeyPatch):
    killed = opened(study.folder).__enter__()
    killed.space = dict(list(killed.space.items())[:1])
    part = killed.take(1)
    assert part is not None
    kill(killed)
    with study:
        whole = study.take(1)
    assert whole is not None and part.params.items() < whole.params.items() and len(whole.params) == 2


def test_settings_that_are_killed_each_time_make_room_for_others(study: Study):
    tried = []
    for _ in range(studies.TRIES + 1):
        killed = opened(study.folder).__enter__()
        trial = killed.take(1)
        assert trial is not None
        tried.append(trial.params)
        kill(killed)
    assert tried[0] == tried[1] == tried[2] != tried[3]


@pytest.mark.parametrize(
    ("error", "again"),
    [(ConfigError("cannot be trained"), False), (Interrupted(""), True), (BrokenProcessPool(), True)],
)
def test_settings_are_tried_again_after_a_stop_and_not_after_an_error_of_their_own(
    study: Study, error: Exception, again: bool
):
    tried = []

    def do(trial: Trial) -> float:
        tried.append(trial.params)
        if len(tried) == 1:
            raise error
        return 0.5

    with pytest.raises(type(error)), opened(study.folder) as first:
        work.work_off(first, 1, 1, do, lambda trial: None)
    with study:
        work.work_off(study, 1, 1, do, lambda trial: None)
    assert len(tried) == 2 and (tried[0] == tried[1]) == again


def test_a_trial_of_a_process_that_has_left_does_not_count(study: Study):
    with pytest.raises(KeyboardInterrupt), study:
        study.take(1)
        raise KeyboardInterrupt
    assert not study.counted() and not list((study.folder / "alive").iterdir())


def test_trials_stopped_early_or_diverged_count(study: Study):
    def do(trial: object) -> float:
        outcome = outcomes.pop()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    outcomes = [0.5, DivergedError("lost"), TrialPruned()]
    with study:
        work.work_off(study, 3, 1, do, lambda trial: None)
    assert [t.state.name for t in study.counted()] == ["PRUNED", "FAIL", "COMPLETE"]
    best = study.best()
    assert best is not None and best.number == 2


def test_a_trial_behind_the_median_is_stopped_after_an_epoch():
    optuna = create_study(direction="maximize", pruner=MedianPruner(n_startup_trials=2, n_warmup_steps=2))
    for value in (0.8, 0.9):
        trial = optuna.ask()
        progress = trials.Pruning(trial, "auc")
        for epoch in (1, 2, 3):
            progress.epoch({"stage": "train", "epoch": epoch, "auc": value})
        optuna.tell(trial, value)
    progress = trials.Pruning(optuna.ask(), "auc")
    progress.epoch({"stage": "pretrain", "epoch": 1, "auc": 0.1})
    progress.epoch({"stage": "train", "epoch": 1, "auc": 0.7})
    progress.epoch({"stage": "train", "epoch": 2, "loss": 1.0})  # was not evaluated
    with pytest.raises(TrialPruned):
        progress.epoch({"stage": "train", "epoch": 3, "auc": 0.7})


# ----------------------------------------------------------------------------------------- the spaces


def test_the_space_in_the_guide_can_be_searched(tmp_path: Path):
    text = (ROOT / "docs/guide/search.md").read_text(encoding="utf-8")
    path = tmp_path / "space.json"
    path.write_text(text.split("```json\n")[1].split("```")[0], encoding="utf-8")
    check_space(path, read_space(path), "duration", [])


@pytest.mark.parametrize("path", SPACES, ids=lambda p: p.stem)
def test_a_space_fits_its_model_and_holds_the_settings_of_the_config(path: Path):
    space = read_space(path)
    check_space(path, space, path.stem, [])
    config = load(path.stem, find_model)
    sections = {"model": config.model.model_dump(mode="json"), "opt": config.run.opt.model_dump(mode="json")}
    for name, parameter in space.items():
        for key in name.split(","):
            value: object = sections
            for part in key.split("."):
                value = value[part]  # type: ignore[index]
            if parameter.type == "choice":
                assert value in parameter.values, key
            else:
                assert parameter.low <= value <= parameter.high, key  # type: ignore[operator]


A_FLOAT = {"type": "float", "low": 0.1, "high": 0.5}
BAD = {
    "an unknown setting": ({"model.dropuot": A_FLOAT}, "model.dropuot: unknown key. Did you mean 'dropout'?"),
    "an unknown setting of the optimiser": (
        {"opt.hyper_params.weight_decy": A_FLOAT},
        "opt.hyper_params.weight_decy: Adam has no such key. Did you mean 'weight_decay'?",
    ),
    "another section": ({"modle.dropout": A_FLOAT}, "begins with 'model.' or 'opt.'. Did you mean 'model'?"),
    "the split": ({"data.split.seed": A_FLOAT}, "data.split.seed: a setting that is searched begins with"),
    "an unknown type": (
        {"model.dropout": {"type": "flaot"}},
        "model.dropout.type: no type 'flaot'. Did you mean 'float'?",
    ),
    "no type": ({"model.dropout": {"low": 1}}, "model.dropout.type: is missing. Types: float, int, choice"),
    "no object": ({"model.dropout": 0.5}, "model.dropout: should be an object {...} with a type, got 0.5"),
    "an unknown key": (
        {"model.dropout": A_FLOAT | {"hihg": 1}},
        "model.dropout.hihg: unknown key. Did you mean 'high'?",
    ),
    "no end": ({"model.dropout": {"type": "float", "low": 0}}, "model.dropout.high: is missing"),
    "a text": ({"model.dropout": A_FLOAT | {"low": "0"}}, "model.dropout.low: should be a number, got '0'"),
    "ends the wrong way round": ({"model.dropout": A_FLOAT | {"low": 0.9}}, "low must be below high, got 0.9 and 0.5"),
    "the logarithm of 0": (
        {"model.dropout": A_FLOAT | {"low": 0, "log": True}},
        "with log, low must be above 0, got 0",
    ),
    "steps past the end": (
        {"opt.epochs": {"type": "int", "low": 1, "high": 4, "step": 2}},
        "opt.epochs: steps of 2 from low 1 do not reach high 4",
    ),
    "one value": ({"model.bias": {"type": "choice", "values": [True]}}, "model.bias.values: "),
    "a value twice": ({"model.bias": {"type": "choice", "values": [True, True]}}, "values: true is there twice"),
    "a value that the model refuses": (
        {"model.dropout": A_FLOAT | {"high": 1.5}},
        "model.dropout: should be less than 1",
    ),
    "a setting twice": (
        {"model.dropout": A_FLOAT, "model.dropout,model.x": A_FLOAT},
        "model.dropout: is searched twice",
    ),
    "a setting that is fixed": ({"opt.epochs": {"type": "int", "low": 1, "high": 2}}, "also given on the command line"),
    "nothing": ({}, "holds no setting to search"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_space_is_reported_with_file_key_and_remedy(
    name: str, tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture
):
    space, message = BAD[name]
    path = write(tmp_path / "space.json", space)
    assert sweep.main(words) == 2
    shown = capsys.readouterr().err
    assert message in shown and all(line.startswith(f"{path}: ") for line in shown.splitlines())
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--space", "configs/sweeps/duratoin.json"], "Did you mean 'configs/sweeps/duration.json'?"),
        (["--space", "configs/sweeps/popularity.json"], "no file configs/sweeps/popularity.json. docs/guide/search.md"),
        (["--metric", "auk"], "--metric: no metric 'auk'. Did you mean 'auc'?"),
        (["--metric", "auc/bok"], "--metric: no 'auc/bok'. Did you mean 'auc/book'?"),
        (["--metric", "recal@10"], "--metric: no metric 'recal@k'. Did you mean 'recall'?"),
        (["--metric", "recall@10/bok"], "--metric: no 'recall@10/bok'. Did you mean 'recall@10/book'?"),
        (["opt.early_stop=null"], "--metric: say by what to choose"),
        (["--trials", "0"], "--trials: at least 1, got 0"),
        (["modle.alpha=1"], "modle"),
    ],
)
def test_a_bad_command_line_is_reported(more: list[str], message: str, words: list[str], capsys: pytest.CaptureFixture):
    assert sweep.main([*words, *more]) == 2
    assert message in capsys.readouterr().err
