"""Top-N: an epoch of BPRMF, a sweep of WMF, and full ranking, each against the plainest way to do the same."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy.sparse import csr_matrix
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from hrec.benchmarks.models import prepared
from hrec.benchmarks.timing import described, in_own_process, set_up, timed
from hrec.config import load
from hrec.datasets import load_split
from hrec.datasets.histories import positive_history
from hrec.datasets.queries import Queries
from hrec.datasets.recdata import TrainData
from hrec.models import find_model
from hrec.models.general.bprmf import BPRMF
from hrec.models.general.wmf import WMF
from hrec.models.layers.top_k import top_k
from hrec.pipeline.checkpoints import Checkpoints
from hrec.pipeline.records import Progress
from hrec.pipeline.reports import table
from hrec.pipeline.topn import Masked, masked_scores, users_at_once
from hrec.pipeline.trainer import Trainer
from hrec.settings import OptSettings, RankingSettings

WIDTH, LR, ROUNDS = 64, 0.001, 3
ROWS = 2_000_000
"""Training rows that a loop or solver walks over at least; three epochs where there are more."""
USERS, ITEMS, LONGEST, SEEN = 10_000, 300_000, 100, 20
"""Of full ranking: users, candidates, items of a list, and items that each user has seen."""


Ways = dict[str, Callable[..., Any]]


def bench_lists(args: argparse.Namespace) -> None:
    """The three tables; each line in its own process."""
    for name in [prepared(name, "bprmf") for name in args.data]:
        train = load_split(load("bprmf", find_model, [f"data={name}"]).run.data, None).train
        _table_of(
            f"BPRMF, width {WIDTH}, batches of {args.batch_size}: {described(train)}", "epoch s", LOOPS, train, args
        )
        _table_of(f"WMF, width {WIDTH}: {described(train)}", "sweep s", SOLVERS, train, args)
    budget = RankingSettings().eval_memory_mb
    title = f"full ranking: {USERS:,} users, {ITEMS:,} items, lists of {LONGEST}, width {WIDTH}, {budget:g} MB"
    _table_of(title, "s", RANKERS, None, args)


def _table_of(title: str, unit: str, ways: Ways, data: TrainData | None, args: argparse.Namespace) -> None:
    """A line for each way, with its time over that of the first."""
    rows, first = [["", unit, "times the first", "peak MB"]], None
    for name, way in ways.items():
        seconds, memory = in_own_process(_measured, way, data, args)
        if seconds is None:
            rows.append([f"{name}: not installed", "-", "-", "-"])
            continue
        first = first or seconds
        rows.append([name, f"{seconds:.3f}", f"{seconds / first:.2f}", f"{memory:,.0f}"])
    print(f"{title}\n{table(rows)}\n", flush=True)


def _measured(way: Callable, data: TrainData | None, args: argparse.Namespace) -> float | None:
    set_up(args)
    torch.manual_seed(0)
    return way(data, args)


# ---------------------------------------------------------------------------------------------- BPRMF


class Clock(Progress):
    """Seconds at the end of each epoch."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def epoch(self, row: Mapping[str, Any]) -> None:
        self.ends.append(time.perf_counter())


class Unkept(Checkpoints):
    """Writes nothing, as the other loops do not."""

    def save_last(self, state: dict[str, Any]) -> None:
        pass


def ours(train: TrainData, args: argparse.Namespace, row_wise: bool = False) -> float:
    """The Trainer as a run has it, without evaluation and without saving."""
    model, clock = BPRMF(BPRMF.Config(embedding_size=WIDTH), train), Clock()
    opt = OptSettings(
        hyper_params={"lr": LR},
        epochs=1 + _epochs(train),
        early_stop=None,
        batch_size=args.batch_size,
        row_wise=row_wise,
    )
    with TemporaryDirectory() as folder:
        Trainer(opt, 0, lambda _: {}, Unkept(Path(folder)), clock).fit(model, train)
    return statistics.median(b - a for a, b in pairwise(clock.ends))


class Plain(nn.Module):
    """Two embeddings and the loss of BPR, as a tutorial has them."""

    def __init__(self, train: TrainData) -> None:
        super().__init__()
        self.users, self.items = nn.Embedding(train.n_users, WIDTH), nn.Embedding(train.n_items, WIDTH)
        for layer in (self.users, self.items):
            nn.init.normal_(layer.weight, std=0.01)

    def forward(self, user: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        p = self.users(user)
        return F.softplus((p * (self.items(negative) - self.items(positive))).sum(1)).mean()


class Triples(Dataset):
    """A user, a positive and a negative, row by row in Python."""

    def __init__(self, train: TrainData) -> None:
        self.user, self.item = _positive(train)
        self.n_items, self.rng = train.n_items, np.random.default_rng(0)
        self.seen: dict[int, set[int]] = {}
        for user, item in zip(self.user.tolist(), self.item.tolist(), strict=True):
            self.seen.setdefault(user, set()).add(item)

    def __len__(self) -> int:
        return len(self.user)

    def __getitem__(self, row: int) -> tuple[int, int, int]:
        user = int(self.user[row])
        negative = int(self.rng.integers(self.n_items))
        while negative in self.seen[user]:
            negative = int(self.rng.integers(self.n_items))
        return user, int(self.item[row]), negative


def textbook(train: TrainData, args: argparse.Namespace) -> float:
    rows = Triples(train)
    return _loop(train, lambda: iter(DataLoader(rows, args.batch_size, shuffle=True)), fused=None)


def bare(train: TrainData, args: argparse.Namespace) -> float:
    """Tensors cut into batches; a negative may be an item that the user likes."""
    user, item = (torch.from_numpy(a.astype(np.int64)) for a in _positive(train))

    def batches() -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        order = torch.randperm(len(user))
        drawn = torch.randint(train.n_items, (len(user),))
        return zip(*(a.split(args.batch_size) for a in (user[order], item[order], drawn)), strict=True)

    return _loop(train, batches, fused=True)


def _loop(train: TrainData, batches: Callable[[], Iterator], fused: bool | None) -> float:
    """fused None: Adam as it comes."""
    model = Plain(train)
    adam = torch.optim.Adam(model.parameters(), LR, fused=fused)

    def whole() -> None:
        for batch in batches():
            adam.zero_grad()
            model(*batch).backward()
            adam.step()

    return _median(whole, train)


def _positive(train: TrainData) -> tuple[np.ndarray, np.ndarray]:
    """(user, item) of each like."""
    positive = positive_history(train)
    return np.repeat(np.arange(len(positive)), np.diff(positive.offset)), positive.index


def _epochs(train: TrainData) -> int:
    return max(3, ROWS // len(train.interactions))


def _median(work: Callable[[], None], train: TrainData) -> float:
    """Median seconds of an epoch or sweep, after one that warms up."""
    work()
    return statistics.median(timed(work) for _ in range(_epochs(train)))


LOOPS: Ways = {
    "hrec": ours,
    "hrec, opt.row_wise": partial(ours, row_wise=True),
    "textbook loop: Dataset of rows, DataLoader, nn.Embedding, Adam as it comes": textbook,
    "bare loop over tensors, nn.Embedding, fused Adam": bare,
}

# ------------------------------------------------------------------------------------------------ WMF


def sweep(train: TrainData, args: argparse.Namespace, cg_steps: int | None) -> float:
    model = WMF(WMF.Config(embedding_size=WIDTH, cg_steps=cg_steps), train)

    def both() -> None:
        model.solve_items()
        model.solve_users()

    return _median(both, train)


def implicit_sweep(train: TrainData, args: argparse.Namespace, use_cg: bool) -> float | None:
    """The same two weights: 'alpha' of ``implicit`` multiplies the extra weight of a positive."""
    try:
        from implicit.cpu.als import AlternatingLeastSquares
    except ImportError:
        return None
    user, item = _positive(train)
    shape = train.n_users, train.n_items
    cells = csr_matrix((np.full(len(user), 99.0, np.float32), (user, item)), shape)
    als = AlternatingLeastSquares(
        WIDTH, iterations=1 + _epochs(train), use_cg=use_cg, num_threads=args.threads, random_state=0
    )
    ends = [time.perf_counter()]
    als.fit(cells, show_progress=False, callback=lambda *_: ends.append(time.perf_counter()))
    return statistics.median(b - a for a, b in pairwise(ends[1:]))


SOLVERS: Ways = {
    "hrec, exact": partial(sweep, cg_steps=None),
    "implicit, exact": partial(implicit_sweep, use_cg=False),
    "hrec, 3 conjugate gradients": partial(sweep, cg_steps=3),
    "implicit, 3 conjugate gradients": partial(implicit_sweep, use_cg=True),
}

# ------------------------------------------------------------------------------------------- full ranking


def full_ranking(_: None, args: argparse.Namespace) -> float:
    users, items = _vectors()
    rng, device = np.random.default_rng(0), users.device
    seen = Masked.of(np.repeat(np.arange(USERS), SEEN), rng.integers(ITEMS, size=USERS * SEEN), USERS, device)
    budget = RankingSettings().eval_memory_mb

    def whole() -> None:
        scored = masked_scores(
            lambda queries: users[queries.user] @ items.T, Queries(torch.arange(USERS)), ITEMS, seen, budget, LONGEST
        )
        for _, scores in scored:
            top_k(scores, LONGEST)

    return min(timed(whole) for _ in range(ROUNDS))


def bare_ranking(_: None, args: argparse.Namespace) -> float:
    """The product and torch.topk in chunks of the same size: no item is masked and ties come in any order."""
    users, items = _vectors()
    chunk = users_at_once(ITEMS, RankingSettings().eval_memory_mb, LONGEST)

    def whole() -> None:
        for some in torch.arange(USERS).split(chunk):
            torch.topk(users[some] @ items.T, LONGEST, dim=1)

    return min(timed(whole) for _ in range(ROUNDS))


def _vectors() -> tuple[Tensor, Tensor]:
    return torch.randn(USERS, WIDTH), torch.randn(ITEMS, WIDTH)


RANKERS: Ways = {"bare product and topk": bare_ranking, "hrec: seen items masked, ties in order": full_ranking}
