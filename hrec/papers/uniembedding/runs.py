"""What the experiments of the UniEmbedding paper run: models, data with vectors of titles, and the settings tried."""

from __future__ import annotations

from collections.abc import Sequence

from hrec.experiments.lists import ListSource, Overrides
from hrec.experiments.options import CommonOptions
from hrec.experiments.runs import Job

METRICS = ("hit@10", "hit@50", "ndcg@10", "ndcg@50", "mrr@10", "mrr@50")
SEQUENCE_METRICS = ("recall@10", "ndcg@10", "recall@50", "ndcg@50")
CONFIGS = {
    "Popularity": "popularity",
    "CoOccurrence": "cooccurrence",
    "TextVectors": "textvectors",
    "Item2Vec": "item2vec",
    "PGG-style": "pgg",
    "CB2CF-style": "cb2cf",
    "UAE-style": "uae",
    "UniSRec": "unisrec",
    "VQRec": "vqrec",
    "MISSRec": "missrec",
    "SASRec": "sasrec",
    "GRU4Rec": "gru4rec",
    "UniEmbedding": "uniembedding",
}
MATCHING = tuple(name for name in CONFIGS if name not in ("SASRec", "GRU4Rec"))
IN_ORDER = ("Popularity", "GRU4Rec", "SASRec", "UniSRec", "VQRec", "MISSRec")

TRIALS: dict[str, list[Overrides]] = {
    "Item2Vec": [("opt.hyper_params.lr=0.003",), ("opt.hyper_params.lr=0.001",)],
    "UniEmbedding": [("opt.hyper_params.lr=0.001",), ("opt.hyper_params.lr=0.0003",)],
    **{m: [("opt.hyper_params.lr=0.001",), ("opt.hyper_params.lr=0.0003",)] for m in ("UniSRec", "VQRec", "MISSRec")},
    **{m: [("opt.hyper_params.lr=0.001",), ("opt.hyper_params.lr=0.003",)] for m in ("SASRec", "GRU4Rec")},
}
"""What is tried of each model on the validation part, with seed 0: the first ``--trials``."""
ABLATION: dict[str, Overrides] = {
    "UniEmbedding": (),
    "without user view": ("model.user_view=false",),
    "without other kinds": ("model.cross_domain=false",),
    "without experts": ("model.experts=null",),
    "with Item2Vec": ("model.item2vec_weight=0.5",),
}


def _titles(name: str, column: str) -> Overrides:
    """The vectors that ``hrec prepare text`` made, in place of the words of the column."""
    path = f"data/{name}/titles.parquet"
    return (f"data={name}", f"data.feat.{column}=null", f'data.feat.text={{"type": "vector", "path": "{path}"}}')


PLANTED = '"planted": {"size": "%s", "times": true, "image": true}, "split": {"by": "leave_one_out"}'
SOURCES = {
    "food-kitchen": ListSource(
        _titles("food-kitchen", "title"),
        MATCHING,
        text="Food and Kitchen, sequences of both kinds; candidates are all 36,298 items. Titles as vectors of "
        "wordllama (256 numbers), by hrec prepare text.",
    ),
    "scientific": ListSource(
        _titles("scientific", "text"),
        IN_ORDER,
        text="Leave one out, full ranking. Texts as vectors of wordllama (256); the published runs used BERT (768).",
    ),
    "planted": ListSource(("data={" + PLANTED % "small" + "}",), MATCHING),
    "tiny": ListSource(("data={" + PLANTED % "tiny" + "}",), MATCHING),
}


class Options(CommonOptions):
    """What the command line said, with the sources and runs of the UniEmbedding paper."""

    prefix = "uniembedding-"

    @property
    def source(self) -> ListSource:
        return SOURCES[self.data]

    def trials_of(self, model: str) -> list[Overrides]:
        """What is tried of a model; without trials its config alone."""
        return TRIALS.get(model, [()])[: self.trials] or [()]

    def job(self, model: str, metrics: Sequence[str], *overrides: str, seed: int = 0) -> Job:
        """A run of a row; ``metrics`` are measured, the first one watched."""
        names = ", ".join(f'"{metric}"' for metric in metrics)
        watched = f'opt.early_stop={{"metric": "{metrics[0]}", "stop_step": 5}}'
        solved = model in ("Popularity", "CoOccurrence", "TextVectors")
        steps = () if solved else ("opt.epochs=30", watched)
        words = (*self.source.overrides, f"metrics=[{names}]", *steps, *overrides)
        return Job(CONFIGS[model], words, seed)
