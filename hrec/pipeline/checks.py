"""What can be wrong with settings and data before anything is trained, told in sentences."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from hrec.config import ConfigError, LoadedConfig, did_you_mean
from hrec.datasets.recdata import RecData, Split
from hrec.pipeline.devices import check_precision, pick_device
from hrec.pipeline.metrics import by_kind, direction
from hrec.pipeline.optimizers import Optimizers, Scheduler
from hrec.pipeline.ranking import GROUPS, Ranking
from hrec.pipeline.ranking_metrics import USER_METRICS, is_ranking
from hrec.settings import EarlyStopSettings, RankingSettings, StageSettings


def check_settings(config: LoadedConfig) -> torch.device:
    """Whatever can be wrong before data is read; the device to run on. Raises ConfigError."""
    check_metrics(config)
    device = pick_device(config.run.device)
    check_precision(device, config.run.opt.precision)
    check_optimizers(config, device)
    return device


def check_metrics(config: LoadedConfig) -> None:
    """Raises ConfigError for a metric that does not exist, or one that is watched the wrong way round."""
    problems = [] if measured_metrics(config) else ['metrics: is empty; name one at least, such as "auc"']
    for name in config.run.metrics:
        if "/" in name:
            base = name.split("/")[0]
            problems.append(f"metrics: '{name}': write '{base}', which is measured for each kind and group anyway")
    for where, name, mode in [("metrics", name, None) for name in config.run.metrics] + [
        (f"{where}.metric", stop.metric, stop.mode) for where, stop in _watched(config)
    ]:
        try:
            wanted = direction(name)
        except ValueError as error:
            problems.append(f"{where}: {error}")
        else:
            if mode not in (None, wanted):
                why = f"'{name.split('/')[0]}' is better when it is {wanted}imal; leave out mode '{mode}'"
                problems.append(f"{where.removesuffix('.metric')}.mode: {why}")
    if problems:
        raise ConfigError("\n".join(dict.fromkeys(problems)))


def check_optimizers(config: LoadedConfig, device: torch.device) -> None:
    """Raises ConfigError for settings of an optimiser or scheduler that torch refuses, be it in a later epoch."""
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
"""Share of the first learning rate that is a 0 but for rounding."""
SMALLEST_RATE = torch.finfo(torch.float32).tiny
"""A learning rate below this moves no weight: its product with a gradient is 0 in float32."""


def _check_rates(optimizers: Optimizers) -> None:
    """Raises ConfigError for a learning rate that moves no weight."""
    for lr in _rates(optimizers):
        if not SMALLEST_RATE <= lr < math.inf:
            raise ConfigError(
                f"opt.hyper_params.lr: {lr} trains nothing; give a learning rate above 0 (0.001 is usual for Adam)"
            )


def _rates(optimizers: Optimizers) -> list[float]:
    return [float(group["lr"]) for part in optimizers.parts for group in part.param_groups]


def _rehearse_scheduler(optimizers: Optimizers, scheduler: Scheduler, stage: StageSettings) -> None:
    """Raises ConfigError for a scheduler that fails, or leaves a learning rate that cannot train, in an epoch that the
    stage trains. A rate may touch 0 for one epoch, as that of a cosine does; at 0 for two it stays there."""
    assert stage.scheduler is not None
    told = stage.scheduler.hyper_params
    first = before = _rates(optimizers)
    for epoch in range(1, min(stage.epochs, REHEARSED) + 1):
        for step in (scheduler.after_epoch, partial(scheduler.after_evaluation, 0.0)):
            _rehearse(step, "opt.scheduler.hyper_params", told)
        rates = _rates(optimizers)
        for lr, last, at_first in zip(rates, before, first, strict=True):
            stays_at_0 = lr == last and lr < AS_0 * at_first
            if epoch < stage.epochs and (stays_at_0 or not 0 <= lr < math.inf):
                raise ConfigError(
                    f"opt.scheduler.hyper_params: {stage.scheduler.name} with {told} makes the learning rate {lr:g} in "
                    f"epoch {epoch + 1} of {stage.epochs}, and no weight can be trained with that. It must stay above 0"
                )
        before = rates


def _rehearse(step: Callable[[], None], where: str, told: dict[str, Any]) -> None:
    try:
        with warnings.catch_warnings():  # torch's, about an optimiser that makes no step between
            warnings.simplefilter("ignore")
            step()
    except Exception as error:  # torch checks few of these settings, so all sorts come
        reason = str(error).split("\n")[0] or type(error).__name__
        raise ConfigError(f"{where}: {told} cannot be worked with: {reason}") from None


def measured_metrics(config: LoadedConfig) -> list[str]:
    """The metrics in the settings, and those that early stopping watches."""
    watched = [stop.metric.split("/")[0] for _, stop in _watched(config)]
    return list(dict.fromkeys([*config.run.metrics, *watched]))


def check_watched(config: LoadedConfig, parts: Split) -> None:
    """Raises ConfigError for data without a training row, and for metrics that it cannot give: see the functions
    below."""
    if not len(parts.train.interactions):
        raise ConfigError(
            "data.split leaves no row to train on: give the training part a larger share, or test users more rows of it"
        )
    _require_watched_kinds(config, list(parts.train.kinds))
    _require_labels(config, parts)
    _require_relevant_items(config, parts)
    _require_defined(config, parts)


def _require_watched_kinds(config: LoadedConfig, kinds: list[str]) -> None:
    """Early stopping may watch a metric of a kind that the data has, and no kind is called as a group is."""
    if taken := [kind for kind in kinds if kind in ("pooled", *GROUPS)]:
        raise ConfigError(f"data: a kind cannot be called '{taken[0]}', which is a group of the metrics; rename it")
    for where, stop in _watched(config):
        metric, slash, kind = stop.metric.partition("/")
        groups = groups_of(metric, kinds, config.run.ranking)
        if slash and kind not in groups:
            known = [f"{metric}/{name}" for name in groups]
            near = did_you_mean(f"{metric}/{kind}", known)
            raise ConfigError(f"{where}.metric: no kind '{kind}'.{near} There are: {metric}, {', '.join(known)}")


def _require_labels(config: LoadedConfig, parts: Split) -> None:
    """Metrics of rows need labels."""
    of_rows = [name for name in measured_metrics(config) if not is_ranking(name)]
    if of_rows and parts.valid.interactions.label is None:
        raise ConfigError(
            f"metrics and opt.early_stop: {', '.join(of_rows)} need labels, and '{parts.train.name}' has none. "
            'Use metrics of lists such as "ndcg@10", or make labels: "data.label": {"negatives": 1}'
        )


def _require_relevant_items(config: LoadedConfig, parts: Split) -> None:
    """Metrics of lists need something to find among the items that may be recommended."""
    lists = [name for name in measured_metrics(config) if is_ranking(name)]
    if not lists:
        return
    ranking = Ranking(config.run.ranking, lists, parts)
    watches_lists = any(is_ranking(stop.metric.split("/")[0]) for _, stop in _watched(config))
    for name, part, needed in (("validation", parts.valid, watches_lists), ("test", parts.test, False)):
        if (needed or config.run.ranking.items != "all") and not len(ranking.relevant(part)):
            raise ConfigError(
                f"ranking.items={config.run.ranking.items}: nobody likes such an item in the {name} part, so "
                f"{lists[0]} has nothing to find there. Choose other items, or another data.split"
            )


def _require_defined(config: LoadedConfig, parts: Split) -> None:
    """Early stopping watches a metric that has a value on the validation part."""
    watched = {stop.metric: where for where, stop in _watched(config)}
    names = list(dict.fromkeys(name.split("/")[0] for name in watched))
    lists = [name for name in names if is_ranking(name)]
    missing = undefined([name for name in names if not is_ranking(name)], parts.valid)
    if lists:
        missing |= Ranking(config.run.ranking, lists, parts).undefined(parts.valid)
    for name, where in watched.items():
        if name in missing:
            of_lists = is_ranking(name.split("/")[0])
            why = "where no user likes anything of its group" if of_lists else WHY_UNDEFINED
            instead = name.split("/")[0] if of_lists else "logloss"
            raise ConfigError(
                f"{where}.metric: '{name}' has no value on the validation part, {why}. Watch another, such as "
                f"'{instead}', give the part other rows (data.split), or set early_stop to null"
            )


WHY_UNDEFINED = "which lacks liked or disliked rows for it (for gauc: users with both)"


def kinds_of_one_class(parts: Split) -> list[str]:
    """A sentence for each kind whose rows of validation or test are all liked, all not, or none."""
    out = []
    for part, name in ((parts.valid, "validation"), (parts.test, "test")):
        x = part.interactions
        for number, kind in enumerate(part.kinds):
            label = x.label[x.kind == number] if x.label is not None else np.zeros(0)
            if len(np.unique(label)) < 2:
                what = "no rows" if not len(label) else f"only {'liked' if label[0] > 0 else 'disliked'} rows"
                out.append(
                    f"the {name} part has {what} of kind '{kind}': its AUC is not defined, and the macro mean leaves "
                    "it out. Give the part more rows (data.split), set another 'above' in data.label, or leave out "
                    "the kind (data.type)"
                )
    return out


def metrics_without_value(config: LoadedConfig, parts: Split) -> list[str]:
    """A sentence for each metric of rows that has no value on a part, in no kind."""
    names = [name for name in measured_metrics(config) if not is_ranking(name)]
    out = []
    for part, data in (("validation", parts.valid), ("test", parts.test)):
        missing = undefined(names, data)
        if some := [name for name in names if name in missing]:
            out.append(f"'{', '.join(some)}' has no value on the {part} part, {WHY_UNDEFINED}")
    return out


def undefined(metrics: Sequence[str], part: RecData) -> set[str]:
    """Those of the metrics of rows, of kinds and pooled too, that have no value on a part, whatever the scores."""
    x = part.interactions
    if x.label is None:
        return set()
    values = by_kind(metrics, np.zeros(len(x), np.float32), x.label, x.user, x.kind, list(part.kinds))
    return {name for name, value in values.items() if np.isnan(value)}


def groups_of(metric: str, kinds: Sequence[str], ranking: RankingSettings) -> tuple[str, ...]:
    """What may stand behind the slash of this metric on data of these kinds."""
    if not is_ranking(metric):
        return ("pooled", *kinds)
    of_kinds = kinds if len(kinds) > 1 and ranking.lists_per_kind else ()
    return (*of_kinds, *(GROUPS if metric.split("@", maxsplit=1)[0] in USER_METRICS else ()))


def _watched(config: LoadedConfig) -> list[tuple[str, EarlyStopSettings]]:
    """Where early stopping is set, for all stages and for groups of them, and how."""
    opt = config.run.opt
    stops = [("opt.early_stop", opt.early_stop)]
    stops += [(f"opt.stages.{group}.early_stop", opt.for_stage(group).early_stop) for group in opt.stages]
    return [(where, stop) for where, stop in stops if stop is not None]
