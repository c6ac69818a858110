"""Metrics of top-N lists: of all items, by kind, for cold and warm users, for head and tail items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product

import numpy as np
import torch

from hrec.datasets.candidates import Candidates, distinct_ranks
from hrec.datasets.queries import Queries
from hrec.datasets.recdata import Interactions, RecData, Split, joined_rows
from hrec.datasets.sequences import Sequences
from hrec.models.base import BaseModel
from hrec.models.layers.top_k import top_k
from hrec.pipeline.devices import Processes
from hrec.pipeline.ranking_metrics import USER_METRICS, Lists, mean_of_users, of_catalogue, of_users, parse
from hrec.pipeline.topn import Masked, masked_scores
from hrec.settings import RankingSettings

GROUPS = ("cold_users", "warm_users", "head_items", "tail_items")
"""Groups that may follow the slash of a metric's name, besides the kinds."""


def describe_candidates(settings: RankingSettings) -> str:
    """What the lists are ranked out of, in words."""
    items = {
        "all": "all items",
        "known": "items with a training row",
        "new": "items without a training row",
        "new_of_part": "items without a training row that are positives of the split",
    }
    if settings.sampled is None:
        return f"out of {items[settings.items]}"
    each = "of each of their kinds" if settings.sampled_per_kind else "each"
    return (
        f"out of the positives and {settings.sampled} SAMPLED items {each}, of {items[settings.items]}: "
        "not comparable with full ranking"
    )


def ranked_out_of(settings: RankingSettings, kinds: Sequence[str]) -> dict[str, str]:
    """For each group of a metric of lists, '' for all, the candidates of its lists in a few words."""
    items = {"all": "all items", "known": "known items", "new": "new items", "new_of_part": "new items of the split"}
    of_kind = items[settings.items] if settings.sampled is None else f"positives and {settings.sampled} SAMPLED"
    of_all = f"{of_kind} of each kind" if settings.sampled_per_kind else of_kind
    return {"": of_all} | {kind: f"{of_kind}, {kind}" for kind in kinds} | dict.fromkeys(GROUPS, of_all)


@dataclass(frozen=True, eq=False)
class Ranking:
    """Measures top-N lists of a model on parts of one data set.

    The candidates of a user are the items of ``settings.items`` without a training row of the user. With ``mask_valid``
    they have no validation row either when another split is measured. An item is relevant if it is one of
    ``settings.items`` and a positive of the user in the split. Users without a relevant item are left out.
    """

    settings: RankingSettings
    metrics: Sequence[str]
    parts: Split
    processes: Processes = field(default_factory=Processes)

    def measure(self, model: BaseModel, part: RecData) -> dict[str, float]:
        """'<metric>' over all items; '<metric>/<kind>' over lists of one of several kinds.

        Candidates sampled over all kinds have no lists of one kind. Metrics of users have groups too:
        '<metric>/cold_users' and '/warm_users'; '<metric>/head_items' and '/tail_items', the same lists with only those
        items relevant.

        Raises ScoreError for scores that are NaN.
        """
        return self._values(part, self.lists(model, part, list(self._spans(part).values())))

    def undefined(self, part: RecData) -> set[str]:
        """The keys of ``measure`` that are means over no users, whatever the model."""
        relevant = self.relevant(part)
        users = np.unique(relevant // self.n_items)
        nothing = np.full((len(users), 1), -1, np.int32)
        lists = [self._judged(users, nothing, relevant, span) for span in self._spans(part).values()]
        of_users = {name for name in self.metrics if parse(name)[0] in USER_METRICS}
        return {k for k, v in self._values(part, lists).items() if np.isnan(v) and k.partition("/")[0] in of_users}

    def of_each_user(self, model: BaseModel, part: RecData) -> dict[str, np.ndarray]:
        """'<metric>' and '<metric>/<kind>' -> float[n_users], for metrics of users; NaN without a relevant item."""
        spans, out = self._spans(part), {}
        for (suffix, lists), metric in product(
            zip(spans, self.lists(model, part, list(spans.values())), strict=True), self.metrics
        ):
            if parse(metric)[0] in USER_METRICS:
                having = lists.take(lists.relevant > 0)
                out[metric + suffix] = np.full(part.n_users, np.nan)
                out[metric + suffix][having.user] = of_users(metric, having)
        return out

    def lists(self, model: BaseModel, part: RecData, spans: Sequence[slice]) -> list[Lists]:
        """For each range of items the lists of the users with a relevant item, with their hits."""
        model.eval()
        relevant = self.relevant(part)
        users = np.unique(relevant // self.n_items)
        mine = users[self.processes.share(len(users))]
        return [
            self._judged(users, self.processes.gather(item, len(users)), relevant, span)
            for item, span in zip(self._best(model, part, mine, spans), spans, strict=True)
        ]

    # ------------------------------------------------------------------ the data

    @property
    def n_items(self) -> int:
        return self.parts.train.n_items

    @cached_property
    def popularity(self) -> np.ndarray:
        """int64[n_items]: training rows of each item."""
        return np.bincount(self.parts.train.interactions.item, minlength=self.n_items)

    def allowed(self, part: RecData) -> np.ndarray:
        """bool[n_items]: which items ``settings.items`` allows when this split is measured."""
        if self.settings.items == "all":
            return np.ones(self.n_items, bool)
        allowed = (self.popularity > 0) == (self.settings.items == "known")
        if self.settings.items == "new_of_part":
            allowed &= np.bincount(part.interactions.item[_positive(part)], minlength=self.n_items) > 0
        return allowed

    @cached_property
    def head(self) -> np.ndarray:
        """bool[n_items]: the ``head_share`` of the items with the most training rows."""
        order = np.argsort(-self.popularity, kind="stable")
        head = np.zeros(self.n_items, bool)
        head[order[: round(self.settings.head_share * self.n_items)]] = True
        return head

    def relevant(self, part: RecData) -> np.ndarray:
        """int64, sorted: user * n_items + item of the positives of a split that may be recommended."""
        x = part.interactions
        return np.unique(_keys(x, self.n_items)[self.allowed(part)[x.item] & _positive(part)])

    def hidden(self, part: RecData) -> tuple[np.ndarray, np.ndarray]:
        """(user, item) of the rows whose items are not candidates."""
        rows = [self.parts.train.interactions]
        if self.settings.mask_valid and part is not self.parts.valid:
            rows.append(self._valid_rows())
        return np.concatenate([x.user for x in rows]), np.concatenate([x.item for x in rows])

    def _valid_rows(self) -> Interactions:
        """The validation rows without drawn negatives, which are not interactions."""
        valid = self.parts.valid
        return valid.interactions.take(_positive(valid)) if self.parts.train.feedback.negatives else valid.interactions

    # ------------------------------------------------------------------ lists and their metrics

    def _spans(self, part: RecData) -> dict[str, slice]:
        """Suffix of a metric's name -> its range of items."""
        spans = {"": slice(0, self.n_items)}
        if len(part.kinds) > 1 and self.settings.lists_per_kind:
            spans |= {f"/{kind}": slice(table.start, table.stop) for kind, table in part.kinds.items()}
        return spans

    def _values(self, part: RecData, lists: Sequence[Lists]) -> dict[str, float]:
        """The metrics of the lists of each of ``_spans``."""
        relevant, allowed = self.relevant(part), self.allowed(part)
        out: dict[str, float] = {}
        for (name, span), of_all in zip(self._spans(part).items(), lists, strict=True):
            of_span = of_all if name == "" else of_all.take(of_all.relevant > 0)
            for metric in self.metrics:
                out[metric + name] = self._one(metric, of_span, int(allowed[span].sum()))
            if name == "":
                out |= self._groups(of_all, relevant)
        return out

    def _best(self, model: BaseModel, part: RecData, users: np.ndarray, spans: Sequence[slice]) -> list[np.ndarray]:
        """For each span int32[U, K]: the best items of each user, -1 after the end."""
        device, longest = model.device, max(parse(name)[1] for name in self.metrics)
        memory = self.settings.eval_memory_mb
        widths = [min(longest, span.stop - span.start) for span in spans]
        user = torch.from_numpy(users.astype(np.int64)).to(device)
        masked = Masked.of(*self.hidden(part), part.n_users, device).of_rows(user)
        allowed = self.allowed(part)
        blocked = None if allowed.all() else torch.from_numpy(~allowed).to(device)
        drawn = self._drawn(part, device)
        drawn = None if drawn is None else drawn.of_rows(user)
        lists: list[list[torch.Tensor]] = [[] for _ in spans]
        with torch.no_grad():
            ranker = model.ranker()
        for chunk, scores in masked_scores(ranker, self._queries(user, part), self.n_items, masked, memory, longest):
            if blocked is not None:
                scores[:, blocked] = -torch.inf
            candidates = scores if drawn is None else _only(scores, *drawn.cells(chunk))
            for found, span, width in zip(lists, spans, widths, strict=True):
                best = top_k(candidates[:, span], width)
                found.append(torch.where(best >= 0, best + span.start, -1).int().cpu())
        empty = [torch.zeros(0, width, dtype=torch.int32) for width in widths]
        return [torch.cat([none, *found]).numpy() for none, found in zip(empty, lists, strict=True)]

    def _queries(self, user: torch.Tensor, part: RecData) -> Queries:
        """Known users; with ``valid_in_history`` their histories hold the validation rows when test is measured."""
        if not self.settings.valid_in_history or part is self.parts.valid:
            return Queries(user)
        train = self.parts.train
        rows = joined_rows([train.interactions, self._valid_rows()])
        return Queries(user, Sequences.of(train, rows, train.n_users, user.device).take(user))

    def _drawn(self, part: RecData, device: torch.device) -> Masked | None:
        """Sampled candidates: the user's positives and ``sampled`` other items, of all kinds together or of each kind.

        None without sampling.
        """
        if self.settings.sampled is None:
            return None
        positive = np.divmod(self.relevant(part), self.n_items)
        excluded = self.hidden(part)
        user, item = (np.concatenate(both) for both in zip(positive, excluded, strict=True))
        spans = [(0, self.n_items)]
        if self.settings.sampled_per_kind:
            spans = [(table.start, table.stop) for table in part.kinds.values()]
        others = Candidates.of(user, item, part.n_users, self.allowed(part), spans, torch.device("cpu"))
        span_of = np.searchsorted([start for start, _ in spans], positive[1], side="right") - 1
        groups = np.unique(positive[0] * len(spans) + span_of)
        rng = np.random.default_rng(self.settings.seed)
        ranks = distinct_ranks(others.left.numpy()[groups], self.settings.sampled, rng)
        owner, there = np.repeat(groups, self.settings.sampled), ranks.ravel() >= 0
        who, span = np.divmod(owner[there], len(spans))
        drawn = others.at(*map(torch.from_numpy, (who, span, ranks.ravel()[there]))).numpy()
        return Masked.of(np.append(positive[0], who), np.append(positive[1], drawn), part.n_users, device)

    def _judged(self, users: np.ndarray, item: np.ndarray, relevant: np.ndarray, span: slice) -> Lists:
        """The lists with their hits; relevant items are counted within the span."""
        of_item = relevant % self.n_items
        inside = relevant[(of_item >= span.start) & (of_item < span.stop)]
        return _with_hits(users, item, inside, self.n_items)

    def _one(self, metric: str, lists: Lists, candidates: int) -> float:
        if parse(metric)[0] in USER_METRICS:
            return mean_of_users(metric, lists)
        return of_catalogue(metric, lists, self.popularity, candidates)

    def _groups(self, lists: Lists, relevant: np.ndarray) -> dict[str, float]:
        rows = np.bincount(self.parts.train.interactions.user, minlength=self.parts.train.n_users)[lists.user]
        cold = rows <= self.settings.cold_rows
        of_head = self.head[relevant % self.n_items]
        groups = [
            lists.take(cold),
            lists.take(~cold),
            *(_with_hits(lists.user, lists.item, relevant[of], self.n_items) for of in (of_head, ~of_head)),
        ]
        of_users = [m for m in self.metrics if parse(m)[0] in USER_METRICS]
        return {
            f"{m}/{name}": mean_of_users(m, group) for name, group in zip(GROUPS, groups, strict=True) for m in of_users
        }


def _with_hits(users: np.ndarray, item: np.ndarray, relevant: np.ndarray, n_items: int) -> Lists:
    keys = np.where(item >= 0, users.astype(np.int64)[:, None] * n_items + item, -1)
    place = np.searchsorted(users, relevant // n_items)
    count = np.bincount(place, minlength=len(users))
    return Lists(users, item, np.isin(keys, relevant), count)


def _positive(part: RecData) -> np.ndarray:
    """bool[N]: the positives, all rows without labels."""
    label = part.interactions.label
    return np.ones(len(part.interactions), bool) if label is None else label > 0


def _keys(x: Interactions, n_items: int) -> np.ndarray:
    return x.user.astype(np.int64) * n_items + x.item


def _only(scores: torch.Tensor, row: torch.Tensor, item: torch.Tensor) -> torch.Tensor:
    """The scores of these cells, -inf for all others."""
    out = torch.full_like(scores, -torch.inf)
    out[row, item] = scores[row, item]
    return out
