"""The folder of a run and its files: the log as text and as JSON lines, and JSON files."""

from __future__ import annotations

import json
import math
import os
import platform
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from hrec import __version__
from hrec.files import Locked, append_text, lock, read_text
from hrec.jsontext import parse
from hrec.pipeline.checkpoints import CheckpointError, remedy, write_whole

PACKAGES = ("torch", "numpy", "pandas", "scipy", "scikit-learn", "pydantic")


class Progress:
    """What the trainer reports; this class ignores it."""

    def start_epoch(self, stage: str, epoch: int, epochs: int, done: int = 0) -> None:
        """Epoch number ``epoch`` (from 1) of at most ``epochs`` begins, or continues after ``done`` steps."""

    def steps(self, count: int, losses: Mapping[str, float]) -> None:
        """``count`` steps more are done; means of the terms of the loss over this epoch so far."""

    def epoch(self, row: Mapping[str, Any]) -> None:
        """An epoch is over: stage, epoch, losses, lr, metrics where it was evaluated, seconds since the start."""

    def say(self, line: str) -> None:
        """A remark."""


def stamped(line: str) -> str:
    """A line of the log, after its time."""
    return f"{datetime.now():%Y-%m-%d %H:%M:%S}  {line}"


class Heading:
    """Lines that are logged before the run folder is made: printed at once, kept for its log."""

    def __init__(self, show: bool = True) -> None:
        self.show = show
        self.lines: list[str] = []

    def __call__(self, line: str) -> None:
        self.lines.append(stamped(line))
        if self.show:
            tqdm.write(line)


class RunFolder(Progress):
    """``output/{model}-{data}-{time}/`` and all that is written to it besides the checkpoints.

    ``show`` prints to the terminal too. Bars are drawn only on a terminal.
    """

    def __init__(self, path: Path, show: bool = True) -> None:
        self.path = path
        self.show = self.bars = show
        self.bar: Any = None
        self.steps_of: dict[str, int] = {}  # of an epoch of each stage: the length of its bar

    @classmethod
    def create(cls, parent: Path, name: str) -> RunFolder:
        """A new folder ``{name}-{time}``; a counter follows if two runs start in the same second."""
        stem = f"{name}-{datetime.now():%Y%m%d-%H%M%S}"
        for count in range(1, 1000):
            path = parent / (stem if count == 1 else f"{stem}-{count}")
            try:
                path.mkdir(parents=True)
                return cls(path)
            except FileExistsError:
                continue
            except OSError as error:
                raise CheckpointError(f"{path}: cannot be made ({error.strerror}); set path.output") from None
            except ValueError as error:  # a character that file names cannot have here
                raise CheckpointError(f"{parent}: no folder '{stem}' can be made ({error}); set data.name") from None
        raise CheckpointError(f"{parent / stem}: a thousand runs of this name and second")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """No other process writes to the folder meanwhile. Raises CheckpointError if one does."""
        path = self.path / ".lock"
        with ExitStack() as held:
            try:
                held.enter_context(lock(path))
            except Locked as holder:
                raise CheckpointError(
                    f"{self.path}: {holder} is writing to it. Wait for its end, or stop it, before you resume the run"
                ) from None
            except OSError as error:
                raise CheckpointError(f"{path}: could not be written ({error.strerror}).{remedy(error)}") from None
            yield

    def remove(self) -> None:
        """Delete the folder and all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)

    def say(self, line: str) -> None:
        """One line to the text log, and to the terminal."""
        self.keep([stamped(line)])
        if self.show:
            tqdm.write(line)

    def keep(self, lines: Iterable[str]) -> None:
        """Lines that start with their time, to the text log alone."""
        self._append("log.txt", "".join(f"{line}\n" for line in lines))

    def _append(self, name: str, text: str) -> None:
        try:
            append_text(self.path / name, text)
        except OSError as error:
            raise CheckpointError(
                f"{self.path / name}: could not be written ({error.strerror}).{remedy(error)}"
            ) from None

    def write_json(self, name: str, content: Any) -> None:
        text = json.dumps(_without_nan(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        # a path that is not UTF-8 holds lone surrogates, which JSON can escape
        write_whole(self.path / name, lambda path: path.write_text(text, encoding="utf-8", errors="backslashreplace"))

    def read_json(self, name: str) -> Any:
        """The content of a JSON file. Raises OSError or ValueError if it cannot be read."""
        return parse(read_text(self.path / name))

    # ------------------------------------------------------------------ what the trainer reports

    def start_epoch(self, stage: str, epoch: int, epochs: int, done: int = 0) -> None:
        self.close_bar()
        if self.bars and sys.stderr.isatty():
            self.bar = tqdm(
                desc=f"{stage} {epoch}/{epochs}",
                total=self.steps_of.get(stage),
                initial=done,
                unit=" steps",
                leave=False,
                dynamic_ncols=True,
            )

    def steps(self, count: int, losses: Mapping[str, float]) -> None:
        if self.bar is not None:
            self.bar.set_postfix({name: shown(value) for name, value in losses.items()}, refresh=False)
            self.bar.update(count)

    def epoch(self, row: Mapping[str, Any]) -> None:
        if self.bar is not None:
            self.steps_of[row["stage"]] = self.bar.n
        self.close_bar()
        self._append("log.jsonl", json.dumps(_without_nan(dict(row)), allow_nan=False) + "\n")
        hidden = ("lr", "seconds")
        values = {k: v for k, v in row.items() if isinstance(v, float) and "/" not in k and k not in hidden}
        numbers = "  ".join(f"{name} {shown(value)}" for name, value in values.items())
        best = "  (best)" if row.get("best") else ""
        self.say(f"{row['stage']} epoch {row['epoch']:>3}  {row['seconds']:7.1f} s  {numbers}{best}")

    def close_bar(self) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None

    def rows(self) -> list[dict[str, Any]]:
        """The rows of log.jsonl; a half-written last line (of a killed run) is skipped. Raises CheckpointError."""
        path = self.path / "log.jsonl"
        try:
            text = read_text(path)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from None
        rows: list[dict[str, Any]] = []
        for index, line in enumerate(text.splitlines(keepends=True), start=1):
            row = _row_of(line)
            if row is not None:
                rows.append(row)
            elif line.endswith("\n"):
                raise CheckpointError(f"{path}, line {index}: holds {line[:40]!r}, which is no epoch's row")
        return rows

    def best_epoch(self) -> int | None:
        """The epoch of the last stage whose weights early stopping kept, None without early stopping."""
        rows = self.rows()
        best = [row["epoch"] for row in rows if row.get("best") and row["stage"] == rows[-1]["stage"]]
        return best[-1] if best else None

    def tested_best(self) -> bool:
        """Whether a finished run was tested with the best weights of its last stage; else with the last ones."""
        return not self.rows() or self.best_epoch() is not None

    def forget_after(self, stage: int, epoch: int) -> None:
        """Remove the rows that a resumed run writes again: those after ``epoch`` of the stage of index ``stage``."""
        rows = self.rows()
        index = {name: i for i, name in enumerate(dict.fromkeys(row["stage"] for row in rows))}
        kept = [r for r in rows if (index[r["stage"]], r["epoch"]) <= (stage, epoch)]
        text = "".join(json.dumps(r) + "\n" for r in kept)
        write_whole(self.path / "log.jsonl", lambda path: path.write_text(text, encoding="utf-8"))


def _row_of(line: str) -> dict[str, Any] | None:
    """The row of an epoch in a line of log.jsonl, None if it holds none."""
    try:
        row = parse(line)
    except ValueError:
        return None
    if not isinstance(row, dict) or not isinstance(row.get("stage"), str) or type(row.get("epoch")) is not int:
        return None
    values = [value for key, value in row.items() if key != "stage"]
    return (
        row if row["epoch"] > 0 and all(value is None or isinstance(value, int | float) for value in values) else None
    )


def shown(value: float) -> str:
    """Four decimals, or two digits of a value that four decimals would show as 0."""
    return f"{value:.4f}" if value == 0 or not abs(value) < 0.001 else f"{value:.1e}"


def _without_nan(content: Any) -> Any:
    """The same with null for NaN and infinities, which JSON lacks."""
    if isinstance(content, dict):
        return {key: _without_nan(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_without_nan(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def provenance() -> dict[str, Any]:
    """Versions of all that a result depends on, and the commit of hrec if it runs from a checkout."""
    return {
        "hrec": __version__,
        "commit": commit(),
        "python": platform.python_version(),
        **{name: version_of(name) for name in PACKAGES},
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "threads": torch.get_num_threads(),
    }


def version_of(package: str) -> str:
    try:
        return version(package)
    except Exception:
        return "not installed"


def commit() -> str:
    """The checkout's commit, with '+' if files differ from it; 'hrec ' and the version if hrec is in no checkout."""
    package = Path(__file__).resolve().parents[1]
    try:
        run = [
            subprocess.run(["git", *words], cwd=package, capture_output=True, text=True, timeout=10, check=True).stdout
            for words in (["rev-parse", "--show-toplevel", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
        ]
    except (OSError, ValueError, subprocess.SubprocessError):  # ValueError: a file name of another encoding
        return f"hrec {__version__}"
    root, head = run[0].splitlines()
    if not package.parent.samefile(root):  # installed within another repository, such as that of its user
        return f"hrec {__version__}"
    return head + ("+" if run[1].strip() else "")


def peak_memory_mb(device: torch.device) -> dict[str, float]:
    """Largest resident memory of this process so far, and of its GPU tensors, in MB."""
    unit = 1 if sys.platform == "darwin" else 1024
    out = {"memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6, 1)}
    if device.type == "cuda":
        out["gpu_memory_mb"] = round(torch.cuda.max_memory_allocated(device) / 1e6, 1)
    return out
