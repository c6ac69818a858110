"""A dry run: what a run would do, without training and without files."""

from __future__ import annotations

import json
import os
import time
from itertools import islice

import torch
from torch import Tensor

from hrec.config import ConfigError, LoadedConfig
from hrec.datasets.batches import Draw
from hrec.models.base import BaseModel, Stage
from hrec.pipeline.building import effective_settings
from hrec.pipeline.checks import check_settings
from hrec.pipeline.context import Position, TrainContext
from hrec.pipeline.devices import Processes, reuse_memory
from hrec.pipeline.prepare import prepare
from hrec.pipeline.records import shown
from hrec.pipeline.stage_run import StageRun, no_batch

STEPS = 4
"""Steps of each stage that are timed."""


def dry_run(config: LoadedConfig) -> None:
    """Print the effective settings, counts, the size of the model, and the time of a step of each stage.

    Under torchrun only the first process does so.
    """
    if os.environ.get("RANK", "0") != "0":
        return
    device, metrics = check_settings(config)
    print(json.dumps(effective_settings(config), indent=2))
    reuse_memory()
    parts, model = prepare(config, metrics, device, Processes(), print)
    context = TrainContext(config.run.opt, config.run.seed, lambda model: {})
    for stage in model.stages(parts.train):
        if stage.solve is not None:
            _time_sweep(stage)
        if stage.loss is not None and stage.sampler is not None:
            _time_steps(context, model, stage)


def _time_sweep(stage: Stage) -> None:
    """Print the time of one sweep of a stage that is solved, and its loss."""
    assert stage.solve is not None
    began = time.perf_counter()
    try:
        loss = stage.solve()
    except (FloatingPointError, torch.linalg.LinAlgError) as error:
        raise ConfigError(f"stage '{stage.name}': {error}") from None
    print(f"stage '{stage.name}': {(time.perf_counter() - began) * 1e3:.1f} ms a sweep, loss {loss:.4f}")


def _time_steps(context: TrainContext, model: BaseModel, stage: Stage) -> None:
    """Print the time of the fastest of a few steps, as a run takes them, and the loss of the last."""
    assert stage.sampler is not None
    run = StageRun(context, model, stage, Position())
    draw = Draw(run.settings.batch_size, torch.Generator().manual_seed(0), model.device)
    stage.each_epoch()
    model.train()
    timed = [(*_timed_step(run, batch), batch) for batch in islice(stage.sampler.epoch(draw), STEPS)]
    if not timed:
        raise ConfigError(no_batch(stage))
    _, terms, batch = timed[-1]
    losses = ", ".join(f"{name} {shown(value.item())}" for name, value in terms.items())
    size = f"{run.settings.batch_size} rows" + (" of each kind" if isinstance(batch, dict) else "")
    fastest = min(seconds for seconds, *_ in timed)
    print(f"stage '{stage.name}': {fastest * 1e3:.1f} ms a step of {size}, loss: {losses}")


def _timed_step(run: StageRun, batch: object) -> tuple[float, dict[str, Tensor]]:
    """Seconds of one step, and the terms of its loss."""
    began = time.perf_counter()
    terms = run.step(batch)
    if run.model.device.type == "cuda":
        torch.cuda.synchronize(run.model.device)
    return time.perf_counter() - began, terms
