"""Scores for users that training did not know, from their histories alone.

A model reads histories from what it is built from. So the same model is built once more, from data whose users are the
new ones and whose rows are theirs, and takes over the trained weights: all those of the same shape. A weight that has
a row for each user, or is sized by their number in another way, has nothing to take over, and becomes NaN. What is
computed without it is right, whatever else it is for: DMF's item tower has a row for each user, and the vectors of new
users never read it. What is computed with it is NaN, and the model knows no new user; unless the model can work out
what is missing (``BaseModel.fold_in``).

The vectors of items, where the model has them, stay those of the trained model, so new users do not stand in the
histories of items. And a model that reads something else of the training rows for its users is found out: a user of the
training data, given as a new one with the same rows and columns, must get the same scores.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from hrec.config import ConfigError
from hrec.datasets.columns import behind_missing
from hrec.datasets.derived import of_new_users
from hrec.datasets.histories import cells_as_in
from hrec.datasets.recdata import Interactions, Table, TrainData
from hrec.inference.history import NewUsers
from hrec.inference.trained import Trained, against
from hrec.models.base import BaseModel, InnerProductModel
from hrec.pipeline.run import build_model
from hrec.pipeline.topn import ScoresOf


@torch.no_grad()
def scores_of_new(trained: Trained, new: NewUsers) -> ScoresOf:
    """A function of new users, int64[B], that scores every item for them, float[B, n_items].

    Raises ConfigError where the model cannot answer for users that training did not know.
    """
    witness = _witness(trained.parts.train)
    data = _data_of(trained, new, witness)
    model = build_model(trained.config, data, trained.model.device).eval()
    _take_over(model, trained.model, witness, len(new.ids))
    model.fold_in()
    scores_of = against(model, trained.item_vectors) if isinstance(model, InnerProductModel) else model.ranker()
    _require_same(trained, scores_of, witness, len(new.ids))
    return scores_of


def _witness(train: TrainData) -> int:
    """The user of the training data who is given as a new one too: one of those with the fewest cells, but some.

    Few, as a model may cut long histories short at random.
    """
    cells = np.bincount(train.interactions.user[np.isfinite(cells_as_in(train, train.interactions))])
    return int(np.where(cells > 0, cells, cells.max() + 1).argmin())


def _data_of(trained: Trained, new: NewUsers, witness: int) -> TrainData:
    """Data like the training part, whose users are the new ones, without columns, and behind them the witness."""
    train, n = trained.parts.train, len(new.ids)
    # where the new users are as many as the known ones, shapes would not tell them apart: then the witness comes twice
    users = np.arange(n, n + 1 + (n + 1 == train.n_users))
    theirs = train.interactions.take(train.interactions.user == witness)
    parts = [new.rows, *(replace(theirs, user=np.full_like(theirs.user, user)) for user in users)]
    rows = _joined(parts)
    known = np.full(len(users), witness)
    columns = {name: behind_missing(n, column, known) for name, column in train.users.columns.items()}
    table = of_new_users(Table(n + len(users), 0, columns), rows, train, trained.config.run.data.train_columns)
    # cells are measured as those of the training part, and stand in place of the ratings
    rows = replace(rows, rating=cells_as_in(train, rows))
    return replace(train, users=table, interactions=rows, feedback=replace(train.feedback, cells="rating"))


def _joined(parts: list[Interactions]) -> Interactions:
    """Rows one below the other, without columns."""

    def join(name: str) -> np.ndarray | None:
        arrays = [getattr(part, name) for part in parts]
        return None if any(array is None for array in arrays) else np.concatenate(arrays)

    return Interactions(*(join(name) for name in ("user", "item", "kind", "label", "rating", "time")))  # type: ignore[arg-type]


def _take_over(model: BaseModel, trained: BaseModel, witness: int, n_new: int) -> None:
    """Put the trained weights into a model of new users; what has another shape becomes NaN."""
    known, state = trained.state_dict(), model.state_dict()
    for name, value in state.items():
        if value.shape == known[name].shape:
            state[name] = known[name]
        elif name in trained.new_user_takes_mean:
            state[name] = known[name].mean(0, keepdim=True).expand_as(value).clone()
            state[name][n_new:] = known[name][witness]
        elif value.is_floating_point():
            state[name] = torch.full_like(value, torch.nan)
        else:
            raise _knows_none(type(model).__name__)
    model.load_state_dict(state, assign=True)  # the weights are shared with the trained model


def _require_same(trained: Trained, scores_of: ScoresOf, witness: int, number: int) -> None:
    """Raises ConfigError where the witness gets other scores as a new user than as the known one."""
    device = trained.model.device
    ours = scores_of(torch.tensor([number], device=device))
    if bool(torch.isnan(ours).any()):
        raise _knows_none(trained.name)
    if not trained.model.approximates_users and not _alike(
        ours, trained.scores_of(torch.tensor([witness], device=device))
    ):
        raise ConfigError(
            f"{trained.name} cannot answer for new users: a user of the training data who is given as a new one, with "
            "the same history, gets other scores"
        )


def _alike(a: Tensor, b: Tensor) -> bool:
    """Equal but for rounding."""
    return bool((a - b).abs().max() <= 1e-3 * (1 + b.abs().max()))


def _knows_none(name: str) -> ConfigError:
    return ConfigError(
        f"{name} keeps a vector for each user and knows none for a new one. Models that read histories alone of their "
        "users answer for new ones (DURation, DMF, FISM, NAIS, ItemKNN, EASE, DualNet), and those that are solved do "
        "(WMF, CDL); or train again with the new users' rows"
    )
