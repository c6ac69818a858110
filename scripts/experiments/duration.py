"""The tables of the DURation paper (Lu et al., WWW 2022): what is run, what is written, which claim is checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from experiments.options import CommonOptions
from experiments.report import Report, cell
from experiments.runs import Done, Job, best_of, run_all, split_of, try_all
from experiments.statistics import Comparison, auc_by_user, compare, holm
from hrec.config import ConfigError


@dataclass(frozen=True)
class Source:
    """A data set: its name in configs/data/, settings that every model gets on it, those of models of columns, and of
    what Table 5 runs from a cold start."""

    name: str
    overrides: tuple[str, ...] = ()
    of_columns: tuple[str, ...] = ()
    cold: tuple[str, ...] = ()


SOURCES = {
    "planted": Source("planted-small", ("opt.epochs=40",)),
    "tiny": Source("planted-tiny", ("opt.epochs=3",)),
    "epinions": Source("epinions", ("opt.epochs=30",)),
    "epinions-counts": Source("epinions", ("opt.epochs=30", 'data.train_columns=["count"]'), ("model.buckets=16",)),
    "amazon": Source("amazon", ("opt.batch_size=2048", "opt.epochs=8")),
    "amazon-2kinds": Source("amazon-2kinds", ("opt.epochs=20",), cold=("opt.epochs=80", "opt.early_stop.stop_step=30")),
    "douban": Source("douban-ga", ("opt.epochs=30",)),
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


def most_trials(experiment: str) -> int:
    """The largest --trials of an experiment."""
    return len(TRIALS)


PAPER_TABLE_3 = {
    ("NAIS", "He"): (0.554, 0.563, 0.651, 0.592),
    ("DMF", "He"): (0.588, 0.631, 0.656, 0.647),
    ("FISM", "He"): (0.571, 0.576, 0.656, 0.596),
    ("DeepFM", "He"): (0.721, 0.756, 0.76, 0.77),
    ("DeepFM", "Ho"): (0.737, 0.782, 0.777, None),
    ("xDeepFM", "He"): (0.721, 0.759, 0.761, 0.77),
    ("xDeepFM", "Ho"): (0.732, 0.769, 0.78, None),
    ("AFM", "He"): (0.686, 0.709, 0.739, 0.708),
    ("AFM", "Ho"): (0.73, 0.769, 0.771, None),
    ("DSSM", "He"): (0.519, 0.543, 0.582, 0.569),
    ("DSSM", "Ho"): (0.545, 0.571, 0.707, None),
    ("WideDeep", "He"): (0.722, 0.759, 0.763, 0.771),
    ("WideDeep", "Ho"): (0.739, 0.784, 0.78, None),
    ("AutoInt", "He"): (0.722, 0.76, 0.763, 0.771),
    ("AutoInt", "Ho"): (0.738, 0.784, 0.78, None),
    ("CCCF", "He"): (0.741, 0.786, 0.782, 0.787),
    ("DDTCDR", "He"): (0.734, 0.776, 0.774, 0.78),
    ("DURation", "He"): (0.766, 0.818, 0.792, 0.804),
}
"""AUC on Douban, its columns PAPER_COLUMNS; 'all' is pooled."""
PAPER_COLUMNS = ("book", "music", "film", "all")
ONE_SPLIT = (
    "All runs share one split, so a deviation is that of first weights and batches; another split would add to it."
)

TESTS_OF_USERS = (
    "Tests over users are of these runs alone: of other seeds, as the t-test is, or other splits they say nothing."
)

SETTINGS = ("He", "Ho")
"""All kinds together, with the columns that they share; and each kind by itself, with all of its columns."""

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
OURS = ("DURation", "He")


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


# --------------------------------------------------------------------------------------------- table 2


def table2(options: Options) -> None:
    """Items, rows, users and columns of each kind; density as the paper defines it in section 5.4.1."""
    parts = split_of(options.job("DMF").load())
    train, rows = parts.train, [["kind", "items", "rows", "users", "columns", "rows / (items x users)"]]
    every = [p.interactions for p in (parts.train, parts.valid, parts.test)]
    users, kinds = (np.concatenate([getattr(x, name) for x in every]) for name in ("user", "kind"))
    for number, (kind, table) in enumerate(train.kinds.items()):
        here = np.unique(users[kinds == number])
        count = int((kinds == number).sum())
        density = count / max(table.count * len(here), 1)
        rows.append(
            [kind, f"{table.count:,}", f"{count:,}", f"{len(here):,}", str(len(table.columns)), f"{density:.2e}"]
        )
    rows.append(["all", f"{train.n_items:,}", f"{len(users):,}", f"{len(np.unique(users)):,}", "", ""])
    report = options.report("table2")
    report.table(rows)
    counts = {
        row[0]: {name: [float(text.replace(",", ""))] for name, text in zip(rows[0][1:4], row[1:4], strict=True)}
        for row in rows[1:]
    }
    report.dots(counts, "number", log=True)
    if train.negatives:
        report.say(f"Of these rows, those drawn as negatives for validation and test: {train.negatives} for each.")
    report.close()


# --------------------------------------------------------------------------------------------- table 3


@dataclass(frozen=True)
class Row:
    """One model in one setting; ``kind`` is the one kind it is trained on, None for all."""

    model: str
    setting: str
    kind: str | None = None

    @property
    def overrides(self) -> tuple[str, ...]:
        return () if self.kind is None else (f"data.single_type={self.kind}",)


def rows_of(models: Sequence[str], kinds: Sequence[str]) -> list[Row]:
    """He for every model; Ho, one run for each kind, for those that read columns."""
    he = [Row(model, "He") for model in models]
    return he + [Row(model, "Ho", kind) for model in models if model in CONTEXT for kind in kinds]


def tune(options: Options, rows: Sequence[Row]) -> dict[Row, tuple[str, ...]]:
    """The trial with the best validation AUC of each row, each row having the same trials."""
    trials = TRIALS[: options.trials]
    if len(trials) == 1:
        return {row: trials[0] for row in rows}
    jobs = [options.job(row.model, *row.overrides, *trial) for row in rows for trial in trials]
    done = iter(try_all(jobs, options.out, options.jobs))
    return {row: best_of(trials, list(islice(done, len(trials))), ["auc"]) for row in rows}


def table3(options: Options) -> None:
    """AUC of every model, He and Ho, by kind and over all; the tests of DURation against the best baseline."""
    parts = split_of(options.job("DMF").load())
    kinds = list(parts.train.kinds)
    rows = [r for r in rows_of(options.models or tuple(CONFIGS), kinds) if r.setting in options.settings]
    if not rows:
        raise ConfigError(f"--settings: no row of {', '.join(options.models)} is {' or '.join(options.settings)}")
    if without := [name for name in options.models if name not in {row.model for row in rows}]:
        print(f"{', '.join(without)}: no row in the setting {' or '.join(options.settings)}, left out", flush=True)
    best = tune(options, rows)
    jobs = [options.job(r.model, *r.overrides, *best[r], seed=s) for r in rows for s in range(options.seeds)]
    done = run_all(jobs, options.out, options.jobs)
    runs = dict(zip(rows, options.by_row(done), strict=True))
    values = by_model(runs, kinds)
    report = options.report("table3")
    of_paper = [c for c in PAPER_COLUMNS if c in (*kinds, "all")] if options.data == "douban" else []
    report.table(table3_rows(values, kinds, of_paper))
    columns = [*kinds, "macro"]
    report.dots({" ".join(row): {c: v[c] for c in columns if c in v} for row, v in values.items()}, "test AUC")
    report.say(
        f"Test AUC, {options.told_seeds}; the macro mean is over the kinds, 'all' is pooled. "
        f"{ONE_SPLIT} {TESTS_OF_USERS} {told_trials(options.trials)}:"
    )
    heading = [["model", "setting", "kind", "chosen"]]
    report.table(heading + [[r.model, r.setting, r.kind or "all", _short(best[r])] for r in rows])
    if OURS in values:
        _claims_of_table3(report, values, runs, kinds)
    report.close(done)


Values = dict[tuple[str, str], dict[str, np.ndarray]]


def by_model(runs: dict[Row, list[Done]], kinds: Sequence[str]) -> Values:
    """(model, setting) -> column -> float[seeds]; the macro mean of Ho is over its runs, one for each kind."""
    out: Values = {}
    for row, done in runs.items():
        here = out.setdefault((row.model, row.setting), {})
        for kind in kinds if row.kind is None else [row.kind]:
            here[kind] = np.array([d.result["test"][f"auc/{kind}"] for d in done])
        if row.kind is None:
            here["all"] = np.array([d.result["test"]["auc/pooled"] for d in done])
    for here in out.values():
        here["macro"] = np.mean([here[kind] for kind in kinds], axis=0)
    return out


def told_trials(trials: int) -> str:
    """How every row came to its settings."""
    if trials == 1:
        return "No row was tuned; all have the first of TRIALS in scripts/experiments/duration.py"
    return f"Each row was tuned over the same {trials} settings on the validation part with seed 0"


def table3_rows(values: Values, kinds: Sequence[str], of_paper: Sequence[str] = ()) -> list[list[str]]:
    """Models down, kinds across, the best of each column in bold; of_paper: columns of which the paper's figures, on
    its own data, stand beside them."""
    columns = [*kinds, "macro", "all"]
    top = {c: max((v[c].mean() for v in values.values() if c in v), default=np.nan) for c in columns}
    table = [["model", "setting", *columns, *(f"{c}, the paper's" for c in of_paper)]]
    for (model, setting), here in values.items():
        cells = [cell(here[c], bold=bool(here[c].mean() == top[c])) if c in here else "/" for c in columns]
        printed = dict(zip(PAPER_COLUMNS, PAPER_TABLE_3.get((model, setting), ()), strict=False))
        of_it = ("/" if (value := printed.get(c)) is None else f"{value:.3f}" for c in of_paper)
        table.append([model, setting, *cells, *of_it])
    return table


def _claims_of_table3(report: Report, values: Values, runs: dict[Row, list[Done]], kinds: Sequence[str]) -> None:
    others = {key: v["macro"] for key, v in values.items() if key != OURS}
    if not others:
        return
    users = {setting: auc_by_setting(runs, kinds, setting) for setting in SETTINGS}
    tests = {
        (model, setting): compare(values[OURS]["macro"], value, users[setting][OURS[0]], users[setting][model])
        for (model, setting), value in others.items()
    }
    report.table(tests_table(tests))
    if any(setting == "Ho" for _, setting in others):
        report.say("A user's AUC beside a model in the setting Ho is taken within each kind, and their mean is tested.")

    def best(among: Sequence[tuple[str, str]]) -> tuple[str, str] | None:
        return max(among, key=lambda key: others[key].mean(), default=None)

    tops = {best([key for key in others if key[1] == "He"]): "He baseline"}
    tops.setdefault(best(list(others)), "baseline of both settings")
    for top, of in tops.items():
        if top is None:
            continue
        told, test = f"DURation above the best {of}, {' '.join(top)} (macro", tests[top]
        report.claim(f"{told}, t-test over seeds)", test.difference, test.p_seeds)
        report.claim_of_users(f"{told}, Wilcoxon over users)", test)
    for kind in kinds:
        of_kind = {key: v[kind] for key, v in values.items() if key != OURS and kind in v}
        top = max(of_kind, key=lambda key: of_kind[key].mean())
        test = compare(values[OURS][kind], of_kind[top])
        report.claim(
            f"DURation above the best baseline on {kind}, {' '.join(top)}",
            test.difference,
            test.p_seeds,
        )
    for better, worse, told in (
        (CONTEXT, GENERAL, "contextual models above general ones"),
        (HETERO, CONTEXT, "heterogeneous models above contextual ones"),
    ):
        _claim_of_groups(report, values, better, worse, told)
    both = [m for m in CONTEXT if (m, "Ho") in values and (m, "He") in values]
    if both:
        ho, he_values = (np.mean([values[m, s]["macro"] for m in both], axis=0) for s in ("Ho", "He"))
        test = compare(ho, he_values)
        report.claim("contextual models better in the setting Ho than in He", test.difference, test.p_seeds)


def _claim_of_groups(report: Report, values: Values, better: dict[str, str], worse: dict[str, str], told: str) -> None:
    means = [
        [
            v["macro"]
            for (model, setting), v in values.items()
            if model in group and setting == "He" and (model, setting) != OURS
        ]
        for group in (better, worse)
    ]
    if all(means):
        test = compare(np.mean(means[0], axis=0), np.mean(means[1], axis=0))
        report.claim(f"{told} (means of both groups in the setting He)", test.difference, test.p_seeds)


def auc_by_setting(runs: dict[Row, list[Done]], kinds: Sequence[str], setting: str) -> dict[str, np.ndarray]:
    """Model -> float[users], each user's test AUC: over all rows in He; in Ho, whose scores of different kinds are not
    of one model, the mean over the kinds in which the user has one. DURation, which is He, is there in both."""
    if setting == "He":
        return {row.model: users_auc(done) for row, done in runs.items() if row.setting == setting}
    parts: dict[str, list[np.ndarray]] = {}
    for row, done in runs.items():
        if row.setting == setting:
            parts.setdefault(row.model, []).append(users_auc(done))
        elif (row.model, row.setting) == OURS:
            parts[row.model] = [users_auc(done, kind) for kind in kinds]
    return {model: _mean_of_known(np.stack(by_kind)) for model, by_kind in parts.items()}


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


def _mean_of_known(values: np.ndarray) -> np.ndarray:
    """float[m, n] -> float[n], the mean of the numbers that are not NaN; NaN where all are."""
    known = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        return np.where(known, values, 0).sum(0) / known.sum(0)


def tests_table(tests: dict[tuple[str, str], Comparison]) -> list[list[str]]:
    """DURation less each baseline, with p-values as they are and after Holm's correction."""
    names = {" ".join(key): test for key, test in tests.items()}
    seeds, users = (holm({n: getattr(t, p) for n, t in names.items()}) for p in ("p_seeds", "p_users"))
    table = [["DURation less", "macro AUC", "t-test over seeds", "Holm", "AUC by user", "Wilcoxon over users", "Holm"]]
    for name, test in names.items():
        shown = [
            (test.difference, "+.4f"),
            (test.p_seeds, ".2g"),
            (seeds[name], ".2g"),
            (test.difference_users, "+.4f"),
            (test.p_users, ".2g"),
            (users[name], ".2g"),
        ]
        table.append([name, *(f"{value:{form}}" if np.isfinite(value) else "-" for value, form in shown)])
    return table


def _short(trial: Sequence[str]) -> str:
    return " ".join(word.removeprefix("opt.hyper_params.") for word in trial)


# --------------------------------------------------------------------------------------------- table 5


WITHOUT = ("model.alpha=0", "model.beta=0")
WAYS: dict[str, tuple[str, ...]] = {
    "DURation": (),
    "without A": WITHOUT[:1],
    "without T": WITHOUT[1:],
    "without A and T": WITHOUT,
}
REMOVED = {
    "without A and T": "alignment and topology help",
    "without A": "alignment helps beside topology",
    "without T": "topology helps beside alignment",
}
COLD = 'data.split={"by": "cold_users", "max_train": 3}'


def table5(options: Options) -> None:
    """DURation with and without alignment and topology, on all data and where test users have three rows at most."""
    splits: dict[str, tuple[str, ...]] = {"cold start": (COLD, *options.source.cold), "full data": ()}
    cases = [(split, way) for split in splits for way in WAYS]
    best = tune(options, [Row("DURation", "He")])[Row("DURation", "He")]
    jobs = [
        options.job("DURation", *best, *splits[split], *WAYS[way], seed=s)
        for split, way in cases
        for s in range(options.seeds)
    ]
    done = run_all(jobs, options.out, options.jobs)
    runs = dict(zip(cases, options.by_row(done), strict=True))
    kinds = [k.split("/")[1] for k in done[0].result["test"] if k.startswith("auc/") and k != "auc/pooled"]
    report = options.report("table5")
    keys = {"all": "auc/pooled", "macro": "auc"} | {kind: f"auc/{kind}" for kind in kinds}
    values = {
        case: {c: np.array([d.result["test"][key] for d in of]) for c, key in keys.items()} for case, of in runs.items()
    }
    table = [["setting", "model", *keys]]
    table += [[*case, *(cell(v[c]) for c in keys)] for case, v in values.items()]
    report.table(table)
    report.dots({", ".join(c): {k: v[k] for k in (*kinds, "macro")} for c, v in values.items()}, "test AUC")
    of_cold = f", with {' '.join(options.source.cold)} from a cold start" if options.source.cold else ""
    report.say(f"Test AUC, {options.told_seeds}; {_short(best)} for all rows{of_cold}. {ONE_SPLIT} {TESTS_OF_USERS}")
    for split in splits:
        users = {way: users_auc(runs[split, way]) for way in WAYS}
        for way, told in REMOVED.items():
            test = compare(
                values[split, "DURation"]["macro"], values[split, way]["macro"], users["DURation"], users[way]
            )
            ours = way != "without A and T"  # the paper removes both
            report.claim(f"{told}, {split} (macro, t-test over seeds)", test.difference, test.p_seeds, ours)
            report.claim_of_users(f"{told}, {split} (AUC by user, Wilcoxon)", test, ours)
    report.close(done)
