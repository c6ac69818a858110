"""Two processes (gloo, on the CPU) train every model as one alone does, also where a kind has one row or none."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch.multiprocessing import spawn

from hrec.config import ConfigError
from hrec.datasets.recdata import RecData, Split
from hrec.models import MODELS, find_model
from hrec.pipeline.devices import Processes
from hrec.pipeline.trainer import Trainer
from hrec.settings import OptSettings

HYPER = {"lr": 0.05, "weight_decay": 0.01}
OPT = {"name": "SGD", "hyper_params": HYPER, "epochs": 2, "batch_size": 16, "early_stop": None}
"""Not Adam, which makes steps of one size of gradients that are 0 but for rounding."""
ROWS = {"one row": (40, 24, 1), "no row": (40, 24, 0), "uneven": (37, 21, 5)}
"""Training rows of each kind: a batch has one row, or as many for one process as for the other, or one more."""
SLOWER = {"uneven": 0.02}
"""A smaller rate where DualNet, of few rows, diverges otherwise, alone and shared."""
ALONE = {"noise": 0, "pretrain_noise": 0, "user_noise": 0, "item_noise": 0} | {
    "dropout": 0,
    "dropout_prob": 0,
    "dropout_probs": [0, 0, 0],
    "history": {"dropout": 0},
    "widths": [24, 16],
}
"""No dropout and no noise, which each process would draw on its own; and CDL smaller than as published."""
OF_MODEL = {"DURation": {"alpha": 0, "beta": 0}, "DualNet": {"hide_block": True, "item_history": True}}
"""Nor terms that compare all rows of a batch with each other: a process has half of them. But what a block hides."""
OTHERWISE = {"CB2CF", "DIN", "GRU4Rec", "JRL", "MISSRec", "SASRec", "UAE", "UniEmbedding", "UniSRec", "VQRec", "eJRL"}
"""Models whose loss compares rows of a batch, draws noise for it, or is a mean over steps of sequences of different
length: of those a process has its own share (docs/guide/several-processes.md)."""
EXACT = [name for name in MODELS if name not in OTHERWISE]
PATIENCE = timedelta(seconds=60)  # for one process to wait for the other

Weights = dict[str, Tensor]


def train(name: str, case: str, data: RecData, group: Processes) -> Weights:
    """The weights of a model after two epochs."""
    cls = find_model(name)
    settings: dict[str, Any] = {key: value for key, value in ALONE.items() if key in cls.Config.model_fields}
    torch.manual_seed(0)
    model = cls(cls.Config(**settings | OF_MODEL.get(name, {})), data)
    hyper = HYPER | {"lr": SLOWER.get(case, HYPER["lr"])}
    Trainer(OptSettings(**OPT | {"hyper_params": hyper}), 0, lambda m: {}, processes=group).fit(model, data)
    return model.state_dict()


def outcome(name: str, case: str, data: RecData, group: Processes) -> Weights:
    """``train``, or nothing where the rows are too few for any batch of the model."""
    try:
        return train(name, case, data, group)
    except ConfigError as error:
        assert "has no batch to train on" in str(error)
        return {}


def work(rank: int, folder: Path, cases: dict[str, RecData]) -> None:
    """One of the two processes: train every model on the data of every case, and leave the weights in the folder."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder / 'meet'}", PATIENCE, world_size=2, rank=rank)
    try:
        out = {
            case: {name: outcome(name, case, data, Processes(rank, 2)) for name in EXACT}
            for case, data in cases.items()
        }
        torch.save(out, folder / f"{rank}.pt")
    finally:
        dist.destroy_process_group()


@pytest.fixture(scope="module")
def cases(board: Split) -> dict[str, RecData]:
    """The checkerboard with so many training rows of each kind."""
    x = board.train.interactions
    of_kind = [np.flatnonzero(x.kind == number) for number in range(len(board.train.kinds))]
    return {
        case: board.train.with_interactions(
            x.take(np.concatenate([rows[:n] for rows, n in zip(of_kind, counts, strict=True)]))
        )
        for case, counts in ROWS.items()
    }


@pytest.fixture(scope="module")
def together(
    cases: dict[str, RecData], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, str], list[Weights]]:
    """What both processes end with, by case and model; one start of two processes serves all tests."""
    folder = tmp_path_factory.mktemp("processes")
    spawn(work, (folder, cases), nprocs=2)
    ends = [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in (0, 1)]
    return lambda case, name: [end[case][name] for end in ends]


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("case", ROWS)
def test_two_processes_end_with_the_weights_of_one(
    name: str, case: str, cases: dict[str, RecData], together: Callable[[str, str], list[Weights]]
):
    first, second = together(case, name)
    alone = outcome(name, case, cases[case], Processes())
    if not alone:
        assert first == second == {}
        pytest.skip("the rows are too few for a batch of this model")
    for weight, value in alone.items():
        assert torch.equal(first[weight], second[weight]), weight
        torch.testing.assert_close(first[weight], value, rtol=1e-4, atol=1e-6, msg=lambda m, w=weight: f"{w}: {m}")
