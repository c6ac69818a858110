"""``hrec prepare``: turn a public data set into tables and settings that hrec reads.

hrec prepare epinions
hrec prepare amazon --min-kinds 2 --from downloads/amazon
hrec prepare planted --size small
"""

from __future__ import annotations

from collections.abc import Sequence

from hrec.cli.dispatch import dispatch
from hrec.prepare import SOURCES


def main(argv: Sequence[str] | None = None, prog: str = "hrec prepare") -> int:
    """Run one command line; returns the exit status."""
    return dispatch(argv, prog, __doc__, "source", SOURCES)
