"""Stages that do not depend on each other are shared by two processes (gloo, on the CPU) with the result of one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch.multiprocessing import spawn

from hrec.datasets.recdata import Split
from hrec.models import find_model
from hrec.models.base import BaseModel
from hrec.pipeline.checkpoints import Checkpoints
from hrec.pipeline.devices import Processes
from hrec.pipeline.evaluator import Evaluator
from hrec.pipeline.records import RunFolder
from hrec.pipeline.trainer import Trainer
from hrec.settings import OptSettings

SMALL = {"embedding_size": 4, "reg_weight": 0.1}
OPT = OptSettings(hyper_params={"lr": 0.02}, batch_size=16, epochs=4, early_stop={"metric": "logloss", "stop_step": 4})
NAMES = {"SMF": SMALL, "CATART": SMALL, "released": SMALL | {"variant": "released"}}
KILLED = {"first": (1, 1), "second of one": (5, 2), "last group": (10, 6)}
"""Evaluations after which each process is killed, of 4 in each stage of book and film (one process), music (other)."""
PATIENCE = timedelta(seconds=60)


class Killed(Exception):
    """Stands for a process that is no more."""


def fit(name: str, board: Split, folder: Path, group: Processes, kill_after: int = 10**9, seed: int = 0) -> BaseModel:
    """Train in this folder, from its last state on if it has one; ``kill_after`` evaluations there is an end."""
    folder.mkdir(exist_ok=True)
    cls = find_model(name if name == "SMF" else "CATART")
    torch.manual_seed(seed)
    model, checkpoints, left = cls(cls.Config(**NAMES[name]), board.train), Checkpoints(folder), [kill_after]
    evaluator = Evaluator(["logloss"], group)

    def measure(model: BaseModel) -> dict[str, float]:
        left[0] -= 1
        if left[0] < 0:
            raise Killed
        return evaluator.measure(model, board.valid)

    state = checkpoints.load_last(torch.device("cpu")) if checkpoints.last.exists() else None
    log = RunFolder(folder, show=False) if group.is_main else None
    Trainer(OPT, 0, measure, checkpoints, log, group).fit(model, board.train, state)
    return model


def work(rank: int, folder: Path, board: Split) -> None:
    """One of the two processes: runs of each model, one of them killed after some evaluations and resumed."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder / 'meet'}", PATIENCE, world_size=2, rank=rank)
    group = Processes(rank, 2)
    try:
        out: dict[str, Any] = {}
        for name in NAMES:
            out[name] = fit(name, board, folder / name, group).state_dict()
        for place, kill_after in KILLED.items():
            there = folder / place
            try:
                fit("CATART", board, there, group, kill_after[rank])
                raise AssertionError("nothing was killed")
            except Killed:
                group.rank, group.world = rank, 2  # as a new process has it
                dist.barrier()
            out[place] = fit("CATART", board, there, group, seed=9).state_dict()
        out["over"] = fit("CATART", board, folder / "CATART", group, seed=9).state_dict()
        out["begun alone"] = fit("CATART", board, folder / "begun alone", group, seed=9).state_dict()
        torch.save(out, folder / f"{rank}.pt")
    finally:
        dist.destroy_process_group()


@pytest.fixture(scope="module")
def folder(board: Split, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where both processes have left what they ended with; one run there was begun by one process and killed."""
    folder = tmp_path_factory.mktemp("spread")
    with pytest.raises(Killed):
        fit("CATART", board, folder / "begun alone", Processes(), kill_after=6)
    spawn(work, (folder, board), nprocs=2)
    return folder


@pytest.fixture(scope="module")
def alone(board: Split, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a run of one process."""
    parent, done = tmp_path_factory.mktemp("alone"), set()

    def run(name: str) -> Path:
        if name not in done:
            torch.save(fit(name, board, parent / name, Processes()).state_dict(), parent / f"{name}.pt")
            done.add(name)
        return parent / name

    return run


def weights(folder: Path, name: str) -> list[dict[str, Tensor]]:
    return [torch.load(folder / f"{rank}.pt", weights_only=True)[name] for rank in (0, 1)]


ENDS = {name: name for name in NAMES} | dict.fromkeys((*KILLED, "over", "begun alone"), "CATART")


@pytest.mark.parametrize("end", ENDS)
def test_two_processes_end_with_the_bits_of_one(end: str, folder: Path, alone: Callable[[str], Path]):
    run = alone(ENDS[end])
    expected = torch.load(run.with_suffix(".pt"), weights_only=True)
    for found in weights(folder, end):
        assert found.keys() == expected.keys()
        assert [name for name, value in expected.items() if not torch.equal(found[name], value)] == []


@pytest.mark.parametrize("name", NAMES)
def test_the_log_and_the_best_weights_are_those_of_one_process(
    name: str, board: Split, folder: Path, alone: Callable[[str], Path]
):
    without = ("seconds",)
    logs = [
        [{k: v for k, v in row.items() if k not in without and "/" not in k and k != "logloss"} for row in log.rows()]
        for log in (RunFolder(folder / name, show=False), RunFolder(alone(name), show=False))
    ]
    assert logs[0] == logs[1] and len(logs[0]) > 3
    cls, found = find_model(name if name == "SMF" else "CATART"), []
    for at in (folder / name, alone(name)):
        model = cls(cls.Config(**NAMES[name]), board.train)
        Checkpoints(at).load_best(model)
        found.append(model.state_dict())
    assert all(torch.equal(found[0][key], value) for key, value in found[1].items())


def test_each_process_trains_some_of_the_stages(folder: Path):
    stages = [
        list(dict.fromkeys(row["stage"] for row in RunFolder(folder / "SMF" / f"process-{rank}-of-2").rows()))
        for rank in (0, 1)
    ]
    assert stages == [["mf/book", "mf/film"], ["mf/music"]]


def test_a_process_is_alone_for_as_long_as_it_says():
    group = Processes(1, 3)
    with pytest.raises(ZeroDivisionError), group.alone():
        assert (group.rank, group.world) == (0, 1)
        raise ZeroDivisionError
    assert (group.rank, group.world) == (1, 3)
