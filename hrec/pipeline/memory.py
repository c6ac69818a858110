"""The memory that a run needs, checked before training; a message names the setting that needs it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

from hrec.config import LoadedConfig
from hrec.datasets.recdata import Split
from hrec.memory import TooLargeError, free_memory, require_memory
from hrec.models.base import BaseModel
from hrec.pipeline.ranking_metrics import parse
from hrec.pipeline.topn import COPIES

POSITION = 25
"""Bytes of a position of a list while it is measured: a hit, and three numbers of 8 bytes."""
CANDIDATE = 40
"""Bytes of a sampled candidate while all are drawn: five numbers of 8 bytes."""
COPIES_OF_WEIGHTS = {"SGD": 1, "Adagrad": 2, "RMSprop": 2, "Adadelta": 3, "Adam": 3, "AdamW": 3}
"""Arrays of the size of the weights that training keeps besides them: the gradient, and the optimiser's moments."""


def check_lists(config: LoadedConfig, lists: Sequence[str], parts: Split, device: torch.device) -> None:
    """Raises TooLargeError for top-N lists that memory cannot hold: too long, of too many candidates or users.

    lists: the metrics of lists.
    """
    if not lists:
        return
    settings, longest = config.run.ranking, max(lists, key=lambda name: parse(name)[1])
    users = max(len(np.unique(part.interactions.user)) for part in (parts.valid, parts.test))
    require_memory(POSITION * users * parse(longest)[1], f"metrics: '{longest}'", f"the lists of {users:,} users")
    if sampled := settings.sampled:
        what = f"the candidates of {users:,} users"
        require_memory(CANDIDATE * users * sampled, f"ranking.sampled={sampled:,}", what)
    if device.type == "cpu":
        chunk = min(settings.eval_memory_mb * 10**6, 4 * COPIES * users * parts.train.n_items)
        require_memory(chunk, f"ranking.eval_memory_mb={settings.eval_memory_mb:,}", "the scores of a chunk of users")


@contextmanager
def watched_building(config: LoadedConfig) -> Iterator[None]:
    """Raises TooLargeError for weights that memory cannot hold, before they are allocated."""
    with memory_errors(config), _Sizes(lambda size: _require(size, config, "the weights")):
        yield


def check_training(config: LoadedConfig, model: BaseModel, device: torch.device) -> None:
    """Raises TooLargeError if the device cannot hold the weights of a model, their gradients and moments."""
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    copies = max(_copies(config, group) for group in config.model_class.stage_groups)
    what = "the weights with their gradients and moments"
    if device.type == "cuda":
        _require((1 + copies) * weights, config, what, torch.cuda.mem_get_info(device)[0])
    else:
        _require((1 + copies) * weights, config, what, free_memory() + weights)


def check_pool(config: LoadedConfig, rows: int) -> None:
    """Raises TooLargeError for more negatives of each row of a batch than memory can hold."""
    pool = getattr(getattr(config.model, "negatives", None), "pool", 1)
    batch = min(rows, config.run.opt.for_stage("train").batch_size)
    width = getattr(config.model, "embedding_size", 1)
    what = f"the negatives of a batch of {batch:,} rows"
    require_memory(4 * (2 + width) * batch * pool, f"model.negatives.pool={pool:,}", what)


@contextmanager
def memory_errors(config: LoadedConfig) -> Iterator[None]:
    """Turns the errors of numpy and torch when memory is short into a TooLargeError."""
    try:
        yield
    except (MemoryError, OverflowError, RuntimeError) as error:
        reason = str(error).split("\n")[0]
        if isinstance(error, RuntimeError) and not any(text in str(error) for text in OUT_OF_MEMORY):
            raise
        raise TooLargeError(
            f"memory is short ({reason}). The largest setting of the model is {_largest(config)}; a smaller one, a "
            "smaller opt.batch_size or ranking.eval_memory_mb may help"
        ) from None


OUT_OF_MEMORY = ("out of memory", "not enough memory", "can't allocate memory", "Storage size calculation overflowed")


def _require(size: int, config: LoadedConfig, what: str, free: int | None = None) -> None:
    require_memory(size, _largest(config), f"{what} of {config.run.model['name']}", free)


def _largest(config: LoadedConfig) -> str:
    """The setting of the model with the largest whole number, which is the cause of a size that is too large."""
    numbers = list(_whole_numbers(config.model.model_dump(), "model"))
    name, value = max(numbers, key=lambda pair: pair[1], default=("model.name", config.run.model["name"]))
    return f"{name}={value:,}" if isinstance(value, int) else f"{name}={value}"


def _whole_numbers(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _whole_numbers(inner, f"{name}.{key}")
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _whole_numbers(inner, name)
    elif isinstance(value, int) and not isinstance(value, bool):
        yield name, value


def _copies(config: LoadedConfig, group: str) -> int:
    if group == "solve":
        return 0
    stage = config.run.opt.for_stage(group)
    return 1 if stage.row_wise else COPIES_OF_WEIGHTS[stage.name]


class _Sizes(TorchFunctionMode):
    """Adds up the bytes of the tensors made in this context, and calls ``require`` before each is made."""

    made = (torch.empty, torch.zeros, torch.ones, torch.rand, torch.randn, torch.full)

    def __init__(self, require: Callable[[int], None]) -> None:
        super().__init__()
        self.require, self.total = require, 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        if func in self.made:
            shape = given.get("size", args[0] if args and isinstance(args[0], Sequence) else args)
            numbers = math.prod(n for n in shape if isinstance(n, int))
            self.total += numbers * (given.get("dtype") or torch.get_default_dtype()).itemsize
            self.require(self.total)
        return func(*args, **given)
