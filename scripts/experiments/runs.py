"""Many runs of one experiment: each done once, taken up where it was killed, several side by side."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _workers import workers

from hrec.config import LoadedConfig, load
from hrec.datasets import load_split
from hrec.datasets.recdata import Split
from hrec.models import find_model
from hrec.models.base import BaseModel
from hrec.pipeline.evaluator import scores
from hrec.pipeline.ranking import Ranking
from hrec.pipeline.ranking_metrics import is_ranking
from hrec.pipeline.run import cache_folder, effective_settings, measured_metrics, run

Look = Callable[[BaseModel, Split, Path], None]


@dataclass(frozen=True)
class Job:
    """One run: a config by name, settings over it, a seed. ``look`` may write more into the run folder."""

    config: str
    overrides: tuple[str, ...] = ()
    seed: int = 0
    look: Look | None = field(default=None, compare=False)

    def load(self) -> LoadedConfig:
        return load(self.config, find_model, [*self.overrides, f"seed={self.seed}"])

    def folder(self, out: Path) -> Path:
        """Parent of the run folder; it goes by the settings as they take effect, so two ways to say one thing meet."""
        settings = effective_settings(self.load())
        told = {key: settings[key] for key in ("data", "model", "opt", "metrics")}
        if any(is_ranking(name) for name in settings["metrics"]):
            told["ranking"] = {k: v for k, v in settings["ranking"].items() if k != "eval_memory_mb"}
        digest = hashlib.blake2b(json.dumps(told, sort_keys=True).encode(), digest_size=5).hexdigest()
        return out / "runs" / f"{self.config}-{digest}-seed{self.seed}"


@dataclass(frozen=True)
class Done:
    """What a job left behind."""

    folder: Path
    result: dict[str, Any]

    def test_scores(self) -> np.ndarray:
        """Score of each row of the test part, float32[n], where it has labels."""
        return np.load(self.folder / "test_scores.npy")

    def test_users(self) -> dict[str, np.ndarray]:
        """Each metric of lists -> float[users] of the test part, NaN for users without a liked row."""
        with np.load(self.folder / "test_users.npz") as file:
            return dict(file)


def finished(job: Job, out: Path) -> Done | None:
    """What the job left behind if it has come to its end."""
    for folder in sorted(job.folder(out).glob("*/")):
        if (folder / "result.json").exists():
            return Done(folder, json.loads((folder / "result.json").read_text(encoding="utf-8")))
    return None


def run_all(jobs: Sequence[Job], out: Path, side_by_side: int = 1, say: Callable[[str], None] = print) -> list[Done]:
    """Do every job that is not done yet; what each left behind, in the order of ``jobs``.

    Jobs that run side by side share the processor's cores; each process keeps one data set in memory.
    """
    todo = list(dict.fromkeys(job for job in jobs if finished(job, out) is None))
    if todo:
        say(f"{len(jobs) - len(todo)} of {len(jobs)} runs are done already, {len(todo)} to do")
    began, common = time.perf_counter(), set.intersection(*(set(job.overrides) for job in todo)) if todo else set()
    for number, (job, seconds, result) in enumerate(_worked_off(todo, out, side_by_side), start=1):
        left = (time.perf_counter() - began) / number * (len(todo) - number)
        told = " ".join([job.config, *(word for word in job.overrides if word not in common), f"seed {job.seed}"])
        metric = next(iter(result["valid"]))
        say(
            f"{number}/{len(todo)}  {result['model']}: valid {metric} {result['valid'][metric]:.4f}, "
            f"test {result['test'][metric]:.4f}, {seconds:.0f} s, about {left / 60:.0f} min left  ({told})"
        )
    done = [finished(job, out) for job in jobs]
    return [d for d in done if d is not None]


def _worked_off(jobs: Sequence[Job], out: Path, side_by_side: int) -> Iterator[tuple[Job, float, dict[str, Any]]]:
    if side_by_side <= 1:
        for job in jobs:
            yield job, *do(job, out)
        return
    with workers(side_by_side) as pool:
        waiting = {pool.submit(do, job, out): job for job in jobs}
        for future in as_completed(waiting):
            yield waiting[future], *future.result()


_kept: dict[str, Split] = {}


def do(job: Job, out: Path) -> tuple[float, dict[str, Any]]:
    """Run one job, or take it up; seconds and result."""
    began, parent = time.perf_counter(), job.folder(out)
    config = job.load()
    begun = [folder for folder in sorted(parent.glob("*/")) if (folder / "last.pt").exists()]
    if not begun:
        config = load(
            job.config, find_model, [*job.overrides, f"seed={job.seed}", f"path.output={json.dumps(str(parent))}"]
        )

    def look(model: BaseModel, parts: Split, folder: Path) -> None:
        rows, lists = parts.test.interactions, [name for name in measured_metrics(config) if is_ranking(name)]
        if rows.label is not None:
            user, item = (torch.from_numpy(a.astype(np.int64)) for a in (rows.user, rows.item))
            np.save(folder / "test_scores.npy", scores(model, user, item).cpu().numpy())
        if lists:
            of_users = Ranking(config.run.ranking, lists, parts).of_each_user(model, parts.test)
            np.savez(folder / "test_users.npz", **of_users)
        if job.look:
            job.look(model, parts, folder)

    result = run(config, begun[-1] if begun else None, show=False, parts=split_of(config), look=look)
    return time.perf_counter() - began, result


def split_of(config: LoadedConfig) -> Split:
    """The data of a run, read once for all runs of a process that follow one another on the same data."""
    key = json.dumps(effective_settings(config)["data"], sort_keys=True)
    if key not in _kept:
        _kept.clear()
        _kept[key] = load_split(config.run.data, cache_folder(config), _warn)
    return _kept[key]


def short(commit: str) -> str:
    """A commit's first ten digits, with '+' where files differed from it."""
    return commit[:10] + commit[40:]


def _warn(line: str) -> None:
    """Of what there is to say about the data, what a table's reader must know."""
    if line.startswith("warning:"):
        print(line, flush=True)
