"""What train_hete.py and train_homo.py do once their command line is read (hrec/cli/train.py): a run, or a dry run."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import time
from pathlib import Path

import torch

from hrec.config import ConfigError, LoadedConfig, is_there, load
from hrec.datasets.batches import Draw
from hrec.endings import Stopped
from hrec.experiments.command import training_command
from hrec.models import find_model
from hrec.models.base import BaseModel, Stage
from hrec.pipeline.building import effective_settings
from hrec.pipeline.checks import check_settings
from hrec.pipeline.devices import Processes, reuse_memory
from hrec.pipeline.records import shown
from hrec.pipeline.run import prepare, run
from hrec.pipeline.stage_run import Interrupted, Position, StageRun, no_batch
from hrec.pipeline.trainer import Trainer


def run_or_show(args: argparse.Namespace, homogeneous: bool) -> None:
    """Do what the arguments say. Raises ConfigError, DataError, CheckpointError, DivergedError, or Stopped."""
    if args.config and "=" in args.config and not is_there(Path(args.config)):
        args.config, args.overrides = None, [args.config, *args.overrides]
    config = _load(args)
    _check_script(config, homogeneous)
    if args.dry_run:
        dry_run(config)
        return
    try:
        run(config, args.resume)
    except Interrupted as stop:
        raise Stopped(f"stopped and saved; go on with: {shlex.join(training_command())} --resume {stop}") from None


def _load(args: argparse.Namespace) -> LoadedConfig:
    """Settings from a config file, or those saved in the run that is resumed."""
    if args.resume is not None:
        saved = args.resume / "config.json"
        if not is_there(saved):
            raise ConfigError(
                f"{args.resume}: holds no config.json, so it is not a run folder, or one that was stopped before it "
                "began: then delete it and start the run again"
            )
        overrides = [o for o in args.overrides if o.split("=")[0] == "opt.epochs"]
        if len(overrides) < len(args.overrides) or args.seed is not None:
            raise ConfigError("--resume goes on with the settings saved in the run; only opt.epochs can be changed")
        config = load(str(saved), find_model, [*overrides, *_flags(args)])
        if args.config is not None:
            named = load(args.config, find_model).run.model["name"]
            if named != config.run.model["name"]:
                raise ConfigError(f"{args.resume}: is a run of {config.run.model['name']}, not of {named}")
        return config
    if args.config is None:
        raise ConfigError("name a config, for example: duration")
    return load(args.config, find_model, [*args.overrides, *_flags(args)])


def _flags(args: argparse.Namespace) -> list[str]:
    flags = {"device": args.device, "seed": args.seed}
    return [f"{key}={json.dumps(value)}" for key, value in flags.items() if value is not None]


def _check_script(config: LoadedConfig, homogeneous: bool) -> None:
    """A model of several kinds belongs to train_hete.py."""
    if homogeneous and config.model_class.reads.per_kind:
        raise ConfigError(f"{config.run.model['name']} keeps the kinds apart; run it with train_hete.py")


def dry_run(config: LoadedConfig) -> None:
    """Print what a run would do: effective settings, counts, the model's size, the time of a step of each stage.

    Under torchrun the first process alone does so.
    """
    if os.environ.get("RANK", "0") != "0":
        return
    device = check_settings(config)
    print(json.dumps(effective_settings(config), indent=2))
    reuse_memory()
    parts, model = prepare(config, device, Processes(), print)
    for stage in model.stages(parts.train):
        _time_stage(config, model, stage)


def _time_stage(config: LoadedConfig, model: BaseModel, stage: Stage) -> None:
    """Print the time of a sweep, or of the fastest of a few steps as the Trainer takes them, and the loss."""
    settings = config.run.opt.for_stage(stage.group)
    if stage.solve is not None:
        began = time.perf_counter()
        try:
            loss = stage.solve()
        except (FloatingPointError, torch.linalg.LinAlgError) as error:
            raise ConfigError(f"stage '{stage.name}': {error}") from None
        print(f"stage '{stage.name}': {(time.perf_counter() - began) * 1e3:.1f} ms a sweep, loss {loss:.4f}")
    if stage.loss is None or stage.sampler is None:
        return
    running = StageRun(Trainer(config.run.opt, config.run.seed, lambda m: {}), model, stage, settings, Position())
    draw = Draw(settings.batch_size, torch.Generator().manual_seed(0), model.device)
    stage.each_epoch()
    model.train()
    seconds = []
    for _, batch in zip(range(4), stage.sampler.epoch(draw), strict=False):
        began = time.perf_counter()
        terms = running.step(batch)
        if model.device.type == "cuda":
            torch.cuda.synchronize(model.device)
        seconds.append(time.perf_counter() - began)
    if not seconds:
        raise ConfigError(no_batch(stage))
    losses = ", ".join(f"{name} {shown(value.item())}" for name, value in terms.items())
    size = f"{settings.batch_size} rows" + (" of each kind" if isinstance(batch, dict) else "")
    print(f"stage '{stage.name}': {min(seconds) * 1e3:.1f} ms a step of {size}, loss: {losses}")
