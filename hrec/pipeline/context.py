"""What all stages of one training share, and how far it has come."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event
from typing import Any

from hrec.models.base import BaseModel
from hrec.pipeline.checkpoints import Checkpoints
from hrec.pipeline.devices import Processes
from hrec.pipeline.records import Progress
from hrec.pipeline.state import check_state
from hrec.settings import OptSettings


@dataclass
class Position:
    """How far training has come: ``step`` steps of ``epoch`` are done in the stage of index ``stage``."""

    stage: int = 0
    epoch: int = 0
    step: int = 0
    seconds: float = 0.0
    sums: dict[str, float] = field(default_factory=dict)
    """Sum over the steps of this epoch of each term of the loss."""

    @staticmethod
    def of(state: dict[str, Any] | None, source: Path) -> Position:
        """The position of the state saved in ``source``; the beginning without a state. Raises CheckpointError."""
        if state is None:
            return Position()
        check_state(state, source)
        return Position(**state["position"])

    def described(self) -> str:
        """'epoch 3 and 7 steps of stage 1', for a message; stages count from 1 there."""
        steps = f" and {self.step} steps" if self.step else ""
        return f"epoch {self.epoch}{steps} of stage {self.stage + 1}"


class StateSaver:
    """Measures the time of training, writes last.pt on the main process and remembers the position in it."""

    def __init__(self, checkpoints: Checkpoints | None = None, processes: Processes | None = None) -> None:
        self.checkpoints = checkpoints if processes is None or processes.is_main else None
        self.began = time.perf_counter()
        self.saved: Position | None = None

    def start(self, position: Position, saved: bool) -> None:
        """Training begins, or continues, at this position. saved: whether last.pt holds it."""
        self.began = time.perf_counter() - position.seconds
        self.saved = replace(position) if saved else None

    @property
    def seconds(self) -> float:
        """Time of training until now, with that before a resume."""
        return time.perf_counter() - self.began

    def save(self, model: BaseModel, position: Position, of_stage: Callable[[], dict[str, Any]] = dict) -> None:
        """Write the state at this position. Raises CheckpointError.

        of_stage: returns what a stage adds once it has begun.
        """
        if self.checkpoints is None:
            return
        position.seconds = self.seconds
        state = {"position": vars(position), "model": model.state_dict()}
        self.checkpoints.save_last(state | of_stage())
        self.saved = replace(position)


@dataclass(frozen=True)
class TrainContext:
    """What the stages of one training share. They read it and change nothing but ``stop`` and ``saver``.

    measure: validation metrics of the model as it is. checkpoints: None trains without saving.
    """

    opt: OptSettings
    seed: int
    measure: Callable[[BaseModel], dict[str, float]]
    checkpoints: Checkpoints | None = None
    progress: Progress = field(default_factory=Progress)
    processes: Processes = field(default_factory=Processes)
    stop: Event = field(default_factory=Event)
    """Set once a signal asks the run to stop. A stage checks it after each step."""
    saver: StateSaver = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "saver", StateSaver(self.checkpoints, self.processes))
