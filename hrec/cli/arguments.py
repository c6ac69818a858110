"""Checks of a command line that several scripts share."""

from __future__ import annotations

import argparse


def too_small(args: argparse.Namespace, **least: int) -> str | None:
    """A sentence about the first of these options that is below its least value, None if none is."""
    for name, bound in least.items():
        if (given := getattr(args, name)) < bound:
            return f"--{name}: at least {bound}, got {given}"
    return None
