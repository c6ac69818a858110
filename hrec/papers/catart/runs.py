"""What the experiments of CAT-ART run: models, controls, ablations, data, and the settings tried of each."""

from __future__ import annotations

from collections.abc import Sequence

from hrec.experiments.lists import ListSource, Overrides
from hrec.experiments.options import CommonOptions
from hrec.experiments.runs import Job

METRICS = ("ndcg@10", "ndcg@20", "recall@10", "recall@20", "precision@10", "precision@20")
CONFIGS = {
    "Popularity": "popularity",
    "SMF": "smf",
    "CMF": "cmf",
    "MPF": "mpf",
    "GA-MTCDR-style": "ga_mtcdr",
    "HeroGRAPH-style": "herograph",
    "BiTGCF-style": "bitgcf",
    "LightGCN": "lightgcn",
    "continued": "catart",
    "permuted": "catart",
    "+Autoencoder": "catart",
    "+Contrastive": "catart",
    "-Attention": "catart",
    "CAT-ART": "catart",
}
"""continued: stage 3 trains the items alone. permuted: global and source vectors of other users. Both are controls."""
OF_TABLE = tuple(name for name in CONFIGS if name not in ("+Autoencoder", "+Contrastive", "-Attention"))
ABLATION = ("SMF", "+Autoencoder", "+Contrastive", "-Attention", "CAT-ART", "continued", "permuted")
SETTINGS: dict[str, Overrides] = {
    "Popularity": ("model.per_kind=true",),
    "continued": ("model.control=continued",),
    "permuted": ("model.control=permuted",),
    "+Autoencoder": ("model.encoder=reconstruction", "model.sources=none"),
    "+Contrastive": ("model.sources=none",),
    "-Attention": ("model.sources=mean",),
}
"""What every run of a row gets, in addition to the trial (section 1.3 of the design: the ablations are settings)."""
NORMS: list[Overrides] = [("model.reg_weight=0.05",), ("model.reg_weight=0.1",)]
TRIALS: dict[str, list[Overrides]] = {
    **{
        name: NORMS
        for name in CONFIGS
        if name not in ("Popularity", "GA-MTCDR-style", "HeroGRAPH-style", "BiTGCF-style", "LightGCN")
    },
    "LightGCN": [("model.reg_weight=0.0001",), ("model.reg_weight=0.001",)],
}
"""What is tried of each row on the validation part, with seed 0: the first ``--trials``."""
SPLIT = '"split": {"by": "user", "ratio": [0.64, 0.16, 0.2], "per_kind": true}'


def _source(*overrides: str, text: str = "") -> ListSource:
    return ListSource(overrides, OF_TABLE, text=text)


SOURCES = {
    "epinions5": _source("data=epinions5", text="Epinions, five categories; items with at least five rows."),
    "amazon": _source(
        "data=amazon",
        'data.label={"negatives": 0}',
        'data.split={"by": "user", "ratio": [0.64, 0.16, 0.2], "per_kind": true}',
        text="Amazon's beauty, clothing, sports and toys.",
    ),
    "amazon2018": _source("data=amazon2018", text="Six kinds of Amazon 2018; 4 % of the users are in more than one."),
    "planted": _source('data={"planted": {"size": "small"}, ' + SPLIT + "}"),
    "tiny": _source('data={"planted": {"size": "tiny"}, ' + SPLIT + "}"),
}


class Options(CommonOptions):
    """What the command line said, with the sources and runs of CAT-ART."""

    prefix = "catart-"

    @property
    def source(self) -> ListSource:
        return SOURCES[self.data]

    def trials_of(self, model: str) -> list[Overrides]:
        """What is tried of a row; without trials its config alone."""
        return TRIALS.get(model, [()])[: self.trials] or [()]

    def job(self, model: str, metrics: Sequence[str], *overrides: str, seed: int = 0) -> Job:
        """A run of a row; ``metrics`` are measured, over all items and for each kind."""
        names = ", ".join(f'"{metric}"' for metric in metrics)
        words = (*self.source.overrides, f"metrics=[{names}]", *SETTINGS.get(model, ()), *overrides)
        return Job(CONFIGS[model], words, seed)
