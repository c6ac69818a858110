"""Arguments that several commands share, and checks of them."""

from __future__ import annotations

import argparse

from hrec.config import path_argument


def too_small(args: argparse.Namespace, **least: int) -> str | None:
    """A sentence about the first of these options that is below its least value, None if none is."""
    for name, bound in least.items():
        if (given := getattr(args, name)) < bound:
            return f"--{name}: at least {bound}, got {given}"
    return None


def add_run(p: argparse.ArgumentParser) -> None:
    """The folder of a finished run, and the device to load it on."""
    p.add_argument(
        "folder", type=path_argument, metavar="RUN", help="the folder of a finished run: output/DURation-..."
    )
    p.add_argument("--device", default="auto", help="auto (the freest GPU, else the CPU), cpu, cuda or cuda:<n>")
