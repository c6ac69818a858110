"""What experiments of the DURation paper (Lu et al., WWW 2022) share: data, models, settings that are tried, AUC by
user."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from hrec.experiments.options import CommonOptions
from hrec.experiments.runs import Done, Job, best_of, split_of, try_all
from hrec.experiments.significance import auc_by_user

NOT_THE_PAPERS = (
    "What the paper prints for these models, **on another Douban**: 36,585 users, 303,825 books, records and films "
    "with 8 to 11 columns of each kind, which cannot be had. Here are two kinds without columns, so figures are not to "
    "be compared, and orders only with that in mind."
)


@dataclass(frozen=True)
class Source:
    """A data set.

    name: Its name in configs/data/.
    overrides: Settings of every model on it.
    of_columns: Those of models of columns.
    cold: Those of Table 5's cold start.
    note: Printed above the paper's own numbers if Table 3 shows them.
    """

    name: str
    overrides: tuple[str, ...] = ()
    of_columns: tuple[str, ...] = ()
    cold: tuple[str, ...] = ()
    note: str = ""


SOURCES = {
    "planted": Source("planted-small", ("opt.epochs=40",)),
    "tiny": Source("planted-tiny", ("opt.epochs=3",)),
    "epinions": Source("epinions", ("opt.epochs=30",)),
    "epinions-counts": Source("epinions", ("opt.epochs=30", 'data.train_columns=["count"]'), ("model.buckets=16",)),
    "amazon": Source("amazon", ("opt.batch_size=2048", "opt.epochs=8")),
    "amazon-2kinds": Source("amazon-2kinds", ("opt.epochs=20",), cold=("opt.epochs=80", "opt.early_stop.stop_step=30")),
    "douban": Source("douban-ga", ("opt.epochs=30",), note=NOT_THE_PAPERS),
}

TRIALS = [
    ("opt.hyper_params.lr=0.001", "opt.hyper_params.weight_decay=0.0001"),
    ("opt.hyper_params.lr=0.003", "opt.hyper_params.weight_decay=0.0001"),
    ("opt.hyper_params.lr=0.003", "opt.hyper_params.weight_decay=0.00001"),
    ("opt.hyper_params.lr=0.0003", "opt.hyper_params.weight_decay=0.0001"),
    ("opt.hyper_params.lr=0.001", "opt.hyper_params.weight_decay=0.00001"),
    ("opt.hyper_params.lr=0.001", "opt.hyper_params.weight_decay=0.001"),
]
"""What every row of a table is tuned over: the first ``--trials`` of these, on the validation part, with seed 0."""

ONE_SPLIT = (
    "All runs share one split, so a deviation is that of first weights and batches; another split would add to it."
)

TESTS_OF_USERS = (
    "Tests over users are of these runs alone: of other seeds, as the t-test is, or other splits they say nothing."
)


SETTINGS = ("He", "Ho")
"""All kinds together, with the columns that they share; and each kind alone, with all of its columns."""

GENERAL = {"NAIS": "nais", "DMF": "deepmf", "FISM": "fism", "NCF": "ncf"}
CONTEXT = {
    "LR": "lr",
    "FM": "fm",
    "DeepFM": "deepfm",
    "xDeepFM": "xdeepfm",
    "AFM": "afm",
    "DSSM": "dssm",
    "WideDeep": "widedeep",
    "AutoInt": "autoint",
    "DCN": "dcn",
}
HETERO = {"CCCF": "cccf", "DDTCDR": "ddtcdr", "DURation": "duration"}
CONFIGS = GENERAL | CONTEXT | HETERO


@dataclass(frozen=True)
class Options(CommonOptions):
    """What the command line said, with the sources and runs of the DURation paper."""

    settings: tuple[str, ...] = SETTINGS

    @property
    def source(self) -> Source:
        return SOURCES[self.data]

    def job(self, model: str, *overrides: str, seed: int = 0) -> Job:
        source = self.source
        of_columns = () if model in GENERAL else source.of_columns
        return Job(CONFIGS[model], (f"data={source.name}", *source.overrides, *of_columns, *overrides), seed)


@dataclass(frozen=True)
class Row:
    """One model in one setting; ``kind`` is the one kind it is trained on, None for all."""

    model: str
    setting: str
    kind: str | None = None

    @property
    def overrides(self) -> tuple[str, ...]:
        return () if self.kind is None else (f"data.single_type={self.kind}",)


def tune(options: Options, rows: Sequence[Row], later: int) -> dict[Row, tuple[str, ...]]:
    """The trial with the best validation AUC of each row, each row having the same trials; later: runs that follow."""
    trials = TRIALS[: options.trials]
    if len(trials) == 1:
        return {row: trials[0] for row in rows}
    jobs = [options.job(row.model, *row.overrides, *trial) for row in rows for trial in trials]
    done = iter(try_all(jobs, options.out, options.jobs, later=later))
    return {row: best_of(trials, list(islice(done, len(trials))), ["auc"]) for row in rows}


def short_trial(trial: Sequence[str]) -> str:
    """Its values without their keys in the settings."""
    return " ".join(word.removeprefix("opt.hyper_params.") for word in trial)


def users_auc(done: Sequence[Done], kind: str | None = None) -> np.ndarray:
    """float[users]: each user's test AUC, of the rows of one kind or of all, the mean over the seeds."""
    per_seed = []
    for d in done:
        test = split_of(Job(str(d.folder / "config.json")).load()).test
        x, score = test.interactions, d.test_scores()
        assert x.label is not None
        here = np.full(len(x), True) if kind is None else x.kind == list(test.kinds).index(kind)
        per_seed.append(auc_by_user(score[here], x.label[here], x.user[here], test.n_users))
    return np.mean(per_seed, axis=0)
