"""The tables of the DualNet paper (Xiong et al., 2017): recall of WMF, CDL and DualNet, in-matrix and out-matrix."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import islice, pairwise

import numpy as np

from experiments.options import CommonOptions
from experiments.report import Report
from experiments.runs import Done, Job, best_of, run_all, split_of, try_all
from experiments.statistics import compare
from hrec.config import ConfigError
from hrec.datasets.histories import liked_history
from hrec.datasets.recdata import RecData
from hrec.pipeline.ranking import told as out_of
from hrec.pipeline.records import RunFolder
from hrec.settings import RankingSettings

CONFIGS = {
    "Popularity": "popularity",
    "ItemKNN": "itemknn",
    "EASE": "ease",
    "BPRMF": "bprmf",
    "WMF": "wmf",
    "CDL": "cdl",
    "DualNet": "dualnet",
    "DualNet+users": "dualnet",
}
"""DualNet+users: its item network reads who an item's users are, beside the content."""
READ_CONTENT = ("CDL", "DualNet")
"""What cannot do without columns of items."""
OF_TABLE_1, OF_TABLE_2 = ("WMF", "CDL", "DualNet"), ("CDL", "DualNet")
"""The models of the paper's tables."""
UNLABELLED = 'data.label={"negatives": 0}'
IN_MATRIX = (
    'data.split={"by": "in_matrix", "ratio": [3, 1, 1], "unknown_items": 0.1}',
    "ranking.items=known",
)
"""Section 5.1: known items alone, nine in ten."""
NOT_OF_VALIDATION = "ranking.mask_valid=true"
"""What a user has in validation is no candidate in test. The paper does not say; WMF meets its figures so (NOTES)."""
OUT_MATRIX = ('data.split={"by": "cold_items", "ratio": [8, 1, 1]}', "ranking.items=new_of_part")

NO_LEAK = "model.all_items=false"
"""The content of new items is not to be learnt from where they are what is predicted."""


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
    trials: dict[str, list[tuple[str, ...]]] = field(default_factory=dict)
    """Model -> what is tried of it here, in place of TRIALS."""


def _source(name: str, smaller: int = 1) -> Source:
    data = (f"data={name}",)
    return Source({"in-matrix": (*data, *IN_MATRIX)}, (*data, *OUT_MATRIX), smaller=smaller)


def _epinions() -> Source:
    """128,000 users and items: vectors and sweeps of WMF that a quarter of an hour is enough for."""
    small = ("opt.epochs=10", "model.embedding_size=100")
    trials = {"WMF": [small, (*small, "model.b=0.001")], "DualNet+users": [()]}
    return replace(_source("epinions"), configs={"DualNet+users": "dualnet-epinions"}, trials=trials)


def _citeulike(name: str, text: str, **more: tuple[str, ...]) -> Source:
    kept = (f"data={name}", UNLABELLED)
    own = {"CDL": "cdl-citeulike"} | dict.fromkeys(("DualNet", "DualNet+users"), "dualnet-citeulike")
    told = f"The content is a bag of words of {text}; the paper's is of titles and abstracts."
    return Source({**more, "CiteULike2": (*kept, *IN_MATRIX, NOT_OF_VALIDATION)}, (*kept, *OUT_MATRIX), own, told)


SOURCES = {
    "citeulike_a": _citeulike("citeulike", "titles and tags", CiteULike1=("data=citeulike-p10", UNLABELLED)),
    "citeulike_titles": _citeulike("citeulike-titles", "titles alone, as tags know of test rows (data/README.md)"),
    "epinions": _epinions(),
    "movielens_100k": _source("movielens"),
    "planted": _source("planted-small"),
    "tiny": _source("planted-tiny", smaller=10),
}

SETTINGS: dict[str, tuple[str, ...]] = {
    "Popularity": (),
    "ItemKNN": (),
    "EASE": (),
    "BPRMF": ("opt.batch_size=4096", "opt.epochs=200", "opt.eval_step=5"),
    "WMF": ("opt.epochs=15",),
    "CDL": (),
    "DualNet": ("model.item_history=false",),
    "DualNet+users": ("model.item_history=true",),
}
"""What every run of a model gets, beside the trial."""

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
"""What is tried of each model on the validation part, with seed 0: the first ``--trials``. DualNet's other settings
were chosen on the validation part of CiteULike2 (NOTES.md)."""


PAPER_TABLE_1 = {
    ("CiteULike1", "WMF"): (22.14, 32.58, 43.65),
    ("CiteULike1", "CDL"): (25.02, 36.57, 48.32),
    ("CiteULike1", "DualNet"): (30.41, 41.71, 52.24),
    ("CiteULike2", "BPRMF"): (39.11, 49.16, 59.96),
    ("CiteULike2", "WMF"): (40.45, 50.28, 59.95),
    ("CiteULike2", "CDL"): (39.49, 52.02, 64.41),
    ("CiteULike2", "DualNet"): (41.26, 53.80, 65.21),
}
PAPER_TABLE_2 = {"CDL": (32.18, 43.90, 56.36), "DualNet": (47.51, 56.59, 66.36)}
PAPER_TABLE_3 = {
    "basic": (15.86, 38.86, 51.03),
    "multi_level": (16.89, 39.92, 51.26),
    "branching": (17.43, 40.31, 51.78),
}
PAPER_NOISE = {
    ("in-matrix", "without"): (None, 67.3),
    ("in-matrix", "with"): (None, 71.2),
    ("out-matrix", "without"): (38.6, None),
    ("out-matrix", "with"): (47.5, None),
}
"""Recall@50 and @300 in per cent."""


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

    def job(self, model: str, cuts: Sequence[int], *overrides: str, seed: int = 0) -> Job:
        names = ", ".join(f'"recall@{k}"' for k in cuts)
        measured = (f"metrics=[{names}]", f"opt.early_stop.metric=recall@{cuts[-1]}")
        return Job(self.source.configs.get(model, CONFIGS[model]), (*SETTINGS[model], *measured, *overrides), seed)


# ------------------------------------------------------------------------------------ rows of every table


@dataclass(frozen=True)
class Row:
    """One line of a table: its labels, and the runs that it stands for but for trial and seed."""

    labels: tuple[str, ...]
    model: str
    overrides: tuple[str, ...]
    paper: tuple[float | None, ...] | None = None


def measured(options: Options, rows: Sequence[Row], cuts: Sequence[int]) -> list[list[Done]]:
    """For each row its runs, one for each seed, with the best of its model's trials."""
    trials = [options.trials_of(row.model) for row in rows]
    tried = [
        options.job(row.model, cuts, *trial, *row.overrides)
        for row, some in zip(rows, trials, strict=True)
        for trial in (some if len(some) > 1 else ())
    ]
    done = iter(try_all(tried, options.out, options.jobs))
    watched = [f"recall@{k}" for k in reversed(cuts)]
    best = [some[0] if len(some) == 1 else best_of(some, list(islice(done, len(some))), watched) for some in trials]
    jobs = [
        options.job(row.model, cuts, *trial, *row.overrides, seed=seed)
        for row, trial in zip(rows, best, strict=True)
        for seed in range(options.seeds)
    ]
    runs = run_all(jobs, options.out, options.jobs)
    return options.by_row(runs)


def written(
    options: Options,
    name: str,
    heading: Sequence[str],
    rows: Sequence[Row],
    runs: list[list[Done]],
    cuts: Sequence[int],
) -> Report:
    """The table of the rows, recall in per cent, with what the paper printed beside it."""
    report = options.report(name)
    with_paper = options.data.startswith("citeulike") and any(row.paper for row in rows)
    table = [[*heading, *(f"recall@{k}" for k in cuts), *(["paper"] if with_paper else [])]]
    for row, done in zip(rows, runs, strict=True):
        cells = [percent(done, k) for k in cuts]
        printed = " / ".join("-" if v is None else f"{v:.2f}" for v in row.paper or (None,))
        table.append([*row.labels, *cells, *([printed] if with_paper else [])])
    report.table(table)
    report.say(
        f"Test recall in per cent over all users with a test row, {options.told_seeds} of weights and batches; "
        f"one split. {_candidates(runs)} {_tuned(options, rows)}"
    )
    if options.source.text:
        report.say(options.source.text)
    return report


def _tuned(options: Options, rows: Sequence[Row]) -> str:
    """Which models had several settings tried, and which settings the others have, in words."""
    tried = {row.model: options.trials_of(row.model) for row in rows}
    several = [f"{model} ({len(some)} settings)" for model, some in tried.items() if len(some) > 1]
    told = [f"Tuned on the validation part over TRIALS of scripts/experiments/dualnet.py: {', '.join(several)}."]
    alone = {model: " ".join(some[0]) for model, some in tried.items() if len(some) == 1}
    with_more = [f"{model} with {words}" for model, words in alone.items() if words]
    as_given = [model for model, words in alone.items() if not words]
    told += [f"One setting, not tuned in this run: {', '.join(with_more)}."] if with_more else []
    told += [f"As in the config: {', '.join(as_given)}."] if as_given else []
    return " ".join(told[0 if several else 1 :])


def _candidates(runs: Sequence[Sequence[Done]]) -> str:
    """What the lists were made of, in words."""
    settings = {json.dumps(run.result["ranking"], sort_keys=True) for done in runs for run in done}
    each = [RankingSettings.model_validate(json.loads(text)) for text in sorted(settings)]
    lines = [
        f"{out_of(one)}, less what the user has in training" + (" and validation" if one.mask_valid else "")
        for one in each
    ]
    return f"Lists {'; or '.join(dict.fromkeys(lines))}."


def percent(done: Sequence[Done], k: int) -> str:
    values = 100 * np.array([d.result["test"][f"recall@{k}"] for d in done])
    return f"{values.mean():.2f}" + (f" ± {values.std(ddof=1):.2f}" if len(values) > 1 else "")


def of_users(done: Sequence[Done], metric: str) -> np.ndarray:
    """float[users]: each user's value, the mean over the seeds."""
    return np.mean([d.test_users()[metric] for d in done], axis=0)


def claim(report: Report, told: str, better: Sequence[Done], worse: Sequence[Done], k: int, ours: bool = False) -> None:
    """Whether one is above the other at k, by a Wilcoxon test over users; ``ours``: the paper does not claim it."""
    metric = f"recall@{k}"
    users = of_users(better, metric), of_users(worse, metric)
    means = [[d.result["test"][metric] for d in done] for done in (better, worse)]
    report.claim_of_users(f"{told}, {metric} (Wilcoxon over users)", compare(*means, *users), ours)


# ------------------------------------------------------------------------------------------- the tables


ABOVE = (("DualNet", "CDL"), ("CDL", "WMF"), ("DualNet", "WMF"))
"""The order of the paper, but for single figures of its Table 1."""
OURS_ABOVE = (("DualNet+users", "CDL"), ("DualNet+users", "WMF"))
"""Of a model that the paper does not have."""


def table1(options: Options) -> None:
    """Recall@50, 100 and 200 of every model on every split."""
    cuts = options.cuts(50, 100, 200)
    asked = list(options.models or OF_TABLE_1)
    left_out = [] if _has_content(options) else [name for name in asked if name in READ_CONTENT]
    models = [name for name in asked if name not in left_out]
    if left_out:
        print(f"the items of '{options.data}' have no columns: without {', '.join(left_out)}", flush=True)
    if not models:
        raise ConfigError(f"--models: the items of '{options.data}' have no columns to read; DualNet+users needs none")
    rows = [
        Row((split, model), model, settings, PAPER_TABLE_1.get((split, model)))
        for split, settings in options.source.splits.items()
        for model in models
    ]
    runs = measured(options, rows, cuts)
    report = written(options, "table1", ("split", "model"), rows, runs, cuts)
    if left_out:
        report.say(f"Left out, as the items of '{options.data}' have no columns to read: {', '.join(left_out)}.")
    by_label = {row.labels: done for row, done in zip(rows, runs, strict=True)}
    for split in options.source.splits:
        for pair in (*ABOVE, *OURS_ABOVE):
            for number, k in enumerate(cuts) if set(pair) <= set(models) else ():
                better, worse = _as_printed(split, pair, number)
                runs_of = by_label[split, better], by_label[split, worse]
                claim(report, f"{better} above {worse}, {split}", *runs_of, k, ours=pair in OURS_ABOVE)
    report.close([d for done in runs for d in done])


def _as_printed(split: str, pair: tuple[str, str], number: int) -> tuple[str, str]:
    """The pair, the one that is above in that column of the paper's Table 1 first."""
    first, second = (PAPER_TABLE_1.get((split, model)) for model in pair)
    turned = first is not None and second is not None and first[number] < second[number]
    return pair[::-1] if turned else pair


def _has_content(options: Options) -> bool:
    """Whether the items have columns to read."""
    first = options.job("WMF", options.cuts(50), *next(iter(options.source.splits.values())))
    return any(kind.columns for kind in split_of(first.load()).train.kinds.values())


def _dualnet(options: Options) -> str:
    """The DualNet that the data can have: with items without columns, the one that reads the items' users."""
    if _has_content(options):
        return "DualNet"
    print(f"the items of '{options.data}' have no columns: DualNet+users takes the place of DualNet", flush=True)
    return "DualNet+users"


def table2(options: Options) -> None:
    """Out-matrix: items that no training row names, ranked among themselves."""
    if strange := [name for name in options.models if name not in OF_TABLE_2]:
        raise ConfigError(
            f"--models: table2 ranks new items, of which {strange[0]} knows nothing: {', '.join(OF_TABLE_2)}"
        )
    if not _has_content(options):
        raise ConfigError(f"table2 ranks new items by their columns, and the items of '{options.data}' have none")
    cuts = options.cuts(50, 100, 200)
    rows = [
        Row((model,), model, (*options.source.out_matrix, NO_LEAK), PAPER_TABLE_2.get(model))
        for model in options.models or OF_TABLE_2
    ]
    runs = measured(options, rows, cuts)
    report = written(options, "table2", ("model",), rows, runs, cuts)
    by_model = {row.model: done for row, done in zip(rows, runs, strict=True)}
    if len(by_model) == 2:
        for k in cuts:
            claim(report, "DualNet above CDL, out-matrix", by_model["DualNet"], by_model["CDL"], k)
    report.close([d for done in runs for d in done])


def table3(options: Options) -> None:
    """The three designs, in-matrix."""
    cuts = options.cuts(10, 50, 100)
    settings, model = list(options.source.splits.values())[-1], _dualnet(options)
    rows = [
        Row((design,), model, (*settings, f"model.design={design}"), printed)
        for design, printed in PAPER_TABLE_3.items()
    ]
    runs = measured(options, rows, cuts)
    report = written(options, "table3", ("design",), rows, runs, cuts)
    for k in cuts:
        claim(report, "multi-level above basic", runs[1], runs[0], k)
        claim(report, "branching above multi-level", runs[2], runs[1], k)
    report.close([d for done in runs for d in done])


def noise(options: Options) -> None:
    """With and without noise on the inputs, in-matrix and out-matrix (section 5.3)."""
    cuts = options.cuts(50, 300)
    model, splits = _dualnet(options), {"in-matrix": list(options.source.splits.values())[-1]}
    if model == "DualNet":
        splits["out-matrix"] = (*options.source.out_matrix, NO_LEAK)
    rows = [
        Row((split, told), model, (*settings, *_noise(share)), PAPER_NOISE[split, told])
        for split, settings in splits.items()
        for told, share in (("without", 0.0), ("with", 0.3))
    ]
    # the noise is what is compared, so no trial may set it
    options = replace(options, trials=0)
    runs = measured(options, rows, cuts)
    report = written(options, "noise", ("split", "noise"), rows, runs, cuts)
    if len(splits) == 1:
        report.say(f"Without out-matrix, as the items of '{options.data}' have no columns.")
    by_label = {row.labels: done for row, done in zip(rows, runs, strict=True)}
    for split, k in zip(splits, reversed(cuts), strict=False):
        plain, noisy = by_label[split, "without"], by_label[split, "with"]
        claim(report, f"noise raises recall, {split}", noisy, plain, k)
    report.close([d for done in runs for d in done])


def _noise(share: float) -> tuple[str, ...]:
    return (f"model.user_noise={share}", f"model.item_noise={share}")


# ----------------------------------------------------------------- dual mini-batches and what else was tried

SIDE = 8
"""Users and items of a block that is small enough to be empty often."""
PLAIN = (
    "model.design=basic",
    "model.hide_block=false",
    "model.user_noise=0.5",
    "model.pretrain=false",
    "model.refine=false",
    "opt.scheduler=null",
    "opt.eval_step=4",
    "opt.epochs=100",
)
"""What all ways have: a design that a Gram matrix can sum, and noise in place of hidden blocks."""
SMALL = (f"opt.batch_size={SIDE}", f"model.block_items={SIDE}", "opt.eval_step=1", "opt.epochs=4")
BLOCKS, GRAM = "dual mini-batches", "all pairs by Gram matrices"
LOGISTIC = "logistic loss"
TINY, SKIPPING = f"blocks of {SIDE} x {SIDE}", f"blocks of {SIDE} x {SIDE}, half of the empty ones left out"
WAYS = {
    BLOCKS: (),
    GRAM: ("model.all_pairs=true",),
    LOGISTIC: ("model.loss=logistic",),
    TINY: SMALL,
    SKIPPING: (*SMALL, "model.skip_empty_blocks=0.5"),
}
TOGETHER = ((BLOCKS, GRAM), (LOGISTIC,), (TINY, SKIPPING))
"""Ways that run to one recall, so that their times can be compared."""
RATES = ("opt.hyper_params.lr=0.001", "opt.hyper_params.lr=0.003", "opt.hyper_params.lr=0.01")


def most_trials(experiment: str) -> int:
    """The largest --trials of an experiment."""
    return len(RATES) if experiment == "tactics" else max(map(len, TRIALS.values()))


def tactics(options: Options) -> None:
    """Dual mini-batches against the loss of all pairs, and the paper's "Unsuccessful tactics": recall, and the time
    that each needs to the recall that all of its group reach."""
    cuts = options.cuts(50, 100, 200)
    settings, rates = list(options.source.splits.values())[-1], RATES[: options.trials]
    tried = {way: rates[:1] if way in (TINY, SKIPPING) else rates for way in WAYS}
    jobs = {
        (way, rate): options.job("DualNet+users", cuts, *settings, *PLAIN, *WAYS[way], rate)
        for way, of_way in tried.items()
        for rate in of_way
    }
    train = split_of(next(iter(jobs.values())).load()).train
    done = dict(zip(jobs, try_all(list(jobs.values()), options.out, options.jobs), strict=True))
    watched = f"recall@{cuts[-1]}"
    of_way = {way: [done[way, rate] for rate in tried[way]] for way in WAYS}
    best = {way: best_of(some, some, [watched]) for way, some in of_way.items()}
    report = options.report("tactics")
    table = [
        [
            "",
            "lr",
            *(f"recall@{k}" for k in cuts),
            "epochs",
            "s an epoch",
            f"{watched} reached",
            "after epochs",
            "after s",
        ]
    ]
    for group in TOGETHER:
        target = 0.98 * min(best[way].result["valid"][watched] for way in group)
        table += [_row_of_way(way, best[way], cuts, target) for way in group]
    report.table(table)
    report.say(
        f"DualNet+users, basic design, seed 0; each way with the best of {len(rates)} learning rate(s) by validation "
        f"{watched}, the small blocks with the first alone. 's an epoch' is without evaluation where there are epochs "
        "without one; 'reached' is 98 % of the lower best of the ways that are compared, on the validation part, and "
        "'after' tells the epochs and the training time until then."
    )
    report.say(f"Of the blocks of {SIDE} users and {SIDE} items {100 * empty_share(train, SIDE):.1f} % hold no 1.")
    for k in cuts:
        claim(report, "the squared loss above the logistic loss", [best[BLOCKS]], [best[LOGISTIC]], k)
        claim(
            report,
            "as many epochs of all blocks above those that leave empty ones out",
            [best[TINY]],
            [best[SKIPPING]],
            k,
        )
    report.close(list(done.values()))


def _row_of_way(way: str, run: Done, cuts: Sequence[int], target: float) -> list[str]:
    """A line of the table of tactics."""
    seconds, epochs, until = _time_to(run, f"recall@{cuts[-1]}", target)
    lr = json.loads((run.folder / "config.json").read_text(encoding="utf-8"))["opt"]["hyper_params"]["lr"]
    recall = [percent([run], k) for k in cuts]
    return [
        way,
        str(lr),
        *recall,
        str(epochs),
        f"{seconds:.2f}",
        f"{100 * target:.1f}",
        str(until),
        f"{until * seconds:.0f}",
    ]


def empty_share(train: RecData, side: int) -> float:
    """Share of the blocks of ``side`` users by ``side`` items, both shuffled, in which nobody likes anything; only
    users and items with a like are walked."""
    liked, rng = liked_history(train), np.random.default_rng(0)
    owner = np.repeat(np.arange(len(liked)), np.diff(liked.offset))
    (users, row), (items, column) = (np.unique(a, return_inverse=True) for a in (owner, liked.index))
    wide, high = -(-len(items) // side), -(-len(users) // side)
    block = rng.permutation(len(users))[row] // side * wide + rng.permutation(len(items))[column] // side
    return 1 - len(np.unique(block)) / (wide * high)


def _time_to(run: Done, metric: str, target: float) -> tuple[float, int, int]:
    """(median seconds of an epoch without evaluation, epochs of the run, epochs until the metric was reached)."""
    rows = RunFolder(run.folder).rows()
    each = [(b["seconds"] - a["seconds"], metric in b) for a, b in pairwise(rows)]
    plain = [seconds for seconds, measured_too in each if not measured_too] or [seconds for seconds, _ in each]
    until = next(row["epoch"] for row in rows if row.get(metric, -1.0) >= target)
    return float(np.median(plain)), rows[-1]["epoch"], until
