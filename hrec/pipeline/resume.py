"""The rules of a resumed run: which one may continue, with which data and settings, and from where."""

from __future__ import annotations

from typing import Any

import torch

from hrec.config import ConfigError, LoadedConfig
from hrec.datasets.recdata import Split
from hrec.pipeline.checkpoints import CheckpointError, Checkpoints
from hrec.pipeline.context import Position
from hrec.pipeline.fingerprint import check_same_start
from hrec.pipeline.records import RunFolder
from hrec.pipeline.stage_run import epochs_of
from hrec.settings import OptSettings, StageSettings


def check_resumable(folder: RunFolder, opt: OptSettings) -> None:
    """Raises CheckpointError if the state is lost, ConfigError if the settings allow fewer epochs than are done."""
    _refuse_lost_state(folder)
    _refuse_fewer_epochs(folder, opt)


def _refuse_lost_state(folder: RunFolder) -> None:
    """Raises CheckpointError for a run with epochs and without state: a new start would write over them."""
    last = Checkpoints(folder.path).last
    finished = (folder.path / "result.json").exists()
    if not last.exists() and (finished or folder.rows()):
        kept = "; the finished run still answers hrec recommend and hrec export" if finished else ""
        raise CheckpointError(f"{last}: is missing, so there is nothing to continue from{kept}. Start a new run")


def _refuse_fewer_epochs(folder: RunFolder, opt: OptSettings) -> None:
    """Raises ConfigError if a stage has trained more epochs than the settings allow."""
    done = {row["stage"]: row["epoch"] for row in folder.rows()}
    for stage, epochs in done.items():
        allowed = opt.for_stage(stage.split("/")[0]).epochs
        if epochs > allowed:
            raise ConfigError(
                f"opt.epochs={allowed}: {folder.path} has trained {epochs} epochs of stage '{stage}', and none can be "
                f"undone. Set {epochs} or more to continue, or start a new run"
            )


def state_of(checkpoints: Checkpoints, device: torch.device) -> dict[str, Any] | None:
    """The saved state. None for a run that was killed before its first checkpoint: it starts again in its folder."""
    return checkpoints.load_last(device) if checkpoints.last.exists() else None


def start_log(
    folder: RunFolder, config: LoadedConfig, settings: dict[str, Any], parts: Split, state: dict[str, Any] | None
) -> None:
    """Write config.json and data.json, or check that a resumed run continues with the same.

    settings: the effective ones. state: of the resumed run. Raises CheckpointError.
    """
    check_same_start(folder, parts, settings, state is not None)
    if state is not None:
        at = Position.of(state, Checkpoints(folder.path).last)
        folder.forget_after(at.stage, at.epoch)
        folder.say(_describe(folder, config, at, state))
    folder.write_json("config.json", settings)  # a resumed run may have more epochs


def _describe(folder: RunFolder, config: LoadedConfig, at: Position, state: dict[str, Any]) -> str:
    """A line about where a resumed run continues."""
    opt = config.run.opt.for_stage(config.model_class.stage_groups[-1])
    epochs = epochs_of(config.model_class, opt)
    if not (folder.path / "result.json").exists():
        return f"continues after epoch {at.epoch}, step {at.step} of stage {at.stage + 1}"
    if "optimizers" not in state:  # processes shared the last stages, and each has the state of its own
        return "this run is finished: its result is measured again"
    if _stopped_early(opt, state):
        return "this run is finished, it stopped early: its result is measured again"
    if at.epoch < epochs:
        return f"this run was finished after epoch {at.epoch}; it trains {epochs - at.epoch} more"
    more = "" if config.model_class.one_epoch else "; opt.epochs=<more> trains it further"
    return f"this run is finished: its result is measured again{more}"


def _stopped_early(opt: StageSettings, state: dict[str, Any]) -> bool:
    stopping = state.get("stopping")
    return bool(opt.early_stop and stopping and stopping["waited"] >= opt.early_stop.stop_step)
