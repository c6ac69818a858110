"""What is computed from all weights of a model, kept until they move."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import torch
from torch import nn

T = TypeVar("T")


class Kept(nn.Module, Generic[T]):
    """``kept(make)`` is ``make()``, which is called again once a weight of the model has moved.

    Nothing is kept in training or where gradients are recorded. It is a module, so that ``train`` of the model reaches
    it: fused optimisers move weights without counting it. It has no weights.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self._model = (model,)  # a tuple, or the model would be a part of its part
        self._kept: tuple[tuple[object, ...], T] | None = None

    def forward(self, make: Callable[[], T]) -> T:
        (model,) = self._model
        if model.training or torch.is_grad_enabled():
            return make()
        now = tuple(n for p in model.parameters() for n in (p._version, p.data_ptr(), str(p.device)))
        if self._kept is None or self._kept[0] != now:
            self._kept = now, make()
        return self._kept[1]

    def train(self, mode: bool = True) -> Kept[T]:
        if mode:
            self._kept = None
        return super().train(mode)
