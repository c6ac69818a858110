"""What the experiments of the DualNet paper run: models, data with their splits, trials; and a table of such runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from hrec.experiments import lists
from hrec.experiments.lists import Row
from hrec.experiments.options import CommonOptions
from hrec.experiments.reports import Report
from hrec.experiments.runs import Done, Job

CONFIGS = {
    "Popularity": "popularity",
    "ItemKNN": "itemknn",
    "EASE": "ease",
    "BPRMF": "bprmf",
    "WMF": "wmf",
    "CDL": "cdl",
    "DualNet": "dualnet",
    "DualNet+users": "dualnet",
    "DualNet-config": "dualnet",
}
"""DualNet+users: its item network reads who an item's users are, besides the content. DualNet-config: DualNet with the
noise of its config, whatever trial the search chooses."""
DUALNETS = tuple(name for name, config in CONFIGS.items() if config == "dualnet")
UNLABELLED = 'data.label={"negatives": 0}'
IN_MATRIX = (
    'data.split={"by": "in_matrix", "ratio": [3, 1, 1], "unknown_items": 0.1}',
    "ranking.items=known",
)
"""Section 5.1: known items alone, nine in ten."""
NOT_OF_VALIDATION = "ranking.mask_valid=true"
"""What a user has in validation is no candidate in test. The paper does not say; WMF reaches its figures so."""
OUT_MATRIX = ('data.split={"by": "cold_items", "ratio": [8, 1, 1]}', "ranking.items=new_of_part")


@dataclass(frozen=True)
class Source:
    """A data set with its splits: name of the split -> settings."""

    splits: dict[str, tuple[str, ...]]
    out_matrix: tuple[str, ...]
    configs: dict[str, str] = field(default_factory=dict)
    """Model -> its config on this data, where it has one of its own."""
    text: str = ""
    """What the items' content is, where it is not the paper's."""
    smaller: int = 1
    """What the paper's cut-offs are divided by."""
    of_paper: bool = False
    """Whether the paper's numbers are of this data, so that a table shows them too."""
    trials: dict[str, list[tuple[str, ...]]] = field(default_factory=dict)
    """Model -> what is tried of it here, in place of TRIALS."""

    @property
    def in_matrix(self) -> tuple[str, ...]:
        """The split of the experiments that have one: the last, CiteULike2 of the paper's two."""
        return list(self.splits.values())[-1]


SETTINGS: dict[str, tuple[str, ...]] = {
    "Popularity": (),
    "ItemKNN": (),
    "EASE": (),
    "BPRMF": ("opt.batch_size=4096", "opt.epochs=200", "opt.eval_step=5"),
    "WMF": ("opt.epochs=15",),
    "CDL": (),
    "DualNet": ("model.item_history=false",),
    "DualNet+users": ("model.item_history=true",),
    "DualNet-config": ("model.item_history=false",),
}
"""What every run of a model gets, besides the trial."""

TRIALS: dict[str, list[tuple[str, ...]]] = {
    "ItemKNN": [("model.neighbours=100",), ("model.neighbours=300",)],
    "EASE": [("model.l2=100",), ("model.l2=300",)],
    "BPRMF": [("opt.hyper_params.lr=0.001",), ("opt.hyper_params.lr=0.003",)],
    "WMF": [
        ("model.embedding_size=300", "model.l_u=1.2", "model.l_v=1.2"),
        ("model.embedding_size=300", "model.l_u=0.8", "model.l_v=0.8"),
    ],
    "CDL": [("model.lambda_u=3", "model.lambda_v=0.3"), ()],
    "DualNet": [("model.item_noise=0.1",), ("model.item_noise=0.3",)],
    "DualNet+users": [("model.item_noise=0.1",), ("model.item_noise=0.3",)],
}
"""What is tried of each model on the validation part, with seed 0, unless its source has its own trials: the first
``--trials``. DualNet's other settings were chosen on the validation part of CiteULike2 (docs/log)."""


def _source(name: str, smaller: int = 1) -> Source:
    data = (f"data={name}",)
    return Source({"in-matrix": (*data, *IN_MATRIX)}, (*data, *OUT_MATRIX), smaller=smaller)


def _epinions() -> Source:
    """128,000 users and items: vectors and sweeps of WMF that a quarter of an hour is enough for."""
    small = ("opt.epochs=10", "model.embedding_size=100")
    trials: dict[str, list[tuple[str, ...]]] = {"WMF": [small, (*small, "model.b=0.001")], "DualNet+users": [()]}
    return replace(_source("epinions"), configs={"DualNet+users": "dualnet-epinions"}, trials=trials)


def _citeulike(name: str, text: str, **more: tuple[str, ...]) -> Source:
    kept = (f"data={name}", UNLABELLED)
    own = {"CDL": "cdl-citeulike"} | dict.fromkeys(DUALNETS, "dualnet-citeulike")
    wide = ("model.embedding_size=1000", "model.l_exponent=2", "model.l_u=1.3", "model.l_v=1.3")
    described = f"The content is a bag of words of {text}; the paper's is of titles and abstracts."
    splits = {**more, "CiteULike2": (*kept, *IN_MATRIX, NOT_OF_VALIDATION)}
    return Source(splits, (*kept, *OUT_MATRIX), own, described, of_paper=True, trials={"WMF": [wide, TRIALS["WMF"][0]]})


SOURCES = {
    "citeulike_a": _citeulike("citeulike", "titles and tags", CiteULike1=("data=citeulike-p10", UNLABELLED)),
    "citeulike_titles": _citeulike("citeulike-titles", "titles alone, as tags know of test rows (data/README.md)"),
    "epinions": _epinions(),
    "movielens_100k": _source("movielens"),
    "planted": _source("planted-small"),
    "tiny": _source("planted-tiny", smaller=10),
}


class Options(CommonOptions):
    """What the command line said, with the sources and runs of the DualNet paper."""

    prefix = "dualnet-"

    @property
    def source(self) -> Source:
        return SOURCES[self.data]

    def cuts(self, *published: int) -> tuple[int, ...]:
        """The paper's cut-offs, smaller where there are few items."""
        return tuple(max(1, k // self.source.smaller) for k in published)

    def trials_of(self, model: str) -> list[tuple[str, ...]]:
        """What is tried of a model; without trials its config alone."""
        return (TRIALS | self.source.trials).get(model, [()])[: self.trials] or [()]

    def job(self, model: str, metrics: Sequence[str], *overrides: str, seed: int = 0) -> Job:
        names = ", ".join(f'"{metric}"' for metric in metrics)
        measured = (f"metrics=[{names}]", f"opt.early_stop.metric={metrics[-1]}")
        return Job(self.source.configs.get(model, CONFIGS[model]), (*SETTINGS[model], *measured, *overrides), seed)


def measured(options: Options, rows: Sequence[Row], cuts: Sequence[int]) -> list[list[Done]]:
    """For each row its runs, one for each seed, with the best of its model's trials."""
    return lists.measured(options, rows, [recall(k) for k in cuts], [recall(k) for k in reversed(cuts)])


def recall(k: int) -> str:
    return f"recall@{k}"


def written(
    options: Options,
    name: str,
    heading: Sequence[str],
    rows: Sequence[Row],
    runs: list[list[Done]],
    cuts: Sequence[int],
) -> Report:
    """The table of the rows, recall in per cent, with what the paper printed next to it."""
    report = options.report(name)
    shown = rows if options.source.of_paper else [replace(row, paper=None) for row in rows]
    report.table(lists.table_of(shown, runs, heading, [recall(k) for k in cuts]))
    found = {
        ", ".join(row.labels): {f"@{k}": [100 * d.result["test"][recall(k)] for d in done] for k in cuts}
        for row, done in zip(rows, runs, strict=True)
    }
    report.dots(found, "test recall in per cent")
    tuned = lists.tuned(options, rows, recall(cuts[-1]), "hrec/papers/dualnet/runs.py")
    report.say(
        f"Test recall in per cent over all users with a test row, {options.described_seeds} of weights and batches; "
        f"one split. {lists.candidates(runs)} {tuned}"
    )
    if options.source.text:
        report.say(options.source.text)
    return report


def claim(report: Report, text: str, better: Sequence[Done], worse: Sequence[Done], k: int, ours: bool = False) -> None:
    """Whether one is above the other at k, by a Wilcoxon test over users; ``ours``: the paper does not claim it."""
    lists.claim(report, text, better, worse, recall(k), ours)
