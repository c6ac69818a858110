"""The tables and figures of the JRL paper (Zhang et al., CIKM 2017)."""

from __future__ import annotations

from collections.abc import Sequence

from hrec.config import ConfigError
from hrec.datasets.columns import Dense, Tokens
from hrec.datasets.recdata import TrainData
from hrec.experiments import lists
from hrec.experiments.lists import Row
from hrec.experiments.reports import Report
from hrec.experiments.runs import Done, split_of
from hrec.models.layers.item_vectors import VectorSettings, item_vectors
from hrec.models.views.image import PUBLISHED
from hrec.papers.jrl.published import CLAIMS
from hrec.papers.jrl.runs import METRICS, SOURCES, Options

WATCHED = ("ndcg@10",)
SIZES = (10, 50, 100, 300)
"""Embedding sizes of Figure 4."""
LAMBDAS = (0.0, 0.1, 1.0, 10.0, 100.0)
"""Multiples of the default weight of the image view in Figure 3."""


def table2(options: Options) -> None:
    """Counts of the data: users, items, interactions, density, and what each view has."""
    parts = split_of(options.job("Popularity", METRICS).load())
    sizes = [len(part.interactions) for part in (parts.train, parts.valid, parts.test)]
    users, items, rows = parts.train.n_users, parts.train.n_items, sum(sizes)
    report = options.report("table2")
    heading = ["data", "users", "items", "interactions", "train", "valid", "test", "density"]
    density = f"{100 * rows / (users * items):.4f} %"
    report.table([heading, [options.data, *(f"{n:,}" for n in (users, items, rows, *sizes)), density]])
    words = [
        f"{name}: {len(c.word):,} words, {len(c.vocabulary):,} distinct, in training reviews"
        for name, c in parts.train.interactions.columns.items()
        if isinstance(c, Tokens)
    ]
    vectors = [
        f"{name} of {kind}: vectors of {c.value.shape[1]} numbers"
        for kind, table in parts.train.kinds.items()
        for name, c in table.columns.items()
        if isinstance(c, Dense)
    ]
    report.say("; ".join([*words, *vectors]) or "No text and no vectors.")
    report.close()


def table3(options: Options) -> None:
    """NDCG, Recall, HT and Precision @10 of every model and every single view."""
    rows = rows_of_table3(options)
    runs = lists.measured(options, rows, METRICS, WATCHED)
    by_model = {row.model: done for row, done in zip(rows, runs, strict=True)}
    text = (
        f"Test values in per cent over users with a test row, {options.described_seeds}. {lists.candidates(runs)} "
        + lists.tuned(options, rows, WATCHED[0], "hrec/papers/jrl/runs.py")
    )
    paper = "Paper: NDCG / Recall / HT / Precision @10." if options.source.published else ""
    content = (("model",), rows, runs, METRICS)
    lists.write_table(options, "table3", content, [text, paper, options.source.text], lambda r: _claims(r, by_model))


def rows_of_table3(options: Options) -> list[Row]:
    """The models asked for, or all that the data can have."""
    published = options.source.published or {}
    return [Row((model,), model, paper=published.get(model)) for model in options.models or options.source.models]


def _claims(report: Report, runs: dict[str, list[Done]]) -> None:
    for order in CLAIMS["table3"]:
        if {order.better, order.worse} <= set(runs):
            lists.claim(report, str(order), runs[order.better], runs[order.worse], WATCHED[0], order.ours)


def figure3(options: Options) -> None:
    """Sensitivity to the weight of the image view (Figure 3): NDCG@10 of Image, JRL and eJRL."""
    _require_view(options, "Image")
    train = split_of(options.job("JRL", METRICS).load()).train
    _sweep(options, "figure3", ("model", "weight of the image view"), rows_of_figure3(image_width(options, train)))


def rows_of_figure3(width: int) -> list[Row]:
    """Multiples of the default weight, which depends on the width of the vectors."""
    return [
        Row((model, f"x{factor:g}"), model, (f"model.views.image.weight={factor * PUBLISHED / width!r}",))
        for model in ("Image", "JRL", "eJRL")
        for factor in LAMBDAS
    ]


def image_width(options: Options, train: TrainData) -> int:
    """How many numbers a vector of the image view has."""
    view = options.job("JRL", METRICS).load().model.views["image"]  # type: ignore[attr-defined]
    columns = None if view.column is None else (view.column,)
    (vectors,) = item_vectors(train, VectorSettings(columns=columns), "model.views.image.column")
    return vectors.width


def figure4(options: Options) -> None:
    """Sensitivity to the embedding size (Figure 4): NDCG@10 of JRL, eJRL and BPR."""
    _sweep(options, "figure4", ("model", "size"), rows_of_figure4(options))


def rows_of_figure4(options: Options) -> list[Row]:
    """Each model of the figure that the data has, with each size."""
    models = [model for model in ("JRL", "eJRL", "BPRMF") if model in options.source.models]
    return [Row((m, str(size)), m, (f"model.embedding_size={size}",)) for m in models for size in SIZES]


def _sweep(options: Options, name: str, heading: Sequence[str], rows: Sequence[Row]) -> None:
    runs = lists.measured(options, rows, METRICS, WATCHED)
    text = f"Test values in per cent, {options.described_seeds}. {lists.candidates(runs)}"
    lists.write_table(options, name, (heading, rows, runs, METRICS), [text, options.source.text])


def _require_view(options: Options, view: str) -> None:
    if view not in options.source.models:
        having = [name for name, source in SOURCES.items() if view in source.models]
        raise ConfigError(f"--data {options.data} has no view '{view}'. Data that have: {', '.join(having)}")
