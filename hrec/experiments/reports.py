"""What an experiment writes: Markdown, CSV, and the verdicts on the paper's claims."""

from __future__ import annotations

import csv
import io
import re
import shlex
import sys
from collections.abc import Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hrec.experiments.command import started_by
from hrec.experiments.plots import Dots, dots
from hrec.experiments.runs import Done, short
from hrec.experiments.significance import Comparison, holm, verdict
from hrec.pipeline.checkpoints import write_whole
from hrec.pipeline.records import commit, provenance


class Claim(NamedTuple):
    """That something is larger: by how much it is, its p-value or NaN, and which way a test of ranks points."""

    text: str
    difference: float
    p: float
    ranks: float | None = None


class Report:
    """Gathers tables, remarks and claims; ``close`` writes report.md and one CSV per table into ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.blocks: list[str] = []
        self.tables: list[list[list[str]]] = []
        self.claims: list[Claim] = []
        self.own_claims: list[Claim] = []

    def keep_earlier(self) -> None:
        """Move what another command wrote into the folder to earlier-1, earlier-2, ... inside it."""
        old = self.folder / "report.md"
        if not old.exists() or f"`{_command()}`" in old.read_text(encoding="utf-8"):
            return
        place = next(p for n in count(1) if not (p := self.folder / f"earlier-{n}").exists())
        files = [path for path in self.folder.iterdir() if path.is_file()]
        place.mkdir()
        for path in files:
            path.rename(place / path.name)
        print(f"the report of another command that was in {self.folder} is in {place} now", flush=True)

    def table(self, rows: list[list[str]]) -> None:
        """Rows of cells, the first the heading."""
        self.tables.append(rows)
        self.blocks.append(markdown(rows))

    def say(self, text: str) -> None:
        self.blocks.append(text)

    def picture(self, path: Path, text: str) -> None:
        self.blocks.append(f"![{text}]({path.name})")

    def dots(self, rows: Dots, label: str, log: bool = False) -> None:
        """The numbers of a table as a picture."""
        path = self.folder / "table.png"
        dots(path, rows, label, log)
        self.picture(path, f"{label} by row")

    def claim(self, text: str, difference: float, p: float, ours: bool = False) -> None:
        """A claim that something is larger: by how much it is, and the p-value of its test or NaN. ``ours``: the paper
        does not make it; the two families are corrected separately."""
        self._claims_of(ours).append(Claim(text, difference, p))

    def claim_of_users(self, text: str, test: Comparison, ours: bool = False) -> None:
        """The same by the test over users."""
        self._claims_of(ours).append(Claim(text, test.difference_users, test.p_users, test.ranks_users))

    def _claims_of(self, ours: bool) -> list[Claim]:
        return self.own_claims if ours else self.claims

    def close(self, done: Sequence[Done] = ()) -> None:
        """Write everything, and print it."""
        for heading, claims in (("Claims of the paper", self.claims), ("Other claims", self.own_claims)):
            if claims:
                self.blocks.append(_verdicts(heading, claims))
        commits = sorted({short(d.result["commit"]) for d in done}) or [short(commit())]
        about = provenance()
        minutes = sum(d.result.get("seconds", 0.0) for d in done) / 60  # a trial of a sweep has none
        took = f"; {minutes:.0f} min of training in the runs shown" if minutes else ""
        self.blocks.append(
            f"Command: `{_command()}`; runs at commit {', '.join(commits)}{took}; {about['machine']}, torch "
            f"{about['torch']}."
        )
        if len(commits) > 1:
            runs = self.folder.parent / "runs"
            self.blocks.append(f"Runs of several commits are in this table: move {runs} away to run all again.")
        self.folder.mkdir(parents=True, exist_ok=True)
        text = "\n\n".join(self.blocks) + "\n"
        write_whole(self.folder / "report.md", lambda path: path.write_text(text, encoding="utf-8"))
        for number, rows in enumerate(self.tables, start=1):
            name = "table.csv" if len(self.tables) == 1 else f"table-{number}.csv"
            write_whole(self.folder / name, partial(_write_csv, rows))
        print(f"\n{text}\nwritten to {self.folder}")


def _verdicts(heading: str, claims: Sequence[Claim]) -> str:
    """A line for each claim of one family."""
    corrected = holm({claim.text: claim.p for claim in claims})
    lines = "\n".join(f"- {verdict(c.text, c.difference, corrected[c.text], c.ranks)}" for c in claims)
    tests = sum(np.isfinite(p) for p in corrected.values())
    how = f", p after Holm's correction over these {tests} tests" if tests > 1 else ""
    return f"{heading}{how}:\n\n{lines}"


def _command() -> str:
    """The command line without --out and --jobs, which say nothing about the figures."""
    words, kept = iter(sys.argv[1:]), []
    for word in words:
        if word in ("--out", "--jobs"):
            next(words, None)  # its value
        elif not word.startswith(("--out=", "--jobs=")):
            kept.append(word)
    return shlex.join([*started_by(), *kept])


def markdown(rows: list[list[str]]) -> str:
    """A Markdown table, the columns after the first aligned right."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "| --- |" + " ---: |" * (len(rows[0]) - 1), *lines[1:]])


def as_csv(rows: list[list[str]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([re.sub(r"\*", "", c) for c in row] for row in rows)
    return out.getvalue()


def _write_csv(rows: list[list[str]], path: Path) -> None:
    path.write_text(as_csv(rows), encoding="utf-8")


def cell(values: np.ndarray, bold: bool = False) -> str:
    """Mean ± deviation over seeds."""
    text = f"{values.mean():.4f}" + (f" ± {values.std(ddof=1):.4f}" if len(values) > 1 else "")
    return f"**{text}**" if bold else text
