"""The tables of the UniEmbedding paper: matching, ablation, and next-item ranking on Scientific."""

from __future__ import annotations

from collections.abc import Sequence

from hrec.experiments import lists
from hrec.experiments.lists import Row
from hrec.experiments.reports import Report
from hrec.experiments.runs import Done, split_of
from hrec.papers.uniembedding.published import CLAIMS, SCIENTIFIC
from hrec.papers.uniembedding.runs import ABLATION, IN_ORDER, METRICS, SEQUENCE_METRICS, Options

GROUPS = ("head_items", "tail_items")
WATCHED = ("hit@10",)


def table1(options: Options) -> None:
    """Matching: HR, NDCG and MRR @10 and @50 of every model, over all kinds, per target kind, head and tail items."""
    rows = [Row((model,), model) for model in options.models or options.source.models]
    _table(options, "table1", rows)


def table3(options: Options) -> None:
    """Ablation: without the user view, without sequences of mixed kinds, without experts; and fused with Item2Vec."""
    _table(options, "table3", [Row((name,), "UniEmbedding", words) for name, words in ABLATION.items()])


def sequences(options: Options) -> None:
    """Next-item ranking of sequence models: Recall and NDCG @10 and @50, next to MISSRec's published runs."""
    rows = [Row((model,), model, paper=SCIENTIFIC.get(model)) for model in options.models or IN_ORDER]
    runs = lists.measured(options, rows, SEQUENCE_METRICS, SEQUENCE_METRICS[:1])
    paper = "Paper: Recall@10 / NDCG@10 of the published run from scratch, without ids."
    content = (("model",), rows, runs, SEQUENCE_METRICS)
    lists.write_table(
        options, "sequences", content, [_how(options, rows, runs, "recall@10"), paper, options.source.text]
    )


def _table(options: Options, name: str, rows: Sequence[Row]) -> None:
    runs = lists.measured(options, rows, METRICS, WATCHED)
    by_row = {row.labels[0]: done for row, done in zip(rows, runs, strict=True)}
    kinds = list(split_of(options.job("Popularity", METRICS).load()).train.kinds)

    def more(report: Report) -> None:
        parts = [f"hit@50/{group}" for group in (*(kinds if len(kinds) > 1 else ()), *GROUPS)]
        report.say("**HR@50** per target kind (candidates of that kind), and of head and tail items, in per cent")
        report.table(lists.table_of([Row(row.labels, row.model) for row in rows], runs, ("model",), parts))
        for order in CLAIMS[name]:
            if {order.better, order.worse} <= set(by_row):
                found = by_row[order.better], by_row[order.worse]
                lists.claim(report, str(order), *found, "hit@50", order.ours)

    content = (("model",), rows, runs, METRICS)
    lists.write_table(options, name, content, [_how(options, rows, runs, WATCHED[0]), options.source.text], more)


def _how(options: Options, rows: Sequence[Row], runs: list[list[Done]], metric: str) -> str:
    tuned = lists.tuned(options, rows, metric, "hrec/papers/uniembedding/runs.py")
    what = f"Test values in per cent over users with a test row, {options.described_seeds}."
    return f"{what} {lists.candidates(runs)} {tuned}"
