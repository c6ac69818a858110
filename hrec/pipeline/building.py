"""From settings and the training split to a model, and the settings as a run uses them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from hrec.config import ConfigError, LoadedConfig
from hrec.datasets.recdata import TrainData
from hrec.memory import TooLargeError
from hrec.models.base import BaseModel
from hrec.pipeline.memory import check_training, watched_building
from hrec.settings import PLANTED_KEYS


def build_model(config: LoadedConfig, train: TrainData, device: torch.device) -> BaseModel:
    """The model, built from the training split alone; the seed decides its first weights."""
    torch.manual_seed(config.run.seed)
    try:
        with watched_building(config):
            model = config.model_class(config.model, train)
    except TooLargeError:
        raise
    except ValueError as error:
        raise ConfigError(str(error)) from None
    check_training(config, model, device)
    return model.to(device)


def effective_settings(config: LoadedConfig) -> dict[str, Any]:
    """Every setting as it is used, defaults included; itself a config."""
    settings = config.run.model_dump(mode="json", by_alias=True, exclude={"data"})
    data = config.run.data
    # planted data refuses keys of files, even at their defaults
    kept = None if data.planted is None else set(PLANTED_KEYS)
    own = {"name": config.run.model["name"]} | config.model.model_dump(mode="json", by_alias=True)
    if config.init_from:
        own["init_from"] = [source.model_dump(mode="json") for source in config.init_from]
    return settings | {"data": data.model_dump(mode="json", by_alias=True, include=kept), "model": own}


def cache_folder(config: LoadedConfig) -> Path | None:
    """The folder of parsed data, None for no cache."""
    return None if config.run.path.cache is None else Path(config.run.path.cache)
