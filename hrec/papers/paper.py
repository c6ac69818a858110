"""What ``hrec reproduce`` knows of a paper, in one object."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hrec.experiments.options import CommonOptions

Overrides = tuple[str, ...]


@dataclass(frozen=True)
class Order:
    """A claim that ``better`` is above ``worse``, both rows of a table; ``ours``: the paper does not make it."""

    better: str
    worse: str
    text: str = ""
    """The claim in words, where its rows do not say it."""
    ours: bool = False

    def __str__(self) -> str:
        return self.text or f"{self.better} above {self.worse}"


@dataclass(frozen=True)
class Experiment:
    """A table or figure: ``run`` makes it from the options of the command line."""

    run: Callable[[Any], None]
    trials: int | None = None
    """The largest --trials, where it is not that of the models."""

    @property
    def about(self) -> str:
        """The first paragraph of its docstring."""
        return " ".join((self.run.__doc__ or "").split("\n\n")[0].split())


@dataclass(frozen=True)
class Rows:
    """An option that chooses the rows of some experiments: ``--models``, ``--settings``."""

    name: str
    choices: Sequence[str]
    default: tuple[str, ...]
    experiments: Sequence[str]
    help: str

    @property
    def one(self) -> str:
        """The word for one of the choices."""
        return self.name.removesuffix("s")


@dataclass(frozen=True)
class Paper:
    """One paper: its experiments by name, and what they run on."""

    name: str
    title: str
    experiments: Mapping[str, Experiment]
    data: Mapping[str, Any]
    """Choices of --data -> the source."""
    trials: Mapping[str, Sequence[Overrides]]
    """Model -> the settings that a search tries, the first ``--trials`` of them."""
    published: Mapping[str, Mapping[Any, Sequence[float | None]]]
    """Experiment -> row -> the numbers that the paper printed."""
    claims: Mapping[str, Sequence[Order]]
    """Experiment -> the orders of rows that are tested."""
    options: Callable[..., CommonOptions]
    rows: Sequence[Rows] = field(default=())

    def most_trials(self, experiment: str) -> int:
        """The largest --trials of an experiment."""
        return self.experiments[experiment].trials or max(map(len, self.trials.values()))
