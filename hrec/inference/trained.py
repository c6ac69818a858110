"""A finished run, ready to answer: its model with the best weights, its data, its settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from hrec.config import ConfigError, LoadedConfig, did_you_mean, load
from hrec.datasets import load_whole, one_kind, parts_of
from hrec.datasets.recdata import RecData, Split
from hrec.models import find_model
from hrec.models.base import BaseModel, InnerProductModel, Ranker
from hrec.pipeline.checkpoints import Checkpoints, load_into
from hrec.pipeline.devices import pick_device
from hrec.pipeline.records import RunFolder
from hrec.pipeline.run import build_model, cache_folder, effective_settings
from hrec.pipeline.same_data import digests, refuse_other_data, refuse_other_settings
from hrec.pipeline.state import check_state
from hrec.pipeline.topn import Masked


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained model, in evaluation mode, and what it was trained on.

    data: every row there is, also those that the split dropped; none of these is recommended to its user. parts: what
    the split made of them; the model reads ``parts.train``. What is costly is worked out once, when first asked for.
    """

    model: BaseModel
    data: RecData
    parts: Split
    config: LoadedConfig

    @property
    def name(self) -> str:
        """The model's name in the settings."""
        return str(self.config.run.model["name"])

    @cached_property
    def ranker(self) -> Ranker:
        """queries -> scores of all items, float[Q, n_items]."""
        with torch.no_grad():
            if isinstance(self.model, InnerProductModel):
                model, vectors = self.model, self.item_vectors
                return lambda queries: model.query_vectors(queries) @ vectors.T
            return self.model.ranker()

    @cached_property
    def item_vectors(self) -> Tensor:
        """float[n_items, d]; of an inner-product model only."""
        assert isinstance(self.model, InnerProductModel)
        return all_vectors(self.model.item_vectors, self.data.n_items, self.model)

    @cached_property
    def seen(self) -> Masked:
        """The items of each user's rows."""
        x = self.data.interactions
        return Masked.of(x.user, x.item, self.data.n_users, self.model.device)


@torch.no_grad()
def all_vectors(of: Callable[[Tensor], Tensor], count: int, model: BaseModel) -> Tensor:
    """The vectors of numbers 0 to ``count``, in chunks: float[count, d] on the model's device."""
    number = torch.arange(count, device=model.device)
    return torch.cat([of(some) for some in number.split(model.rows_at_once)])


def load_run(folder: str | Path, device: str = "auto", log: Callable[[str], None] = lambda line: None) -> Trained:
    """The model of a finished run folder, on ``device`` (as --device), with its data read again.

    Nothing is unpickled but tensors and numbers. Raises ConfigError for a folder that is no finished run,
    CheckpointError for one whose weights or data are not those that it was trained with, DataError for data that
    cannot be read.
    """
    folder = Path(folder)
    where = pick_device(device)
    require_finished(folder)
    config = load(str(folder / "config.json"), find_model)
    whole = load_whole(config.run.data, cache_folder(config), log)
    data, parts = one_kind(whole, config.run.data), parts_of(whole, config.run.data, log)
    refuse_other_data(RunFolder(folder), digests(parts))
    refuse_other_settings(RunFolder(folder), effective_settings(config))
    model = build_model(config, parts.train, where)
    _load_tested(model, folder)
    return Trained(model.eval(), data, parts, config)


def _load_tested(model: BaseModel, folder: Path) -> None:
    """The weights that the run was tested with: the best of its last stage, or where none was the best, the last."""
    checkpoints = Checkpoints(folder)
    if RunFolder(folder).tested_best():
        checkpoints.load_best(model)
    else:
        state = checkpoints.load_last(model.device)
        check_state(state, checkpoints.last)
        load_into(model, state["model"], checkpoints.last)


def require_finished(folder: Path) -> None:
    """Raises ConfigError, with a remedy, where ``folder`` is no run folder or the run has not come to its end."""
    try:
        _require_finished(folder)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be read ({error.strerror})") from None


def _require_finished(folder: Path) -> None:
    if not folder.is_dir():
        names = [path.name for path in folder.parent.iterdir() if path.is_dir()] if folder.parent.is_dir() else []
        raise ConfigError(f"{folder}: no such run folder.{did_you_mean(folder.name, names)}")
    if not (folder / "config.json").is_file():
        raise ConfigError(f"{folder}: not a run folder, it holds no config.json")
    if not (folder / "result.json").is_file():
        script = "train_hete.py (or train_homo.py, as it was begun)"
        raise ConfigError(f"{folder}: the run is not finished, it has no result.json; go on with {script} --resume")
