"""One trial: a model trained with the settings drawn, and its value on the validation part. The test part is not read.

What is trained is what ``train_hete.py`` would train with the same settings; no run folder is written.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from optuna import Trial, TrialPruned

from hrec.config import ConfigError, LoadedConfig, did_you_mean, load
from hrec.experiments.runs import split_of
from hrec.models import find_model
from hrec.pipeline.checkpoints import Checkpoints
from hrec.pipeline.checks import check_settings, groups_of
from hrec.pipeline.devices import Processes
from hrec.pipeline.evaluator import Evaluator
from hrec.pipeline.memory import memory_errors
from hrec.pipeline.metrics import direction
from hrec.pipeline.prepare import prepare
from hrec.pipeline.records import Progress
from hrec.pipeline.trainer import Trainer
from hrec.tuning.space import Space, overrides_of, values_of


@dataclass(frozen=True)
class Search:
    """What is searched: a config, settings that stay as they are, those that vary, and what they are chosen by."""

    config: str
    fixed: tuple[str, ...]
    space: Space
    metric: str

    def drawn(self, params: Mapping[str, Any]) -> list[str]:
        """The settings that a trial's parameters stand for, as overrides."""
        return overrides_of(values_of(self.space, params))

    def load(self, params: Mapping[str, Any]) -> LoadedConfig:
        return load(self.config, find_model, [*self.fixed, *self.drawn(params)])

    def value(self, trial: Trial) -> float:
        """Train. Raises TrialPruned, DivergedError, and what else a run raises."""
        return train(self.load(trial.params), self.metric, Pruning(trial, self.metric))


class BestAlone(Checkpoints):
    """Keeps the best weights of a stage; a killed trial starts again, so there is no state to keep."""

    def save_last(self, state: dict[str, Any]) -> None:
        pass


class Pruning(Progress):
    """Reports the metric to Optuna after each epoch. Raises TrialPruned where the study's pruner says so."""

    def __init__(self, trial: Trial, metric: str) -> None:
        self.trial, self.metric = trial, metric

    def epoch(self, row: Mapping[str, Any]) -> None:
        # stages before 'train' train a part of a model: their values are not those of the whole
        if row["stage"] != "train" or self.metric not in row:
            return
        self.trial.report(row[self.metric], row["epoch"])
        if self.trial.should_prune():
            raise TrialPruned


def train(config: LoadedConfig, metric: str, progress: Progress) -> float:
    """``metric`` on the validation part, of the weights that a run with these settings would keep."""
    device, metrics = check_settings(config)
    parts, model = prepare(config, metrics, device, Processes(), lambda line: None, split_of(config))
    evaluator = Evaluator([*metrics.names, metric.partition("/")[0]], ranking=(config.run.ranking, parts))
    with TemporaryDirectory() as folder:
        trainer = Trainer(
            config.run.opt,
            config.run.seed,
            lambda m: evaluator.measure(m, parts.valid),
            BestAlone(Path(folder)),
            progress,
        )
        with memory_errors(config):
            trainer.fit(model, parts.train)
    value = evaluator.measure(model, parts.valid)[metric]
    if math.isnan(value):
        raise ConfigError(f"--metric: '{metric}' is not defined on the validation part; take another")
    return value


def metric_of(config: LoadedConfig, asked: str | None) -> str:
    """The metric to search by: the one asked for, else what early stopping watches. Raises ConfigError."""
    if asked is None:
        stop = config.run.opt.early_stop
        if stop is None:
            raise ConfigError("--metric: say by what to choose; opt.early_stop, which would say it, is null")
        return stop.metric
    name = asked.partition("/")[0]
    try:
        direction(name)
    except ValueError as error:
        raise ConfigError(f"--metric: {error}") from None
    known = [name, *(f"{name}/{of}" for of in groups_of(name, list(split_of(config).train.kinds), config.run.ranking))]
    if asked not in known:
        raise ConfigError(f"--metric: no '{asked}'.{did_you_mean(asked, known)} There are: {', '.join(known)}")
    return asked
