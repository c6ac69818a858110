"""Table 3 of the DURation paper: AUC of every model, all kinds together and each alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hrec.config import ConfigError
from hrec.experiments.reports import Report, cell
from hrec.experiments.runs import Done, run_all, split_of
from hrec.experiments.significance import Comparison, compare, holm
from hrec.papers.duration.published import CLAIMS, COLUMNS_3, TABLE_3
from hrec.papers.duration.runs import (
    CONFIGS,
    CONTEXT,
    GENERAL,
    HETERO,
    ONE_SPLIT,
    SETTINGS,
    TESTS_OF_USERS,
    Options,
    Row,
    short_trial,
    tune,
    users_auc,
)

OURS = ("DURation", "He")
GROUPS = {"general": GENERAL, "contextual": CONTEXT, "heterogeneous": HETERO}


def rows_of(models: Sequence[str], kinds: Sequence[str]) -> list[Row]:
    """He for every model; Ho, one run for each kind, for those that read columns."""
    he = [Row(model, "He") for model in models]
    return he + [Row(model, "Ho", kind) for model in models if model in CONTEXT for kind in kinds]


def table3(options: Options) -> None:
    """AUC of every model, He and Ho, by kind and over all; the tests of DURation against the best baseline."""
    parts = split_of(options.job("DMF").load())
    kinds = list(parts.train.kinds)
    rows = [r for r in rows_of(options.models or tuple(CONFIGS), kinds) if r.setting in options.settings]
    if not rows:
        raise ConfigError(f"--settings: no row of {', '.join(options.models)} is {' or '.join(options.settings)}")
    if without := [name for name in options.models if name not in {row.model for row in rows}]:
        print(f"{', '.join(without)}: no row in the setting {' or '.join(options.settings)}, left out", flush=True)
    best = tune(options, rows, later=len(rows) * (options.seeds - 1))
    jobs = [options.job(r.model, *r.overrides, *best[r], seed=s) for r in rows for s in range(options.seeds)]
    done = run_all(jobs, options.out, options.jobs)
    runs = dict(zip(rows, options.by_row(done), strict=True))
    values = by_model(runs, kinds)
    report = options.report("table3")
    report.table(table3_rows(values, kinds))
    columns = [*kinds, "macro"]
    report.dots({" ".join(row): {c: v[c] for c in columns if c in v} for row, v in values.items()}, "test AUC")
    report.say(
        f"Test AUC, {options.described_seeds}; the macro mean is over the kinds, 'all' is pooled. "
        f"{ONE_SPLIT} {TESTS_OF_USERS} {describe_trials(options.trials)}:"
    )
    heading = [["model", "setting", "kind", "chosen"]]
    report.table(heading + [[r.model, r.setting, r.kind or "all", short_trial(best[r])] for r in rows])
    if options.source.note:
        report.say(options.source.note)
        report.table(paper_rows(list(values)))
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


def describe_trials(trials: int) -> str:
    """How every row came to its settings."""
    if trials == 1:
        return "No row was tuned; all have the first of TRIALS in hrec/papers/duration/runs.py"
    return f"Each row was tuned over the same {trials} settings on the validation part with seed 0"


def table3_rows(values: Values, kinds: Sequence[str]) -> list[list[str]]:
    """Models down, kinds across, the best of each column in bold."""
    columns = [*kinds, "macro", "all"]
    top = {c: max((v[c].mean() for v in values.values() if c in v), default=np.nan) for c in columns}
    table = [["model", "setting", *columns]]
    for (model, setting), here in values.items():
        cells = [cell(here[c], bold=bool(here[c].mean() == top[c])) if c in here else "/" for c in columns]
        table.append([model, setting, *cells])
    return table


def paper_rows(rows: Sequence[tuple[str, str]]) -> list[list[str]]:
    """The paper's figures of these models and settings, of those that it has."""
    printed = {row: TABLE_3[row] for row in rows if row in TABLE_3}
    cells = ([*row, *("/" if v is None else f"{v:.3f}" for v in values)] for row, values in printed.items())
    return [["the paper's", "setting", *COLUMNS_3], *cells]


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
        report.say("Against a model in the setting Ho, a user's AUC is the mean of the AUC within each kind.")

    def best(among: Sequence[tuple[str, str]]) -> tuple[str, str] | None:
        return max(among, key=lambda key: others[key].mean(), default=None)

    tops = {best([key for key in others if key[1] == "He"]): "He baseline"}
    tops.setdefault(best(list(others)), "baseline of both settings")
    for top, of in tops.items():
        if top is None:
            continue
        text, test = f"DURation above the best {of}, {' '.join(top)} (macro", tests[top]
        report.claim(f"{text}, t-test over seeds)", test.difference, test.p_seeds)
        report.claim_of_users(f"{text}, Wilcoxon over users)", test)
    for kind in kinds:
        of_kind = {key: v[kind] for key, v in values.items() if key != OURS and kind in v}
        top = max(of_kind, key=lambda key: of_kind[key].mean())
        test = compare(values[OURS][kind], of_kind[top])
        report.claim(
            f"DURation above the best baseline on {kind}, {' '.join(top)}",
            test.difference,
            test.p_seeds,
        )
    for claim in CLAIMS["table3"]:
        _claim_of_groups(report, values, GROUPS[claim.better], GROUPS[claim.worse], str(claim))
    both = [m for m in CONTEXT if (m, "Ho") in values and (m, "He") in values]
    if both:
        ho, he_values = (np.mean([values[m, s]["macro"] for m in both], axis=0) for s in ("Ho", "He"))
        test = compare(ho, he_values)
        report.claim("contextual models better in the setting Ho than in He", test.difference, test.p_seeds)


def _claim_of_groups(report: Report, values: Values, better: dict[str, str], worse: dict[str, str], text: str) -> None:
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
        names = [", ".join(m for m in group if (m, "He") in values and m != OURS[0]) for group in (better, worse)]
        report.claim(f"{text} (He; the means of {names[0]} and of {names[1]})", test.difference, test.p_seeds)


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
