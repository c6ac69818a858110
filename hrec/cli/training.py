"""What train_hete.py and train_homo.py do once their command line is read (hrec/cli/train.py): a run, or a dry run."""

from __future__ import annotations

import argparse
import json
import shlex
from pathlib import Path

from hrec.cli.extend import check_arguments, extended
from hrec.config import ConfigError, LoadedConfig, is_there, load
from hrec.endings import Stopped
from hrec.experiments.command import training_command
from hrec.models import find_model
from hrec.pipeline.dry_run import dry_run
from hrec.pipeline.run import run
from hrec.pipeline.stage_run import Interrupted


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
        raise Stopped(f"stopped and saved; continue with: {shlex.join(training_command())} --resume {stop}") from None


def _load(args: argparse.Namespace) -> LoadedConfig:
    """Settings from a config file, or those saved in the run that is resumed."""
    check_arguments(args)
    if args.extend is not None:
        return extended(args, [*args.overrides, *_flags(args)])
    if args.resume is not None:
        saved = args.resume / "config.json"
        if not is_there(saved):
            raise ConfigError(
                f"{args.resume}: holds no config.json, so it is not a run folder, or one that was stopped before it "
                "started: then delete it and start a new run"
            )
        overrides = [o for o in args.overrides if o.split("=")[0] == "opt.epochs"]
        if len(overrides) < len(args.overrides) or args.seed is not None:
            raise ConfigError("--resume continues with the settings saved in the run; only opt.epochs can be changed")
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
        raise ConfigError(f"{config.run.model['name']} models each kind separately; run it with train_hete.py")
