"""Tables 2 and 5 of the DURation paper (Lu et al., WWW 2022): what the data holds, and DURation without its losses."""

from __future__ import annotations

import numpy as np

from hrec.experiments.reports import cell
from hrec.experiments.runs import run_all, split_of
from hrec.experiments.significance import compare
from hrec.papers.duration.published import CLAIMS
from hrec.papers.duration.runs import (
    ONE_SPLIT,
    TESTS_OF_USERS,
    Options,
    Row,
    short_trial,
    tune,
    users_auc,
)

WITHOUT = ("model.alpha=0", "model.beta=0")
WAYS: dict[str, tuple[str, ...]] = {
    "DURation": (),
    "without A": WITHOUT[:1],
    "without T": WITHOUT[1:],
    "without A and T": WITHOUT,
}
COLD = 'data.split={"by": "cold_users", "max_train": 3}'


def table2(options: Options) -> None:
    """Items, rows, users and columns of each kind; density as the paper defines it in section 5.4.1."""
    parts = split_of(options.job("DMF").load())
    train, rows = parts.train, [["kind", "items", "rows", "users", "columns", "rows / (items x users)"]]
    every = [p.interactions for p in (parts.train, parts.valid, parts.test)]
    users, kinds = (np.concatenate([getattr(x, name) for x in every]) for name in ("user", "kind"))
    for index, (kind, table) in enumerate(train.kinds.items()):
        here = np.unique(users[kinds == index])
        count = int((kinds == index).sum())
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
    if train.feedback.negatives:
        report.say(
            f"Of these rows, those drawn as negatives for validation and test: {train.feedback.negatives} for each."
        )
    report.close()


def table5(options: Options) -> None:
    """DURation with and without alignment and topology, on all data and where test users have three rows at most."""
    splits: dict[str, tuple[str, ...]] = {"cold start": (COLD, *options.source.cold), "full data": ()}
    cases = [(split, way) for split in splits for way in WAYS]
    row = Row("DURation", "He")
    best = tune(options, [row], later=len(cases) * options.seeds - 1)[row]
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
    chosen = f"{short_trial(best)} for all rows{of_cold}"
    report.say(f"Test AUC, {options.described_seeds}; {chosen}. {ONE_SPLIT} {TESTS_OF_USERS}")
    for split in splits:
        users = {way: users_auc(runs[split, way]) for way in WAYS}
        for claim in CLAIMS["table5"]:
            whole, less = claim.better, claim.worse
            macro = (values[split, whole]["macro"], values[split, less]["macro"])
            test = compare(*macro, users[whole], users[less])
            report.claim(f"{claim}, {split} (macro, t-test over seeds)", test.difference, test.p_seeds, claim.ours)
            report.claim_of_users(f"{claim}, {split} (AUC by user, Wilcoxon)", test, claim.ours)
    report.close(done)
