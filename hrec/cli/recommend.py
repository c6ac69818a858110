"""The best items for users of a finished run: known users, or new ones by their histories; items similar to an item."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from hrec.cli.arguments import add_run
from hrec.cli.id_arguments import Parser, id_argument, with_dashed_values
from hrec.config import path_argument
from hrec.endings import status_of
from hrec.threads import how_threads_wait


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Run one command line; returns the exit status. Errors are one message, not a traceback."""

    def work() -> None:
        args = parser(prog).parse_args(with_dashed_values(sys.argv[1:] if argv is None else argv))
        how_threads_wait()  # torch reads the environment when it is loaded
        from hrec.cli.finished import print_or_write_lists

        print_or_write_lists(args)

    return status_of(work)


def parser(prog: str | None = None) -> argparse.ArgumentParser:
    p = Parser(prog, description=__doc__, allow_abbrev=False)
    add_run(p)
    p.add_argument(
        "--user", type=id_argument, nargs="+", action="extend", default=[], metavar="ID", help="raw ids of users"
    )
    p.add_argument(
        "--users-from", type=path_argument, metavar="FILE", help="a file of user ids: a table, or .txt, one a line"
    )
    p.add_argument("--all-users", action="store_true", help="every user of the data")
    p.add_argument(
        "--history", type=path_argument, metavar="FILE", help="what new users have done: items, ratings where known"
    )
    p.add_argument(
        "--item", nargs="+", action="extend", default=[], metavar="ID", help="raw ids: items similar to each"
    )
    p.add_argument("--k", type=int, default=10, help="items for each user (10)")
    p.add_argument("--kind", type=id_argument, help="items of this kind alone")
    p.add_argument(
        "--out", type=path_argument, metavar="FILE", help="write a .csv or .parquet file instead of printing"
    )
    return p
