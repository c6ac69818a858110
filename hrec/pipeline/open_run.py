"""The folder of a run from start to end: made or opened, locked, and cleaned up after a stop or an error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path

import torch

from hrec.config import LoadedConfig
from hrec.pipeline.checkpoints import CheckpointError, Checkpoints
from hrec.pipeline.devices import Processes
from hrec.pipeline.measured import Metrics
from hrec.pipeline.records import Heading, RunFolder, stamped
from hrec.pipeline.reports import draw_run
from hrec.pipeline.resume import check_resumable
from hrec.pipeline.stage_run import Interrupted


def locked(resume: Path | None, group: Processes) -> AbstractContextManager[object]:
    """No other process writes to the resumed run's folder meanwhile. Raises CheckpointError if one does."""
    return nullcontext() if resume is None or not group.is_main else RunFolder(resume).locked()


@contextmanager
def open_run(
    config: LoadedConfig, metrics: Metrics, resume: Path | None, group: Processes, heading: Heading, bars: bool
) -> Iterator[RunFolder | None]:
    """The run folder on the main process, None on the others. The caller locks a resumed folder before.

    After a stop or an error, a new folder without a saved state is removed. Other folders get their curves, and after
    an error a last line in the log. Raises Interrupted after a stop, with the folder if it can be resumed.
    """
    if not group.is_main:
        try:
            yield None
        except KeyboardInterrupt:
            raise Interrupted from None
        return
    folder = _folder(config, resume, heading)
    folder.bars = bars
    with folder.locked() if resume is None else nullcontext():
        try:
            yield folder
        except (Interrupted, KeyboardInterrupt):
            if not _is_saved(folder):
                _remove_new(folder, resume)
                raise
            with suppress(CheckpointError):  # a full disk takes no picture either
                draw_run(folder, config, metrics)
            raise Interrupted(folder.path) from None
        except Exception as error:
            if resume is not None or _is_saved(folder):
                with suppress(CheckpointError):  # a full disk takes no last line either
                    folder.keep([stamped(f"stopped: {error}")])
                    draw_run(folder, config, metrics)
            else:
                folder.remove()
            raise


def _is_saved(folder: RunFolder) -> bool:
    """Whether a run can continue from this folder."""
    return Checkpoints(folder.path).last.exists()


def _remove_new(folder: RunFolder, resume: Path | None) -> None:
    if resume is None:
        folder.remove()


def _folder(config: LoadedConfig, resume: Path | None, heading: Heading) -> RunFolder:
    """A new folder, or the one to resume, with the lines of the heading in its log."""
    name = f"{config.run.model['name']}-{config.run.data.name}"
    folder = RunFolder.create(Path(config.run.path.output), name) if resume is None else RunFolder(resume)
    folder.show = heading.show
    if resume is not None:
        check_resumable(folder, config.run.opt)
    try:
        folder.keep(heading.lines)
        folder.say(f"run folder {folder.path}")
    except CheckpointError:
        _remove_new(folder, resume)
        raise
    return folder


def shared_path(folder: RunFolder | None, group: Processes) -> Path:
    """The path of the run folder, sent by the main process to the others."""
    box = [str(folder.path) if folder else ""]
    if group.world > 1:
        torch.distributed.broadcast_object_list(box, src=0)
    return Path(box[0])
