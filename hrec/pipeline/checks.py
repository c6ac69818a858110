"""What can be wrong with settings and data, checked before anything is trained; each problem is a sentence."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch

from hrec.config import ConfigError, LoadedConfig, did_you_mean
from hrec.datasets.recdata import RecData, Split
from hrec.pipeline.devices import check_precision, pick_device
from hrec.pipeline.measured import Metrics, Watched
from hrec.pipeline.metrics import by_kind
from hrec.pipeline.optimizers import Optimizers, Scheduler
from hrec.pipeline.ranking import GROUPS, Ranking
from hrec.pipeline.ranking_metrics import USER_METRICS, is_ranking
from hrec.pipeline.stage_run import watched_by
from hrec.settings import RankingSettings, StageSettings


def check_settings(config: LoadedConfig) -> tuple[torch.device, Metrics]:
    """Check all that can be checked before data is read; the device to run on and the metrics. Raises ConfigError."""
    metrics = Metrics.parse(config)
    device = pick_device(config.run.device)
    check_precision(device, config.run.opt.precision)
    check_optimizers(config, device)
    return device, metrics


def check_optimizers(config: LoadedConfig, device: torch.device) -> None:
    """Raises ConfigError for settings of an optimiser or scheduler that torch refuses, now or in a later epoch."""
    for group in config.model_class.stage_groups:
        stage = config.run.opt.for_stage(group)
        weight = torch.nn.Parameter(torch.zeros(1, device=device))
        optimizers = Optimizers([weight], stage)
        _check_rates(optimizers)
        scheduler = Scheduler(optimizers, stage)
        weight.grad = torch.zeros_like(weight)
        _rehearse(optimizers.step, "opt.hyper_params", stage.hyper_params)
        if stage.scheduler is not None:
            _rehearse_scheduler(optimizers, scheduler, stage)


REHEARSED = 1000
"""Epochs that a scheduler is tried for before training."""
AS_0 = 1e-12
"""A learning rate below this share of the first one is 0 with rounding errors."""
SMALLEST_RATE = torch.finfo(torch.float32).tiny
"""A learning rate below this changes no weight: its product with a gradient is 0 in float32."""


def _check_rates(optimizers: Optimizers) -> None:
    """Raises ConfigError for a learning rate that changes no weight."""
    for lr in _rates(optimizers):
        if not SMALLEST_RATE <= lr < math.inf:
            raise ConfigError(
                f"opt.hyper_params.lr: {lr} trains nothing; give a learning rate above 0 (0.001 is usual for Adam)"
            )


def _rates(optimizers: Optimizers) -> list[float]:
    return [float(group["lr"]) for part in optimizers.parts for group in part.param_groups]


def _rehearse_scheduler(optimizers: Optimizers, scheduler: Scheduler, stage: StageSettings) -> None:
    """Raises ConfigError for a scheduler that fails, or whose learning rate cannot train, in an epoch of the stage.

    A rate may be 0 for one epoch, as that of a cosine is. If it is 0 for two, it stays 0.
    """
    assert stage.scheduler is not None
    hyper = stage.scheduler.hyper_params
    first = before = _rates(optimizers)
    for epoch in range(1, min(stage.epochs, REHEARSED) + 1):
        for step in (scheduler.after_epoch, partial(scheduler.after_evaluation, 0.0)):
            _rehearse(step, "opt.scheduler.hyper_params", hyper)
        rates = _rates(optimizers)
        for lr, last, at_first in zip(rates, before, first, strict=True):
            stays_at_0 = lr == last and lr < AS_0 * at_first
            if epoch < stage.epochs and (stays_at_0 or not 0 <= lr < math.inf):
                raise ConfigError(
                    f"opt.scheduler.hyper_params: {stage.scheduler.name} with {hyper} makes the learning rate {lr:g} "
                    f"in epoch {epoch + 1} of {stage.epochs}, and no weight trains with that. It must stay above 0"
                )
        before = rates


def _rehearse(step: Callable[[], None], where: str, hyper: dict[str, Any]) -> None:
    try:
        with warnings.catch_warnings():  # torch warns if the optimiser makes no step in between
            warnings.simplefilter("ignore")
            step()
    except Exception as error:  # torch checks few of these settings, so errors of all types come
        reason = str(error).split("\n")[0] or type(error).__name__
        raise ConfigError(f"{where}: {hyper} cannot be used: {reason}") from None


def check_data(config: LoadedConfig, metrics: Metrics, parts: Split) -> None:
    """Raises ConfigError for data without a training row, and for metrics that have no value on it."""
    if not len(parts.train.interactions):
        raise ConfigError(
            "data.split leaves no row to train on. Give the training split a larger share, or test users more rows of "
            "it"
        )
    _require_watched_kinds(metrics, list(parts.train.kinds), config.run.ranking)
    metrics = replace(metrics, watched=(*metrics.watched, *_watched_by_kinds(config, parts)))
    _require_labels(metrics, parts)
    if metrics.lists:
        _require_relevant_items(metrics, Ranking(config.run.ranking, metrics.lists, parts))
    _require_defined(metrics, parts, config.run.ranking)


def _require_watched_kinds(metrics: Metrics, kinds: list[str], ranking: RankingSettings) -> None:
    """Early stopping may watch a metric of a kind in the data, and no kind has the name of a group."""
    if taken := [kind for kind in kinds if kind in ("pooled", *GROUPS)]:
        raise ConfigError(f"data: a kind cannot be called '{taken[0]}', which is a group of the metrics; rename it")
    for one in metrics.watched:
        groups = groups_of(one.base, kinds, ranking)
        if one.group is not None and one.group not in groups:
            known = [f"{one.base}/{name}" for name in groups]
            near = did_you_mean(one.name, known)
            raise ConfigError(
                f"{one.setting}.metric: no kind '{one.group}'.{near} There are: {one.base}, {', '.join(known)}"
            )


def _watched_by_kinds(config: LoadedConfig, parts: Split) -> Iterator[Watched]:
    """What the stages of single kinds watch; nothing if there is one kind. Raises ConfigError if it is not measured."""
    x, kinds = parts.train.interactions, list(parts.train.kinds)
    positive = x.kind if x.label is None else x.kind[x.label > 0]
    for group in config.model_class.groups_of_kinds if len(kinds) > 1 else ():
        setting = f"opt.stages.{group}.early_stop" if group in config.run.opt.stages else "opt.early_stop"
        if (stop := config.run.opt.for_stage(group).early_stop) is None:
            continue
        for index in np.unique(positive):
            one = Watched(setting, watched_by(stop.metric, kinds[index]), stop.mode)
            if one.group not in groups_of(one.base, kinds, config.run.ranking):
                raise ConfigError(
                    f"{setting}.metric: {config.run.model['name']} trains each kind in its own stage, which watches "
                    f"'{one.name}', and '{one.base}' has no value for each kind if candidates are sampled. Set "
                    "ranking.sampled to null, watch a metric of rows such as 'auc', or set early_stop to null"
                )
            yield one


def _require_labels(metrics: Metrics, parts: Split) -> None:
    """Metrics of rows need labels."""
    if metrics.rows and parts.valid.interactions.label is None:
        raise ConfigError(
            f"metrics and opt.early_stop: {', '.join(metrics.rows)} need labels, and '{parts.train.name}' has none. "
            'Use metrics of lists such as "ndcg@10", or make labels: "data.label": {"negatives": 1}'
        )


def _require_relevant_items(metrics: Metrics, ranking: Ranking) -> None:
    """Metrics of lists need a positive among the items that may be recommended."""
    items, watches_lists = ranking.settings.items, any(one.of_lists for one in metrics.watched)
    for name, part, needed in (("validation", ranking.parts.valid, watches_lists), ("test", ranking.parts.test, False)):
        if (needed or items != "all") and not len(ranking.relevant(part)):
            raise ConfigError(
                f"ranking.items={items}: the {name} split has no positive among these items, so {metrics.lists[0]} has "
                "nothing to find there. Choose other items, or another data.split"
            )


def _require_defined(metrics: Metrics, parts: Split, ranking: RankingSettings) -> None:
    """Early stopping watches a metric that has a value on the validation split."""
    watched = Metrics.of(one.base for one in metrics.watched)
    missing = undefined(watched.rows, parts.valid)
    if watched.lists:
        missing |= Ranking(ranking, watched.lists, parts).undefined(parts.valid)
    for one in metrics.watched:
        if one.name in missing:
            raise ConfigError(_no_value(one))


def _no_value(one: Watched) -> str:
    """Why a watched metric has no value, and what to do."""
    why = "where no user has a positive of its group" if one.of_lists else WHY_UNDEFINED
    instead = one.base if one.of_lists else "logloss"
    return (
        f"{one.setting}.metric: '{one.name}' has no value on the validation split, {why}. Watch another, such as "
        f"'{instead}', give the split other rows (data.split), or set early_stop to null"
    )


WHY_UNDEFINED = "which lacks positives or negatives for it (for gauc: users with both)"


def kinds_of_one_class(parts: Split) -> Iterator[str]:
    """A sentence for each kind whose rows of validation or test are all positive, all negative, or missing."""
    for part, name in ((parts.valid, "validation"), (parts.test, "test")):
        x = part.interactions
        for index, kind in enumerate(part.kinds):
            label = x.label[x.kind == index] if x.label is not None else np.zeros(0)
            if len(np.unique(label)) < 2:
                what = "no rows" if not len(label) else f"only {'positive' if label[0] > 0 else 'negative'} rows"
                yield (
                    f"the {name} split has {what} of kind '{kind}': its AUC is not defined, and the macro mean leaves "
                    "it out. Give the split more rows (data.split), set another 'above' in data.label, or leave out "
                    "the kind (data.type)"
                )


def metrics_without_value(metrics: Metrics, parts: Split) -> Iterator[str]:
    """A sentence for each split on which a metric of rows has no value for any kind."""
    for name, part in (("validation", parts.valid), ("test", parts.test)):
        missing = undefined(metrics.rows, part)
        if some := [metric for metric in metrics.rows if metric in missing]:
            yield f"'{', '.join(some)}' has no value on the {name} split, {WHY_UNDEFINED}"


def undefined(metrics: Sequence[str], part: RecData) -> set[str]:
    """The metrics of rows, of kinds and pooled too, that have no value on a split, whatever the scores."""
    x = part.interactions
    if x.label is None:
        return set()
    values = by_kind(metrics, np.zeros(len(x), np.float32), x.label, x.user, x.kind, list(part.kinds))
    return {name for name, value in values.items() if np.isnan(value)}


def groups_of(metric: str, kinds: Sequence[str], ranking: RankingSettings) -> tuple[str, ...]:
    """The names that may follow the slash of this metric on data of these kinds."""
    if not is_ranking(metric):
        return ("pooled", *kinds)
    of_kinds = kinds if len(kinds) > 1 and ranking.lists_per_kind else ()
    return (*of_kinds, *(GROUPS if metric.split("@", maxsplit=1)[0] in USER_METRICS else ()))
