"""The tables of CAT-ART (Li et al., WSDM 2023): accuracy per kind, ablation, and negative transfer as a verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from hrec.experiments import lists
from hrec.experiments.lists import Row
from hrec.experiments.reports import Report
from hrec.experiments.runs import Done, split_of
from hrec.papers.catart.published import CLAIMS
from hrec.papers.catart.runs import ABLATION, METRICS, Options
from hrec.papers.catart.transfer import transfer

WATCHED = ("ndcg@10",)
BASELINE, CONTROLS = "SMF", ("continued", "permuted")
Runs = dict[str, list[Done]]


def table1(options: Options) -> None:
    """Precision, Recall and NDCG @10 and @20 of every model, per kind, with gains and losses against SMF."""
    _table(options, "table1", options.models or options.source.models)


def ablation(options: Options) -> None:
    """What each part contributes: +Autoencoder, +Contrastive, -Attention and the full model, next to both controls."""
    _table(options, "ablation", ABLATION)


def negative_transfer(options: Options) -> None:
    """Gain, tie or loss of every model against SMF, per kind and metric."""
    models = _with_baseline(options.models or options.source.models)
    runs, kinds = _runs(options, models), _kinds(options)
    report = options.report("negative_transfer")
    rows = [["model", "kind", *METRICS, "gains", "ties", "losses"]]
    for model in models:
        for kind in kinds if model != BASELINE else ():
            each = [transfer(runs[model], runs[BASELINE], f"{metric}/{kind}") for metric in METRICS]
            count = Counter(one.verdict for one in each)
            rows.append([model, kind, *map(str, each), *(str(count[word]) for word in ("gain", "tie", "loss"))])
    report.table(rows)
    report.say(_how(options))
    report.close([d for done in runs.values() for d in done])


def _table(options: Options, name: str, models: Sequence[str]) -> None:
    models, kinds = _with_baseline(models), _kinds(options)
    runs = _runs(options, models)
    report = options.report(name)
    for metric in METRICS:
        rows = [["model", *kinds, "mean of kinds"]]
        for model in models:
            names = [f"{metric}/{kind}" for kind in kinds]
            mean = sum(float(d.result["test"][key]) for d in runs[model] for key in names)
            mean = 100 * mean / (len(names) * len(runs[model]))
            rows.append([model, *(lists.percent(runs[model], key) for key in names), f"{mean:.2f}"])
        report.say(f"**{metric}**, in per cent")
        report.table(rows)
    _verdicts(report, runs, kinds)
    report.say(_how(options))
    if options.source.text:
        report.say(options.source.text)
    for order in CLAIMS[name]:
        for kind in kinds if {order.better, order.worse} <= set(runs) else ():
            lists.claim(report, f"{order}, {kind}", runs[order.better], runs[order.worse], f"{WATCHED[0]}/{kind}")
    report.close([d for done in runs.values() for d in done])


def _verdicts(report: Report, runs: Runs, kinds: Sequence[str]) -> None:
    """Differences in NDCG@10 to SMF and to the controls, with their verdicts."""
    for baseline in (BASELINE, *(control for control in CONTROLS if control in runs)):
        rows = [["model", *kinds, "gains", "ties", "losses"]]
        for model, done in runs.items():
            if model == baseline:
                continue
            each = [transfer(done, runs[baseline], f"{WATCHED[0]}/{kind}") for kind in kinds]
            count = Counter(one.verdict for one in each)
            rows.append([model, *map(str, each), *(str(count[word]) for word in ("gain", "tie", "loss"))])
        report.say(f"**{WATCHED[0]} minus that of {baseline}**, in points")
        report.table(rows)


def _runs(options: Options, models: Sequence[str]) -> Runs:
    rows = [Row((model,), model) for model in models]
    return dict(zip(models, lists.measured(options, rows, METRICS, WATCHED), strict=True))


def _kinds(options: Options) -> list[str]:
    return list(split_of(options.job("Popularity", METRICS).load()).train.kinds)


def _with_baseline(models: Sequence[str]) -> list[str]:
    """The models, with SMF and both controls where CAT-ART is among them: transfer is claimed against these alone."""
    needed = (BASELINE, *(CONTROLS if "CAT-ART" in models else ()))
    return list(dict.fromkeys([*needed, *models])) if not set(needed) <= set(models) else list(models)


def _how(options: Options) -> str:
    return (
        f"Full ranking over the items of the kind, training items masked; {options.described_seeds}. A gain or loss: "
        "the 95 % bootstrap interval over users excludes 0 and all seeds agree in sign. Models that start from SMF "
        "share its split and seeds. W_o and W_g start at zero, so stage 3 starts at SMF. With early stopping that "
        "makes losses rare: transfer is claimed only against both controls."
    )
