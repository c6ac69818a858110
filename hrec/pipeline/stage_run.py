"""One stage of training: steps or sweeps, checks of the losses, evaluations, and the best weights.

Every epoch draws from a generator seeded by (seed, stage, epoch), so an epoch can be repeated bit for bit. A state
saved in the middle of an epoch also holds the step and the state of torch's own generators. On resume the batches
before that step are drawn again and skipped.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor, nn

from hrec.config import ConfigError
from hrec.datasets.batches import Draw
from hrec.endings import Refusal
from hrec.models.base import BaseModel, Stage
from hrec.pipeline.context import Position, TrainContext
from hrec.pipeline.devices import autocast
from hrec.pipeline.distributed import losses_of
from hrec.pipeline.early_stopping import EarlyStopping
from hrec.pipeline.metrics import ScoreError, direction
from hrec.pipeline.optimizers import Optimizers, Scheduler
from hrec.settings import StageSettings

LOG_EVERY = 50
"""Steps between two readings of the losses: each makes a GPU wait."""

OTHER_SETTINGS = "other settings of the model"


class Interrupted(Exception):
    """A signal (Ctrl-C or SIGTERM) stopped the run, and its state is saved."""


class DivergedError(Refusal, FloatingPointError):
    """A term of the loss became NaN or infinite."""


class StageRun:
    """One stage while it is trained: optimiser, scheduler, early stopping, and the position in it."""

    def __init__(self, context: TrainContext, model: BaseModel, stage: Stage, position: Position) -> None:
        self.context, self.model, self.stage, self.at = context, model, stage, position
        self.settings = settings = context.opt.for_stage(stage.group)
        self.epochs = epochs_of(type(model), settings)
        trainable = list(stage.params)
        self.frozen = _freeze(model, trainable)
        self.optimizers = Optimizers(trainable, settings)
        self.scheduler = Scheduler(self.optimizers, settings)
        if self.scheduler.on_plateau and not stage.measured:
            context.progress.say(
                f"opt.scheduler: ReduceLROnPlateau does nothing in stage '{stage.name}', which is not measured; set "
                f"another in opt.stages.{stage.group}.scheduler"
            )
        stop = settings.early_stop if stage.measured else None
        self.watched = watched_by(stop.metric, stage.kind) if stop else None
        self.stopping = EarlyStopping(stop.stop_step, stop.mode or direction(stop.metric)) if stop else None
        self.scaler = torch.amp.GradScaler(model.device.type) if context.opt.precision == "16" else None
        self.losses = losses_of(model, stage, context.processes, settings.row_wise) if stage.loss else None

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a saved state of this stage."""
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
        """What ``restore`` needs, besides the position and the weights."""
        return {
            "optimizers": self.optimizers.state_dict(),
            "schedulers": self.scheduler.state_dict(),
            "stopping": self.stopping.state() if self.stopping else None,
            "scaler": self.scaler.state_dict() if self.scaler else None,
            "rng": self._get_rng(),
        }

    def finish(self) -> None:
        """Train until the epochs are used up or early stopping ends the stage; leave the best weights in the model."""
        best_saved = self.stopping is not None and self.stopping.best is not None
        while not self._is_over():
            losses = self._solve() if self.stage.solve else self._descend()
            best_saved = self._end_epoch(losses) or best_saved
        if best_saved and self.context.checkpoints:
            self.context.processes.wait()
            self.context.checkpoints.load_best(self.model)

    def _is_over(self) -> bool:
        return self.at.epoch >= self.epochs or (self.stopping is not None and self.stopping.finished)

    def _end_epoch(self, losses: dict[str, float]) -> bool:
        """Evaluate, log and save at the end of an epoch; whether its weights are the best so far."""
        epoch, settings, context = self.at.epoch + 1, self.settings, self.context
        self._require_finite(f"after epoch {epoch}")
        row: dict[str, Any] = {"stage": self.stage.name, "epoch": epoch} | losses
        row["lr"] = self.optimizers.parts[0].param_groups[0]["lr"] if self.optimizers.parts else 0.0
        self.scheduler.after_epoch()
        evaluated = self.stage.measured and (epoch % settings.eval_step == 0 or epoch == self.epochs)
        improved = self._evaluate(row) if evaluated else False
        row["seconds"] = round(context.saver.seconds, 3)
        self.at = Position(self.at.stage, epoch, 0, row["seconds"])
        context.progress.epoch(row)
        if epoch % settings.save_step == 0 or self._is_over():
            context.saver.save(self.model, self.at, self.state)
        return improved

    def _evaluate(self, row: dict[str, Any]) -> bool:
        """Add validation metrics to ``row``; save the weights and return True if they are the best so far."""
        try:
            measured = self.context.measure(self.model)
        except ScoreError as error:
            self._diverged(f"after epoch {row['epoch']}: {error}")
        row |= measured
        if self.stopping is None or self.watched is None:
            return False
        value = measured[self.watched]
        if math.isnan(value):  # metrics of the settings are checked before training (checks.py)
            raise ConfigError(
                f"early_stop.metric: '{self.watched}' has no value on the validation split, which holds no row of its "
                "group; watch another, or set early_stop to null"
            )
        self.scheduler.after_evaluation(value)
        improved = row["best"] = self.stopping.improved(value)
        if improved and self.context.checkpoints and self.context.processes.is_main:
            note = {"stage": self.stage.name, "epoch": str(row["epoch"]), self.watched: f"{value:.6f}"}
            self.context.checkpoints.save_best(self.model, note)
        return improved

    def _solve(self) -> dict[str, float]:
        """One sweep of a stage that is solved in closed form."""
        assert self.stage.solve is not None
        if self.context.stop.is_set():  # before the sweep: on resume a finished sweep would be repeated
            self._stop()
        torch.manual_seed(self._seed())
        with self._solving():
            loss = self.stage.solve()
        self._check({"loss": loss}, 0)
        return {"loss": loss}

    def _seed(self, *more: int) -> int:
        """The seed of this epoch."""
        place = self.at.stage if self.stage.stream is None else self.stage.stream
        return _mix(self.context.seed, place, self.at.epoch, *more)

    @contextmanager
    def _solving(self) -> Iterator[None]:
        """Raises DivergedError if a closed-form step cannot be solved."""
        try:
            yield
        except (FloatingPointError, torch.linalg.LinAlgError) as error:
            reason = str(error).split("\n")[0]
            self._diverged(f"epoch {self.at.epoch + 1}: {reason}", OTHER_SETTINGS)

    def _descend(self) -> dict[str, float]:
        """One epoch, or the rest of one; the mean over its steps of each term of the loss."""
        at, context = self.at, self.context
        skip, waiting = at.step, []
        batches = enumerate(self._batches())
        context.progress.start_epoch(self.stage.name, at.epoch + 1, self.epochs, skip)
        for index, batch in batches:
            if index < skip:
                continue
            waiting.append(self.step(batch))
            at.step = index + 1
            if len(waiting) == LOG_EVERY:
                self._read_losses(waiting)
            if context.stop.is_set():
                self._read_losses(waiting)
                self._stop()
        self._read_losses(waiting)
        if not at.step:
            raise ConfigError(no_batch(self.stage))
        return {"loss": sum(at.sums.values()) / at.step} | {k: v / at.step for k, v in at.sums.items()}

    def _batches(self) -> Iterator[Any]:
        """The batches of this epoch, with the model in training mode but for its frozen modules."""
        processes = self.context.processes
        assert self.stage.sampler is not None
        generator = torch.Generator().manual_seed(self._seed())
        if self.at.step == 0:
            torch.manual_seed(self._seed())  # the same on every process
            with self._solving():
                self.stage.each_epoch()
            torch.manual_seed(self._seed(processes.rank + 1))
        self.model.train()
        for module in self.frozen:
            module.training = False
        draw = Draw(self.settings.batch_size, generator, self.model.device, processes.rank, processes.world)
        return iter(self.stage.sampler.epoch(draw))

    def step(self, batch: Any) -> dict[str, Tensor]:
        """One step of the optimiser; the terms of the loss before it."""
        assert self.losses is not None
        self.optimizers.zero_grad()
        with autocast(self.model.device, self.context.opt.precision):
            # A loss is a mean over rows, and processes may differ by a row. For a batch per kind, len is the number of
            # kinds, and the model weighs each kind by Points.share.
            weight = self.context.processes.weight(len(batch))
            terms = self.losses(batch)
            if weight != 1:
                terms = {name: weight * term for name, term in terms.items()}
            loss = torch.stack(list(terms.values())).sum() if len(terms) > 1 else next(iter(terms.values()))
        (loss if self.scaler is None else self.scaler.scale(loss)).backward()
        self.optimizers.step(self.scaler)
        return {name: term.detach() for name, term in terms.items()}

    def _read_losses(self, waiting: list[dict[str, Tensor]]) -> None:
        """Read, check and log the losses of the waiting steps, and empty the list."""
        if not waiting:
            return
        terms = torch.stack([term.float() for step in waiting for term in step.values()])
        values = iter(self.context.processes.mean(terms).tolist())
        first = self.at.step - len(waiting)
        for i, step in enumerate(waiting):
            row = {name: next(values) for name in step}  # some steps may lack a term
            self._check(row, first + i)
            for name, value in row.items():
                self.at.sums[name] = self.at.sums.get(name, 0.0) + value
        self.context.progress.steps(len(waiting), {k: v / self.at.step for k, v in self.at.sums.items()})
        waiting.clear()

    def _check(self, row: dict[str, float], step: int) -> None:
        for name, value in row.items():
            if not math.isfinite(value):
                at = f"epoch {self.at.epoch + 1}, step {step + 1}"
                self._diverged(f"{at}: the term '{name}' of the loss became {value}")

    def _diverged(self, what: str, remedy: str = "") -> NoReturn:
        # a stage that is solved has no steps to make smaller
        of_steps = "a smaller opt.hyper_params.lr, or with opt.clip_grad"
        remedy = remedy or (of_steps if self.losses is not None else OTHER_SETTINGS)
        raise DivergedError(
            f"stage '{self.stage.name}', {what}.{self._good_checkpoints()} Start a new run with {remedy}. Resuming "
            "this one would end the same way."
        )

    def _good_checkpoints(self) -> str:
        """Sentences that name the files with finite weights, for a message."""
        checkpoints, saved, out = self.context.checkpoints, self.context.saver.saved, ""
        if checkpoints and checkpoints.last.exists():
            state = f", the state after {saved.described()}" if saved else ""
            out = f" The last good checkpoint is {checkpoints.last}{state}."
        if checkpoints and self.stopping and self.stopping.best is not None and checkpoints.best.exists():
            out += f" The best weights are in {checkpoints.best}."
        return out

    def _require_finite(self, when: str) -> None:
        """Raises DivergedError before anything is saved or measured, so that the checkpoints keep finite weights."""
        for name, p in self.model.named_parameters():
            if not bool(torch.isfinite(p).all()):
                self._diverged(f"{when}: the weights '{name}' are no longer finite")

    def _stop(self) -> None:
        self._require_finite(f"epoch {self.at.epoch + 1}, step {self.at.step}")
        self.context.saver.save(self.model, self.at, self.state)
        raise Interrupted

    def _get_rng(self) -> list[Tensor]:
        device = self.model.device
        return [torch.get_rng_state()] + ([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])

    def _set_rng(self, states: list[Tensor]) -> None:
        torch.set_rng_state(states[0].cpu())
        if len(states) > 1 and self.model.device.type == "cuda":
            torch.cuda.set_rng_state(states[1].cpu(), self.model.device)


def watched_by(metric: str, kind: str | None) -> str:
    """The metric that a stage watches: that of the settings, for the stage's kind where it is of one."""
    return metric if kind is None else f"{metric.partition('/')[0]}/{kind}"


def epochs_of(model_class: type[BaseModel], settings: StageSettings) -> int:
    """The most epochs that a stage trains: those of the settings, or one if another would change nothing."""
    return 1 if model_class.one_epoch else settings.epochs


NO_BATCH = "Models of pairs need users with a positive who have not interacted with every item of its kind"
"""Why a sampler without a reason of its own, ``no_batch``, yields nothing."""


def no_batch(stage: Stage) -> str:
    """Why an epoch had no step, in words."""
    reason = getattr(stage.sampler, "no_batch", NO_BATCH)
    return f"stage '{stage.name}' has no batch to train on: its sampler can use none of the training rows. {reason}"


def _freeze(model: BaseModel, trainable: list[nn.Parameter]) -> set[nn.Module]:
    """Freeze all weights but ``trainable``; the modules that leave training mode with them.

    These are the modules that have weights, none of them trainable, and all modules inside them. A module with
    ``stays_in_training`` is left out: its training mode is about the rows that it reads, not about its weights.
    """
    wanted = {id(p) for p in trainable}
    for p in model.parameters():
        p.requires_grad_(id(p) in wanted)
    return {
        inner
        for module in model.modules()
        if (own := list(module.parameters())) and not any(id(p) in wanted for p in own)
        for inner in module.modules()
        if not getattr(inner, "stays_in_training", False)
    }


def _mix(*numbers: int) -> int:
    """One seed from several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)
