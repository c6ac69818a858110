"""Optimisers and schedulers by name, and a row-wise one for large tables."""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from hrec.config import ConfigError, did_you_mean
from hrec.models.layers.bags import used_rows
from hrec.pipeline.metrics import direction
from hrec.pipeline.state import same_sort
from hrec.settings import StageSettings

FUSED = ("Adam", "AdamW", "SGD", "Adagrad")
"""One kernel reads and writes each weight once; several times faster than the plain loop on large tables."""


class RowWiseAdam(Optimizer):
    """Adam without first moment and with one second moment per row, for tables with sparse gradients.

    For a row r with gradient g in this step: v_r <- beta v_r + (1 - beta) mean(g^2). Then
    w_r <- w_r - lr * g / (sqrt(v_r / (1 - beta^n_r)) + eps). Here n_r counts the steps that used the row. Other rows do
    not change, so the cost of a step is that of its rows. Row-wise second moments: Mudigere et al.,
    Software-Hardware Co-design for Fast and Scalable Training of Deep Learning Recommendation Models, ISCA 2022.
    ``weight_decay`` is added to the gradient of the rows used.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-3,
        beta: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "beta": beta, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._update(weight, group)

    def _update(self, weight: Tensor, group: dict[str, Any]) -> None:
        rows, values = used_rows(weight.grad)  # type: ignore[arg-type]
        state = self.state[weight]
        if not state:
            state["square"] = weight.new_zeros(len(weight))
            state["steps"] = weight.new_zeros(len(weight))
        if group["weight_decay"]:
            values = values + group["weight_decay"] * weight[rows]
        beta = group["beta"]
        square = torch.lerp(
            torch.linalg.vector_norm(values, dim=1).square_().div_(values.shape[1]), state["square"][rows], beta
        )
        steps = state["steps"][rows] + 1
        state["square"][rows] = square
        state["steps"][rows] = steps
        scale = -group["lr"] / (torch.sqrt(square / (1 - beta**steps)) + group["eps"])
        weight.index_add_(0, rows, values.mul_(scale[:, None]))


class Optimizers:
    """The optimiser of a stage: one for all weights, or with ``row_wise`` one for tables and one for the rest."""

    def __init__(self, params: Iterable[nn.Parameter], settings: StageSettings) -> None:
        self.params = list(params)
        self.clip = settings.clip_grad
        self.parts: list[Optimizer] = []
        # a dense optimiser reads every row of a gradient: a sparse one is written into a buffer and cleared there again
        self.buffers: dict[nn.Parameter, Tensor] = {}
        tables = [p for p in self.params if getattr(p, "dense_up_to", math.inf) < math.inf] if settings.row_wise else []
        held = {id(p) for p in tables}
        self.dense = [p for p in self.params if id(p) not in held]
        if self.dense:
            self.parts.append(_by_name(settings, self.dense))
        if tables:
            for p in tables:
                p.dense_up_to = 0.0  # type: ignore[attr-defined]
            shared = {k: v for k, v in settings.hyper_params.items() if k in ("lr", "weight_decay", "eps")}
            beta = settings.hyper_params.get("betas", (0.9, 0.999))[1]
            self.parts.append(RowWiseAdam(tables, beta=beta, **shared))

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for p in self.params:
            p.grad = None

    def step(self, scaler: torch.amp.GradScaler | None = None) -> None:
        """Clip the gradients and update the weights."""
        if scaler is not None:
            for part in self.parts:
                scaler.unscale_(part)
        if self.clip is not None:
            clip_gradients(self.params, self.clip)
        used = {p: self._spread(p) for p in self.dense if (g := p.grad) is not None and g.is_sparse}
        for part in self.parts:
            if scaler is None:
                part.step()
            else:
                scaler.step(part)
        if scaler is not None:
            scaler.update()
        for p, rows in used.items():
            self.buffers[p].index_fill_(0, rows, 0.0)

    def _spread(self, p: nn.Parameter) -> Tensor:
        """Write the sparse gradient of a table into its buffer, which becomes its gradient; the rows written."""
        rows, values = used_rows(p.grad)  # type: ignore[arg-type]
        if p not in self.buffers:
            self.buffers[p] = torch.zeros_like(p)
        p.grad = self.buffers[p].index_copy_(0, rows, values)
        return rows

    def state_dict(self) -> list[dict[str, Any]]:
        return [part.state_dict() for part in self.parts]

    def load_state_dict(self, states: list[dict[str, Any]]) -> None:
        """Raises ValueError, or what torch raises, for states of other optimisers."""
        for part, state in zip(self.parts, states, strict=True):
            groups = part.state_dict()["param_groups"]
            if not same_sort({"state": {}, "param_groups": groups}, state):
                raise ValueError("an optimiser's settings are of other types")
            part.load_state_dict(state)
            for weight, kept in part.state.items():
                if not all(_may_be_of(weight, name, value) for name, value in kept.items()):
                    raise ValueError("what an optimiser keeps of a weight is of another size")


def _may_be_of(weight: Tensor, name: str, value: Any) -> bool:
    """Whether an optimiser may keep this of a weight: a count of steps, or numbers for each weight or each row."""
    if name == "step":
        return isinstance(value, int | float) or (isinstance(value, Tensor) and value.numel() == 1)
    if value is None:
        return name == "momentum_buffer"  # SGD without momentum
    return isinstance(value, Tensor) and value.shape in (weight.shape, weight.shape[:1])


def clip_gradients(params: Iterable[Tensor], largest: float) -> None:
    """Scale all gradients so that their joint 2-norm is at most ``largest``; sparse ones by their values."""
    values = []
    for p in params:
        gradient = p.grad
        if gradient is not None and gradient.is_sparse:
            rows, summed = used_rows(gradient)
            p.grad = torch.sparse_coo_tensor(rows[None], summed, gradient.shape, check_invariants=False)
            values.append(p.grad._values())
        elif gradient is not None:
            values.append(gradient)
    if values:
        norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(v) for v in values]))
        factor = (largest / (norm + 1e-6)).clamp(max=1.0)
        for v in values:
            v.mul_(factor)


def _by_name(settings: StageSettings, params: list[nn.Parameter]) -> Optimizer:
    cls = getattr(torch.optim, settings.name)
    hyper = dict(settings.hyper_params)
    _check_keys(cls, hyper, "opt.hyper_params")
    if settings.name in FUSED and not {"foreach", "fused"} & hyper.keys():
        hyper["fused"] = True
    try:
        return cls(params, **hyper)
    except (TypeError, ValueError, IndexError, RuntimeError) as error:
        raise ConfigError(f"opt.hyper_params: {settings.name} refuses {settings.hyper_params}: {error}") from None


class Scheduler:
    """Changes the learning rate after each epoch, or for ReduceLROnPlateau after each evaluation."""

    def __init__(self, optimizers: Optimizers, settings: StageSettings) -> None:
        self.parts: list[Any] = []
        self.on_plateau = False
        if settings.scheduler is None:
            return
        cls = getattr(torch.optim.lr_scheduler, settings.scheduler.name)
        hyper = dict(settings.scheduler.hyper_params)
        _check_keys(cls, hyper, "opt.scheduler.hyper_params")
        self.on_plateau = settings.scheduler.name == "ReduceLROnPlateau"
        if self.on_plateau:
            if settings.early_stop is None:
                raise ConfigError("opt.scheduler: ReduceLROnPlateau watches the metric of opt.early_stop; set that too")
            watched = settings.early_stop.metric
            if hyper.setdefault("mode", direction(watched)) != direction(watched):
                raise ConfigError(
                    f"opt.scheduler.hyper_params.mode: '{hyper['mode']}', but it watches '{watched}', "
                    f"which is better when it is {direction(watched)}imal; leave the key out"
                )
        try:
            self.parts = [cls(part, **hyper) for part in optimizers.parts]
        except (TypeError, ValueError, KeyError, ZeroDivisionError) as error:
            raise ConfigError(f"opt.scheduler: {settings.scheduler.name} refuses {hyper}: {error}") from None

    def after_epoch(self) -> None:
        for part in [] if self.on_plateau else self.parts:
            part.step()

    def after_evaluation(self, value: float) -> None:
        for part in self.parts if self.on_plateau else []:
            part.step(value)

    def state_dict(self) -> list[dict[str, Any]]:
        return [part.state_dict() for part in self.parts]

    def load_state_dict(self, states: list[dict[str, Any]]) -> None:
        """Raises ValueError for states of other schedulers."""
        for part, state in zip(self.parts, states, strict=True):
            if not same_sort(part.state_dict(), state):
                raise ValueError("a scheduler's state is of other types")
            part.load_state_dict(state)


def _check_keys(cls: type, hyper: dict[str, Any], where: str) -> None:
    """Raises ConfigError for a key that the class lacks, or a value of another type."""
    known = inspect.signature(cls).parameters
    names = [name for name in known if name not in ("params", "optimizer")]
    for key, value in hyper.items():
        if key not in names:
            near = did_you_mean(key, names)
            raise ConfigError(f"{where}.{key}: {cls.__name__} has no such key.{near} Known keys: {', '.join(names)}")
        default = known[key].default
        if isinstance(value, list) and isinstance(default, float | int):
            raise ConfigError(f"{where}.{key}: should be a number, got {json.dumps(value)}")
        if isinstance(value, list) and any(one is None for one in value):
            raise ConfigError(f"{where}.{key}: should be a list of numbers, got {json.dumps(value)}")
        if _holds(value, str) and not isinstance(default, str):
            raise ConfigError(f"{where}.{key}: should be a number, got {value!r}")
        if value is None and default is not None:
            kind = "true or false" if isinstance(default, bool) else "a number"
            raise ConfigError(f"{where}.{key}: should be {kind}, got null")
        if isinstance(default, tuple) and not (isinstance(value, list | tuple) and len(value) == len(default)):
            raise ConfigError(f"{where}.{key}: should be a list of {len(default)} numbers, got {json.dumps(value)}")
        if infinite := [one for one in _leaves(value) if isinstance(one, float) and not math.isfinite(one)]:
            raise ConfigError(f"{where}.{key}: should be a finite number, got {infinite[0]}")
        if isinstance(value, bool) and default is not None and not isinstance(default, bool):
            raise ConfigError(f"{where}.{key}: should be a number, got {json.dumps(value)}")


def _holds(value: Any, kind: type) -> bool:
    return any(isinstance(one, kind) for one in _leaves(value))


def _leaves(value: Any) -> list[Any]:
    """The values in nested lists; of another value, a list with it alone."""
    return [leaf for one in value for leaf in _leaves(one)] if isinstance(value, list | tuple) else [value]
