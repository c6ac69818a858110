"""Do again a table or a figure of a paper, on data that is here, with the statistics beside it.

    python scripts/reproduce.py duration table3 --data planted --seeds 3 --trials 2
    python scripts/reproduce.py duration figure2 --data amazon
    python scripts/reproduce.py dualnet table1 --data citeulike_a --seeds 3

Every run is kept under --out and done once: repeat the command after a stop and it goes on. Markdown, CSV and pictures
land in <out>/<experiment>-<data>/ (of the DualNet paper in <out>/dualnet-<experiment>-<data>/), with a line for each
claim of the paper: holds, does not hold, or not decided.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from hrec.cli.arguments import too_small
from hrec.cli.ending import status_of
from hrec.config import path_argument
from hrec.papers.dualnet import tables as dualnet
from hrec.papers.duration import figures
from hrec.papers.duration import tables as duration
from hrec.pipeline.devices import reuse_memory

EXPERIMENTS = {
    "duration": {
        "table2": duration.table2,
        "table3": duration.table3,
        "table5": duration.table5,
        "figure2": figures.figure2,
        "figure3": figures.figure3,
        "figure4": figures.figure4,
    },
    "dualnet": {
        "table1": dualnet.table1,
        "table2": dualnet.table2,
        "table3": dualnet.table3,
        "noise": dualnet.noise,
        "tactics": dualnet.tactics,
    },
}
PAPERS = {"duration": duration, "dualnet": dualnet}
TITLES = {
    "duration": "DURation: Lu et al., WWW 2022. Its tables and figures:",
    "dualnet": "DualNet: Xiong et al., 2017. Its tables, and what its text claims:",
}
CHOOSES_MODELS = {"duration": ["table3"], "dualnet": ["table1", "table2"]}
"""Experiments that compare models; the others are about one."""


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    papers = p.add_subparsers(dest="paper", required=True)
    for name, paper in PAPERS.items():
        listed = "\n".join(f"  {e:<9}{_first_paragraph(work)}" for e, work in EXPERIMENTS[name].items())
        form = argparse.RawDescriptionHelpFormatter
        of_paper = papers.add_parser(name, description=f"{TITLES[name]}\n\n{listed}", formatter_class=form)
        of_paper.add_argument("experiment", choices=EXPERIMENTS[name])
        of_paper.add_argument(
            "--data", choices=paper.SOURCES, default="planted", help="what to run on (default: %(default)s)"
        )
        of_paper.add_argument("--seeds", type=int, default=5, help="runs of every row (default: %(default)s)")
        of_paper.add_argument(
            "--jobs", type=int, default=1, help="runs side by side; they share the cores (default: %(default)s)"
        )
        told = "settings tried of every row on the validation part, 1 for none (default: %(default)s)"
        of_paper.add_argument("--trials", type=int, default=2, help=told)
        of_models = " and ".join(CHOOSES_MODELS[name])
        told = f"rows of {of_models}, in place of the paper's"
        of_paper.add_argument("--models", nargs="+", choices=paper.CONFIGS, default=[], help=told)
        if name == "duration":
            told = "rows of table3: all kinds together (He), each kind by itself (Ho)"
            of_paper.add_argument("--settings", nargs="+", choices=paper.SETTINGS, default=paper.SETTINGS, help=told)
        of_paper.add_argument(
            "--out",
            type=path_argument,
            default=Path("output/reproduce"),
            help="where runs and reports are (default: %(default)s)",
        )
    return p


def _first_paragraph(work: Callable[..., None]) -> str:
    return " ".join((work.__doc__ or "").split("\n\n")[0].split())


def refusal(args: argparse.Namespace) -> str | None:
    """What is wrong with a command line, None if nothing is."""
    most = PAPERS[args.paper].most_trials(args.experiment)
    if told := too_small(args, seeds=1, trials=1, jobs=1):
        return told
    if twice := next((name for name in args.models if args.models.count(name) > 1), None):
        return f"--models: {twice} is there twice; name each row once"
    if args.models and args.experiment not in CHOOSES_MODELS[args.paper]:
        return f"--models: {args.experiment} is about one model alone; leave --models out"
    if args.trials > most:
        return f"--trials: {args.experiment} has {most} to try, see hrec/papers/{args.paper}/runs.py"
    if args.paper == "duration" and args.settings != duration.SETTINGS and args.experiment != "table3":
        return f"--settings: {args.experiment} is about one setting alone; leave --settings out"
    return None


def main() -> int:
    args = parser().parse_args()
    if told := refusal(args):
        print(told, file=sys.stderr)
        return 2
    reuse_memory()
    own = {"settings": tuple(args.settings)} if args.paper == "duration" else {}
    options = PAPERS[args.paper].Options(
        args.data, args.out, args.seeds, args.jobs, args.trials, tuple(args.models), **own
    )
    return status_of(lambda: EXPERIMENTS[args.paper][args.experiment](options))
