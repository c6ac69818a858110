"""The whole experiment, read top to bottom: data, split, model, training, test, result."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hrec.config import ConfigError, LoadedConfig
from hrec.datasets import best_possible_auc, load_split
from hrec.datasets.recdata import Split
from hrec.models.base import BaseModel
from hrec.pipeline.building import build_model, cache_folder, effective_settings
from hrec.pipeline.checkpoints import CheckpointError, Checkpoints
from hrec.pipeline.checks import (
    check_settings,
    check_watched,
    kinds_of_one_class,
    measured_metrics,
    metrics_without_value,
)
from hrec.pipeline.curves import draw_curves
from hrec.pipeline.devices import Processes, processes, reuse_memory
from hrec.pipeline.evaluator import Evaluator
from hrec.pipeline.init_from import start_from
from hrec.pipeline.memory import check_lists, check_pool, memory_errors
from hrec.pipeline.ranking import ranked_out_of, told
from hrec.pipeline.ranking_metrics import is_ranking
from hrec.pipeline.records import (
    Heading,
    Progress,
    RunFolder,
    lists_table,
    metrics_table,
    peak_memory_mb,
    provenance,
    stamped,
    table,
)
from hrec.pipeline.same_data import check_same_start
from hrec.pipeline.stage_run import Interrupted, Position, epochs_of
from hrec.pipeline.trainer import Trainer
from hrec.settings import OptSettings
from hrec.threads import how_threads_wait

Look = Callable[[BaseModel, Split, Path], None]
"""What may look at a trained model, its data and its run folder."""


def run(
    config: LoadedConfig,
    resume: Path | None = None,
    show: bool = True,
    parts: Split | None = None,
    look: Look = lambda model, parts, folder: None,
    bars: bool | None = None,
) -> dict[str, Any]:
    """Train and test one model as ``config`` says, in a new run folder or from ``resume`` on; returns result.json.

    ``bars``: draw them on a terminal; None: where ``show`` is. ``parts``: the data where it has been read already
    (``load_split``). ``look`` is called with the trained model before result.json is written, on the main process.

    Raises ConfigError, DataError, CheckpointError or DivergedError with a message for people, and Interrupted after
    Ctrl-C once the state is saved. The folder is made once data and model are there: a mistake in them leaves nothing.
    """
    device = check_settings(config)
    reuse_memory()
    with processes(device) as group, ExitStack() as held:
        if resume is not None and group.is_main:
            held.enter_context(RunFolder(resume).locked())
        heading = Heading(show and group.is_main)
        fresh = resume is None or not Checkpoints(resume).last.exists()
        parts, model = prepare(config, device, group, heading, parts, fresh)
        folder = _open_folder(config, resume, show, group, heading)
        if folder and resume is None:
            held.enter_context(folder.locked())
        if folder:
            folder.bars = show if bars is None else bars
        try:
            with memory_errors(config):
                return _run(config, folder, resume is not None, device, group, parts, model, look)
        except (Interrupted, KeyboardInterrupt):
            if folder and not Checkpoints(folder.path).last.exists():
                if resume is None:
                    folder.remove()  # Ctrl-C before anything was saved
                raise
            if folder:
                with suppress(CheckpointError):  # a full disk takes no picture either
                    _draw_curves(folder, config)
            raise Interrupted(folder.path if folder else "") from None
        except Exception as error:
            if folder and resume is None and not Checkpoints(folder.path).last.exists():
                folder.remove()  # nothing was saved that a run could go on from
            elif folder:
                with suppress(CheckpointError):  # a full disk takes no last line either
                    folder.keep([stamped(f"stopped: {error}")])
                    _draw_curves(folder, config)
            raise


def prepare(
    config: LoadedConfig,
    device: torch.device,
    group: Processes,
    log: Callable[[str], None],
    parts: Split | None = None,
    fresh: bool = True,
) -> tuple[Split, BaseModel]:
    """The parts of the data and the model, with what there is to say about them. Raises ConfigError or DataError.

    fresh: the model starts from the weights that ``model.init_from`` names; else a checkpoint is loaded next.
    """
    settings = config.run
    for line in config.warnings:
        log(f"warning: {line}")
    log(f"device {device}, seed {settings.seed}" + (f", {group.world} processes" if group.world > 1 else ""))
    if waiting := how_threads_wait():
        log(f"{torch.get_num_threads()} threads, {waiting}")
    began = time.perf_counter()
    parts = parts or load_split(settings.data, cache_folder(config), log)
    log(f"data '{parts.train.name}' ready in {time.perf_counter() - began:.1f} s\n{counts_table(parts)}")
    check_lists(config, measured_metrics(config), parts, device)
    check_watched(config, parts)
    if any(not is_ranking(name) for name in measured_metrics(config)):
        for line in kinds_of_one_class(parts):
            log(f"warning: {line}")
        for line in metrics_without_value(config, parts):
            log(line)
    if settings.ranking.sampled is not None and any(is_ranking(name) for name in measured_metrics(config)):
        log(f"lists are ranked {told(settings.ranking)}")
    model = build_model(config, parts.train, device)
    check_pool(config, len(parts.train.interactions))
    for line in [*model.remarks, size_of(model)]:
        log(f"{settings.model['name']}: {line}")
    if fresh:
        start_from(config.init_from, model, parts.train, log)
    return parts, model


def _run(
    config: LoadedConfig,
    folder: RunFolder | None,
    resumed: bool,
    device: torch.device,
    group: Processes,
    parts: Split,
    model: BaseModel,
    look: Look,
) -> dict[str, Any]:
    settings = config.run
    evaluator = Evaluator(measured_metrics(config), group, (settings.ranking, parts))
    # every process reads the checkpoints, the main one alone writes them
    checkpoints = Checkpoints(_shared_path(folder, group))
    # a run killed before its first checkpoint begins again in its folder
    state = checkpoints.load_last(device) if resumed and checkpoints.last.exists() else None
    if folder:
        told = effective_settings(config)
        check_same_start(folder, parts, told, state is not None)
        if state:
            folder.say(_take_up(folder, config, state))
        folder.write_json("config.json", told)  # a resumed run may have been given more epochs
    trainer = Trainer(
        settings.opt,
        settings.seed,
        lambda m: evaluator.measure(m, parts.valid),
        checkpoints,
        folder or Progress(),
        group,
    )
    position_reached = trainer.fit(model, parts.train, state)
    measured = {"valid": evaluator.measure(model, parts.valid), "test": evaluator.measure(model, parts.test)}
    result = {
        "model": settings.model["name"],
        "data": parts.train.name,
        "seed": settings.seed,
        **measured,
        "best_epoch": _best_epoch(folder),
        "best_possible": best_possible_auc(parts.test),
        "ranking": settings.ranking.model_dump(mode="json"),
        "seconds": round(position_reached.seconds, 2),
        **peak_memory_mb(device),
        "device": str(device) if device.type == "cpu" else torch.cuda.get_device_name(device),
        "processes": group.world,
        **provenance(),
    }
    if folder:
        look(model, parts, folder.path)
        _close(folder, config, parts, result)
    return result


def counts_table(parts: Split) -> str:
    """Users, items and rows of each part, by kind."""
    train = parts.train
    rows = [["kind", "items", "columns", "train", "valid", "test", "liked %", "users"]]
    every = [p.interactions for p in (parts.train, parts.valid, parts.test)]
    for number, (name, kind) in enumerate(train.kinds.items()):
        here = [x.kind == number for x in every]
        # implicit training rows are all liked: the share is that of the parts with drawn negatives
        labelled = list(zip(every, here, strict=True))[1 if train.feedback.negatives else 0 :]
        liked = [x.label[h] for x, h in labelled if x.label is not None]
        users = np.unique(np.concatenate([x.user[h] for x, h in zip(every, here, strict=True)]))
        share = f"{100 * np.concatenate(liked).mean():.1f}" if liked and len(np.concatenate(liked)) else "-"
        counts = [f"{h.sum():,}" for h in here]
        rows.append([name, f"{kind.count:,}", str(len(kind.columns)), *counts, share, f"{len(users):,}"])
    totals = [f"{len(x):,}" for x in every]
    rows.append(["all", f"{train.n_items:,}", "", *totals, "", f"{train.n_users:,}"])
    if train.users.columns:
        rows.append(["users", "", str(len(train.users.columns)), *[""] * 5])
    return table(rows)


def size_of(model: BaseModel) -> str:
    """Number of weights and their memory."""
    count = sum(p.numel() for p in model.parameters())
    return f"{count:,} weights, {sum(p.numel() * p.element_size() for p in model.parameters()) / 1e6:.1f} MB"


def _open_folder(
    config: LoadedConfig, resume: Path | None, show: bool, group: Processes, heading: Heading
) -> RunFolder | None:
    """The run folder on the main process, None on the others."""
    if not group.is_main:
        return None
    name = f"{config.run.model['name']}-{config.run.data.name}"
    folder = RunFolder.create(Path(config.run.path.output), name) if resume is None else RunFolder(resume)
    folder.show = show
    if resume is not None:
        _refuse_lost_state(folder)
        _refuse_fewer_epochs(folder, config.run.opt)
    try:
        folder.keep(heading.lines)
        folder.say(f"run folder {folder.path}")
    except CheckpointError:
        if resume is None:
            folder.remove()
        raise
    return folder


def _refuse_lost_state(folder: RunFolder) -> None:
    """Raises CheckpointError where a run has come some way and its state is gone, as it would be written over."""
    last = Checkpoints(folder.path).last
    finished = (folder.path / "result.json").exists()
    if not last.exists() and (finished or folder.rows()):
        kept = "; the finished run can still be asked (hrec recommend, hrec export)" if finished else ""
        raise CheckpointError(f"{last}: is not there, so there is nothing to go on from{kept}. Start a new run")


def _refuse_fewer_epochs(folder: RunFolder, opt: OptSettings) -> None:
    """Raises ConfigError where a stage of a run has more epochs behind it than the settings would tell."""
    done = {row["stage"]: row["epoch"] for row in folder.rows()}
    for stage, epochs in done.items():
        allowed = opt.for_stage(stage.split("/")[0]).epochs
        if epochs > allowed:
            raise ConfigError(
                f"opt.epochs={allowed}: {folder.path} has {epochs} epochs of stage '{stage}' behind it, and none can "
                f"be taken back. Give it {epochs} or more to go on, or start a new run"
            )


def _shared_path(folder: RunFolder | None, group: Processes) -> Path:
    """The run folder's path, told by the main process to the others."""
    box = [str(folder.path) if folder else ""]
    if group.world > 1:
        torch.distributed.broadcast_object_list(box, src=0)
    return Path(box[0])


def _take_up(folder: RunFolder, config: LoadedConfig, state: dict[str, Any]) -> str:
    """Take out of the log what a resumed run writes again; a line that says where it goes on."""
    opt = config.run.opt.for_stage(config.model_class.stage_groups[-1])
    epochs = epochs_of(config.model_class, opt)
    at = Position.of(state, Checkpoints(folder.path).last)
    folder.forget_after(at.stage, at.epoch)
    if not (folder.path / "result.json").exists():
        return f"goes on after epoch {at.epoch}, step {at.step} of stage {at.stage + 1}"
    stop, stopping = opt.early_stop, state.get("stopping")
    if stop and stopping and stopping["waited"] >= stop.stop_step:
        return "this run is finished, it stopped early: its result is measured again"
    if at.epoch < epochs:
        return f"this run was finished after epoch {at.epoch}; it gets {epochs - at.epoch} more"
    more = "" if config.model_class.one_epoch else "; opt.epochs=<more> makes it go on"
    return f"this run is finished: its result is measured again{more}"


def _best_epoch(folder: RunFolder | None) -> int | None:
    """The epoch of the last stage whose weights were kept, where early stopping watched."""
    rows = folder.rows() if folder else []
    best = [row["epoch"] for row in rows if row.get("best") and row["stage"] == rows[-1]["stage"]]
    return best[-1] if best else None


def _draw_curves(folder: RunFolder, config: LoadedConfig) -> None:
    """curves.png, with the metric that chose the best epoch of the last stage."""
    stop = config.run.opt.for_stage(config.model_class.stage_groups[-1]).early_stop
    watched = stop.metric if stop else None
    draw_curves(folder.rows(), measured_metrics(config), folder.path / "curves.png", watched)


def _close(folder: RunFolder, config: LoadedConfig, parts: Split, result: dict[str, Any]) -> None:
    """result.json, the curves and the closing table."""
    folder.write_json("result.json", result)
    metrics = measured_metrics(config)
    _draw_curves(folder, config)
    shown = {"valid": result["valid"], "test": result["test"]}
    kinds, best = list(parts.train.kinds), result["best_possible"]
    if of_rows := [name for name in metrics if not is_ranking(name)]:
        folder.say(metrics_table(shown | ({"best possible": best} if best else {}), of_rows, kinds))
    if of_lists := [name for name in metrics if is_ranking(name)]:
        ranking = config.run.ranking
        folder.say(f"lists ranked {told(ranking)}\n{lists_table(shown, of_lists, ranked_out_of(ranking, kinds))}")
    if best and "auc" in result["test"]:
        reached = result["test"]["auc"]
        folder.say(f"macro AUC {reached:.4f} of a best possible {best['auc']:.4f}: {reached / best['auc']:.3f} of it")
    folder.say(f"trained in {result['seconds']:.1f} s, peak memory {result['memory_mb']:,.0f} MB; see {folder.path}")
