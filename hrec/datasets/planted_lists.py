"""The best lists that planted data allows: each user's items in the order of their true chance to be held out."""

from __future__ import annotations

import numpy as np

from hrec.datasets.planted import Planted
from hrec.datasets.planted_best import expected_ndcg

USERS_AT_ONCE = 128
BISECTIONS = 50


def best_ndcg(made: Planted, known: np.ndarray, held_out: np.ndarray, k: int = 10) -> dict[str, float]:
    """NDCG@k to expect of the best lists, mean over the users who have a relevant item.

    known, held_out: positions of rows. Candidates of a user are the items without a known row of the user; relevant are
    those with a held-out row of label 1, as in hrec/pipeline/ranking.py. How many are relevant is taken from the data,
    which of them from ``relevance_odds``. Keys: "ndcg@k" over all items, "ndcg@k/<kind>" of lists of one kind.
    Time and memory grow with users times items: for sizes tiny and small.
    """
    x, names = made.data.interactions, list(made.data.kinds)
    odds = relevance_odds(made, known, held_out)
    positive = held_out[x.label[held_out] > 0]  # type: ignore[index]
    spans = {"": (0, made.data.n_items)} | {f"/{name}": (t.start, t.stop) for name, t in made.data.kinds.items()}
    out = {}
    for suffix, (start, stop) in spans.items():
        rows = positive if not suffix else positive[x.kind[positive] == names.index(suffix[1:])]
        count = np.bincount(x.user[rows], minlength=made.data.n_users)
        users = np.flatnonzero(count)
        parts = [users[i : i + USERS_AT_ONCE] for i in range(0, len(users), USERS_AT_ONCE)]
        values = [expected_ndcg(odds[part, start:stop], count[part], k) for part in parts]
        out[f"ndcg@{k}{suffix}"] = float(np.concatenate(values).mean()) if values else float("nan")
    return out


def relevance_odds(made: Planted, known: np.ndarray, held_out: np.ndarray) -> np.ndarray:
    """float64[users, n_items]: the odds that a candidate is relevant; 0 for items with a known row of the user.

    Rows are drawn until there are enough different pairs. So a pair is drawn with the chance z = 1 - exp(-rate
    P(i | u)). It is then known with the chance k, held out with the chance h, and of label 1 with the chance y. So a
    candidate is relevant with the odds h z y / (1 - k z - h z y). Here h is the sum over periods g of P(g | u, i) times
    the share of the user's rows of g that are held out. k is the same for known rows.
    """
    x, user, parts = made.data.interactions, np.arange(made.data.n_users), []
    shares = [_share_by_period(made, rows) for rows in (known, held_out)]
    for index, (kind, choice) in enumerate(made.choices.items()):
        k, h = (choice.mean_over_periods(share) for share in shares)
        total = int(np.count_nonzero(x.kind == index))
        z = _drawn(made.hidden.users.activity[index], choice.chance(user), total)
        relevant = h * z * made.label_chance(kind, user)
        parts.append(relevant / np.maximum(1 - k * z - relevant, 1e-9))
    odds = np.concatenate(parts, axis=1)
    odds[x.user[known], x.item[known]] = 0
    return odds


def _share_by_period(made: Planted, rows: np.ndarray) -> np.ndarray:
    """float64[G, users]: which share of a user's rows of a period are among ``rows``.

    Few rows are drawn towards the user's share over all periods, and this towards the share of all users.
    """
    user, shape = made.data.interactions.user, made.hidden.drift.shape[:2]
    here, all_rows = np.zeros(shape), np.zeros(shape)
    np.add.at(here, (made.period[rows], user[rows]), 1)
    np.add.at(all_rows, (made.period, user), 1)
    of_user = (here.sum(0) + len(rows) / len(user)) / (all_rows.sum(0) + 1)
    return (here + of_user) / (all_rows + 1)


def _drawn(activity: np.ndarray, chance: np.ndarray, total: int) -> np.ndarray:
    """float64[users, n]: the chance of each pair to be among ``total`` different ones, drawn by activity and choice."""
    share = activity[:, None] / activity.sum() * chance
    low, high = np.log(total), np.log(total) + 20
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        if -np.expm1(-np.exp(middle) * share).sum() < total:
            low = middle
        else:
            high = middle
    return -np.expm1(-np.exp(low) * share)
