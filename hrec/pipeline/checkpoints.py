"""Checkpoints: written whole or not at all, loaded without pickle.

The weights of the current stage that are best on the validation split are in ``best.safetensors``. All that a run needs
to continue is in ``last.pt``: weights, optimiser, scheduler, early stopping, and the position reached.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from zipfile import BadZipFile, ZipFile

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from hrec.endings import Refusal
from hrec.files import make_new, open_regular


class CheckpointError(Refusal, RuntimeError):
    """A checkpoint that cannot be written or read; the message says which and what to do."""


class Checkpoints:
    """The two checkpoints of one run folder."""

    def __init__(self, folder: Path) -> None:
        self.best, self.last = folder / "best.safetensors", folder / "last.pt"

    def save_best(self, model: nn.Module, note: dict[str, str]) -> None:
        """``note`` goes into the file's header, under 'best': stage, epoch, value; a digest of the weights too."""
        state = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
        described = json.dumps(note | {"digest": _digest(state)})  # one entry, as several would come in any order
        write_whole(self.best, lambda path: save_file(state, path, metadata={"best": described}))

    def load_best(self, model: nn.Module) -> None:
        """Put the best weights into ``model``."""
        try:
            open_regular(self.best).close()  # reading a pipe would never end
            state = load_file(self.best)
            with safe_open(self.best, "pt") as file:
                digest = json.loads((file.metadata() or {}).get("best", "{}")).get("digest")
        except (
            OSError,
            ValueError,
            RecursionError,
            AttributeError,
            SafetensorError,
        ) as error:  # the note may be damaged too
            raise CheckpointError(f"{self.best}: cannot be read ({error})") from None
        if digest not in (None, _digest(state)):  # runs of early versions have none
            raise CheckpointError(
                f"{self.best}: is damaged, its weights are not those that were saved. Start a new run"
            )
        load_into(model, state, self.best)

    def save_last(self, state: dict[str, Any]) -> None:
        write_whole(self.last, lambda path: torch.save(state, path))

    def load_last(self, device: torch.device) -> dict[str, Any]:
        """The state saved last, tensors on ``device``."""
        try:
            with open_regular(self.last) as file:
                if damaged := ZipFile(file).testzip():  # torch checks no checksum
                    raise BadZipFile(f"{damaged} is not what was written")
                file.seek(0)
                state = torch.load(file, map_location=device, weights_only=True)
            if not isinstance(state, dict):
                raise BadZipFile(NO_STATE)
            return state
        except FileNotFoundError:
            raise CheckpointError(f"{self.last}: is missing, so there is nothing to continue from") from None
        except UnpicklingError:
            raise CheckpointError(f"{self.last}: holds more than tensors and numbers, so it is not opened") from None
        except Exception as error:  # torch raises errors of several types for a damaged file
            reason = _reason(error) or type(error).__name__
            damaged = f"{self.last}: cannot be read, it is damaged ({reason[:80]}). Start a new run"
            kept = f"; {self.best.name} in this folder holds the best weights so far" if self.best.exists() else ""
            raise CheckpointError(damaged + kept) from None


NO_STATE = "it is not the state of a run"


def _digest(state: dict[str, Tensor]) -> str:
    """The digest of the weights, as they are in memory."""
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(state):
        digest.update(f"{name} {state[name].dtype} {tuple(state[name].shape)}".encode())
        digest.update(state[name].cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def load_into(model: nn.Module, state: dict[str, Any], source: Path) -> None:
    """Weights from a checkpoint. Raises CheckpointError when they belong to another model or other data."""
    try:
        model.load_state_dict(state)
    except (RuntimeError, AttributeError, TypeError) as error:
        reason = str(error).split("\n\t")[-1].strip()
        raise CheckpointError(
            f"{source}: does not fit this model. The settings or the data have changed since: {reason}"
        ) from None


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file next to ``path`` and rename it, so that ``path`` is always the whole old or the whole new file.

    Raises CheckpointError if it cannot be written (a full disk); the old file remains.
    """
    partial = path.with_name(f".{path.name[:50]}.partial")  # file names have a largest length
    try:
        make_new(partial)
        write(partial)
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.chmod(0o666 & ~_umask())  # some writers make files that only their owner can read
        partial.replace(path)
    except Exception as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        if not isinstance(error, OSError | RuntimeError | SafetensorError):
            raise
        kept = f" The {path.name} written before it is whole." if path.exists() else ""
        then = " and resume" if kept else ""
        raise CheckpointError(f"{path}: could not be written ({_reason(error)}).{kept}{remedy(error, then)}") from None


def remedy(error: Exception, then: str = "") -> str:
    """What to do about an error of writing: make room, if a full disk may be the cause; else nothing."""
    full = not isinstance(error, OSError) or error.errno in (None, errno.ENOSPC, errno.EDQUOT)
    return f" Make room{then}." if full else ""


def _umask() -> int:
    """The process's mask for new files, which can only be read by setting it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if "inline_container" in str(error):  # torch names a position in the file instead of the cause
        return "the file broke off; is the disk full?"
    return str(error).split("\n")[0]
