"""Who asks for a ranking, and what they did so far. One mechanism serves known users, new users, "the next item after
these", and similar items (a history of one item)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from hrec.datasets.columns import Column
from hrec.datasets.sequences import Sequences


class UnknownUserError(ValueError):
    """A model that needs a trained vector of the user was asked for a user that training did not know."""


@dataclass(frozen=True, eq=False)
class Queries:
    """user: int64[Q], the index of a known user or -1 for an unknown one.

    history: one row per query; it replaces the training history of a known user. None: the training history.
    columns: name -> one row per query, the features of unknown users; None: all missing.
    """

    user: Tensor
    history: Sequences | None = None
    columns: Mapping[str, Column] | None = None

    def __len__(self) -> int:
        return len(self.user)

    @property
    def unknown(self) -> Tensor:
        """bool[Q]"""
        return self.user < 0

    def known(self) -> Tensor:
        """The users, int64[Q]. Raises UnknownUserError where one is unknown."""
        if bool(self.unknown.any()):
            raise UnknownUserError("the model has no vector for a user that training did not know")
        return self.user

    def take(self, rows: Tensor) -> Queries:
        """These queries, int64[B], in the order given."""
        history = None if self.history is None else self.history.take(rows)
        columns = self.columns
        if columns is not None:
            at = rows.cpu().numpy()
            columns = {name: column.take(at) for name, column in columns.items()}
        return Queries(self.user[rows], history, columns)

    def of_unknown(self) -> Queries:
        """The queries of unknown users."""
        return self.take(self.unknown.nonzero().squeeze(1))


def all_users(n: int, device: torch.device) -> Queries:
    """Every known user."""
    return Queries(torch.arange(n, device=device))
