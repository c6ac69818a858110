"""``--extend RUN --view NAME``: settings of a run that adds views to a finished one, whose views keep their weights."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

import torch

from hrec.config import ConfigError, LoadedConfig, load
from hrec.models import find_model
from hrec.pipeline.finished import load_finished, require_finished
from hrec.pipeline.kept_views import kept_from


def check_arguments(args: argparse.Namespace) -> None:
    """Raises ConfigError where --extend and --view do not go together, or --extend goes with --resume."""
    if bool(args.view) != (args.extend is not None):
        raise ConfigError("--extend RUN and --view NAME go together: a finished run, and the view to add to it")
    if args.extend is not None and args.resume is not None:
        raise ConfigError("--extend starts a new run and --resume continues one; leave one of them out")


def extended(args: argparse.Namespace, overrides: Sequence[str]) -> LoadedConfig:
    """The settings of the run in ``args.extend`` with the views ``args.view``, and these overrides.

    Raises ConfigError for a run that is not finished, a model without separable views, and a view that the run has.
    Overrides may add columns to the data but change nothing else of it; else ConfigError.
    """
    require_finished(args.extend)
    saved = str(args.extend / "config.json")
    old = load(saved, find_model)
    _check_model(args, old)
    views = _views_of(args, old)
    if again := [view for view in args.view if view in views]:
        raise ConfigError(f"--view {again[0]}: {args.extend} has this view; its views are {', '.join(views)}")
    added = [f"model.views.{view}={{}}" for view in args.view]
    added = [f"model.views={json.dumps(views)}", *added]
    config = load(saved, find_model, [*added, *overrides, *kept_from(args.extend, list(views))])
    _check_data(args, old, config)
    return config


def _check_model(args: argparse.Namespace, old: LoadedConfig) -> None:
    name = old.run.model["name"]
    if "frozen" not in type(old.model).model_fields:
        raise ConfigError(
            f"--extend {args.extend}: is a run of {name}, whose parts depend on each other; eJRL's do not"
        )
    if args.config is not None and load(args.config, find_model).run.model["name"] != name:
        raise ConfigError(f"--extend {args.extend}: is a run of {name}, not of the model in '{args.config}'")


def _views_of(args: argparse.Namespace, old: LoadedConfig) -> dict[str, Any]:
    """The views of the run by name, with their settings; the data says which where the settings leave it to them."""
    views = getattr(old.model, "views", None)
    if views is None:
        model = load_finished(args.extend, torch.device("cpu")).model
        views = {name: model.view(name).settings for name in model.names}  # type: ignore[operator, union-attr]
    return {name: settings.model_dump(mode="json") for name, settings in views.items()}


def _check_data(args: argparse.Namespace, old: LoadedConfig, new: LoadedConfig) -> None:
    """Another split would let test rows of the new run into its old views."""
    before, now = old.run.data, new.run.data
    for key in type(before).model_fields:
        if key != "feat" and getattr(before, key) != getattr(now, key):
            raise ConfigError(
                f"data.{key}: is another in {args.extend}; --extend keeps the data, and data.feat may grow"
            )
    if lost := [name for name, column in before.feat.items() if now.feat.get(name) != column]:
        raise ConfigError(f"data.feat.{lost[0]}: is another in {args.extend}, whose views may read it; put it back")
