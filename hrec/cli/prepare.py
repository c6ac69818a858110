"""``hrec prepare``: turn a public data set into tables and settings that hrec reads.

hrec prepare epinions
hrec prepare amazon --min-kinds 2 --from downloads/amazon
hrec prepare planted --size small

Or turn texts or pictures into vectors by id.

hrec prepare text items.parquet --id item_id --text title --out titles.parquet
hrec prepare images posters --out posters.parquet
"""

from __future__ import annotations

from collections.abc import Sequence

from hrec.cli.dispatch import dispatch
from hrec.prepare import ENCODERS, SOURCES


def main(argv: Sequence[str] | None = None, prog: str = "hrec prepare") -> int:
    """Run one command line; returns the exit status."""
    return dispatch(argv, prog, __doc__, "source", SOURCES | ENCODERS)
