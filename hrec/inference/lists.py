"""The best items of each user that the user has not interacted with, as a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import torch

from hrec.config import ConfigError, did_you_mean
from hrec.datasets.problems import plural
from hrec.datasets.queries import Queries
from hrec.datasets.recdata import RecData
from hrec.inference.history import NewUsers
from hrec.inference.ids import ids_of, item_ids, item_kinds, user_indices
from hrec.inference.queries import answering, queries_of
from hrec.inference.trained import Trained
from hrec.models.layers.top_k import top_k
from hrec.pipeline.topn import Masked, masked_scores


def recommend(
    trained: Trained,
    users: Sequence[str] | NewUsers | None,
    k: int = 10,
    kind: str | None = None,
    log: Callable[[str], None] = lambda line: None,
) -> pa.Table:
    """The ``k`` items with the highest scores for each user; items of the user's rows, in any split, are excluded.

    users: raw ids of known users (None: of all), or new users with their histories. kind: of this kind alone.

    -> columns user, rank (from 1), item, kind and score. Rows are sorted by user in the order given and by rank. Of
    equal scores the first item in the data comes first. ``log`` gets the users with fewer than ``k`` rows.

    Raises ConfigError for a wrong k or kind or a model that cannot answer, DataError for unknown users.
    """
    if k < 1:
        raise ConfigError(f"k: should be at least 1, got {k}")
    data, device = trained.data, trained.model.device
    span = _span(data, kind)
    if isinstance(users, NewUsers):
        ids, queries = users.ids, queries_of(trained, users)
        excluded = Masked.of(users.rows.user, users.rows.item, len(ids), device)
    else:
        index = np.arange(data.n_users) if users is None else user_indices(data, list(dict.fromkeys(map(str, users))))
        ids = ids_of(data.users)[index]
        queries = Queries(torch.from_numpy(index.astype(np.int64)).to(device))
        excluded = trained.interacted.of_rows(queries.user)
    width, parts = min(k, span.stop - span.start), []
    memory = trained.config.run.ranking.eval_memory_mb
    for _, scores in masked_scores(answering(trained), queries, data.n_items, excluded, memory, width):
        inside = scores[:, span]
        best = top_k(inside, width)
        parts.append((best.cpu(), inside.gather(1, best.clamp(min=0)).cpu()))
    nothing = torch.zeros(0, width)
    place = torch.cat([nothing.long(), *(best for best, _ in parts)]).numpy()
    score = torch.cat([nothing, *(value for _, value in parts)]).numpy()
    _log_short(ids, (place >= 0).sum(1), k, kind, log)
    return _table(data, ids, np.where(place < 0, -1, place + span.start), score)


def _span(data: RecData, kind: str | None) -> slice:
    """The range of items to choose from. Raises ConfigError for a kind that the data lacks."""
    if kind is None:
        return slice(0, data.n_items)
    if kind not in data.kinds:
        raise ConfigError(f"no kind '{kind}'.{did_you_mean(kind, data.kinds)} Kinds: {', '.join(data.kinds)}")
    return slice(data.kinds[kind].start, data.kinds[kind].stop)


def _log_short(ids: np.ndarray, found: np.ndarray, k: int, kind: str | None, log: Callable[[str], None]) -> None:
    items = "items" if kind is None else f"items of kind '{kind}'"
    short, none = ids[(found < k) & (found > 0)], ids[found == 0]
    for some, what in ((none, f"no candidate {items}"), (short, f"fewer than {k} candidate {items}")):
        if len(some):
            named = ", ".join(some[:3]) + (", ..." if len(some) > 3 else "")
            log(f"{what}: {plural(len(some), 'user')} ({named})")


def _table(data: RecData, ids: np.ndarray, item: np.ndarray, score: np.ndarray) -> pa.Table:
    """item int64[U, k], -1 after the end of a list; score float32[U, k]."""
    row, rank = np.nonzero(item >= 0)
    chosen = item[row, rank]
    return pa.table(
        {
            "user": pa.array(ids[row], pa.string()),
            "rank": pa.array((rank + 1).astype(np.int32)),
            "item": pa.array(item_ids(data)[chosen], pa.string()),
            "kind": pa.array(item_kinds(data)[chosen], pa.string()),
            "score": pa.array(score[row, rank], pa.float32()),
        }
    )
