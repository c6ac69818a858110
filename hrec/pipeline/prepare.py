"""From settings to data and a model: what is ready before a run folder is made."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from hrec.config import LoadedConfig
from hrec.datasets import load_split
from hrec.datasets.recdata import Split
from hrec.models.base import BaseModel
from hrec.pipeline.building import build_model, cache_folder
from hrec.pipeline.checks import check_data, kinds_of_one_class, metrics_without_value
from hrec.pipeline.devices import Processes
from hrec.pipeline.init_from import start_from
from hrec.pipeline.measured import Metrics
from hrec.pipeline.memory import check_lists, check_pool
from hrec.pipeline.ranking import describe_candidates
from hrec.pipeline.reports import counts_table, size_of
from hrec.threads import how_threads_wait

Log = Callable[[str], None]


def prepare(
    config: LoadedConfig,
    metrics: Metrics,
    device: torch.device,
    group: Processes,
    log: Log,
    parts: Split | None = None,
    fresh: bool = True,
) -> tuple[Split, BaseModel]:
    """The splits of the data and the model; ``log`` gets what a user should know about them.

    parts: the data, if it has been read already. fresh: the model starts from the weights that ``model.init_from``
    names; else a checkpoint is loaded next. Raises ConfigError or DataError.
    """
    settings = config.run
    _log_start(config, device, group, log)
    began = time.perf_counter()
    parts = parts or load_split(settings.data, cache_folder(config), log)
    log(f"data '{parts.train.name}' ready in {time.perf_counter() - began:.1f} s\n{counts_table(parts)}")
    check_lists(config, metrics.lists, parts, device)
    check_data(config, metrics, parts)
    _log_metrics(config, metrics, parts, log)
    model = build_model(config, parts.train, device)
    check_pool(config, len(parts.train.interactions))
    for line in [*model.remarks, size_of(model)]:
        log(f"{settings.model['name']}: {line}")
    if fresh:
        start_from(config.init_from, model, parts.train, log)
    return parts, model


def _log_start(config: LoadedConfig, device: torch.device, group: Processes, log: Log) -> None:
    """Warnings of the settings, the device, the seed and the threads."""
    for line in config.warnings:
        log(f"warning: {line}")
    log(f"device {device}, seed {config.run.seed}" + (f", {group.world} processes" if group.world > 1 else ""))
    if waiting := how_threads_wait():
        log(f"{torch.get_num_threads()} threads, {waiting}")


def _log_metrics(config: LoadedConfig, metrics: Metrics, parts: Split, log: Log) -> None:
    """Metrics without a value, and lists of sampled candidates."""
    if metrics.rows:
        for line in kinds_of_one_class(parts):
            log(f"warning: {line}")
        for line in metrics_without_value(metrics, parts):
            log(line)
    if metrics.lists and config.run.ranking.sampled is not None:
        log(f"lists are ranked {describe_candidates(config.run.ranking)}")
