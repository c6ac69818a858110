"""The tables of the DualNet paper (Xiong et al., 2017): recall of WMF, CDL and DualNet, in-matrix and out-matrix."""

from __future__ import annotations

from dataclasses import replace

from hrec.config import ConfigError
from hrec.experiments.runs import split_of
from hrec.papers.dualnet.runs import CONFIGS, SOURCES, TRIALS, Options, Row, claim, measured, written
from hrec.papers.dualnet.tactics import RATES, tactics

__all__ = ["CONFIGS", "SOURCES", "Options", "most_trials", "noise", "table1", "table2", "table3", "tactics"]

READ_CONTENT = ("CDL", "DualNet", "DualNet-config")
"""What cannot do without columns of items."""
OF_TABLE_1, OF_TABLE_2 = ("WMF", "CDL", "DualNet"), ("CDL", "DualNet")
"""The models of the paper's tables."""
NO_LEAK = "model.all_items=false"
"""The content of new items is not to be learnt from where they are what is predicted."""

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
NOISE = 0.3
"""Share of both networks' inputs that is set to zero; the paper does not say how many."""
ABOVE = (("DualNet", "CDL"), ("CDL", "WMF"), ("DualNet", "WMF"))
"""The order of the paper, but for single figures of its Table 1."""
OURS_ABOVE = tuple((ours, other) for ours in ("DualNet+users", "DualNet-config") for other in ("CDL", "WMF"))
"""Of what the paper does not have: a model of ours, and settings that no search chose."""


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
            f"--models: table2 ranks new items by their content alone, so it has no row of {strange[0]}; it has "
            f"{', '.join(OF_TABLE_2)}"
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
    settings, model = options.source.in_matrix, _dualnet(options)
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
    model, splits = _dualnet(options), {"in-matrix": options.source.in_matrix}
    if model == "DualNet":
        splits["out-matrix"] = (*options.source.out_matrix, NO_LEAK)
    rows = [
        Row((split, told), model, (*settings, *_noise(share)), PAPER_NOISE[split, told])
        for split, settings in splits.items()
        for told, share in (("without", 0.0), ("with", NOISE))
    ]
    # the noise is what is compared, so no trial may set it
    options = replace(options, trials=0)
    runs = measured(options, rows, cuts)
    report = written(options, "noise", ("split", "noise"), rows, runs, cuts)
    report.say(f"But for the noise: 'with' sets {NOISE:.0%} of the inputs of both networks to zero in training.")
    if len(splits) == 1:
        report.say(f"Without out-matrix, as the items of '{options.data}' have no columns.")
    by_label = {row.labels: done for row, done in zip(rows, runs, strict=True)}
    for split, k in zip(splits, reversed(cuts), strict=False):
        plain, noisy = by_label[split, "without"], by_label[split, "with"]
        claim(report, f"noise raises recall, {split}", noisy, plain, k)
    report.close([d for done in runs for d in done])


def _noise(share: float) -> tuple[str, ...]:
    return (f"model.user_noise={share}", f"model.item_noise={share}")


def most_trials(experiment: str) -> int:
    """The largest --trials of an experiment."""
    return len(RATES) if experiment == "tactics" else max(map(len, TRIALS.values()))
