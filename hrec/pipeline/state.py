"""Checks that last.pt holds the state of a run, each part with its type, before anything is restored from it."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

from hrec.pipeline.checkpoints import NO_STATE, CheckpointError


def check_state(state: Any, source: Path) -> None:
    """Raises CheckpointError if ``state``, read from ``source``, is not what ``StateSaver.save`` writes."""
    parts = state if isinstance(state, dict) else {}
    wrong = [name for name, right in REQUIRED.items() if not right(parts.get(name))]
    wrong += [name for name, right in OF_A_STAGE.items() if name in parts and not right(parts[name])]
    if wrong:
        raise CheckpointError(
            f"{source}: {NO_STATE}, so there is nothing to continue from (wrong: {', '.join(wrong)}). Start a new run"
        )


def same_sort(fresh: Any, saved: Any) -> bool:
    """Whether a saved part of an optimiser or a scheduler has the type of a new one; numbers of any type agree."""
    if fresh is None:
        return saved is None or isinstance(saved, int | float)
    if isinstance(fresh, int | float):
        return isinstance(saved, int | float) and isinstance(fresh, bool) == isinstance(saved, bool)
    if isinstance(fresh, dict) and isinstance(saved, dict):
        return all(same_sort(fresh[key], saved[key]) for key in fresh.keys() & saved.keys())
    if isinstance(fresh, list | tuple) and isinstance(saved, list | tuple):
        return len(fresh) == len(saved) and all(map(same_sort, fresh, saved))
    return isinstance(saved, type(fresh))


def _count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _weights(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in value.items())


def _position(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() == {"stage", "epoch", "step", "seconds", "sums"}
        and all(_count(value[name]) for name in ("stage", "epoch", "step"))
        and _number(value["seconds"])
        and 0 <= value["seconds"] < math.inf
        and isinstance(value["sums"], dict)
        and all(isinstance(k, str) and _number(v) for k, v in value["sums"].items())
    )


def _stopping(value: Any) -> bool:
    if value is None:
        return True
    known = isinstance(value, dict) and value.keys() == {"best", "waited"}
    return known and _count(value["waited"]) and (value["best"] is None or _number(value["best"]))


def _dicts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, dict) for one in value)


REQUIRED: dict[str, Callable[[Any], bool]] = {"model": _weights, "position": _position}
OF_A_STAGE: dict[str, Callable[[Any], bool]] = {
    "optimizers": _dicts,
    "schedulers": _dicts,
    "stopping": _stopping,
    "scaler": lambda value: value is None or isinstance(value, dict),
    "rng": lambda value: isinstance(value, list) and all(isinstance(one, Tensor) for one in value),
}
"""What a state holds once a stage has begun."""
