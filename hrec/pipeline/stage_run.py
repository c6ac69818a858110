"""One stage of training on its way: steps or sweeps, the losses looked at, evaluations, the best weights kept.

Every epoch draws from a generator seeded by (seed, stage, epoch), so an epoch can be repeated bit for bit. A state
saved in the middle of an epoch also holds the step and the state of torch's own generators: on resume the batches
before that step are drawn again and passed over.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import torch
from torch import Tensor, nn

from hrec.config import ConfigError
from hrec.datasets.batches import Draw
from hrec.endings import Refusal
from hrec.models.base import BaseModel, Stage
from hrec.models.layers.own_row import OwnRowOut
from hrec.pipeline.devices import autocast
from hrec.pipeline.distributed import losses_of
from hrec.pipeline.early_stopping import EarlyStopping
from hrec.pipeline.metrics import ScoreError, direction
from hrec.pipeline.optimizers import Optimizers, Scheduler
from hrec.pipeline.state import check_state
from hrec.settings import StageSettings

if TYPE_CHECKING:
    from hrec.pipeline.trainer import Trainer

LOOK_EVERY = 50
"""Steps between two looks at the losses: reading them makes a GPU wait."""


class Interrupted(Exception):
    """The run was asked to stop (Ctrl-C or SIGTERM) and its state is saved."""


class DivergedError(Refusal, FloatingPointError):
    """A term of the loss became NaN or infinite."""


@dataclass
class Position:
    """How far training has come: ``step`` steps of ``epoch`` are done in stage number ``stage``."""

    stage: int = 0
    epoch: int = 0
    step: int = 0
    seconds: float = 0.0
    sums: dict[str, float] = field(default_factory=dict)
    """Sum over the steps of this epoch of each term of the loss."""

    @staticmethod
    def of(state: dict[str, Any] | None, source: Path) -> Position:
        """That of the state saved in ``source``, the beginning without one. Raises CheckpointError for no state."""
        if state is None:
            return Position()
        check_state(state, source)
        return Position(**state["position"])


class StageRun:
    """One stage on its way: optimiser, scheduler, early stopping, and the position in it."""

    def __init__(
        self, trainer: Trainer, model: BaseModel, stage: Stage, settings: StageSettings, position: Position
    ) -> None:
        self.trainer, self.model, self.stage, self.settings, self.at = trainer, model, stage, settings, position
        self.epochs = epochs_of(type(model), settings)
        moving = list(stage.params)
        self.still = _freeze(model, moving)
        self.optimizers = Optimizers(moving, settings)
        self.scheduler = Scheduler(self.optimizers, settings)
        if self.scheduler.on_plateau and not stage.measured:
            told = f"ReduceLROnPlateau does nothing in stage '{stage.name}', which is not measured"
            trainer.progress.say(f"opt.scheduler: {told}; opt.stages.{stage.group}.scheduler takes another")
        stop = settings.early_stop if stage.measured else None
        self.watched = stage.monitor or (stop.metric if stop else None)
        self.stopping = EarlyStopping(stop.stop_step, stop.mode or direction(stop.metric)) if stop else None
        device = model.device
        self.scaler = torch.amp.GradScaler(device.type) if trainer.opt.precision == "16" else None
        self.losses = losses_of(model, stage, trainer.processes, settings.row_wise) if stage.loss else None

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a saved state of this stage."""
        if not (self.at.epoch or self.at.step) and "optimizers" not in state:
            return  # saved between two stages: this one has not begun
        self.optimizers.load_state_dict(state["optimizers"])
        self.scheduler.load_state_dict(state["schedulers"])
        if self.stopping and state["stopping"]:
            self.stopping.restore(state["stopping"])
        if self.scaler and state["scaler"]:
            self.scaler.load_state_dict(state["scaler"])
        if self.at.step:
            self._set_rng(state["rng"])

    def state(self) -> dict[str, Any]:
        """What ``restore`` needs beside the position and the weights."""
        return {
            "optimizers": self.optimizers.state_dict(),
            "schedulers": self.scheduler.state_dict(),
            "stopping": self.stopping.state() if self.stopping else None,
            "scaler": self.scaler.state_dict() if self.scaler else None,
            "rng": self._get_rng(),
        }

    def finish(self) -> None:
        """Train until the epochs are used up or early stopping has had enough; leave the best weights in place."""
        s, best_saved = self.settings, self.stopping is not None and self.stopping.best is not None
        while self.at.epoch < self.epochs and not (self.stopping and self.stopping.finished):
            losses = self._solve() if self.stage.solve else self._descend()
            epoch = self.at.epoch + 1
            self._require_finite(f"after epoch {epoch}")
            row: dict[str, Any] = {"stage": self.stage.name, "epoch": epoch} | losses
            row["lr"] = self.optimizers.parts[0].param_groups[0]["lr"] if self.optimizers.parts else 0.0
            self.scheduler.after_epoch()
            last_epoch = epoch == self.epochs
            if self.stage.measured and (epoch % s.eval_step == 0 or last_epoch):
                best_saved = self._evaluate(row) or best_saved
            last_epoch |= bool(self.stopping and self.stopping.finished)
            row["seconds"] = round(time.perf_counter() - self.trainer.began, 3)
            self.at = Position(self.at.stage, epoch, 0, row["seconds"])
            self.trainer.progress.epoch(row)
            if epoch % s.save_step == 0 or last_epoch:
                self.trainer.save(self.model, self.at, self)
        if best_saved and self.trainer.checkpoints:
            self.trainer.processes.wait()
            self.trainer.checkpoints.load_best(self.model)

    def _evaluate(self, row: dict[str, Any]) -> bool:
        """Add validation metrics to ``row``; save the weights and return True if they are the best so far."""
        try:
            measured = self.trainer.measure(self.model)
        except ScoreError as error:
            self._diverged(f"after epoch {row['epoch']}: {error}")
        row |= measured
        if self.stopping is None or self.watched is None:
            return False
        value = measured[self.watched]
        if math.isnan(value):  # hrec's own metrics are asked before training (checks.py)
            raise ConfigError(
                f"early_stop.metric: '{self.watched}' has no value on the validation part, which holds nothing of its "
                "group; watch another, or set early_stop to null"
            )
        self.scheduler.after_evaluation(value)
        improved = row["best"] = self.stopping.improved(value)
        if improved and self.trainer.checkpoints and self.trainer.processes.is_main:
            note = {"stage": self.stage.name, "epoch": str(row["epoch"]), self.watched: f"{value:.6f}"}
            self.trainer.checkpoints.save_best(self.model, note)
        return improved

    def _solve(self) -> dict[str, float]:
        """One sweep of a stage that is solved in closed form."""
        assert self.stage.solve is not None
        if self.trainer.stop_asked:  # before the sweep: one that is done would be done again on resume
            self._stop()
        torch.manual_seed(_mix(self.trainer.seed, self.at.stage, self.at.epoch))
        with self._solving():
            loss = self.stage.solve()
        self._check({"loss": loss}, 0)
        return {"loss": loss}

    @contextmanager
    def _solving(self) -> Iterator[None]:
        """A closed-form step that cannot be solved ends the run as a loss that is NaN does, with another remedy."""
        try:
            yield
        except (FloatingPointError, torch.linalg.LinAlgError) as error:
            reason = str(error).split("\n")[0]
            self._diverged(f"epoch {self.at.epoch + 1}: {reason}", "other settings of the model")

    def _descend(self) -> dict[str, float]:
        """One epoch, or the rest of one; the mean over its steps of each term of the loss."""
        t, at, device = self.trainer, self.at, self.model.device
        assert self.stage.sampler is not None and self.losses is not None
        generator = torch.Generator().manual_seed(_mix(t.seed, at.stage, at.epoch))
        if at.step == 0:
            torch.manual_seed(_mix(t.seed, at.stage, at.epoch))  # the same on every process
            with self._solving():
                self.stage.each_epoch()
            torch.manual_seed(_mix(t.seed, at.stage, at.epoch, t.processes.rank + 1))
        self.model.train()
        for module in self.still:
            module.training = False
        draw = Draw(self.settings.batch_size, generator, device, t.processes.rank, t.processes.world)
        skip, waiting = at.step, []
        t.progress.start_epoch(self.stage.name, at.epoch + 1, self.epochs, skip)
        for number, batch in enumerate(self.stage.sampler.epoch(draw)):
            if number < skip:
                continue
            waiting.append(self.step(batch))
            at.step = number + 1
            if len(waiting) == LOOK_EVERY:
                self._look(waiting)
            if t.stop_asked:
                self._look(waiting)
                self._stop()
        self._look(waiting)
        if not at.step:
            raise ConfigError(no_batch(self.stage))
        return {"loss": sum(at.sums.values()) / at.step} | {k: v / at.step for k, v in at.sums.items()}

    def step(self, batch: Any) -> dict[str, Tensor]:
        """One step of the optimiser; the terms of the loss before it."""
        assert self.losses is not None
        self.optimizers.zero_grad()
        with autocast(self.model.device, self.trainer.opt.precision):
            # a loss is a mean over rows, and processes may have a row more or less than others; of a batch per kind
            # len is the number of kinds, and its model weighs each kind by Points.share
            weight = self.trainer.processes.weight(len(batch))
            terms = self.losses(batch)
            if weight != 1:
                terms = {name: weight * term for name, term in terms.items()}
            loss = torch.stack(list(terms.values())).sum() if len(terms) > 1 else next(iter(terms.values()))
        (loss if self.scaler is None else self.scaler.scale(loss)).backward()
        self.optimizers.step(self.scaler)
        return {name: term.detach() for name, term in terms.items()}

    def _look(self, waiting: list[dict[str, Tensor]]) -> None:
        """Read the losses of the steps since the last look, and empty the list."""
        if not waiting:
            return
        terms = torch.stack([term.float() for step in waiting for term in step.values()])
        values = iter(self.trainer.processes.mean(terms).tolist())
        first = self.at.step - len(waiting)
        for i, step in enumerate(waiting):
            row = {name: next(values) for name in step}  # a term may be missing from some steps
            self._check(row, first + i)
            for name, value in row.items():
                self.at.sums[name] = self.at.sums.get(name, 0.0) + value
        self.trainer.progress.steps(len(waiting), {k: v / self.at.step for k, v in self.at.sums.items()})
        waiting.clear()

    def _check(self, row: dict[str, float], step: int) -> None:
        for name, value in row.items():
            if not math.isfinite(value):
                at = f"epoch {self.at.epoch + 1}, step {step + 1}"
                self._diverged(f"{at}: the term '{name}' of the loss became {value}")

    def _diverged(self, what: str, remedy: str = "") -> NoReturn:
        saved, good = self.trainer.checkpoints, ""
        if saved and saved.last.exists():
            good = f" The last good checkpoint is {saved.last}{self.trainer.saved_at()}."
        if saved and self.stopping and self.stopping.best is not None and saved.best.exists():
            good += f" The weights that did best are in {saved.best}."
        # a stage that is solved has no steps to make smaller
        of_steps = "a smaller opt.hyper_params.lr, or with opt.clip_grad"
        remedy = remedy or (of_steps if self.losses is not None else "other settings of the model")
        raise DivergedError(
            f"stage '{self.stage.name}', {what}.{good} Start again with {remedy}: to resume would come to the same."
        )

    def _require_finite(self, when: str) -> None:
        """Before anything is saved or measured: the last good checkpoint and the best weights stay as they are."""
        for name, p in self.model.named_parameters():
            if not bool(torch.isfinite(p).all()):
                self._diverged(f"{when}: the weights '{name}' are no longer finite")

    def _stop(self) -> None:
        self._require_finite(f"epoch {self.at.epoch + 1}, step {self.at.step}")
        self.trainer.save(self.model, self.at, self)
        raise Interrupted

    def _get_rng(self) -> list[Tensor]:
        device = self.model.device
        return [torch.get_rng_state()] + ([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])

    def _set_rng(self, states: list[Tensor]) -> None:
        torch.set_rng_state(states[0].cpu())
        if len(states) > 1 and self.model.device.type == "cuda":
            torch.cuda.set_rng_state(states[1].cpu(), self.model.device)


def epochs_of(model_class: type[BaseModel], settings: StageSettings) -> int:
    """The most epochs that a stage trains: those of the settings, one where another would come to the same."""
    return 1 if model_class.one_epoch else settings.epochs


def no_batch(stage: Stage) -> str:
    """Why an epoch had no step, in words."""
    return (
        f"stage '{stage.name}' has no batch to train on: its sampler can use none of the training rows. Models of "
        "pairs need users who like something and have not seen everything of its kind"
    )


def _freeze(model: BaseModel, moving: list[nn.Parameter]) -> set[nn.Module]:
    """Let only the weights in ``moving`` learn; returns what is to be as in evaluation: the modules that have weights
    and none that moves, with all inside them but columns, as the rows that read those are training rows still."""
    wanted = {id(p) for p in moving}
    for p in model.parameters():
        p.requires_grad_(id(p) in wanted)
    return {
        part
        for module in model.modules()
        if (own := list(module.parameters())) and not any(id(p) in wanted for p in own)
        for part in module.modules()
        if not isinstance(part, OwnRowOut)
    }


def _mix(*numbers: int) -> int:
    """One seed from several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)
