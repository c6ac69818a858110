"""What is said when data cannot be used: one message with file, place and remedy."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from hrec.config import did_you_mean
from hrec.endings import Refusal

Log = Callable[[str], None]

MAKERS = {
    "amazon": "amazon",
    "amazon-2kinds": "amazon --min-kinds 2",
    "citeulike": "citeulike",
    "douban-ga": "douban",
    "epinions": "epinions",
    "movielens": "movielens",
}
"""Folder that a config in configs/data/ reads -> the words after ``hrec prepare`` that make it."""


class DataError(Refusal, ValueError):
    """Data that cannot be used; the message names the file, the place in it and what to do."""


def plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def require_file(path: Path, setting: str) -> None:
    """Raises DataError, with the nearest name in the folder, if there is no such file."""
    if path.is_file():
        return
    if path.is_dir():
        raise DataError(f"{path}: is a folder, not a file. Correct {setting}.")
    if path.exists():
        raise DataError(
            f"{path}: is a pipe or a device, which cannot be read twice. Write its content to a file, and name that in "
            f"{setting}."
        )
    folder = path.parent
    if not folder.is_dir():
        raise DataError(
            f"{path}: no such file; the folder {folder} is not there either. {_maker_of(folder)} "
            f"{setting}{_from(path)}."
        )
    names = sorted(p.name for p in folder.iterdir() if p.is_file())
    raise DataError(f"{path}: no such file.{did_you_mean(path.name, names)} Correct {setting}{_from(path)}.")


def _maker_of(folder: Path) -> str:
    """What to do where the folder is one that hrec prepare makes: most likely it was not run."""
    command = MAKERS.get(folder.name)
    return f"Make it with python -m hrec prepare {command} (data/README.md), or correct" if command else "Correct"


def _from(path: Path) -> str:
    """Where a relative path starts, which may be what is wrong."""
    return "" if path.is_absolute() else f", or run in another folder: paths start in {Path.cwd()}"


def missing_column(path: Path, line: str, name: str, known: Iterable[str], remedy: str) -> DataError:
    """The error for a column that a file lacks, with the nearest name and the list of those there are."""
    known = list(known)
    listed = ", ".join(known[:30]) + (", ..." if len(known) > 30 else "")
    return DataError(f"{path}{line}: no column '{name}'.{did_you_mean(name, known)} Columns: {listed}. {remedy}")
