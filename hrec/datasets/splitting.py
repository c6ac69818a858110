"""Training, validation and test part of one data set: one way for each class of split settings.

Every way gives one number per row, TRAIN, VALID, TEST or DROPPED, so the parts cannot overlap, and rows keep their
order inside a part. Nearly all are one cut: put the rows (or the items) of each group in an order, and let the first
be train, the next valid and the last test.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import singledispatch

import numpy as np
import torch

from hrec.config import did_you_mean
from hrec.datasets.candidates import Candidates, candidate_items
from hrec.datasets.columns import FIRST, Categorical
from hrec.datasets.negatives import with_negatives
from hrec.datasets.recdata import EXPLICIT, Feedback, RecData, Split, TrainData
from hrec.settings import (
    ColdItems,
    ColdUsers,
    ColumnSplit,
    InMatrix,
    LeaveOneOut,
    RandomSplit,
    Settings,
    TimeSplit,
    UserSplit,
)

TRAIN, VALID, TEST, DROPPED = range(4)
NAMES = {"train": TRAIN, "valid": VALID, "test": TEST}
"""Values of a column that names the part of each row."""
NAME_OF = {TRAIN: "training", VALID: "validation", TEST: "test"}

AnySplit = RandomSplit | UserSplit | LeaveOneOut | TimeSplit | ColdUsers | ColdItems | InMatrix | ColumnSplit
Log = Callable[[str], None]
to_logger: Log = logging.getLogger(__name__).info


def split(
    data: RecData,
    settings: AnySplit,
    sample: float | dict[str, float] | None = None,
    log: Log = to_logger,
    feedback: Feedback = EXPLICIT,
) -> Split:
    """Split the rows of ``data`` as ``settings`` says; the same seed gives the same rows.

    sample: share in (0, 1] of the training rows of each kind to keep, for all kinds or by name (kinds left out keep
    all). It changes neither valid nor test, and a smaller share keeps a part of what a larger one keeps.
    Implicit data (``feedback.negatives`` > 0): valid and test rows get label 1, and drawn rows with label 0 follow
    them, of pairs without a row in ``data``, dropped rows included. Samplers draw the training negatives. If a split
    holds out items, neither may separate new items from known ones: ``_filled``, ``negatives_from_train_only``.
    log: gets one line with the sizes and one for each sort of row left out.
    Raises ValueError where the data lacks the time or column that a split needs, for an unknown kind and a bad share.
    """
    # one stream of random numbers each, so that thinning the training part leaves the drawn negatives as they were
    place, thin, fill = np.random.default_rng(settings.seed).spawn(3)
    part = assign(settings, data, place, log)
    if sample is not None:
        _thin(part, data, sample, thin, log)
    known, valid, test = (data.with_interactions(data.interactions.take(part == p)) for p in (TRAIN, VALID, TEST))
    train = TrainData.of(known, feedback, _holds_out_items(settings))
    sizes = f"{_count(train)} training, {_count(valid)} validation and {_count(test)} test rows"
    log(f"split by {settings.by}, seed {settings.seed}: {sizes}")
    if feedback.negatives:
        generator = torch.Generator().manual_seed(int(fill.integers(2**62)))
        (valid, few), (test, fewer) = _filled(data, train, (valid, test), generator)
        drawn = "1 drawn negative" if feedback.negatives == 1 else f"{feedback.negatives} drawn negatives"
        log(
            f"{drawn} for each row: now {_count(valid)} validation and {_count(test)} test rows; "
            f"{few + fewer:,} left out because their users have seen all items of the kind"
        )
    return Split(train, valid, test)


def _holds_out_items(settings: AnySplit) -> bool:
    """Whether an item may have all of its rows outside the training part on purpose."""
    unknown = isinstance(settings, InMatrix) and settings.unknown_items > 0
    return unknown or isinstance(settings, ColdItems | TimeSplit | ColumnSplit)


def _filled(
    data: RecData, train: TrainData, parts: Sequence[RecData], generator: torch.Generator
) -> list[tuple[RecData, int]]:
    """The measured parts with their negatives, and how many could not be drawn.

    If the split holds out items, negatives of a new item are new items and those of a known item are known ones.
    A model that has seen no positive of a new item puts new items last: among known ones a new item has an AUC of .2.
    """
    known, how = train.has_rows(), train.feedback

    def drawn_from(among: np.ndarray | None) -> Candidates:
        return candidate_items(data, how.popularity, True, torch.device("cpu"), counted=train, among=among)

    if not train.negatives_from_train_only:
        candidates = drawn_from(None)
        return [with_negatives(part, how.negatives, candidates, generator) for part in parts]
    of_known, of_new = drawn_from(known), drawn_from(~known)
    return [with_negatives(p, how.negatives, of_known, generator, (~known[p.interactions.item], of_new)) for p in parts]


@singledispatch
def assign(settings: Settings, data: RecData, rng: np.random.Generator, log: Log) -> np.ndarray:
    """int8[N]: TRAIN, VALID, TEST or DROPPED for each row of ``data``."""
    raise TypeError(f"{type(settings).__name__} is no way to split")


@assign.register
def _random(settings: RandomSplit, data: RecData, rng: np.random.Generator, log: Log) -> np.ndarray:
    return cut(_one_group(data), rng.permutation(len(data.interactions)), settings.ratio)


@assign.register
def _user(settings: UserSplit, data: RecData, rng: np.random.Generator, log: Log) -> np.ndarray:
    return cut(_users(data, settings.per_kind), rng.permutation(len(data.interactions)), settings.ratio)


@assign.register
def _time(settings: TimeSplit, data: RecData, rng: np.random.Generator, log: Log) -> np.ndarray:
    oldest_first = _by_time(data)
    if oldest_first is None:
        raise ValueError(f"'{data.name}' has no times to split by: name their column in data.TIME_FIELD")
    part = cut(_one_group(data), oldest_first, settings.ratio)
    _say_where_times_are_cut(data, part[oldest_first], oldest_first, log)
    return part


def _say_where_times_are_cut(data: RecData, part: np.ndarray, order: np.ndarray, log: Log) -> None:
    """Say so where rows of the same time fall to two parts: part int8[N], in ``order``, which is that of time."""
    assert data.interactions.time is not None
    time = data.interactions.time[order]
    for first in np.flatnonzero((part[1:] != part[:-1]) & (time[1:] == time[:-1])):
        same = part[time == time[first]]
        sizes = ", ".join(f"{np.sum(same == code):,} {name}" for name, code in NAMES.items())
        log(
            f"warning: split by time: {len(same):,} of {len(part):,} rows have the same time as the cut between "
            f"{NAME_OF[part[first]]} and {NAME_OF[part[first + 1]]}, {time[first]:.15g} s; they are divided in the "
            f"order of the file ({sizes})"
        )


@assign.register
def _leave_one_out(settings: LeaveOneOut, data: RecData, rng: np.random.Generator, log: Log) -> np.ndarray:
    order = _by_time(data)
    if order is None:
        log(f"leave one out: '{data.name}' has no times, so each user's last rows are drawn at random")
        order = rng.permutation(len(data.interactions))
    user = _users(data, settings.per_kind)
    position, size = _positions(user, order)
    if few := int(np.count_nonzero((size > 0) & (size < 3))):
        whom = "pairs of a user and a kind" if settings.per_kind else "users"
        log(f"leave one out: {few:,} {whom} with fewer than 3 rows stay in the training part whole")
    from_the_end = size[user] - 1 - position
    part = np.select([size[user] < 3, from_the_end == 0, from_the_end == 1], [TRAIN, TEST, VALID], TRAIN)
    if data.interactions.time is not None:
        _say_whose_times_are_cut(data, user, part, order, log)
    return part.astype(np.int8)


def _say_whose_times_are_cut(
    data: RecData, group: np.ndarray, part: np.ndarray, oldest_first: np.ndarray, log: Log
) -> None:
    """Say of how many users rows of one group and time fall to two parts: group, part int[N]."""
    x = data.interactions
    assert x.time is not None
    order = oldest_first[np.argsort(group[oldest_first], kind="stable")]
    group, user, time, part = group[order], x.user[order], x.time[order], part[order]
    cut_here = (group[1:] == group[:-1]) & (time[1:] == time[:-1]) & (part[1:] != part[:-1])
    if several := len(np.unique(user[1:][cut_here])):
        log(
            f"warning: leave one out: {several:,} of {len(np.unique(user)):,} users have rows of the same time in "
            "different parts; of equal times the row further down in the file counts as the later one"
        )


@assign.register
def _cold_users(settings: ColdUsers, data: RecData, rng: np.random.Generator, log: Log) -> np.ndarray:
    """Paper, Table 5: "we only reserve up to three samples of these users each in the training set"."""
    part = cut(_one_group(data), rng.permutation(len(data.interactions)), settings.ratio)
    user = data.interactions.user
    cold = np.bincount(user[part == TEST], minlength=data.n_users) > 0
    rows = np.flatnonzero((part == TRAIN) & cold[user])
    position, size = _positions(user[rows], rng.permutation(len(rows)))
    dropped = rows[position >= settings.max_train]
    part[dropped] = DROPPED
    log(
        f"cold users: {len(dropped):,} training rows dropped, of {np.sum(size > settings.max_train):,} users; "
        f"each of the {np.sum(cold):,} users with a test row keeps at most {settings.max_train}"
    )
    return part


@assign.register
def _cold_items(settings: ColdItems, data: RecData, rng: np.random.Generator, log: Log) -> np.ndarray:
    """The ratio holds over the items of each kind that have a row."""
    item, first, of_row = np.unique(data.interactions.item, return_index=True, return_inverse=True)
    kind = data.interactions.kind[first]
    return cut(kind, rng.permutation(len(item)), settings.ratio)[of_row]


@assign.register
def _in_matrix(settings: InMatrix, data: RecData, rng: np.random.Generator, log: Log) -> np.ndarray:
    """DualNet paper, section 5.1: all items of validation and test have appeared in training."""
    item = data.interactions.item
    part = cut(_one_group(data), rng.permutation(len(item)), settings.ratio)
    known = np.bincount(item[part == TRAIN], minlength=data.n_items) > 0
    moved = ~known[item]
    part[moved] = TRAIN
    log(f"in-matrix: {moved.sum():,} validation and test rows of items without a training row are training rows")
    if settings.unknown_items:
        read = np.unique(item)
        held_out = rng.permutation(read)[: round(settings.unknown_items * len(read))]
        part[np.isin(item, held_out)] = DROPPED
        log(f"in-matrix: {len(held_out):,} of {len(read):,} items held out, {np.sum(part == DROPPED):,} rows dropped")
    return part


@assign.register
def _column(settings: ColumnSplit, data: RecData, rng: np.random.Generator, log: Log) -> np.ndarray:
    name, columns = settings.column, data.interactions.columns
    column = columns.get(name)
    if not isinstance(column, Categorical):
        raise ValueError(f"data.split.column: '{data.name}' has no column '{name}' that names the part of each row")
    part_of = np.full(column.size, DROPPED, np.int8)
    part_of[FIRST:] = [NAMES.get(value, DROPPED) for value in column.values.tolist()]
    part = part_of[column.code]
    if not (part == TRAIN).any():
        found = ", ".join(f"'{value}'" for value in column.values[:5].tolist()) or "nothing"
        raise ValueError(f"data.split.column: '{name}' should say 'train', 'valid' or 'test'; it holds {found}")
    if dropped := int(np.sum(part == DROPPED)):
        log(f"split by column '{name}': {dropped:,} rows dropped, of which it says neither train, valid nor test")
    if settings.valid_share and not (part == VALID).any():
        tested = np.flatnonzero(part == TEST)
        moved = rng.permutation(tested)[: round(settings.valid_share * len(tested))]
        part[moved] = VALID
        log(f"split by column '{name}': {len(moved):,} of {len(tested):,} test rows are validation rows")
    return part


def cut(group: np.ndarray, order: np.ndarray, ratio: tuple[float, float, float]) -> np.ndarray:
    """int8[n]: within each group the first rows of ``order`` are TRAIN, the next VALID, the last TEST.

    group: int[n], not negative. order: a permutation of range(n). Sizes: ``part_sizes``.
    """
    position, size = _positions(group, order)
    train, valid, _ = part_sizes(size, ratio)
    return (position >= train[group]).astype(np.int8) + (position >= (train + valid)[group])


def part_sizes(count: np.ndarray, ratio: tuple[float, float, float]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of train, valid and test where there are ``count`` rows (int[...]) in all; RecBole's rounding.

    Valid and test are rounded down and train gets the rest, so a single row is train's. Then test, and after it valid,
    takes one row from train if it came out empty and train has more than one. The ratio need not add up to 1.
    Source: ``Dataset._calcu_split_ids`` of github.com/RUCAIBox/RecBole.
    """
    # a ten-millionth of a row up first: 0.29 * 100 is 28.999999999999996 in binary
    valid, test = (np.floor(count * (share / sum(ratio)) + 1e-7).astype(np.int64) for share in ratio[1:])
    test += (test == 0) & (count - valid - test > 1)
    valid += (valid == 0) & (count - valid - test > 1)
    return count - valid - test, valid, test


def _positions(group: np.ndarray, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each row stands among the rows of its group, in ``order``: int64[n]; and the size of each group."""
    grouped = order[np.argsort(group[order], kind="stable")]
    size = np.bincount(group)
    start = np.cumsum(size) - size
    position = np.empty(len(group), np.int64)
    position[grouped] = np.arange(len(group)) - start[group[grouped]]
    return position, size


def _one_group(data: RecData) -> np.ndarray:
    return np.zeros(len(data.interactions), np.int8)


def _users(data: RecData, per_kind: bool) -> np.ndarray:
    """int[N]: the user of each row; ``per_kind``: an index of its user and kind."""
    x = data.interactions
    return x.user.astype(np.int64) * len(data.kinds) + x.kind if per_kind else x.user


def _by_time(data: RecData) -> np.ndarray | None:
    """The rows from old to new, of equal times in row order; None where the data has no times."""
    time = data.interactions.time
    if time is None:
        return None
    if missing := int(np.sum(np.isnan(time))):
        raise ValueError(f"{missing:,} of {len(time):,} rows of '{data.name}' have no time, so they have no order")
    return np.argsort(time, kind="stable")


def _thin(
    part: np.ndarray, data: RecData, sample: float | dict[str, float], rng: np.random.Generator, log: Log
) -> None:
    """Mark training rows as DROPPED, in place, so that the share ``sample`` of each kind's is kept (rounded up)."""
    kinds = list(data.kinds)
    by_name = sample if isinstance(sample, dict) else dict.fromkeys(kinds, sample)
    for name, share in by_name.items():
        if name not in kinds:
            raise ValueError(f"data.sample: no kind '{name}'.{did_you_mean(name, kinds)} Kinds: {', '.join(kinds)}")
        if not 0 < share <= 1:
            raise ValueError(f"data.sample: a share is above 0 and at most 1, got {share} for '{name}'")
    rows = np.flatnonzero(part == TRAIN)
    kind = data.interactions.kind[rows]
    position, size = _positions(kind, rng.permutation(len(rows)))
    shares = np.array([by_name.get(name, 1.0) for name in kinds])[: len(size)]
    dropped = rows[position >= np.ceil(size * shares - 1e-7)[kind]]
    part[dropped] = DROPPED
    log(f"sample: {len(rows) - len(dropped):,} of {len(rows):,} training rows kept, {len(dropped):,} dropped")


def _count(data: RecData) -> str:
    return f"{len(data.interactions):,}"
