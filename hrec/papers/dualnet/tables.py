"""The tables of the DualNet paper (Xiong et al., 2017): recall of WMF, CDL and DualNet, in-matrix and out-matrix."""

from __future__ import annotations

from dataclasses import replace

from hrec.config import ConfigError
from hrec.experiments.runs import split_of
from hrec.papers.dualnet.published import CLAIMS, TABLE_1, TABLE_2, TABLE_3
from hrec.papers.dualnet.published import NOISE as PAPER_NOISE
from hrec.papers.dualnet.runs import Options, Row, claim, measured, recall, written
from hrec.papers.paper import Order

READ_CONTENT = ("CDL", "DualNet", "DualNet-config")
"""What cannot do without columns of items."""
OF_TABLE_1, OF_TABLE_2 = ("WMF", "CDL", "DualNet"), ("CDL", "DualNet")
"""The models of the paper's tables."""
NO_LEAK = "model.all_items=false"
"""The content of new items is not to be learnt from where they are what is predicted."""

NOISE = 0.3
"""Share of both networks' inputs that is set to zero; the paper does not say how many."""


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
        Row((split, model), model, settings, TABLE_1.get((split, model)))
        for split, settings in options.source.splits.items()
        for model in models
    ]
    runs = measured(options, rows, cuts)
    report = written(options, "table1", ("split", "model"), rows, runs, cuts)
    if left_out:
        report.say(f"Left out, as the items of '{options.data}' have no columns to read: {', '.join(left_out)}.")
    by_label = {row.labels: done for row, done in zip(rows, runs, strict=True)}
    for split in options.source.splits:
        for order in CLAIMS["table1"]:
            for index, k in enumerate(cuts) if {order.better, order.worse} <= set(models) else ():
                printed = _as_printed(split, order, index)
                runs_of = by_label[split, printed.better], by_label[split, printed.worse]
                claim(report, f"{printed}, {split}", *runs_of, k, ours=order.ours)
    report.close([d for done in runs for d in done])


def _as_printed(split: str, order: Order, column: int) -> Order:
    """The order of the two models in that column of the paper's Table 1."""
    better, worse = (TABLE_1.get((split, model)) for model in (order.better, order.worse))
    turned = better is not None and worse is not None and better[column] < worse[column]
    return Order(order.worse, order.better, ours=order.ours) if turned else order


def _has_content(options: Options) -> bool:
    """Whether the items have columns to read."""
    first = options.job("WMF", [recall(k) for k in options.cuts(50)], *next(iter(options.source.splits.values())))
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
        Row((model,), model, (*options.source.out_matrix, NO_LEAK), TABLE_2.get(model))
        for model in options.models or OF_TABLE_2
    ]
    runs = measured(options, rows, cuts)
    report = written(options, "table2", ("model",), rows, runs, cuts)
    by_model = {row.model: done for row, done in zip(rows, runs, strict=True)}
    for order in CLAIMS["table2"] if len(by_model) == len(OF_TABLE_2) else ():
        for k in cuts:
            claim(report, str(order), by_model[order.better], by_model[order.worse], k)
    report.close([d for done in runs for d in done])


def table3(options: Options) -> None:
    """The three designs, in-matrix."""
    cuts = options.cuts(10, 50, 100)
    settings, model = options.source.in_matrix, _dualnet(options)
    rows = [
        Row((design,), model, (*settings, f"model.design={design}"), printed) for design, printed in TABLE_3.items()
    ]
    runs = measured(options, rows, cuts)
    report = written(options, "table3", ("design",), rows, runs, cuts)
    by_design = dict(zip(TABLE_3, runs, strict=True))
    for k in cuts:
        for order in CLAIMS["table3"]:
            claim(report, str(order), by_design[order.better], by_design[order.worse], k)
    report.close([d for done in runs for d in done])


def noise(options: Options) -> None:
    """With and without noise on the inputs, in-matrix and out-matrix (section 5.3)."""
    cuts = options.cuts(50, 300)
    model, splits = _dualnet(options), {"in-matrix": options.source.in_matrix}
    if model == "DualNet":
        splits["out-matrix"] = (*options.source.out_matrix, NO_LEAK)
    rows = [
        Row((split, with_noise), model, (*settings, *_noise(share)), PAPER_NOISE[split, with_noise])
        for split, settings in splits.items()
        for with_noise, share in (("without", 0.0), ("with", NOISE))
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
        for order in CLAIMS["noise"]:
            claim(report, f"{order}, {split}", by_label[split, order.better], by_label[split, order.worse], k)
    report.close([d for done in runs for d in done])


def _noise(share: float) -> tuple[str, ...]:
    return (f"model.user_noise={share}", f"model.item_noise={share}")
