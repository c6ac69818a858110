"""Turn one JSON file into typed settings, or say in one message everything that is wrong with it."""

from __future__ import annotations

import argparse
import errno
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, Union, get_origin

from pydantic import BaseModel, ValidationError

from hrec.endings import Refusal
from hrec.jsontext import parse, require_characters
from hrec.settings import (
    InitFrom,
    InitSettings,
    OptSettings,
    RankingSettings,
    RunSettings,
    Settings,
    StageSettings,
    names_a_file,
)
from hrec.spelling import did_you_mean

CONFIG_DIR = Path("configs")
_HERE = Path(__file__).parent
SHIPPED = next((path for path in (_HERE / "configs", _HERE.parent / "configs") if path.is_dir()), _HERE / "configs")
"""The configs that come with the package: inside it where it is installed, next to it in a checkout."""

# Keys that the published code read and that never had an effect, with what hrec offers instead.
NEVER_HAD_EFFECT: dict[str, dict[str, str]] = {
    "data": {"pin_mem": "batches are drawn on the device", "num_workers": "batches need no worker processes"},
    "opt": {
        "adjust_lr": "a 'scheduler' works without it",
        "scheduler": "the published code never stepped it; leave 'adjust_lr' out to have it applied",
    },
}

S = TypeVar("S", bound=Settings)


class ConfigError(Refusal, ValueError):
    """Settings that cannot be used; the message lists every problem, one a line."""

    same_in_all_processes = True


@dataclass(frozen=True)
class LoadedConfig:
    """One run's settings, checked; ``source`` is the merged JSON object that they were read from."""

    run: RunSettings
    model_class: Any
    model: Settings
    source: dict[str, Any]
    warnings: list[str] = field(default_factory=list)
    init_from: tuple[InitFrom, ...] = ()


def load(
    name_or_path: str,
    find_model: Callable[[str], Any],
    overrides: Sequence[str] = (),
) -> LoadedConfig:
    """Read ``configs/<name>.json`` (or a path), apply ``key.path=value`` overrides and check every key.

    ``find_model`` gives the model class for a name, or raises KeyError with a sentence.
    Raises ConfigError listing all problems, each with the file, the key's path and the nearest known key.
    """
    path = _find(name_or_path)
    raw, data_path = read_json(path), None
    problems = [p for text in overrides if (p := _override(raw, text))]
    if isinstance(raw.get("data"), str):
        data_path = _find(raw["data"], CONFIG_DIR / "data")
        raw["data"] = read_json(data_path)
        # an override of the data's keys must reach the file that the name stood for
        problems += [p for text in overrides if text.startswith("data.") and (p := _override(raw, text))]
    if "metric" in raw and "metrics" not in raw:
        raw["metrics"] = raw.pop("metric")  # the paper's text names the section so, its files name it metrics
    merged = json.loads(json.dumps(raw))
    model_section: dict[str, Any] = raw["model"] if isinstance(raw.get("model"), dict) else {}
    model_class = None
    try:
        model_class = find_model(str(model_section.get("name", "")))
    except KeyError as error:
        problems.append(f"model.name: {error.args[0]}")
    warnings = _drop_dead_keys(raw, model_class)
    run, more = validate(RunSettings, raw)
    problems += more
    own, init, more = _model_settings(model_section, model_class)
    problems += more + (_stage_problems(raw, model_class) if model_class is not None else [])
    if problems or run is None or own is None or init is None:
        problems = list(dict.fromkeys(problems))
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        files = f"{path}, with data {data_path}" if data_path else str(path)
        raise ConfigError(f"{files}: {count}\n  " + "\n  ".join(problems))
    warnings += [
        f"data.feat.{name}: an id is not read as a column; histories and tables of the model use it already"
        for name in (run.data.USER_ID_FIELD, run.data.ITEM_ID_FIELD)
        if name in run.data.feat
    ]
    warnings += _without_effect(run, model_class, merged)
    return LoadedConfig(run, model_class, own, merged, warnings, init.init_from)


def _model_settings(
    section: dict[str, Any], model_class: Any
) -> tuple[Settings | None, InitSettings | None, list[str]]:
    """(settings of the model's own, those that every model has, problems)."""
    of_all = {key: value for key, value in section.items() if key in InitSettings.model_fields}
    init, problems = validate(InitSettings, of_all, "model")
    if model_class is None:
        return None, init, problems
    rest = {key: value for key, value in section.items() if key != "name" and key not in of_all}
    own, more = validate(model_class.Config, rest, "model")
    return own, init, more + problems


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises ConfigError with the line and column of an error, or a duplicate key."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        out = dict(pairs)
        if len(out) < len(pairs):
            names = [name for name, _ in pairs]
            again = next(name for i, name in enumerate(names) if name in names[:i])
            raise ValueError(f"the key '{again}' is twice in one object")
        return out

    try:
        raw = parse(path.read_text(encoding="utf-8-sig"), once)
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start})") from None
    except json.JSONDecodeError as error:
        raise ConfigError(f"{path}: line {error.lineno}, column {error.colno}: {error.msg}") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from None
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: should hold one object {{...}}, holds a {type(raw).__name__}")
    return raw


def shipped(path: Path) -> Path:
    """A path below configs/: the file of the working directory, or where it has none, the one of the package."""
    if is_there(path) or path.parts[:1] != CONFIG_DIR.parts:
        return path
    own = SHIPPED / path.relative_to(CONFIG_DIR)
    return own if is_there(own) else path


def configs_in(folder: Path = CONFIG_DIR) -> dict[str, Path]:
    """Name -> file of the configs in ``folder``, those of the package with those of the working directory over them."""
    found: dict[str, Path] = {}
    for place in (SHIPPED / folder.relative_to(CONFIG_DIR), folder):
        found |= {p.relative_to(place).with_suffix("").as_posix(): p for p in place.rglob("*.json")}
    return dict(sorted(found.items()))


def _find(name: str, folder: Path | None = None) -> Path:
    """The file that a name or a path means; ConfigError with the nearest name if there is none."""
    folder = folder or CONFIG_DIR
    for path in map(shipped, (Path(name), folder / f"{name}.json", folder / name)):
        if is_there(path):
            return path
    known = [name for name in configs_in(folder) if not name.startswith(("data/", "sweeps/"))]
    what = "settings" if folder == CONFIG_DIR else "data"
    if len(name) > 200:
        raise ConfigError(f"no {what} called '{name[:50]}...', a name of {len(name):,} characters")
    if Path(name).exists() and not Path(name).is_dir():
        raise ConfigError(f"{name}: is a pipe or a device. Write the {what} to a file, and name that")
    raise ConfigError(
        f"no {what} called '{name}': neither a file of that path nor {folder}/{name}.json in {Path.cwd()}."
        f"{did_you_mean(name, known)}" + (f" There are: {', '.join(known)}" if known else "")
    )


def path_argument(text: str) -> Path:
    """The path on a command line, for argparse; an empty one would mean the folder that the program runs in."""
    try:
        return Path(names_a_file(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def is_there(path: Path) -> bool:
    """Whether it is a file. Raises ConfigError if a folder of the path may not be read."""
    try:
        return path.is_file()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return False
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from None


def _override(raw: dict[str, Any], text: str) -> str | None:
    """Apply ``key.path=value`` to ``raw``; the value is JSON, else text. Returns a problem or None."""
    path, equals, value = text.partition("=")
    if not equals or not path:
        return f"'{text}': an override is written key.path=value, for example opt.epochs=5"
    try:
        require_characters(text)
        parsed: Any = parse(value)
    except json.JSONDecodeError:
        parsed = value
    except ValueError as error:
        return f"{path}: {error}"
    *parents, last = path.split(".")
    node: Any = raw
    for i, key in enumerate(parents):
        node = node.setdefault(key, {})
        if isinstance(node, str) and parents[: i + 1] == ["data"]:
            return None  # the name of a data file: applied once that file is read
        if not isinstance(node, dict):
            return f"{'.'.join(parents[: i + 1])}: holds {node!r}, so '{text}' cannot set a key inside it"
    if parents == ["data", "feat"] and parsed is None:
        return _leave_out_column(node, last)
    node[last] = parsed
    return None


def _leave_out_column(feat: dict[str, Any], name: str) -> str | None:
    """``data.feat.name=null``: the column is not read. Returns a problem if there is no such column, or None."""
    if name not in feat:
        known = f" Columns: {', '.join(feat)}" if feat else " No column is named there."
        return f"data.feat.{name}: no such column to leave out.{did_you_mean(name, feat)}{known}"
    del feat[name]
    return None


def _drop_dead_keys(raw: dict[str, Any], model_class: Any) -> list[str]:
    """Remove keys that the published code ignored; a warning for each."""
    dead = dict(NEVER_HAD_EFFECT)
    dead["model"] = getattr(model_class, "published_unused", {})
    warnings = []
    for section, keys in dead.items():
        here = raw.get(section)
        if not isinstance(here, dict):
            continue
        # a scheduler of ours comes without the published 'adjust_lr'
        found = [key for key in keys if key in here and (key != "scheduler" or "adjust_lr" in here)]
        for key in found:
            warnings.append(f"{section}.{key}: had no effect in the published code and has none here: {keys[key]}")
            del here[key]
    return warnings


COUNTS = ("epochs", "eval_step", "save_step")
"""Keys of the section opt that count epochs."""
DESCENT = ("name", "hyper_params", "batch_size", "clip_grad", "scheduler", "row_wise")
"""Keys of the section opt that are about steps of gradient descent."""


def _without_effect(run: RunSettings, model_class: Any, raw: dict[str, Any]) -> list[str]:
    """A line for each valid key that changes nothing in this run.

    A key at its default is skipped: config.json of a run names them all.
    """
    out, default = [], OptSettings()
    if model_class.stage_groups == ("solve",):
        reason = f"{run.model['name']} is solved in closed form and takes no steps"
        given = [k for k in DESCENT if k in raw.get("opt", {}) and getattr(run.opt, k) != getattr(default, k)]
        out += [f"opt.{key}: has no effect, as {reason}" for key in given]
    if model_class.one_epoch:
        out += _needless_epochs(run, raw)
    stops = [run.opt.early_stop, *(run.opt.for_stage(group).early_stop for group in model_class.stage_groups)]
    measured = [*run.metrics, *(s.metric for s in stops if s)]
    if run.ranking != RankingSettings() and not any("@" in name for name in measured):
        out.append('ranking: has no effect without a metric of lists, such as "ndcg@10"')
    return out


def _needless_epochs(run: RunSettings, raw: dict[str, Any]) -> list[str]:
    """A line for each key that would give a model of one epoch more epochs, except at its default."""
    opt = raw.get("opt", {})
    sections = {"opt": opt, **{f"opt.stages.{group}": of for group, of in opt.get("stages", {}).items()}}
    default = OptSettings()
    return [
        f"{where}.{key}: has no effect, as {run.model['name']} is solved in one epoch"
        for where, given in sections.items()
        for key in COUNTS
        if given.get(key, 1) not in (1, getattr(default, key))
    ]


def _stage_problems(raw: dict[str, Any], model_class: Any) -> list[str]:
    """Problems in opt.stages: a stage that the model lacks, a key that stages lack."""
    stages = raw.get("opt", {}).get("stages", {}) if isinstance(raw.get("opt"), dict) else {}
    if not isinstance(stages, dict):
        return []
    out = []
    for group, settings in stages.items():
        if group not in model_class.stage_groups:
            near = did_you_mean(group, model_class.stage_groups)
            out.append(f"opt.stages.{group}: no such stage.{near} Stages: {', '.join(model_class.stage_groups)}")
        else:
            out += validate(StageSettings, settings, f"opt.stages.{group}")[1]
    return out


def validate(cls: type[S], data: Any, prefix: str = "") -> tuple[S | None, list[str]]:
    """Settings of class ``cls`` from ``data``, or None and one line for each problem."""
    try:
        return cls.model_validate(data), []
    except ValidationError as error:
        found = error.errors()
        # pydantic also reports a list with wrong entries as too short
        within = {e["loc"][:i] for e in found for i in range(len(e["loc"]))}
        return None, [_explain(e, cls, prefix) for e in found if e["type"] != "too_short" or e["loc"] not in within]


_SHOULD_BE = {
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "int_type": "a whole number",
    "float_parsing": "a number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "text in quotes",
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "dict_type": "an object {...}",
    "model_type": "an object {...}",
    "model_attributes_type": "an object {...}",
    "tuple_type": "a list [...]",
    "list_type": "a list [...]",
}


def _explain(error: Any, cls: type[BaseModel], prefix: str) -> str:
    """One line: the key's path, what was wrong and what is known there."""
    loc = [str(p) for p in error["loc"]]
    path = _in_file(cls, loc)
    where = ".".join([prefix, *path] if prefix else path) or "the file"
    kind, got, context = error["type"], error["input"], error.get("ctx", {})
    shown = repr(got) if len(repr(got)) < 60 else repr(got)[:57] + "..."
    if kind == "extra_forbidden":
        known = _keys_at(cls, loc[:-1])
        return f"{where}: unknown key.{did_you_mean(loc[-1], known)} Known keys: {', '.join(known) or 'none'}"
    if kind == "missing":
        return f"{where}: is missing"
    if kind in _SHOULD_BE:
        return f"{where}: should be {_SHOULD_BE[kind]}, got {shown}"
    if kind in ("literal_error", "union_tag_invalid"):
        names = str(context.get("expected") or context["expected_tags"]).replace(" or ", ", ").split(",")
        names = [n.strip(" '") for n in names]
        value = context.get("tag", got)
        return f"{where}: {value!r} is not one of {', '.join(names)}.{did_you_mean(str(value), names)}"
    if kind == "value_error":
        return f"{where}: {context['error']}"
    message = error["msg"].removeprefix("Input ")
    return f"{where}: {message[0].lower()}{message[1:]}, got {shown}"


def _in_file(cls: type[BaseModel], loc: list[str]) -> list[str]:
    """The path in the file: after the key of a union, pydantic names the member that it tried."""
    here, out, mark = [cls], [], False
    for part in loc:
        if mark:
            mark = False
            continue
        out.append(part)
        found = [s.model_fields[part].annotation for s in here if part in s.model_fields]
        members = [m for a in found for m in getattr(a, "__args__", ()) if m is not type(None)]
        mark = any(get_origin(a) in (Union, UnionType) for a in found) and len(members) > 1
        here = [c for a in found for c in _settings_in(a)] or here
    return out


def _keys_at(cls: type[BaseModel], loc: list[str]) -> list[str]:
    """The keys known at the path ``loc`` below the settings class ``cls``."""
    here = [cls]
    for part in loc:
        inner = [c for s in here if part in s.model_fields for c in _settings_in(s.model_fields[part].annotation)]
        tagged = [s for s in here if "by" in s.model_fields and part in str(s.model_fields["by"].annotation)]
        here = inner or tagged or here  # neither: a key of a dict, such as a feature's name
    return sorted({info.alias or name for s in here for name, info in s.model_fields.items()})


def _settings_in(annotation: Any) -> list[type[BaseModel]]:
    """Every settings class inside a type annotation, in order."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [c for arg in getattr(annotation, "__args__", ()) for c in _settings_in(arg)]
