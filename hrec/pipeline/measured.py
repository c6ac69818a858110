"""The metrics that a run measures, read from its settings once and passed on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from hrec.config import ConfigError, LoadedConfig
from hrec.pipeline.metrics import direction
from hrec.pipeline.ranking_metrics import is_ranking
from hrec.settings import OptSettings


@dataclass(frozen=True)
class Watched:
    """A metric that early stopping watches: the setting 'opt.early_stop' names the metric 'ndcg@10/book'."""

    setting: str
    name: str
    mode: Literal["max", "min"] | None = None

    @property
    def base(self) -> str:
        """The name without kind or group: 'ndcg@10'."""
        return self.name.partition("/")[0]

    @property
    def group(self) -> str | None:
        """The kind or group, 'book'; None for all."""
        return self.name.partition("/")[2] if "/" in self.name else None

    @property
    def of_lists(self) -> bool:
        return is_ranking(self.base)


@dataclass(frozen=True)
class Metrics:
    """The metrics of a run: names in the order measured, those of labelled rows, those of top-N lists, those watched.

    ``names`` has the metrics of the settings and those that early stopping watches, each without kind or group.
    """

    names: tuple[str, ...]
    rows: tuple[str, ...]
    lists: tuple[str, ...]
    watched: tuple[Watched, ...] = ()

    @staticmethod
    def of(names: Iterable[str], watched: Iterable[Watched] = ()) -> Metrics:
        """The metrics of these names, each once. The names are not checked."""
        watched = tuple(watched)
        every = tuple(dict.fromkeys([*names, *(one.base for one in watched)]))
        rows, lists = (tuple(name for name in every if is_ranking(name) == of_lists) for of_lists in (False, True))
        return Metrics(every, rows, lists, watched)

    @staticmethod
    def parse(config: LoadedConfig) -> Metrics:
        """The metrics of the settings. Raises ConfigError for an unknown metric, or a mode that contradicts one."""
        metrics = Metrics.of(config.run.metrics, _watched(config.run.opt))
        problems = [] if metrics.names else ['metrics: is empty; name one at least, such as "auc"']
        problems += [
            f"metrics: '{name}': write '{name.split('/')[0]}', which is measured for each kind and group anyway"
            for name in config.run.metrics
            if "/" in name
        ]
        problems += _problems([*(Watched("metrics", name) for name in config.run.metrics), *metrics.watched])
        if problems:
            raise ConfigError("\n".join(dict.fromkeys(problems)))
        return metrics


def _watched(opt: OptSettings) -> Iterator[Watched]:
    """What early stopping watches, for all stages and for groups of them."""
    stops = {"opt.early_stop": opt.early_stop}
    stops |= {f"opt.stages.{group}.early_stop": opt.for_stage(group).early_stop for group in opt.stages}
    for setting, stop in stops.items():
        if stop is not None:
            yield Watched(setting, stop.metric, stop.mode)


def _problems(used: Sequence[Watched]) -> Iterator[str]:
    """A sentence for each metric that does not exist, or whose mode contradicts it."""
    for one in used:
        key = one.setting if one.setting == "metrics" else f"{one.setting}.metric"
        try:
            right = direction(one.name)
        except ValueError as error:
            yield f"{key}: {error}"
        else:
            if one.mode not in (None, right):
                yield f"{one.setting}.mode: '{one.base}' is better when it is {right}imal; leave out mode '{one.mode}'"
