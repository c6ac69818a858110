"""The space of a search: a JSON file of settings and the values that each may take, checked against the model.

    {
      "opt.hyper_params.lr": {"type": "float", "low": 0.0001, "high": 0.01, "log": true},
      "model.n_layers": {"type": "int", "low": 1, "high": 4},
      "model.user_emb_size,model.item_emb_size": {"type": "choice", "values": [32, 64, 128]}
    }

A key with commas gives one value to several settings: widths that must be the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import torch
from optuna import Trial
from pydantic import Field, FiniteFloat, PositiveInt, model_validator

from hrec.config import ConfigError, did_you_mean, load, read_json, validate
from hrec.models import find_model
from hrec.pipeline.checks import check_optimizers
from hrec.settings import Settings

SECTIONS = ("model", "opt")
"""Other sections change the rows that a trial is measured on, or what is measured."""


class FloatRange(Settings, strict=True):
    """A number from ``low`` to ``high``."""

    type: Literal["float"]
    low: FiniteFloat
    high: FiniteFloat
    log: bool = False
    """Draw from the logarithm, for what counts by its order of magnitude."""

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        _check_range(self.low, self.high, self.log)
        return self

    def suggest(self, trial: Trial, name: str) -> None:
        trial.suggest_float(name, self.low, self.high, log=self.log)

    def value(self, drawn: float) -> float:
        """Four digits of it: what is printed is what was trained."""
        return min(max(float(f"{drawn:.4g}"), self.low), self.high)

    def examples(self) -> list[Any]:
        """Values that show whether the model takes what may be drawn."""
        return [self.low, self.high]


class IntRange(Settings, strict=True):
    """A whole number from ``low`` to ``high``, both included."""

    type: Literal["int"]
    low: int
    high: int
    step: PositiveInt = 1
    log: bool = False

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        _check_range(self.low, self.high, self.log)
        if self.log and self.step > 1:
            raise ValueError(f"a step of {self.step} does not go with log; leave one of them out")
        if (self.high - self.low) % self.step:
            raise ValueError(f"steps of {self.step} from low {self.low} do not reach high {self.high}")
        return self

    def suggest(self, trial: Trial, name: str) -> None:
        trial.suggest_int(name, self.low, self.high, step=self.step, log=self.log)

    def value(self, drawn: int) -> int:
        return drawn

    def examples(self) -> list[Any]:
        return [self.low, self.high]


class Choice(Settings, strict=True):
    """One of ``values``, of any JSON type: Optuna is handed their text."""

    type: Literal["choice"]
    values: list[Any] = Field(min_length=2)

    @model_validator(mode="after")
    def _differ(self) -> Self:
        texts = [json.dumps(value) for value in self.values]
        if len(set(texts)) < len(texts):
            raise ValueError(f"values: {next(t for t in texts if texts.count(t) > 1)} is there twice")
        return self

    def suggest(self, trial: Trial, name: str) -> None:
        trial.suggest_categorical(name, [json.dumps(value) for value in self.values])

    def value(self, drawn: str) -> Any:
        return json.loads(drawn)

    def examples(self) -> list[Any]:
        return self.values


Parameter = FloatRange | IntRange | Choice
Space = dict[str, Parameter]
TYPES: dict[str, type[Parameter]] = {"float": FloatRange, "int": IntRange, "choice": Choice}


def read_space(path: Path) -> Space:
    """The space in a file. Raises ConfigError with a line for each problem in it."""
    if not path.is_file():
        # names alone are compared, as all have the same paths and endings
        near = did_you_mean(path.stem, sorted(p.stem for p in path.parent.glob("*.json")))
        near = near.replace("'", f"'{path.parent.as_posix()}/", 1).replace("'?", ".json'?")
        raise ConfigError(f"--space: no file {path}.{near} docs/guide/search.md shows one")
    space, problems = {}, []
    for key, raw in read_json(path).items():
        parameter, more = _parameter(key, raw)
        problems += _key_problems(key) or more
        if parameter is not None:
            space[key] = parameter
    if not space and not problems:
        problems = ["holds no setting to search"]
    _raise(path, problems)
    return space


def check_space(path: Path, space: Space, config: str, overrides: Sequence[str]) -> None:
    """Raises ConfigError unless each setting exists and the model takes its values, one setting changed at a time."""
    problems = []
    fixed = {text.partition("=")[0] for text in overrides}
    settings = [key for name in space for key in keys_of(name)]
    for key in dict.fromkeys(settings):
        if settings.count(key) > 1:
            problems.append(f"{key}: is searched twice; take it out of one of its keys")
        if key in fixed:
            problems.append(f"{key}: is searched and also given on the command line; take it out of one of them")
    for name, parameter in space.items():
        for value in parameter.examples():
            try:
                own = overrides_of({name: value})
                check_optimizers(load(config, find_model, [*overrides, *own]), torch.device("cpu"))
            except ConfigError as error:
                # the config itself has been loaded, so all is about this value; load's first line names its file
                first, _, more = str(error).partition("\n")
                problems += [line.strip() for line in (more or first).splitlines()]
    _raise(path, problems)


def keys_of(name: str) -> list[str]:
    """The settings that a key of the space gives its value to."""
    return [key.strip() for key in name.split(",")]


def values_of(space: Space, drawn: Mapping[str, Any]) -> dict[str, Any]:
    """A trial's parameters as values of settings, under the keys of the space."""
    return {name: parameter.value(drawn[name]) for name, parameter in space.items()}


def overrides_of(values: Mapping[str, Any]) -> list[str]:
    """``key.path=value`` for each setting."""
    return [f"{key}={json.dumps(value)}" for name, value in values.items() for key in keys_of(name)]


def _parameter(key: str, raw: Any) -> tuple[Parameter | None, list[str]]:
    """The setting or group that a key of the file names, or None and what is wrong with it."""
    if not isinstance(raw, dict):
        return None, [f"{key}: should be an object {{...}} with a type, got {json.dumps(raw)}"]
    name = raw.get("type")
    if name not in list(TYPES):
        known = ", ".join(TYPES)
        near = did_you_mean(str(name), TYPES) if "type" in raw else ""
        return None, [f"{key}.type: {'is missing' if name is None else f'no type {name!r}'}.{near} Types: {known}"]
    return validate(TYPES[name], raw, key)


def _key_problems(name: str) -> list[str]:
    problems = []
    for key in keys_of(name):
        section, _, rest = key.partition(".")
        if section not in SECTIONS or not rest:
            near = did_you_mean(section, SECTIONS)
            problems.append(f"{key}: a setting that is searched begins with 'model.' or 'opt.'.{near}")
    return problems


def _check_range(low: float, high: float, log: bool) -> None:
    if low >= high:
        raise ValueError(f"low must be below high, got {low} and {high}")
    if log and low <= 0:
        raise ValueError(f"with log, low must be above 0, got {low}")


def _raise(path: Path, problems: Sequence[str]) -> None:
    if problems:
        raise ConfigError("\n".join(f"{path}: {problem}" for problem in dict.fromkeys(problems)))
