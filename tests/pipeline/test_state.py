"""A last.pt whose parts are of other types is refused in one message: every leaf of a state is replaced once."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from hrec.models.general.bprmf import BPRMF
from hrec.pipeline.checkpoints import CheckpointError, Checkpoints
from hrec.pipeline.stage_run import DivergedError
from hrec.pipeline.trainer import Trainer
from hrec.settings import OptSettings

CPU = torch.device("cpu")
SCHEDULERS = [
    {"name": "StepLR", "hyper_params": {"step_size": 2}},
    {"name": "ReduceLROnPlateau", "hyper_params": {"patience": 1}},
]


def trainer(folder: Path, epochs: int, scheduler: dict[str, Any]) -> Trainer:
    stop = {"metric": "auc", "stop_step": 5}
    settings = {"epochs": epochs, "batch_size": 4096, "early_stop": stop, "scheduler": scheduler}
    return Trainer(OptSettings.model_validate(settings), 0, lambda m: {"auc": 0.5}, Checkpoints(folder))


@pytest.fixture(scope="module", params=SCHEDULERS, ids=["step", "plateau"])
def begun(request, board, tmp_path_factory) -> tuple[Path, dict[str, Any], dict[str, Any]]:
    folder = tmp_path_factory.mktemp("begun")
    trainer(folder, 1, request.param).fit(BPRMF(BPRMF.Config(embedding_size=2), board.train), board.train)
    return folder, Checkpoints(folder).load_last(CPU), request.param


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every part of nested dicts and lists."""
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        yield (*path, key)
        yield from places(part, (*path, key))


def with_part(state: dict[str, Any], path: tuple[Any, ...], part: Any) -> dict[str, Any]:
    changed = copy.deepcopy(state)
    inner: Any = changed
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = part
    return changed


WRONG = ["text", None, {}, -3, torch.zeros(3, 3)]


def test_every_part_that_is_of_another_type_is_refused_or_changes_nothing_that_is_needed(begun, board):
    folder, state, scheduler = begun
    refused = set()
    for path in places(state):
        for wrong in WRONG:
            changed = with_part(state, path, wrong)
            try:
                model = BPRMF(BPRMF.Config(embedding_size=2), board.train)
                trainer(folder, 2, scheduler).fit(model, board.train, changed)
            except CheckpointError as error:
                assert str(error).startswith(f"{folder / 'last.pt'}: ") and "\n" not in str(error)
                refused.add(path)
            except DivergedError:
                continue  # a number of the right type that training cannot go on with
    parts = ("model", "position", "optimizers", "schedulers", "stopping", "rng")
    assert {(part,) for part in parts} <= refused
    assert {("position", name) for name in ("stage", "epoch", "step", "seconds", "sums")} <= refused
    assert {("stopping", "best"), ("stopping", "waited")} <= refused
    assert {("model", name) for name in state["model"]} <= refused
    assert ("optimizers", 0, "param_groups", 0, "lr") in refused


def test_a_stage_that_the_model_lacks_is_refused(begun, board, tmp_path):
    _, state, scheduler = begun
    changed = with_part(state, ("position", "stage"), 7)
    with pytest.raises(CheckpointError, match="the model has 1 stages, and the state is of stage 8"):
        model = BPRMF(BPRMF.Config(embedding_size=2), board.train)
        trainer(tmp_path, 2, scheduler).fit(model, board.train, changed)


def test_the_state_itself_goes_on(begun, board, tmp_path):
    _, state, scheduler = begun
    Checkpoints(tmp_path).save_best(BPRMF(BPRMF.Config(embedding_size=2), board.train), {})
    model = BPRMF(BPRMF.Config(embedding_size=2), board.train)
    assert trainer(tmp_path, 2, scheduler).fit(model, board.train, state).epoch == 2
