"""The two scripts as a user runs them: what they print, what they leave, and how they go on after a stop.

Most runs are children of one process that has imported everything (``Launcher``): each is the script, run as
``__main__`` in a process of its own that can be killed, without two seconds of imports.
"""

from __future__ import annotations

import json
import math
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from hrec.config import load
from hrec.datasets import load_split
from hrec.models import find_model
from hrec.pipeline.building import build_model
from hrec.pipeline.checkpoints import CheckpointError, Checkpoints
from hrec.pipeline.evaluator import Evaluator
from hrec.pipeline.run import run as pipeline_run

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
PATIENCE = 120.0
"""Seconds after which something is taken to hang."""

SERVE = """
import json, os, runpy, sys, traceback
import hrec.cli.training, hrec.models.general.dmf, hrec.models.hetero.duration, torch._dynamo  # all that a run imports
for line in sys.stdin:
    job = json.loads(line)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            for number, path in ((0, os.devnull), (1, job["out"]), (2, job["err"])):
                os.dup2(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC), number)
            sys.argv = job["argv"]
            runpy.run_path(sys.argv[0], run_name="__main__")
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    print(pid, flush=True)
    _, status = os.waitpid(pid, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
"""


@dataclass
class Done:
    """A command line that has come to its end."""

    code: int
    out: str
    err: str

    @property
    def all(self) -> str:
        return self.out + self.err


class Launcher:
    """Runs command lines one at a time; ``meddle`` is called with the process id while one runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.server = subprocess.Popen(
            [sys.executable, "-c", SERVE],
            cwd=ROOT,
            env=ENVIRONMENT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(self, *argv: object, meddle: Callable[[int], None] = lambda pid: None) -> Done:
        out, err = self.folder / "out", self.folder / "err"
        assert self.server.stdin and self.server.stdout
        job = {"argv": [str(a) for a in argv], "out": str(out), "err": str(err)}
        self.server.stdin.write(json.dumps(job) + "\n")
        self.server.stdin.flush()
        pid = int(self.server.stdout.readline())
        meddle(pid)
        return Done(int(self.server.stdout.readline()), out.read_text(), err.read_text())

    def close(self) -> None:
        assert self.server.stdin
        self.server.stdin.close()
        self.server.wait(PATIENCE)


@pytest.fixture(scope="module")
def launch(tmp_path_factory) -> Iterator[Launcher]:
    launcher = Launcher(tmp_path_factory.mktemp("launcher"))
    yield launcher
    launcher.close()


@pytest.fixture(autouse=True)
def _in_the_checkout(monkeypatch):
    monkeypatch.chdir(ROOT)


HETE, HOMO = "train_hete.py", "train_homo.py"


def tiny(output: Path, *more: str) -> list[str]:
    return ["data=planted-tiny", "path.cache=null", f"path.output={output}", *more]


def only_run(output: Path) -> Path:
    (run,) = output.iterdir()
    return run


def rows(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def without_time(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key != "seconds"}


def shown(done: Done, code: int = 2) -> str:
    """What a refused command line says: on stderr, in sentences."""
    assert done.code == code, done.all
    assert "Traceback" not in done.all and done.err.strip()
    return done.err


# ------------------------------------------------------------------------------------------ a whole run


@pytest.mark.parametrize(("script", "name", "model"), [(HETE, "duration", "DURation"), (HOMO, "deepmf", "DMF")])
def test_a_run_leaves_its_settings_logs_curves_checkpoints_and_result(tmp_path, script, name, model):
    command = [sys.executable, script, name, *tiny(tmp_path / "out", "opt.epochs=2"), "--seed", "3", "--device", "cpu"]
    done = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    run = only_run(tmp_path / "out")
    assert run.name.startswith(f"{model}-planted-tiny-")
    assert {path.name for path in run.iterdir()} == {
        *("config.json", "data.json", "log.txt", "log.jsonl"),
        *("curves.png", "best.safetensors", "last.pt", "result.json"),
    }
    assert (run / "curves.png").read_bytes().startswith(b"\x89PNG")
    # quiet when piped: no bar, no carriage return, nothing on stderr
    assert done.stderr == "" and "\r" not in done.stdout and "it/s" not in done.stdout and "%|" not in done.stdout
    assert all(line in (run / "log.txt").read_text() for line in done.stdout.splitlines())
    assert str(run) in done.stdout and "best possible" in done.stdout

    assert [(row["stage"], row["epoch"]) for row in rows(run)] == [("train", 1), ("train", 2)]
    assert {"loss", "bce", "lr", "auc", "auc/book", "seconds"} <= set(rows(run)[0])

    result = json.loads((run / "result.json").read_text())
    kinds = ("", "/pooled", "/book", "/music", "/film")
    for part in ("valid", "test"):
        assert set(result[part]) == {f"{m}{kind}" for m in ("auc", "gauc", "logloss") for kind in kinds}
        assert all(0 <= value < 2 for value in result[part].values())
    assert set(result["best_possible"]) == {f"auc{kind}" for kind in kinds}
    assert (result["model"], result["data"], result["seed"], result["device"]) == (model, "planted-tiny", 3, "cpu")
    assert result["processes"] == 1 and result["threads"] == 1
    assert result["seconds"] > 0 and result["memory_mb"] > 50
    assert result["torch"] == torch.__version__ and result["python"] and result["hrec"] and result["commit"]

    settings = json.loads((run / "config.json").read_text())
    assert settings["model"]["name"] == model and "history" in settings["model"]  # defaults are written out
    assert (settings["seed"], settings["device"], settings["opt"]["epochs"]) == (3, "cpu", 2)
    assert settings["data"]["planted"]["size"] == "tiny" and settings["data"]["planted"]["seed"] == 0
    again = load(str(run / "config.json"), find_model)
    given = load(name, find_model, [*tiny(tmp_path / "out", "opt.epochs=2"), "seed=3", "device=cpu"])
    assert again.run.model_copy(update={"model": {}}) == given.run.model_copy(update={"model": {}})
    assert again.model == given.model


def test_the_seed_decides_and_another_seed_gives_another_result(launch, tmp_path):
    tests = []
    for index, seed in enumerate((1, 1, 2)):
        argv = [HOMO, "deepmf", *tiny(tmp_path / str(index), "opt.epochs=1"), "--seed", seed]
        assert launch(*argv).code == 0
        result = json.loads((only_run(tmp_path / str(index)) / "result.json").read_text())
        assert result["seed"] == seed
        tests.append(result["test"])
    assert tests[0] == tests[1] != tests[2]


def test_a_dry_run_prints_settings_counts_size_and_step_time_and_leaves_nothing(launch, tmp_path):
    done = launch(HETE, "duration", *tiny(tmp_path / "out", "opt.batch_size=64"), "--dry-run", "--seed", 5)
    assert done.code == 0 and done.err == ""
    settings, end = json.JSONDecoder().raw_decode(done.out)
    assert settings["seed"] == 5 and settings["model"]["name"] == "DURation" and settings["opt"]["batch_size"] == 64
    rest = done.out[end:]
    assert all(kind in rest for kind in ("book", "music", "film")) and "2,800" in rest
    assert "weights" in rest and "device cpu" in rest and "ms a step of 64 rows" in rest and "loss: bce" in rest
    assert not (tmp_path / "out").exists()


def test_a_dry_run_times_a_sweep_of_a_model_that_is_solved(launch, tmp_path):
    done = launch(HOMO, "wmf", *tiny(tmp_path / "out"), "--dry-run")
    assert done.code == 0 and "ms a sweep, loss" in done.out and not (tmp_path / "out").exists()


def test_a_dry_run_times_every_stage(launch, tmp_path):
    done = launch(HETE, "dualnet", *tiny(tmp_path / "out"), "model.levels=[8,4]", "--dry-run")
    stages = [f"stage '{name}'" for name in ("pretrain/1", "pretrain/2", "refine/1", "refine/2", "train")]
    assert done.code == 0 and [line.split(":")[0] for line in done.out.splitlines() if "ms a step" in line] == stages


def test_items_that_nobody_likes_in_a_part_are_reported_before_training(launch, tmp_path):
    # in the tiny data every item has a training row
    words = ("ranking.items=new", 'metrics=["recall@5"]', 'opt.early_stop={"metric":"recall@5"}')
    problem = shown(launch(HOMO, "deepmf", *tiny(tmp_path / "out"), *words, 'data.split={"by":"in_matrix"}'))
    assert "ranking.items=new: the validation split has no positive among these items" in problem


def test_a_dry_run_tells_the_same_problems_as_a_run(launch, tmp_path):
    assert "'auk'" in shown(launch(HOMO, "deepmf", *tiny(tmp_path / "out"), 'metrics=["auk"]', "--dry-run"))


def test_help_names_every_option(launch):
    done = launch(HETE, "--help")
    assert done.code == 0
    assert all(option in done.out for option in ("--device", "--seed", "--resume", "--dry-run", "key.path=value"))


# ---------------------------------------------------------------------------------------------- refusals


REFUSED = {
    "duratoin": ["no settings called 'duratoin'", "Did you mean 'duration'?"],
    "": ["name a config, for example: duration"],
    "opt.epochs=3": ["name a config, for example: duration"],
    "deepmf data=planted-tinny": ["no data called 'planted-tinny'", "Did you mean 'planted-tiny'?"],
    "deepmf model.name=DMFF": ["no model called 'DMFF'", "Did you mean 'DMF'?"],
    "deepmf opt.epochs=many": ["opt.epochs: should be a whole number, got 'many'"],
    "deepmf opt.batchsize=3 sed=1": ["2 problems", "Did you mean 'batch_size'?", "Did you mean 'seed'?"],
    "deepmf opt.epochs": ["an override is written key.path=value"],
    "deepmf --device banana": ["device 'banana': write auto, cpu, cuda or cuda:<number>"],
    "deepmf --device cuda": ["this machine has no usable GPU"],
    "deepmf --seed -1": ["seed: should be greater than or equal to 0, got -1"],
    "deepmf --seed x": ["invalid int value: 'x'"],
    "deepmf --sede 1": ["unrecognized arguments"],
    'deepmf metrics=["auk"]': ["no metric 'auk'", "Did you mean 'auc'?"],
    "deepmf opt.hyper_params.lr=abc": ["opt.hyper_params.lr: should be a number, got 'abc'"],
    "deepmf opt.early_stop.mode=min": ["'auc' is better when it is maximal"],
    "deepmf data=planted-tiny opt.early_stop.metric=auc/boook": ["no kind 'boook'", "Did you mean 'auc/book'?"],
    "deepmf data=planted-tiny opt.hyper_params.weight_decy=1": ["Adam has no such", "Did you mean 'weight_decay'?"],
    "deepmf opt.precision=16": ["opt.precision '16' is for GPUs"],
    'deepmf data={"inter_feat_path":"no/such.csv"}': ["no/such.csv"],
    "duration": ["DURation models each kind separately; run it with train_hete.py"],
    "deepmf --resume no/such/run": ["no/such/run: holds no config.json, so it is not a run folder"],
    "deepmf --resum x": ["unrecognized arguments"],
    'deepmf metrics=["recall@10/book"]': ["write 'recall@10'"],
    "deepmf metrics=[] opt.early_stop=null": ["metrics: is empty"],
    "deepmf data=planted-tiny data.single=true": ["data.single=true needs data.single_type, one of"],
    'deepmf data=planted-tiny data.type=["book","book"]': ["data.type: name each kind once"],
    'deepmf data=planted-tiny data.split={"by":"leave_one_out"} opt.early_stop.metric=gauc': [
        "opt.early_stop.metric: 'gauc' has no value on the validation split",
        "users with both",
    ],
    "deepmf data=planted-tiny data.split.ratio=[1,1e-9,1e-9]": ["'auc' has no value on the validation split"],
    "deepmf data=planted-tiny ranking.cold_rows=0 opt.early_stop.metric=ndcg@5/cold_users": [
        "'ndcg@5/cold_users' has no value on the validation split, where no user has a positive of its group",
    ],
    "bprmf data=planted-tiny ranking.sampled=10 opt.early_stop.metric=recall@10/book": ["no kind 'book'", "recall@10"],
    'deepmf opt.scheduler={"name":"StepLR","hyper_params":{"step_size":2,"gamma":null}}': [
        "opt.scheduler.hyper_params"
    ],
    'deepmf opt.scheduler={"name":"StepLR","hyper_params":{"step_size":2,"last_epoch":5}}': [
        "opt.scheduler",
        "refuses",
    ],
    'deepmf opt.scheduler={"name":"MultiStepLR","hyper_params":{"milestones":["a"]}}': ["milestones", "be a number"],
    'deepmf opt.scheduler={"name":"ReduceLROnPlateau","hyper_params":{"patience":null}}': [
        "opt.scheduler.hyper_params"
    ],
    'deepmf opt.hyper_params={"lr":0.001,"fused":true,"foreach":true}': ["opt.hyper_params", "refuses"],
    "deepmf opt.hyper_params.lr=true": ["opt.hyper_params.lr", "should be a number, got true"],
    "deepmf opt.batch_size=true": ["opt.batch_size: should be a whole number, got 'true'"],
    'deepmf opt.scheduler={"name":"StepLR","hyper_params":{"step_size":0}}': ["opt.scheduler.hyper_params", "modulo"],
    'deepmf opt.scheduler={"name":"CosineAnnealingLR","hyper_params":{"T_max":0}}': ["opt.scheduler", "by zero"],
    'deepmf data=planted-tiny data.split={"by":"cold_users","max_train":0,"ratio":[1,1,98]}': [
        "data.split leaves no row to train on"
    ],
    "deepmf --seed 99999999999999999999999": ["seed: should be less than 9223372036854775808"],
    "deepmf opt.hyper_params.betas=[0.9]": ["opt.hyper_params.betas: should be a list of 2 numbers, got [0.9]"],
    "bprmf model.negatives.popularity=400": ["popularity", "less than or equal to 10"],
    "wmf model.a=0.01 model.b=1": ["b, the weight of the zeros, is at most a"],
    "dualnet model.b=2": ["b, the weight of the zeros, is at most a"],
    'deepmf data.train_columns=["count","count"]': ["data.train_columns: name each column once"],
    "wmf data=planted-tiny model.b=0 model.l_u=1e-30 model.l_v=1e-30 --dry-run": ["cannot be solved"],
    'deepmf metrics=["recall@x"]': ["a whole number of 1 or more belongs after '@'"],
    "popularity data=planted-tiny opt.early_stop.metric=coverage@10/cold_users": ["There are: coverage@10"],
    'deepmf metrics=["recal@10"]': ["metrics: no metric 'recal@k'", "Did you mean 'recall'?"],
    "deepmf data=planted-tiny data.name=a/b": ["data.name"],
    "deepmf data=planted-tiny opt.early_stop.metric=ndcg@5/boook": ["no kind 'boook'", "'ndcg@5/book'"],
}


@pytest.mark.parametrize("line", REFUSED)
def test_what_cannot_be_done_is_refused_with_a_sentence(launch, tmp_path, line):
    named = line.startswith(("deepmf", "popularity", "bprmf", "wmf", "dualnet"))
    output = [f"path.output={tmp_path}", "path.cache=null"] if "=" in line and named else []
    err = shown(launch(HOMO, *line.split(), *output))
    for sentence in REFUSED[line]:
        assert sentence in err
    assert not list(tmp_path.iterdir())  # a mistake leaves nothing behind


def test_a_run_that_diverges_is_reported_in_a_sentence(launch, tmp_path):
    argv = [*tiny(tmp_path / "out", "opt.batch_size=64"), "opt.hyper_params.lr=1e20"]
    err = shown(launch(HOMO, "deepmf", *argv))
    assert "of the loss became nan" in err or "scores are NaN" in err
    assert "The last good checkpoint is" in err and "last.pt" in err and "Start a new run with a smaller" in err
    assert "lr" in err and "stopped: stage 'train'" in (only_run(tmp_path / "out") / "log.txt").read_text()


def test_an_output_folder_that_cannot_be_written_is_reported_in_a_sentence(launch, tmp_path):
    (tmp_path / "file").write_text("")
    assert "cannot be made" in shown(launch(HOMO, "deepmf", *tiny(tmp_path / "file")))


# ------------------------------------------------------------------------------------- killed and resumed

TRAINING = ["opt.epochs=8", "opt.batch_size=96", "opt.hyper_params.lr=0.01", "opt.early_stop.stop_step=6"]
DROPOUT = ["model.dropout=0.2", "model.history.dropout=0.1"]


@dataclass
class Whole:
    """A run that nothing stopped."""

    run: Path
    seconds: float


@pytest.fixture(scope="module")
def whole(launch, tmp_path_factory) -> Whole:
    output = tmp_path_factory.mktemp("whole")
    began = time.perf_counter()
    done = launch(HETE, "duration", *tiny(output, *TRAINING, *DROPOUT))
    assert done.code == 0, done.err
    return Whole(only_run(output), time.perf_counter() - began)


def weights(run: Path) -> dict[str, torch.Tensor]:
    return torch.load(run / "last.pt", weights_only=True)["model"]


def assert_same_run(run: Path, whole: Path) -> None:
    """Weights bit for bit, the log but for the times, and the result."""
    assert (run / "best.safetensors").read_bytes() == (whole / "best.safetensors").read_bytes()
    left, right = weights(run), weights(whole)
    assert left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)
    assert [without_time(row) for row in rows(run)] == [without_time(row) for row in rows(whole)]
    results = [json.loads((each / "result.json").read_text()) for each in (run, whole)]
    assert results[0]["test"] == results[1]["test"] and results[0]["valid"] == results[1]["valid"]
    assert (run / "curves.png").exists()


def wait_until(happened: Callable[[], bool], pid: int) -> bool:
    """Whether it happened before the process ended."""
    deadline = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < deadline
        try:
            if (Path("/proc") / str(pid) / "stat").read_text().split()[2] == "Z":
                return happened()
        except OSError:
            return happened()
        time.sleep(0.002)
    return True


def end(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def after_lines(output: Path, lines: int, number: int = signal.SIGKILL) -> Callable[[int], None]:
    """Sends the signal as soon as the log of the run holds this many epochs."""

    def logged() -> bool:
        return sum(path.read_bytes().count(b"\n") for path in output.glob("*/log.jsonl")) >= lines

    def meddle(pid: int) -> None:
        if wait_until(logged, pid):
            end(pid, number)

    return meddle


def after_seconds(seconds: float) -> Callable[[int], None]:
    def meddle(pid: int) -> None:
        time.sleep(seconds)
        end(pid, signal.SIGKILL)

    return meddle


def go_on(launch: Launcher, output: Path, settings: list[str], meddle: Callable[[int], None]) -> Done:
    """Starts the run, or goes on with the one that was killed; from the start if that one had saved nothing yet."""
    saved = [path.parent for path in output.glob("*/last.pt")]
    if saved:
        return launch(HETE, "--resume", saved[0], meddle=meddle)
    for left in output.glob("*"):
        said = shown(launch(HETE, "--resume", left))
        assert "not a run folder" in said or "nothing to continue from" in said
        left.rename(output.parent / f"{left.name}-{time.monotonic_ns()}")
    return launch(HETE, "duration", *tiny(output, *TRAINING, *DROPOUT, *settings), meddle=meddle)


@pytest.mark.parametrize("save_step", [1, 3])
@pytest.mark.parametrize("moments", [(1, 2, 5), (3, 4), (7, 8), "random"], ids=str)
def test_a_run_killed_again_and_again_ends_as_one_that_was_not(launch, tmp_path, whole, save_step, moments):
    output = tmp_path / "out"
    output.mkdir()
    rng = random.Random(save_step)
    if moments == "random":
        meddles = [after_seconds(rng.uniform(0.05, 0.95) * whole.seconds) for _ in range(4)]
    else:
        meddles = [after_lines(output, lines) for lines in moments]
    settings = [f"opt.save_step={save_step}"]
    killed = 0
    for meddle in meddles:
        code = go_on(launch, output, settings, meddle).code
        assert code in (0, -signal.SIGKILL)
        killed += code != 0
    assert killed > 0
    done = go_on(launch, output, settings, lambda pid: None)
    assert done.code == 0, done.err
    assert_same_run(only_run(output), whole.run)
    assert not list(only_run(output).glob(".*")) or killed  # a half-written file of a killed run is never read


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_interrupted_saves_says_how_to_go_on_and_does_so_to_the_same_bits(
    launch, tmp_path, whole, number
):
    output = tmp_path / "out"
    argv = tiny(output, *TRAINING, *DROPOUT, "opt.save_step=50")
    done = launch(HETE, "duration", *argv, meddle=after_lines(output, 2, number))
    run = only_run(output)
    assert shown(done, 130).strip() == f"stopped and saved; continue with: python {HETE} --resume {run}"
    position = torch.load(run / "last.pt", weights_only=True)["position"]
    assert position["step"] > 0 and position["epoch"] >= 2
    assert len(rows(run)) == position["epoch"]
    done = launch(HETE, "--resume", run)
    assert done.code == 0 and f"continues after epoch {position['epoch']}, step {position['step']}" in done.out
    assert_same_run(run, whole.run)


def test_a_finished_run_that_is_resumed_has_the_same_result(launch, tmp_path):
    output = tmp_path / "out"
    argv = tiny(output, "opt.epochs=2")
    assert launch(HOMO, "deepmf", *argv).code == 0
    run = only_run(output)
    before, log = json.loads((run / "result.json").read_text()), rows(run)
    done = launch(HOMO, "deepmf", "--resume", run)
    assert done.code == 0 and "this run is finished" in done.out
    after = json.loads((run / "result.json").read_text())
    assert after | {"memory_mb": 0} == before | {"memory_mb": 0} and rows(run) == log
    assert only_run(output) == run


def test_more_epochs_can_be_given_when_a_run_goes_on(launch, tmp_path):
    output = tmp_path / "out"
    argv = tiny(output, "opt.epochs=30", "opt.save_step=1", "opt.early_stop=null", "opt.batch_size=64")
    launch(HOMO, "deepmf", *argv, meddle=after_lines(output, 2))
    run = only_run(output)
    reached = len(rows(run))
    assert 2 <= reached < 30
    before = (run / "config.json").read_bytes()
    err = shown(launch(HOMO, "--resume", run, f"opt.epochs={reached - 1}"))
    assert "none can be undone" in err and (run / "config.json").read_bytes() == before
    done = launch(HOMO, "--resume", run, f"opt.epochs={reached + 2}")
    assert done.code == 0, done.err
    assert [row["epoch"] for row in rows(run)] == list(range(1, reached + 3))


def test_a_finished_run_can_be_given_more_epochs_and_ends_as_one_that_had_them_from_the_start(launch, tmp_path):
    argv = ["opt.early_stop.stop_step=9", "opt.batch_size=64"]
    assert launch(HOMO, "deepmf", *tiny(tmp_path / "two", "opt.epochs=2", *argv)).code == 0
    run = only_run(tmp_path / "two")
    done = launch(HOMO, "--resume", run, "opt.epochs=4")
    assert done.code == 0 and "was finished after epoch 2; it trains 2 more" in done.out and "no effect" not in done.all
    assert launch(HOMO, "deepmf", *tiny(tmp_path / "four", "opt.epochs=4", *argv)).code == 0
    assert_same_run(run, only_run(tmp_path / "four"))
    again = launch(HOMO, "--resume", run)  # the run remembers how many it was given
    assert again.code == 0 and "this run is finished" in again.out
    before = {name: (run / name).read_bytes() for name in ("config.json", "log.jsonl", "log.txt", "result.json")}
    err = shown(launch(HOMO, "--resume", run, "opt.epochs=1"))
    assert "opt.epochs=1:" in err and "has trained 4 epochs of stage 'train', and none can be undone" in err
    assert {name: (run / name).read_bytes() for name in before} == before
    config = json.loads((run / "config.json").read_text())
    config["opt"]["hyper_params"]["lr"] = 0.5  # the optimiser's state would keep the old one
    (run / "config.json").write_text(json.dumps(config))
    err = shown(launch(HOMO, "--resume", run, "opt.epochs=5"))
    assert 'config.json: opt.hyper_params is {"lr": 0.5' in err and "Put that back to continue" in err
    (run / "config.json").write_bytes(before["config.json"])
    (run / "last.pt").unlink()
    err = shown(launch(HOMO, "--resume", run, "opt.epochs=5"))
    assert "last.pt: is missing, so there is nothing to continue from; the finished run still answers" in err
    (run / "result.json").unlink()
    assert "Start a new run" in shown(launch(HOMO, "--resume", run)) and len(rows(run)) == 4


def test_a_run_that_stopped_early_stays_as_it_is(launch, tmp_path):
    argv = tiny(tmp_path, "opt.epochs=60", "opt.early_stop.stop_step=1", "opt.hyper_params.lr=0.3", "opt.save_step=50")
    assert launch(HOMO, "deepmf", *argv).code == 0
    run = only_run(tmp_path)
    epochs = rows(run)
    assert len(epochs) < 50
    done = launch(HOMO, "--resume", run, "opt.epochs=70")
    assert done.code == 0 and "this run is finished, it stopped early" in done.out and rows(run) == epochs


def test_sampled_lists_are_reported_before_the_first_epoch_and_in_the_table(launch, tmp_path):
    done = launch(HOMO, "bprmf", *tiny(tmp_path, "opt.epochs=1", "ranking.sampled=20"))
    before, after = done.out.split("train epoch   1", 1)
    assert "lists are ranked out of the positives and 20 SAMPLED items each" in before
    assert re.search(r"^test +positives and 20 SAMPLED +0\.", after, re.MULTILINE)
    assert "SAMPLED" not in launch(HOMO, "deepmf", *tiny(tmp_path, "ranking.sampled=20"), "--dry-run").all


def test_a_metric_that_early_stopping_watches_is_measured_too(launch, tmp_path):
    argv = tiny(tmp_path, "opt.epochs=1", "opt.early_stop.metric=mae/book", 'metrics=["auc"]')
    assert launch(HOMO, "deepmf", *argv).code == 0
    assert {"auc", "mae/book"} <= json.loads((only_run(tmp_path) / "result.json").read_text())["test"].keys()


def test_a_run_killed_before_its_first_checkpoint_begins_again_in_its_folder(launch, tmp_path, whole):
    output = tmp_path / "out"
    assert launch(HETE, "duration", *tiny(output, *TRAINING, *DROPOUT)).code == 0
    run = only_run(output)
    for file in run.iterdir():
        if file.name != "config.json":
            file.unlink()
    done = launch(HETE, "--resume", run)
    assert done.code == 0 and only_run(output) == run
    assert_same_run(run, whole.run)


def test_a_run_that_cannot_write_its_first_checkpoint_leaves_no_folder(tmp_path, monkeypatch):
    def full(self: Checkpoints, state: object) -> None:
        raise CheckpointError(f"{self.last}: could not be written (No space left on device). Make room.")

    monkeypatch.setattr(Checkpoints, "save_last", full)
    config = load("deepmf", find_model, tiny(tmp_path / "out", "opt.epochs=1"))
    with pytest.raises(CheckpointError, match="Make room"):
        pipeline_run(config, show=False)
    assert not list((tmp_path / "out").iterdir())


def test_a_kind_named_as_a_group_of_the_metrics_is_refused_before_training(launch, tmp_path):
    write_rows(tmp_path / "rows.csv", 0)
    pd.DataFrame({"item_id": range(20)}).to_csv(tmp_path / "pooled.csv", index=False)
    files = {"inter_feat_path": str(tmp_path / "rows.csv"), "item_feat_path": {"pooled": str(tmp_path / "pooled.csv")}}
    argv = [f"data={json.dumps(files)}", f"path.output={tmp_path / 'out'}", "path.cache=null"]
    assert "a kind cannot be called 'pooled'" in shown(launch(HOMO, "deepmf", *argv))
    assert not (tmp_path / "out").exists()


def test_nothing_else_can_be_changed_when_a_run_goes_on(launch, tmp_path):
    output = tmp_path / "out"
    assert launch(HOMO, "deepmf", *tiny(output, "opt.epochs=1")).code == 0
    run = only_run(output)
    for change in (["opt.batch_size=3"], ["--seed", "4"], ["data.planted.seed=1"]):
        assert "only opt.epochs can be changed" in shown(launch(HOMO, "--resume", run, *change))
    assert "is a run of DMF, not of DURation" in shown(launch(HETE, "duration", "--resume", run))


def write_rows(path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    user, item = np.nonzero(np.random.default_rng(0).random((30, 20)) < 0.5)
    pd.DataFrame({"user_id": user, "item_id": item, "label": rng.integers(0, 2, len(user))}).to_csv(path, index=False)


def test_a_run_does_not_go_on_with_data_that_has_changed(launch, tmp_path):
    path, output = tmp_path / "rows.csv", tmp_path / "out"
    write_rows(path, 0)
    data = json.dumps({"name": "mine", "inter_feat_path": str(path)})
    argv = [f"data={data}", f"path.output={output}", f"path.cache={tmp_path / 'cache'}", "opt.epochs=1"]
    assert launch(HOMO, "deepmf", *argv).code == 0
    run = only_run(output)
    write_rows(path, 1)
    assert "was trained on other rows; the data files have changed" in shown(launch(HOMO, "--resume", run))
    write_rows(path, 0)
    assert launch(HOMO, "--resume", run).code == 0


@pytest.mark.parametrize(
    ("file", "part"), [("rows.csv", "ratings or times"), ("users.csv", "columns of users or items")]
)
def test_a_run_does_not_go_on_with_ratings_or_columns_that_have_changed(launch, tmp_path, file, part):
    user, item = (a.ravel() for a in np.indices((20, 9)))
    rating = np.random.default_rng(0).integers(1, 6, len(user))
    pd.DataFrame({"user_id": user, "item_id": item, "rating": rating}).to_csv(tmp_path / "rows.csv", index=False)
    pd.DataFrame({"user_id": range(20), "age": range(20)}).to_csv(tmp_path / "users.csv", index=False)
    data = {
        "inter_feat_path": str(tmp_path / "rows.csv"),
        "user_feat_path": str(tmp_path / "users.csv"),
        "feat": {"age": {"type": "float", "source": "user"}},
        "label": {"from": "rating", "above": 3},
    }
    argv = [f"data={json.dumps(data)}", f"path.output={tmp_path / 'out'}", "path.cache=null", "opt.epochs=1"]
    assert launch(HOMO, "deepmf", *argv).code == 0
    changed = pd.read_csv(tmp_path / file)
    changed = changed.replace({"rating": {1: 2}}) if file == "rows.csv" else changed.assign(age=changed.age + 1)
    changed.to_csv(tmp_path / file, index=False)
    assert f"was trained on other {part}" in shown(launch(HOMO, "--resume", only_run(tmp_path / "out")))


def test_a_kind_of_one_class_is_warned_of_and_named_beside_the_mean(launch, tmp_path):
    user, item = (a.ravel() for a in np.indices((30, 20)))
    rows = pd.DataFrame({"user_id": user, "item_id": item, "type": np.where(item < 10, "tune", "tale")})
    rows["label"] = np.where(item < 10, 1, np.random.default_rng(0).integers(0, 2, len(user)))
    rows.to_csv(tmp_path / "rows.csv", index=False)
    data = json.dumps({"inter_feat_path": str(tmp_path / "rows.csv")})
    done = launch(HOMO, "deepmf", f"data={data}", f"path.output={tmp_path / 'out'}", "path.cache=null", "opt.epochs=1")
    assert done.code == 0
    for part in ("validation", "test"):
        assert f"warning: the {part} split has only positive rows of kind 'tune': its AUC is not defined" in done.out
    assert "test auc: the macro mean is that of tale" in done.out


def test_a_damaged_checkpoint_is_reported_in_a_sentence_on_resume(launch, tmp_path):
    output = tmp_path / "out"
    assert launch(HOMO, "deepmf", *tiny(output, "opt.epochs=1")).code == 0
    run = only_run(output)
    (run / "last.pt").write_bytes((run / "last.pt").read_bytes()[:1000])
    assert "best.safetensors in this folder holds" in shown(launch(HOMO, "--resume", run))
    (run / "best.safetensors").unlink()
    sentence = shown(launch(HOMO, "--resume", run))
    assert "last.pt: cannot be read, it is damaged" in sentence and "in this folder" not in sentence


def test_output_that_nobody_reads_ends_a_run_without_a_traceback(tmp_path):
    words = [sys.executable, HOMO, "deepmf", *tiny(tmp_path / "out", "opt.epochs=3")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        said = process.stderr.read()
    assert "Traceback" not in said and "nobody reads" in said and process.returncode == 1


# --------------------------------------------------------------------------------------- two processes


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def test_two_processes_measure_and_train_as_one_does_and_make_one_run_folder(launch, tmp_path):
    together, alone = tmp_path / "together", tmp_path / "alone"
    settings = ["opt.epochs=3", "opt.hyper_params.lr=0.003", "model.dropout=0", "model.history.dropout=0"]
    torchrun = ["-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", str(free_port())]
    command = [sys.executable, *torchrun, HOMO, "deepmf", *tiny(together, *settings), "--device", "cpu"]
    done = subprocess.run(
        command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr
    run = only_run(together)
    result = json.loads((run / "result.json").read_text())
    assert result["processes"] == 2 and len(rows(run)) == 3
    assert done.stdout.count("train epoch   1") == 1  # one process prints

    # what the two measured together is what one measures with the same weights
    config = load(str(run / "config.json"), find_model)
    parts = load_split(config.run.data, None)
    model = build_model(config, parts.train, torch.device("cpu"))
    model.load_state_dict(load_file(run / "best.safetensors"))
    for name, part in (("valid", parts.valid), ("test", parts.test)):
        assert result[name] == pytest.approx(Evaluator(config.run.metrics).measure(model, part), abs=1e-6)

    # and what they trained together is what one trains
    assert launch(HOMO, "deepmf", *tiny(alone, *settings)).code == 0
    expected = json.loads((only_run(alone) / "result.json").read_text())
    for part in ("valid", "test"):
        assert result[part] == pytest.approx(expected[part], abs=1e-3)
    assert not math.isnan(result["test"]["auc"])
