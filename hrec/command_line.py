"""The command line of ``hrec``; torch, which takes seconds, is loaded once there is work (hrec/cli/recommend.py).

Training has scripts of its own (hrec/cli/train.py).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from hrec.config import path_argument
from hrec.endings import status_of
from hrec.id_arguments import Parser, with_dashed_values
from hrec.threads import how_threads_wait

FORMATS = ("parquet", "npy", "faiss")
"""What hrec/inference/export.py writes, which cannot be asked without loading torch."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; returns the exit status. Errors are one message, not a traceback."""

    def work() -> None:
        args = parser().parse_args(with_dashed_values(sys.argv[1:] if argv is None else argv))
        how_threads_wait()  # torch reads the environment when it is loaded
        args.run(args)

    return status_of(work)


def parser() -> argparse.ArgumentParser:
    p = Parser(prog="hrec", description="Use a finished run: lists for users, vectors for programs.")
    commands = p.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_recommend(commands.add_parser("recommend", help="the best items for users, known ones or new ones"))
    _add_export(commands.add_parser("export", help="the vectors of users and items, as files"))
    return p


def _add_run(p: argparse.ArgumentParser) -> None:
    p.add_argument(
        "folder", type=path_argument, metavar="RUN", help="the folder of a finished run: output/DURation-..."
    )
    p.add_argument("--device", default="auto", help="auto (the freest GPU, else the CPU), cpu, cuda or cuda:<n>")


def _add_recommend(p: argparse.ArgumentParser) -> None:
    _add_run(p)
    p.add_argument("--user", nargs="+", action="extend", default=[], metavar="ID", help="raw ids of users")
    p.add_argument(
        "--users-from", type=path_argument, metavar="FILE", help="a file of user ids: a table, or .txt, one a line"
    )
    p.add_argument("--all-users", action="store_true", help="every user of the data")
    p.add_argument(
        "--history", type=path_argument, metavar="FILE", help="what new users have done: items, ratings where known"
    )
    p.add_argument("--k", type=int, default=10, help="items for each user (10)")
    p.add_argument("--kind", help="items of this kind alone")
    p.add_argument(
        "--out", type=path_argument, metavar="FILE", help="write a .csv or .parquet file instead of printing"
    )
    p.set_defaults(run=_later("print_or_write_lists"))


def _add_export(p: argparse.ArgumentParser) -> None:
    _add_run(p)
    p.add_argument("--to", required=True, choices=FORMATS, help="the files' format")
    p.add_argument("--out", type=path_argument, metavar="FOLDER", help="where to write them; left out: RUN/vectors")
    p.set_defaults(run=_later("write_vectors"))


def _later(name: str) -> Callable[[argparse.Namespace], None]:
    """A function of hrec/cli/recommend.py, loaded when it is called."""

    def run(args: argparse.Namespace) -> None:
        getattr(import_module("hrec.cli.recommend"), name)(args)

    return run
