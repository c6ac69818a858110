"""Implicit data, where every row is a positive: beside its rows unseen items, with label 0."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from hrec.datasets.recdata import RecData
from hrec.datasets.unseen import Unseen


def with_negatives(part: RecData, unseen: Unseen, generator: torch.Generator) -> tuple[RecData, int]:
    """``part`` with label 1 on its rows, and after them ``part.negatives`` drawn rows for each, with label 0.

    unseen: what can be drawn, its spans the kinds of ``part``. A drawn row has the user, kind, time and columns of the
    row it was drawn for (the same moment, another item of the kind) and no rating (NaN). Labels are explicit from here
    on, so the result has ``negatives`` 0. Also returns how many rows are missing because the user has seen the whole
    kind.
    """
    rows = part.interactions
    source = np.repeat(np.arange(len(rows)), part.negatives)
    user, kind = (torch.from_numpy(a[source].astype(np.int64)).to(unseen.edge.device) for a in (rows.user, rows.kind))
    found = unseen.any_left(user, kind)
    item = unseen.draw(user[found], kind[found], generator).cpu().numpy().astype(np.int32)
    n, source = len(rows), source[found.cpu().numpy()]
    both = rows.take(np.concatenate([np.arange(n), source]))
    both = replace(
        both,
        item=np.concatenate([rows.item, item]),
        label=np.repeat(np.array([1, 0], np.float32), [n, len(source)]),
        rating=None if rows.rating is None else np.append(rows.rating, np.full(len(source), np.nan, np.float32)),
    )
    return replace(part, interactions=both, negatives=0), int(len(found) - len(source))
