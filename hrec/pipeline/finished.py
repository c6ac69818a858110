"""A finished run read back: its settings, its data and its model with the weights that it was tested with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from hrec.config import ConfigError, LoadedConfig, did_you_mean, load
from hrec.datasets import load_whole, parts_of
from hrec.datasets.recdata import RecData, Split
from hrec.models import find_model
from hrec.models.base import BaseModel
from hrec.pipeline.building import build_model, cache_folder, effective_settings
from hrec.pipeline.checkpoints import Checkpoints, load_into
from hrec.pipeline.fingerprint import digests, refuse_other_data, refuse_other_settings
from hrec.pipeline.records import RunFolder
from hrec.pipeline.state import check_state


@dataclass(frozen=True, eq=False)
class Finished:
    """The model of a finished run, in evaluation mode; whole: its data before the split; parts: the splits."""

    config: LoadedConfig
    whole: RecData
    parts: Split
    model: BaseModel


def load_finished(folder: Path, device: torch.device, log: Callable[[str], None] = lambda line: None) -> Finished:
    """The run in ``folder``, its model on ``device``, with its data read again.

    Only tensors and numbers are unpickled. Raises ConfigError for a folder that is not a finished run, CheckpointError
    for changed weights or data, DataError for data that cannot be read.
    """
    require_finished(folder)
    config = load(str(folder / "config.json"), find_model)
    whole = load_whole(config.run.data, cache_folder(config), log)
    parts = parts_of(whole, config.run.data, log)
    refuse_other_data(RunFolder(folder), digests(parts))
    refuse_other_settings(RunFolder(folder), effective_settings(config))
    model = build_model(config, parts.train, device)
    _load_tested(model, folder)
    return Finished(config, whole, parts, model.eval())


def _load_tested(model: BaseModel, folder: Path) -> None:
    """The weights that the run was tested with: the best of its last stage, without early stopping the last."""
    checkpoints = Checkpoints(folder)
    if RunFolder(folder).tested_best():
        checkpoints.load_best(model)
    else:
        state = checkpoints.load_last(model.device)
        check_state(state, checkpoints.last)
        load_into(model, state["model"], checkpoints.last)


def require_finished(folder: Path) -> None:
    """Raises ConfigError, with a remedy, where ``folder`` is no run folder or the run has not come to its end."""
    try:
        _require_finished(folder)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be read ({error.strerror})") from None


def _require_finished(folder: Path) -> None:
    if not folder.is_dir():
        names = [path.name for path in folder.parent.iterdir() if path.is_dir()] if folder.parent.is_dir() else []
        raise ConfigError(f"{folder}: no such run folder.{did_you_mean(folder.name, names)}")
    if not (folder / "config.json").is_file():
        raise ConfigError(f"{folder}: not a run folder, it holds no config.json")
    if not (folder / "result.json").is_file():
        script = "train_hete.py (or train_homo.py, as it was started)"
        raise ConfigError(f"{folder}: the run is not finished, it has no result.json; continue with {script} --resume")
