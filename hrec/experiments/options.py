"""What the command line of an experiment said, and the runs of its rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from hrec.experiments.reports import Report
from hrec.experiments.runs import Done


@dataclass(frozen=True)
class CommonOptions:
    """data: a source by its name. trials: settings that are tried of every row. models: () for those of the paper."""

    data: str
    out: Path
    seeds: int = 3
    jobs: int = 1
    trials: int = 1
    models: tuple[str, ...] = ()
    prefix: ClassVar[str] = ""
    """What the folders of a paper's experiments begin with."""

    @property
    def described_seeds(self) -> str:
        return f"mean and deviation over {self.seeds} seeds" if self.seeds > 1 else "one seed"

    @property
    def described_models(self) -> str:
        return f"models of {self.seeds} seeds" if self.seeds > 1 else "models of one seed"

    def report(self, name: str) -> Report:
        report = Report(self.out / f"{self.prefix}{name}-{self.data}")
        report.keep_earlier()
        return report

    def by_row(self, done: Sequence[Done]) -> list[list[Done]]:
        """Runs in the order of rows, and of seeds within a row -> the runs of each row."""
        return [list(done[i : i + self.seeds]) for i in range(0, len(done), self.seeds)]
