"""The command ``hrec``: train models, use finished runs, prepare data, and reproduce papers.

train      train and test a model: hrec train duration data=planted-tiny
recommend  the best items for users of a finished run
export     the vectors of users and items of a finished run
sweep      search the settings of a model with Optuna
seeds      train models with several seeds, and compare them in a table
compare    finished runs in a table
reproduce  a table or a figure of a paper
prepare    a public data set, or planted data
bench      the time of steps, epochs, reading and ranking
"""

from __future__ import annotations

from collections.abc import Sequence

from hrec.cli.dispatch import dispatch
from hrec.endings import status_of

COMMANDS = {
    name: f"hrec.cli.{name}"
    for name in ("train", "recommend", "export", "sweep", "seeds", "compare", "reproduce", "prepare", "bench")
}
"""Name of a command -> its module, whose ``main(argv, prog)`` runs it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; returns the exit status. Errors are one message, not a traceback."""
    ended: list[int] = []
    status = status_of(lambda: ended.append(dispatch(argv, "hrec", __doc__, "command", COMMANDS)))
    return status or sum(ended)
