"""The command line of train_hete.py and train_homo.py."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from hrec.config import ConfigError, LoadedConfig, load, path_argument
from hrec.datasets.batches import Draw
from hrec.datasets.problems import DataError
from hrec.models import find_model
from hrec.models.base import BaseModel, Stage
from hrec.pipeline.checkpoints import CheckpointError
from hrec.pipeline.checks import check_settings
from hrec.pipeline.devices import Processes, reuse_memory
from hrec.pipeline.records import print_nowhere, shown
from hrec.pipeline.run import effective_settings, prepare, run
from hrec.pipeline.stage_run import DivergedError, Interrupted, Position, StageRun, no_batch
from hrec.pipeline.trainer import Trainer


def parser(description: str) -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(description=description, allow_abbrev=False)
    p.add_argument("config", nargs="?", help="a name in configs/ (duration) or the path of a JSON file")
    p.add_argument("overrides", nargs="*", metavar="key.path=value", help="settings to change: opt.epochs=5")
    p.add_argument("--device", help="auto (the freest GPU, else the CPU), cpu, cuda or cuda:<n>")
    p.add_argument("--seed", type=int, help="the seed of this run")
    p.add_argument(
        "--resume", type=path_argument, metavar="RUN", help="go on with a run folder, with the settings saved in it"
    )
    p.add_argument("--dry-run", action="store_true", help="print settings, data, model size, time of a step")
    return p


def main(description: str, homogeneous: bool, argv: Sequence[str] | None = None) -> int:
    """Run one command line; returns the exit status. Problems are told in sentences, not tracebacks."""
    args = parser(description).parse_intermixed_args(argv)
    if args.config and "=" in args.config and not Path(args.config).is_file():
        args.config, args.overrides = None, [args.config, *args.overrides]
    try:
        config = _load(args)
        _check_script(config, homogeneous)
        if args.dry_run:
            dry_run(config)
        else:
            run(config, args.resume)
    except (ConfigError, DataError, CheckpointError, DivergedError) as error:
        _tell(str(error), everywhere=not isinstance(error, ConfigError))
        return 2
    except Interrupted as stop:
        _tell(f"stopped and saved; go on with: python {sys.argv[0]} --resume {stop}")
        return 130
    except KeyboardInterrupt:
        _tell("stopped")
        return 130
    except BrokenPipeError:
        print_nowhere()
        _tell("stopped, as nobody reads what it prints any more; a run that had begun goes on with --resume")
        return 1
    return 0


def _tell(line: str, everywhere: bool = False) -> None:
    """To stderr; under torchrun once, or what may be wrong on one process alone with the process's number."""
    rank = int(os.environ.get("RANK", "0")) if int(os.environ.get("WORLD_SIZE", "1")) > 1 else 0
    if everywhere or not rank:
        print(f"process {rank}: {line}" if rank else line, file=sys.stderr)


def _load(args: argparse.Namespace) -> LoadedConfig:
    """Settings from a config file, or those saved in the run that is resumed."""
    if args.resume is not None:
        saved = args.resume / "config.json"
        if not saved.is_file():
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
    if homogeneous and config.model_class.keeps_kinds_apart:
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
    if stage.loss is None or stage.sample is None:
        return
    running = StageRun(Trainer(config.run.opt, config.run.seed, lambda m: {}), model, stage, settings, Position())
    draw = Draw(settings.batch_size, torch.Generator().manual_seed(0), model.device)
    stage.each_epoch()
    model.train()
    seconds = []
    for _, batch in zip(range(4), stage.sample(stage.data, draw), strict=False):
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
