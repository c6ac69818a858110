"""The vectors of users and items of a finished run, as files."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from hrec.cli.arguments import add_run
from hrec.config import path_argument
from hrec.endings import status_of
from hrec.threads import how_threads_wait

FORMATS = ("parquet", "npy", "faiss")
"""What hrec/inference/export.py writes, which cannot be asked without loading torch."""


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Run one command line; returns the exit status. Errors are one message, not a traceback."""

    def work() -> None:
        args = parser(prog).parse_args(argv)
        how_threads_wait()  # torch reads the environment when it is loaded
        from hrec.cli.finished import write_vectors

        write_vectors(args)

    return status_of(work)


def parser(prog: str | None = None) -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog, description=__doc__, allow_abbrev=False)
    add_run(p)
    p.add_argument("--to", required=True, choices=FORMATS, help="the files' format")
    p.add_argument("--out", type=path_argument, metavar="FOLDER", help="where to write them; left out: RUN/vectors")
    return p
