"""Scores of the whole catalogue for each user, some items masked, in chunks of users that fit a memory budget."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hrec.datasets.queries import Queries
from hrec.models.base import Ranker
from hrec.pipeline.metrics import ScoreError

COPIES = 4
"""Matrices of the size of a chunk's scores in memory at once: scores, and the workspace of top-k (values, int64)."""


@dataclass(frozen=True)
class Masked:
    """Items that are no candidates, by user, as CSR on the device: offset int64[n_users + 1], item int64[cells]."""

    offset: Tensor
    item: Tensor

    @staticmethod
    def of(user: np.ndarray, item: np.ndarray, n_users: int, device: torch.device) -> Masked:
        order = np.argsort(user, kind="stable")
        offset = np.zeros(n_users + 1, np.int64)
        np.cumsum(np.bincount(user, minlength=n_users), out=offset[1:])
        return Masked(torch.from_numpy(offset).to(device), torch.from_numpy(item[order].astype(np.int64)).to(device))

    def of_rows(self, row: Tensor) -> Masked:
        """These rows, int64[Q], in the order given."""
        length = torch.diff(self.offset)[row]
        offset = torch.cat([length.new_zeros(1), length.cumsum(0)])
        return Masked(offset, self.item[self.places(row)[1]])

    def cells(self, user: Tensor) -> tuple[Tensor, Tensor]:
        """(row in ``user``, item) of each masked cell, int64 both."""
        row, place = self.places(user)
        return row, self.item[place]

    def places(self, user: Tensor) -> tuple[Tensor, Tensor]:
        """(row in ``user``, position in ``item``) of each masked cell, int64 both."""
        start, length = self.offset[user], self.offset[user + 1] - self.offset[user]
        row = torch.repeat_interleave(torch.arange(len(user), device=user.device), length)
        place = torch.arange(len(row), device=user.device) - (torch.cumsum(length, 0) - length)[row]
        return row, start[row] + place


def users_at_once(n_items: int, memory_mb: float, k: int = 0) -> int:
    """How many users' scores of all items, with the lists made of them, fit into the budget; at least one.

    Each of the k items of a list takes some 32 bytes while lists are sorted.
    """
    return max(1, int(memory_mb * 1e6 / (4 * COPIES * max(n_items, 1) + 32 * min(k, n_items))))


@torch.no_grad()
def masked_scores(
    ranker: Ranker, queries: Queries, n_items: int, masked: Masked, memory_mb: float, k: int = 0
) -> Iterator[tuple[Tensor, Tensor]]:
    """Chunks of the queries, as positions int64[B], and their scores float32[B, n_items], -inf for masked items.

    masked: one row for each query. k: length of the lists. Raises ScoreError for NaN.
    """
    every = torch.arange(len(queries), device=queries.user.device)
    for chunk in every.split(users_at_once(n_items, memory_mb, k)) if len(every) else ():
        scores = ranker(queries.take(chunk)).float()
        if bad := int(torch.isnan(scores.sum())) and int(torch.isnan(scores).sum()):
            raise ScoreError(f"{bad:,} of {scores.numel():,} scores are NaN: the model has diverged")
        scores[masked.cells(chunk)] = -torch.inf
        yield chunk, scores
