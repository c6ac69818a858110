"""Reproduce a table or a figure of a paper, on data that is here, with its statistics.

    hrec reproduce duration table3 --data planted --seeds 3 --trials 2
    hrec reproduce duration figure2 --data amazon
    hrec reproduce dualnet table1 --data citeulike_a --seeds 3

Every run is kept under --out and done once: repeat the command after a stop and it goes on. Markdown, CSV and pictures
land in <out>/<experiment>-<data>/ (of the DualNet paper in <out>/dualnet-<experiment>-<data>/), with a line for each
claim of the paper: holds, does not hold, or not decided.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from hrec.cli.arguments import too_small
from hrec.cli.ending import status_of
from hrec.config import path_argument
from hrec.papers.paper import Paper
from hrec.papers.table import PAPERS
from hrec.pipeline.devices import reuse_memory

FORM = argparse.RawDescriptionHelpFormatter


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Run one command line; returns the exit status."""
    args = parser(prog).parse_args(argv)
    paper = PAPERS[args.paper]
    if why := refusal(paper, args):
        print(why, file=sys.stderr)
        return 2
    reuse_memory()
    chosen = {rows.name: tuple(getattr(args, rows.name) or rows.default) for rows in paper.rows}
    options = paper.options(args.data, args.out, args.seeds, args.jobs, args.trials, **chosen)
    return status_of(lambda: paper.experiments[args.experiment].run(options))


def parser(prog: str | None = None) -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog, description=__doc__, formatter_class=FORM, allow_abbrev=False)
    papers = p.add_subparsers(dest="paper", required=True)
    for name, paper in PAPERS.items():
        listed = "\n".join(f"  {e:<9}{experiment.about}" for e, experiment in paper.experiments.items())
        description = f"{paper.title}\n\n{listed}"
        _add_arguments(papers.add_parser(name, description=description, formatter_class=FORM), paper)
    return p


def _add_arguments(p: argparse.ArgumentParser, paper: Paper) -> None:
    p.add_argument("experiment", choices=paper.experiments)
    p.add_argument("--data", choices=paper.data, default="planted", help="what to run on (default: %(default)s)")
    p.add_argument("--seeds", type=int, default=5, help="runs of every row (default: %(default)s)")
    p.add_argument("--jobs", type=int, default=1, help="runs side by side; they share the cores (default: %(default)s)")
    of_trials = "settings tried of every row on the validation part, 1 for none (default: %(default)s)"
    p.add_argument("--trials", type=int, default=2, help=of_trials)
    for rows in paper.rows:
        p.add_argument(f"--{rows.name}", nargs="+", choices=rows.choices, default=[], help=rows.help)
    of_out = "where runs and reports are (default: %(default)s)"
    p.add_argument("--out", type=path_argument, default=Path("output/reproduce"), help=of_out)


def refusal(paper: Paper, args: argparse.Namespace) -> str | None:
    """What is wrong with a command line, None if nothing is."""
    if why := too_small(args, seeds=1, trials=1, jobs=1):
        return why
    for rows in paper.rows:
        given = getattr(args, rows.name)
        if twice := next((name for name in given if given.count(name) > 1), None):
            return f"--{rows.name}: {twice} is there twice; name each row once"
        if given and args.experiment not in rows.experiments:
            return f"--{rows.name}: {args.experiment} is about one {rows.one} alone; leave --{rows.name} out"
    most = paper.most_trials(args.experiment)
    if args.trials > most:
        return f"--trials: {args.experiment} has {most} to try, see hrec/papers/{paper.name}/runs.py"
    return None
