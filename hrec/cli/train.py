"""``hrec train``, and the command line of train_hete.py and train_homo.py.

hrec train duration
hrec train configs/duration.json data=epinions opt.epochs=20 --seed 1

Torch, which takes seconds, is loaded once there is work.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from hrec.config import path_argument
from hrec.endings import status_of
from hrec.threads import how_threads_wait

CONTINUE = "; a run that had started continues with --resume"


def parser(description: str, prog: str | None = None) -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog, description=description, allow_abbrev=False)
    p.add_argument("config", nargs="?", help="a name in configs/ (duration) or the path of a JSON file")
    p.add_argument("overrides", nargs="*", metavar="key.path=value", help="settings to change: opt.epochs=5")
    p.add_argument("--device", help="auto (the freest GPU, else the CPU), cpu, cuda or cuda:<n>")
    p.add_argument("--seed", type=int, help="the seed of this run")
    p.add_argument(
        "--resume", type=path_argument, metavar="RUN", help="continue a run folder, with the settings saved in it"
    )
    p.add_argument(
        "--extend", type=path_argument, metavar="RUN", help="add views to a finished run of eJRL; old views stay fixed"
    )
    p.add_argument("--view", action="append", default=[], metavar="NAME", help="with --extend: a view to add")
    p.add_argument("--dry-run", action="store_true", help="print settings, data, model size, time of a step")
    return p


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """``hrec train``: any model; returns the exit status."""
    return train("Train and test a model on items of one or several kinds.", homogeneous=False, argv=argv, prog=prog)


def train(description: str, homogeneous: bool, argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Run one command line; returns the exit status. Errors are one message, not a traceback."""

    def work() -> None:
        args = parser(description, prog).parse_intermixed_args(argv)
        how_threads_wait()  # torch reads the environment when it is loaded
        from hrec.cli.training import run_or_show

        run_or_show(args, homogeneous)

    return status_of(work, CONTINUE)
