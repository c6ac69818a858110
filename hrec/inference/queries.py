"""New users as queries: their histories, and the columns made from these."""

from __future__ import annotations

import torch
from torch import Tensor

from hrec.config import ConfigError
from hrec.datasets.columns import Column, behind_missing
from hrec.datasets.derived import of_new_users
from hrec.datasets.queries import Queries, UnknownUserError
from hrec.datasets.recdata import Table
from hrec.datasets.sequences import Sequences
from hrec.inference.history import NewUsers
from hrec.inference.trained import Trained
from hrec.models.base import Ranker
from hrec.models.layers.fields import NO_ROW


def queries_of(trained: Trained, new: NewUsers) -> Queries:
    """One query for each new user. Columns made from training rows (data.train_columns) are made from the history."""
    train, n, device = trained.parts.train, len(new.ids), trained.model.device
    history = Sequences.of(train, new.rows, n, device)
    missing: dict[str, Column] = {name: behind_missing(n, c, NO_ROW) for name, c in train.users.columns.items()}
    made = of_new_users(Table(n, 0, missing), new.rows, train, trained.config.run.data.train_columns)
    return Queries(torch.full((n,), -1, device=device), history, made.columns)


def answering(trained: Trained) -> Ranker:
    """The run's ranker. It raises ConfigError if the model cannot answer for unknown users."""

    def ranker(queries: Queries) -> Tensor:
        try:
            return trained.ranker(queries)
        except UnknownUserError:
            raise ConfigError(
                f"{trained.name} has a trained vector for each user and none for a new one. Models that read histories "
                "(such as DURation, ItemKNN and SASRec) or solve for users' vectors (such as BPRMF and WMF) answer for "
                "new users; or train again with the new users' rows"
            ) from None

    return ranker
