"""What the experiments of the JRL paper run: models, data, and the settings tried of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hrec.experiments.lists import ListSource, Overrides
from hrec.experiments.options import CommonOptions
from hrec.experiments.runs import Job
from hrec.papers.jrl.published import BEAUTY, CLOTHING

METRICS = ("ndcg@10", "recall@10", "hit@10", "precision@10")
CONFIGS = {
    "Popularity": "popularity",
    "BPRMF": "bprmf",
    "EASE": "ease",
    "LightGCN": "lightgcn",
    "BPR-HFT": "bpr_hft",
    "VBPR": "vbpr",
    "DeepCoNN": "deepconn",
    "CKE": "cke",
    "FREEDOM": "freedom",
    "Review": "jrl",
    "Image": "jrl",
    "Title": "jrl",
    "Rating": "jrl",
    "eJRL": "ejrl",
    "JRL": "jrl",
}
STEPS = ("opt.epochs=200", "opt.eval_step=5", 'opt.early_stop={"metric": "ndcg@10", "stop_step": 5}')
"""Of models that descend: an evaluation every five epochs, patience of five."""
SETTINGS: dict[str, Overrides] = {
    "Popularity": (),
    "EASE": (),
    "BPRMF": (*STEPS, "opt.batch_size=2048", "opt.hyper_params.lr=0.002"),
    **{model: STEPS for model in ("LightGCN", "BPR-HFT", "VBPR", "DeepCoNN", "CKE", "FREEDOM")},
    **{model: (*STEPS, "opt.batch_size=2048") for model in ("Review", "Image", "Title", "Rating", "eJRL", "JRL")},
}
"""What every run of a model gets, in addition to the trial."""
VIEWS = {
    "Review": '{"review": {}}',
    "Image": '{"image": {}}',
    "Title": '{"title": {}}',
    "Rating": '{"rating": {}}',
}

NORMS: list[Overrides] = [("model.reg_weight=0.02",), ("model.reg_weight=0.05",)]
TRIALS: dict[str, list[Overrides]] = {
    "BPRMF": NORMS,
    "EASE": [("model.l2=100",), ("model.l2=300",)],
    "LightGCN": [("model.reg_weight=0.0001",), ("model.reg_weight=0.001",)],
    "VBPR": NORMS,
    "CKE": NORMS,
    "FREEDOM": [("model.reg_weight=0.0001",), ("model.reg_weight=0.01",)],
    "BPR-HFT": NORMS,
    **{model: NORMS for model in ("Review", "Image", "Title", "Rating", "eJRL", "JRL")},
}
"""What is tried of each model on the validation part, with seed 0: the first ``--trials``, as many of each model."""


def _views(*names: str) -> str:
    return "model.views={" + ", ".join(VIEWS[name][1:-1] for name in names) + "}"


def _source(data: Overrides, models: Sequence[str], views: Sequence[str], **more: object) -> ListSource:
    """A source whose joint models have these views, and whose single views are rows."""
    both = {model: (_views(*views),) for model in ("JRL", "eJRL")}
    single = {view: (_views(view),) for view in views}
    rows = ("Popularity", "BPRMF", "EASE", *models, *views, "eJRL", "JRL")
    source = ListSource(data, rows, settings={**both, **single})
    return replace(source, **more)  # type: ignore[arg-type]


PLANTED = (
    'data={"planted": {"size": "small", "reviews": true, "image": true}, "split": {"by": "user", "ratio": [7, 1, 2]}}'
)
TINY = PLANTED.replace("small", "tiny")
MULTIMODAL = ("LightGCN", "VBPR", "CKE", "FREEDOM")
SOURCES = {
    "instruments": _source(
        ("data=instruments",),
        ("BPR-HFT", "DeepCoNN"),
        ("Review", "Rating"),
        text="Reviews are the real ones, as word ids in reading order; every rating is a positive.",
    ),
    "beauty": _source(
        ("data=beauty",),
        ("LightGCN", "CKE"),
        ("Title",),
        published=BEAUTY,
        text="The authors' own split. Reviews, pictures and training ratings are not public: titles are the text view, "
        "and rows of the paper that read the others stand for what the paper had.",
    ),
    "clothing": _source(
        ("data=clothing",),
        ("LightGCN",),
        (),
        published=CLOTHING,
        text="The paper's counts, a split of our own (70/30 per user); no text, picture or rating is there.",
    ),
    "movielens": _source(("data=movielens-mm",), MULTIMODAL, ("Image", "Rating")),
    "tiktok": _source(("data=tiktok",), MULTIMODAL, ("Image",)),
    "lastfm": _source(("data=lastfm",), MULTIMODAL, ("Image",)),
    "planted": _source((PLANTED,), (*MULTIMODAL, "BPR-HFT", "DeepCoNN"), ("Review", "Image", "Rating")),
    "tiny": _source((TINY,), MULTIMODAL, ("Review", "Image", "Rating")),
}
SMALL = ("opt.batch_size=256", 'opt.early_stop={"metric": "ndcg@10", "stop_step": 10}')
"""Instruments: 8,209 training rows are 33 steps, and 700 validation users make the metric noisy."""
SOURCES["instruments"] = replace(
    SOURCES["instruments"],
    settings={
        **{model: (*words, *SMALL) for model, words in (SOURCES["instruments"].settings or {}).items()},
        "BPRMF": ("model.item_bias=true", *SMALL),
        "BPR-HFT": SMALL,
    },
    trials={
        **{model: [("model.reg_weight=0.1",), ("model.reg_weight=0.05",)] for model in ("BPRMF", "BPR-HFT")},
        **{m: [("model.reg_weight=0.05",), ("model.reg_weight=0.02",)] for m in ("Review", "Rating", "JRL", "eJRL")},
    },
)
SOURCES["clothing"] = replace(SOURCES["clothing"], models=("Popularity", "BPRMF", "EASE", "LightGCN"))
for _name, _column in (("movielens", "poster"), ("tiktok", "image"), ("lastfm", "whisper")):
    _image = f'"image": {{"column": "{_column}"}}'
    _settings = {
        model: tuple(word.replace('"image": {}', _image) for word in words)
        for model, words in (SOURCES[_name].settings or {}).items()
    }
    SOURCES[_name] = replace(SOURCES[_name], settings=_settings)


class Options(CommonOptions):
    """What the command line said, with the sources and runs of the JRL paper."""

    prefix = "jrl-"

    @property
    def source(self) -> ListSource:
        return SOURCES[self.data]

    def trials_of(self, model: str) -> list[Overrides]:
        """What is tried of a model; without trials its config alone."""
        return {**TRIALS, **(self.source.trials or {})}.get(model, [()])[: self.trials] or [()]

    def job(self, model: str, metrics: Sequence[str], *overrides: str, seed: int = 0) -> Job:
        """A run of a row; ``metrics`` are measured, the first one watched."""
        names = ", ".join(f'"{metric}"' for metric in metrics)
        own = (self.source.settings or {}).get(model, ())
        words = (*self.source.overrides, *SETTINGS[model], f"metrics=[{names}]", *own, *overrides)
        return Job(CONFIGS[model], words, seed)
