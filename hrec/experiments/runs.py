"""Many runs of one experiment: each done once, taken up where it was killed, several side by side."""

from __future__ import annotations

import hashlib
import json
import time
import zipfile
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass, field
from multiprocessing import parent_process
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from hrec.config import ConfigError, LoadedConfig, load
from hrec.datasets import load_split
from hrec.datasets.recdata import Split
from hrec.experiments.workers import workers
from hrec.models import find_model
from hrec.models.base import BaseModel
from hrec.pipeline.building import cache_folder, effective_settings
from hrec.pipeline.checkpoints import CheckpointError, Checkpoints, write_whole
from hrec.pipeline.evaluator import scores
from hrec.pipeline.fingerprint import digests, refuse_other_data, refuse_other_digests
from hrec.pipeline.measured import Metrics
from hrec.pipeline.ranking import Ranking
from hrec.pipeline.records import RunFolder, commit
from hrec.pipeline.run import run
from hrec.pipeline.stage_run import DivergedError

OnTrained = Callable[[BaseModel, Split, Path], None]
Trial = TypeVar("Trial")
Read = TypeVar("Read")


@dataclass(frozen=True)
class Job:
    """One run: a config by name, settings over it, a seed. ``on_trained`` may write more into the run folder."""

    config: str
    overrides: tuple[str, ...] = ()
    seed: int = 0
    on_trained: OnTrained | None = field(default=None, compare=False)

    def load(self) -> LoadedConfig:
        return load(self.config, find_model, [*self.overrides, f"seed={self.seed}"])

    def describe(self, common: Collection[str] = ()) -> str:
        """Config, settings but the common ones, and seed."""
        return " ".join([self.config, *(word for word in self.overrides if word not in common), f"seed {self.seed}"])

    def folder(self, out: Path) -> Path:
        """Parent of the run folder; it goes by the settings as they take effect, so two ways to say one thing meet."""
        settings = effective_settings(self.load())
        named = {key: settings[key] for key in ("data", "model", "opt", "metrics")}
        if Metrics.of(settings["metrics"]).lists:
            named["ranking"] = {k: v for k, v in settings["ranking"].items() if k != "eval_memory_mb"}
        digest = hashlib.blake2b(json.dumps(named, sort_keys=True).encode(), digest_size=5).hexdigest()
        return out / "runs" / f"{self.config}-{digest}-seed{self.seed}"


@dataclass(frozen=True)
class Done:
    """What a job left behind."""

    folder: Path
    result: dict[str, Any]
    diverged: str | None = None
    """Why there is no result."""

    def reached(self, *metrics: str) -> tuple[float, ...]:
        """Of the validation part, to choose by; the least there is for a run without a value or a result."""
        values = [self.result["valid"][name] if self.diverged is None else np.nan for name in metrics]
        return tuple(value if np.isfinite(value) else -np.inf for value in values)

    def test_scores(self) -> np.ndarray:
        """Score of each row of the test part, float32[n], where it has labels."""
        return whole(self.folder / "test_scores.npy", np.load)

    def test_users(self) -> dict[str, np.ndarray]:
        """Each metric of lists -> float[users] of the test part, NaN for users without a positive."""
        return whole(self.folder / "test_users.npz", lambda path: dict(np.load(path)))


def whole(path: Path, read: Callable[[Path], Read]) -> Read:
    """What the file of a finished run holds. Raises CheckpointError where it is missing or damaged."""
    try:
        return read(path)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        what = f"is damaged ({error})" if path.exists() else "no such file"
        raise CheckpointError(f"{path}: {what}. Remove {path.parent} to run it again") from None


def _config(path: Path) -> LoadedConfig:
    return load(str(path), find_model)


def _read_json(path: Path) -> dict[str, Any]:
    return whole(path, lambda file: json.loads(file.read_text(encoding="utf-8")))


def finished(job: Job, out: Path) -> Done | None:
    """What the job left behind if it has come to its end. Raises CheckpointError where that was on other data."""
    parent = job.folder(out)
    if (parent / DIVERGED).exists():
        found = _read_json(parent / DIVERGED)
        refuse_other_digests(parent, found["data"], digests_of(job.load()))
        return Done(parent, {}, found["why"])
    for folder in sorted(parent.glob("*/")):
        if (folder / "result.json").exists():
            refuse_other_data(RunFolder(folder), digests_of(job.load()))
            _refuse_other_epochs(folder, job)
            return Done(folder, _read_json(folder / "result.json"))
    return None


def _refuse_other_epochs(folder: Path, job: Job) -> None:
    """Raises CheckpointError where the run was resumed by hand and given more epochs than the job has."""
    has, asked = (config.run.opt.epochs for config in (whole(folder / "config.json", _config), job.load()))
    if has != asked:
        raise CheckpointError(
            f"{folder}: was given {has} epochs since, and {asked} are asked for. Remove it to run it again"
        )


DIVERGED = "diverged.json"
"""A file in the folder of a job whose loss became NaN: the same settings would end there again."""


def run_all(jobs: Sequence[Job], out: Path, side_by_side: int = 1, shown: str | None = None) -> list[Done]:
    """What every job left behind, in the order of ``jobs``. Raises ConfigError where one diverged."""
    done = try_all(jobs, out, side_by_side, shown=shown)
    for job, one in zip(jobs, done, strict=True):
        if one.diverged is not None:
            raise ConfigError(
                f"{job.describe()}: {one.diverged}\nThere is no table with this row: leave the model out, or remove "
                f"{one.folder} and run again with other settings"
            )
    return done


def try_all(
    jobs: Sequence[Job],
    out: Path,
    side_by_side: int = 1,
    say: Callable[[str], None] = print,
    later: int = 0,
    shown: str | None = None,
) -> list[Done]:
    """Do every job that is not done yet. Returns the result of each in the order of ``jobs``, or why it diverged.

    Jobs that run side by side share the processor's cores. Each process keeps one data set in memory.
    later: How many runs follow these, for the estimate of the time that is left.
    shown: The metric that a line shows. None: the first.
    """
    todo = list(dict.fromkeys(job for job in jobs if finished(job, out) is None))
    if todo:
        then = f"; then at most {later} with what is chosen" if later else ""
        say(f"{len(jobs) - len(todo)} of {len(jobs)} runs are done already, {len(todo)} to do{then}")
    began, common = time.perf_counter(), set.intersection(*(set(job.overrides) for job in todo)) if todo else set()
    for number, (job, seconds, result) in enumerate(_worked_off(todo, out, side_by_side), start=1):
        left = (time.perf_counter() - began) / number * (len(todo) - number + later)
        outcome = "diverged"
        if result is not None:
            metric = shown or next(iter(result["valid"]))
            valid, test = (result[part][metric] for part in ("valid", "test"))
            outcome = f"{result['model']}: valid {metric} {valid:.4f}, test {test:.4f}"
        rest = f"{seconds:.0f} s, about {in_time(left)} left  ({job.describe(common)})"
        say(f"{number}/{len(todo)}  {outcome}, {rest}")
    done = [finished(job, out) for job in jobs]
    return [d for d in done if d is not None]


def _worked_off(
    jobs: Sequence[Job], out: Path, side_by_side: int
) -> Iterator[tuple[Job, float, dict[str, Any] | None]]:
    if side_by_side <= 1:
        for job in jobs:
            yield job, *do(job, out)
        return
    with workers(side_by_side) as pool:
        waiting = {pool.submit(do, job, out): job for job in jobs}
        for future in as_completed(waiting):
            yield waiting[future], *future.result()


_kept: dict[str, Split] = {}


def do(job: Job, out: Path) -> tuple[float, dict[str, Any] | None]:
    """Run one job, or take it up; seconds and result, None where it diverged."""
    began, parent = time.perf_counter(), job.folder(out)
    config = job.load()
    begun = [folder for folder in sorted(parent.glob("*/")) if (folder / "last.pt").exists()]
    if not begun:
        config = load(
            job.config, find_model, [*job.overrides, f"seed={job.seed}", f"path.output={json.dumps(str(parent))}"]
        )

    def on_trained(model: BaseModel, parts: Split, folder: Path) -> None:
        rows, lists = parts.test.interactions, Metrics.parse(config).lists
        if rows.label is not None:
            user, item = (torch.from_numpy(a.astype(np.int64)) for a in (rows.user, rows.item))
            np.save(folder / "test_scores.npy", scores(model, user, item).cpu().numpy())
        if lists:
            of_users: dict[str, Any] = Ranking(config.run.ranking, lists, parts).of_each_user(model, parts.test)
            np.savez(folder / "test_users.npz", **of_users)
        if job.on_trained:
            job.on_trained(model, parts, folder)

    result = None
    try:
        alone = parent_process() is None  # bars of runs side by side would write over one another
        begun_in = begun[-1] if begun else None
        result = run(config, begun_in, show=False, parts=split_of(config), on_trained=on_trained, bars=alone)
    except DivergedError as error:
        text = json.dumps({"why": str(error), "data": digests_of(config), "commit": commit()}, indent=2)
        write_whole(parent / DIVERGED, lambda path: path.write_text(text, encoding="utf-8"))
    else:
        _forget_states(parent)
    return time.perf_counter() - began, result


def _forget_states(parent: Path) -> None:
    """Of finished runs keep the weights that were tested, not the state to go on from: that is three quarters of the
    room, and a table of large models would fill a disk."""
    for folder in parent.glob("*/"):
        checkpoints = Checkpoints(folder)
        if (folder / "result.json").exists() and checkpoints.best.exists() and RunFolder(folder).tested_best():
            checkpoints.last.unlink(missing_ok=True)


_digests: dict[str, dict[str, str]] = {}


def digests_of(config: LoadedConfig) -> dict[str, str]:
    """Of the data of a run, worked out once in a process."""
    key = _data_key(config)
    if key not in _digests:
        _digests[key] = digests(split_of(config))
    return _digests[key]


def split_of(config: LoadedConfig) -> Split:
    """The data of a run, read once for all runs of a process that follow one another on the same data."""
    key = _data_key(config)
    if key not in _kept:
        _kept.clear()
        _kept[key] = load_split(config.run.data, cache_folder(config), _warn)
    return _kept[key]


def _data_key(config: LoadedConfig) -> str:
    return json.dumps(effective_settings(config)["data"], sort_keys=True)


def best_of(trials: Sequence[Trial], done: Sequence[Done], metrics: Sequence[str]) -> Trial:
    """The trial whose run reached the most in the first metric of the validation part, then in the next, where that is
    the same. Raises ConfigError where all have diverged."""
    if all(one.diverged is not None for one in done):
        raise ConfigError(f"every setting that was tried diverged, the last so: {done[-1].diverged}")
    return trials[max(range(len(trials)), key=lambda i: done[i].reached(*metrics))]


def in_time(seconds: float) -> str:
    """A stretch of time in words."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def short(commit: str) -> str:
    """A commit's first ten digits, with '+' where files differed from it; a version ('hrec 1.0') as it is."""
    return commit if " " in commit else commit[:10] + commit[40:]


def _warn(line: str) -> None:
    """Of what there is to say about the data, what a table's reader must know."""
    if line.startswith("warning:"):
        print(line, flush=True)
