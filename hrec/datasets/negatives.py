"""Implicit data, where every row is a positive: drawn negatives are added, with label 0."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from hrec.datasets.candidates import Candidates
from hrec.datasets.columns import before_missing
from hrec.datasets.recdata import AnyData
from hrec.memory import require_memory

DRAWN = 64
"""Bytes that a row takes while it is drawn."""
NOTHING = -1
"""In place of an item where the user has seen all there is to draw."""


def with_negatives(
    part: AnyData,
    count: int,
    candidates: Candidates,
    generator: torch.Generator,
    of_new: tuple[np.ndarray, Candidates] | None = None,
) -> tuple[AnyData, int]:
    """``part`` with label 1 on its rows, and after them ``count`` drawn rows for each, with label 0.

    candidates: what can be drawn; its spans are the kinds of ``part``. of_new: bool[N], which rows are of new items,
    and what is drawn for those in place of ``candidates``. A drawn row has the user, kind and time of the row it was
    drawn for. Its rating is NaN and its columns are missing, as a review of the positive would reveal the label. Also
    returns how many rows are missing because the user has interacted with the whole kind. Raises TooLargeError if
    memory cannot hold them.
    """
    rows = part.interactions
    what = f"the negatives of the {len(rows):,} rows of a part"
    require_memory(DRAWN * len(rows) * count, f"data.label.negatives={count:,}", what)
    source = np.repeat(np.arange(len(rows)), count)
    user, kind = (
        torch.from_numpy(a[source].astype(np.int64)).to(candidates.edge.device) for a in (rows.user, rows.kind)
    )
    new = np.zeros(len(source), bool) if of_new is None else of_new[0][source]
    item = np.full(len(source), NOTHING, np.int32)
    for here, drawn_from in ((~new, candidates), *([] if of_new is None else [(new, of_new[1])])):
        at = torch.from_numpy(np.flatnonzero(here)).to(user.device)
        at = at[drawn_from.any_left(user[at], kind[at])]
        item[at.cpu().numpy()] = drawn_from.draw(user[at], kind[at], generator).cpu().numpy()
    n, found = len(rows), item != NOTHING
    source, item, asked = source[found], item[found], len(source)
    both = replace(rows, columns={}).take(np.concatenate([np.arange(n), source]))
    both = replace(
        both,
        item=np.concatenate([rows.item, item]),
        label=np.repeat(np.array([1, 0], np.float32), [n, len(source)]),
        rating=None if rows.rating is None else np.append(rows.rating, np.full(len(source), np.nan, np.float32)),
        columns={name: before_missing(column, len(source)) for name, column in rows.columns.items()},
    )
    return replace(part, interactions=both), asked - len(source)
