"""The whole experiment, read top to bottom: data, split, model, training, test, result."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from hrec.config import LoadedConfig
from hrec.datasets import best_possible_auc
from hrec.datasets.recdata import Split
from hrec.models.base import BaseModel
from hrec.pipeline.building import effective_settings
from hrec.pipeline.checkpoints import Checkpoints
from hrec.pipeline.checks import check_settings
from hrec.pipeline.devices import Processes, processes, reuse_memory
from hrec.pipeline.evaluator import Evaluator
from hrec.pipeline.memory import memory_errors
from hrec.pipeline.open_run import locked, open_run, shared_path
from hrec.pipeline.prepare import prepare
from hrec.pipeline.records import Heading, Progress, RunFolder, peak_memory_mb, provenance
from hrec.pipeline.reports import report
from hrec.pipeline.resume import start_log, state_of
from hrec.pipeline.trainer import Trainer

OnTrained = Callable[[BaseModel, Split, Path], None]
"""A function of a trained model, its data and its run folder."""


def run(
    config: LoadedConfig,
    resume: Path | None = None,
    show: bool = True,
    parts: Split | None = None,
    on_trained: OnTrained = lambda model, parts, folder: None,
    bars: bool | None = None,
) -> dict[str, Any]:
    """Train and test one model in a new run folder, or continue the one in ``resume``; returns result.json.

    show: print the log. bars: draw progress bars on a terminal; None: if ``show``. parts: the data, if it has been read
    already (``load_split``). on_trained: called on the main process before result.json is written.

    Raises ConfigError, DataError, CheckpointError or DivergedError with a message for people, and Interrupted after
    Ctrl-C once the state is saved. A mistake in data or model leaves no folder: it is made after both.
    """
    device, metrics = check_settings(config)
    reuse_memory()
    with processes(device) as group, locked(resume, group):
        heading = Heading(show and group.is_main)
        fresh = resume is None or not Checkpoints(resume).last.exists()
        parts, model = prepare(config, metrics, device, group, heading, parts, fresh)
        evaluator = Evaluator(metrics.names, group, (config.run.ranking, parts))
        with (
            open_run(config, metrics, resume, group, heading, show if bars is None else bars) as folder,
            memory_errors(config),
        ):
            seconds = _train(config, evaluator, folder, resume is not None, group, parts, model)
            result = _measure(config, evaluator, parts, model) | _circumstances(folder, group, seconds, device)
            if folder:
                on_trained(model, parts, folder.path)
                report(folder, config, metrics, parts, result)
    return result


def _train(
    config: LoadedConfig,
    evaluator: Evaluator,
    folder: RunFolder | None,
    resumed: bool,
    group: Processes,
    parts: Split,
    model: BaseModel,
) -> float:
    """Train the model, from the saved state on if there is one; the seconds of training."""
    # every process reads the checkpoints, only the main one writes them
    checkpoints = Checkpoints(shared_path(folder, group))
    state = state_of(checkpoints, model.device) if resumed else None
    if folder:
        start_log(folder, config, effective_settings(config), parts, state)
    settings, progress = config.run, folder or Progress()
    trainer = Trainer(
        settings.opt, settings.seed, lambda m: evaluator.measure(m, parts.valid), checkpoints, progress, group
    )
    return trainer.fit(model, parts.train, state).seconds


def _measure(config: LoadedConfig, evaluator: Evaluator, parts: Split, model: BaseModel) -> dict[str, Any]:
    """What was trained, and its metrics on validation and test."""
    measured = {"valid": evaluator.measure(model, parts.valid), "test": evaluator.measure(model, parts.test)}
    described = {"model": config.run.model["name"], "data": parts.train.name, "seed": config.run.seed}
    ranking = config.run.ranking.model_dump(mode="json")
    return described | measured | {"best_possible": best_possible_auc(parts.test), "ranking": ranking}


def _circumstances(folder: RunFolder | None, group: Processes, seconds: float, device: torch.device) -> dict[str, Any]:
    """How the result was reached: the best epoch, time, memory, device and versions."""
    return {
        "best_epoch": folder.best_epoch() if folder else None,
        "seconds": round(seconds, 2),
        **peak_memory_mb(device),
        "device": str(device) if device.type == "cpu" else torch.cuda.get_device_name(device),
        "processes": group.world,
        **provenance(),
    }
