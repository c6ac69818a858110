"""When a stage of training has stopped getting better."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal


@dataclass
class EarlyStopping:
    """Keeps the best value so far and counts the evaluations since; one per stage.

    ``finished`` after ``patience`` evaluations in a row without a better value. ``mode``: whether larger or smaller is
    better. An equal value is not better, and NaN never is.
    """

    patience: int
    mode: Literal["max", "min"] = "max"
    best: float | None = None
    """None before the first value that is a number."""
    waited: int = 0
    """Evaluations since the best."""

    def improved(self, value: float) -> bool:
        """Record the value of one evaluation; whether it is the best so far."""
        value = float(value)
        better = not math.isnan(value) and (self.best is None or self._beats(value, self.best))
        if better:
            self.best, self.waited = value, 0
        else:
            self.waited += 1
        return better

    @property
    def finished(self) -> bool:
        return self.waited >= self.patience

    def state(self) -> dict[str, Any]:
        """What a resumed run needs besides the settings, ready for JSON."""
        return {"best": self.best, "waited": self.waited}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from what ``state()`` returned."""
        self.best, self.waited = state["best"], state["waited"]

    def _beats(self, value: float, best: float) -> bool:
        return value > best if self.mode == "max" else value < best
