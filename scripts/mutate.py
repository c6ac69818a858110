"""Break one line of the project at a time, and see whether a test notices.

    python scripts/mutate.py                      # all that have not been caught yet
    python scripts/mutate.py --only statistics.py # those of the files whose path holds this text
    python scripts/mutate.py --log docs/log/2026-11-29-mutations.md

Each mutation of ``mutations.py`` is made in a copy of the checkout, and only the tests that should catch it are run
there. What came out is added to ``--results``, a line of JSON for each mutation, so a pass that was stopped goes on;
those that survived, or whose file has changed since, are tried again. The exit status is 1 where one survives.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import _checkout  # noqa: F401
from mutations import MUTATIONS, Mutation

from hrec.pipeline.checkpoints import write_whole

ROOT = Path(__file__).resolve().parents[1]
SURVIVED = "survived"


def main(argv: Sequence[str] | None = None, root: Path = ROOT, mutations: Sequence[Mutation] = MUTATIONS) -> int:
    """Run one command line; 0, 1 where a mutation survives, 2 if there is something to correct first."""
    args = _parser().parse_args(argv)
    chosen = [m for m in mutations if args.only in m.file]
    if stale := [line for m in chosen if (line := problem(m, root))]:
        print("\n".join(stale), file=sys.stderr)
        return 2
    known = _read(args.results)
    todo = [m for m in chosen if known.get(key(m, root), SURVIVED) == SURVIVED]
    with _copy(root) as copy:
        for tests in dict.fromkeys(m.tests for m in todo):
            if failed := run_tests(tests, copy, args.timeout):
                print(f"{' '.join(tests)}: fails without any mutation, at {failed}", file=sys.stderr)
                return 2
        for number, mutation in enumerate(todo, start=1):
            by = try_one(mutation, copy, args.timeout)
            known[key(mutation, root)] = by
            _write(args.results, known)
            print(f"{number}/{len(todo)}  {mutation.file}: {mutation.shown}  {by}", flush=True)
    found = [(m, known[key(m, root)]) for m in chosen]
    if args.log:
        write_whole(args.log, lambda path: path.write_text(markdown(found), encoding="utf-8"))
    survivors = sum(by == SURVIVED for _, by in found)
    print(f"{len(found) - survivors} of {len(found)} mutations are caught")
    return 1 if survivors else 0


def _parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--only", default="", help="a part of the path of the files to change")
    p.add_argument("--results", type=Path, default=Path("output/mutations.json"), help="what has been found so far")
    p.add_argument("--log", type=Path, help="a Markdown table of all mutations and what caught each")
    p.add_argument("--timeout", type=float, default=300, help="seconds; tests that take longer have caught a mutation")
    return p


def problem(mutation: Mutation, root: Path) -> str:
    """Why a mutation cannot be made, or nothing: its old text stands once in its file, and its tests are there."""
    missing = [name for name in (mutation.file, *_files(mutation.tests)) if not (root / name).is_file()]
    if missing:
        return f"mutations.py: {mutation.shown}: no file {missing[0]}"
    count = (root / mutation.file).read_text(encoding="utf-8").count(mutation.old)
    if count != 1:
        return f"mutations.py: {mutation.file} holds {mutation.old!r} {count} times; bring the mutation up to date"
    return ""


def key(mutation: Mutation, root: Path) -> str:
    """Differs where the mutation or the file that it changes does."""
    text = (root / mutation.file).read_text(encoding="utf-8")
    whole = [mutation.file, mutation.old, mutation.new, text]
    return hashlib.blake2b(json.dumps(whole).encode(), digest_size=8).hexdigest()


def try_one(mutation: Mutation, copy: Path, timeout: float) -> str:
    """The test that caught it, 'no end' where the tests ran too long, or ``SURVIVED``. The copy is left as it was."""
    path = copy / mutation.file
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(mutation.old, mutation.new), encoding="utf-8")
    try:
        return run_tests(mutation.tests, copy, timeout) or SURVIVED
    finally:
        path.write_text(text, encoding="utf-8")


def run_tests(tests: Sequence[str], folder: Path, timeout: float) -> str:
    """The first test that fails, or nothing where all pass."""
    command = [sys.executable, "-B", "-m", "pytest", "-q", "-x", "--tb=no", "-p", "no:cacheprovider", *tests]
    environment = os.environ | {"MPLBACKEND": "Agg", "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
    try:
        ran = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired:
        return "no end"
    if ran.returncode == 0:
        return ""
    named = re.search(r"^(?:FAILED|ERROR) (\S+)", ran.stdout, re.MULTILINE)
    return named[1] if named else f"pytest, exit status {ran.returncode}"


def markdown(found: Sequence[tuple[Mutation, str]]) -> str:
    """A table: file, what was changed into what, and the test that caught it."""
    lines = ["| file | was | became | caught by |", "| --- | --- | --- | --- |"]
    for m, by in found:
        caught = f"**{SURVIVED}**" if by == SURVIVED else by.replace("::", " ")
        lines.append("| " + " | ".join(map(_cell, (m.file, f"`{m.old}`", f"`{m.new}`", caught))) + " |")
    survivors = sum(by == SURVIVED for _, by in found)
    lines.append(f"\n{len(found)} mutations, {len(found) - survivors} caught, {survivors} survived.")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _files(tests: Sequence[str]) -> Iterator[str]:
    """The test files among the words for pytest, without '-k' and what follows it."""
    return (word.partition("::")[0] for word in tests if word.startswith("tests/"))


@contextmanager
def _copy(root: Path) -> Iterator[Path]:
    """A copy of the files that git knows or would add, gone at the end."""
    words = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(words, cwd=root, capture_output=True, text=True, check=True).stdout.split("\0")
    with tempfile.TemporaryDirectory() as folder:
        for name in filter(None, names):
            if (root / name).is_file():
                (Path(folder) / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(root / name, Path(folder) / name)
        yield Path(folder)


def _read(path: Path) -> dict[str, str]:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _write(path: Path, known: dict[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, lambda partial: partial.write_text(json.dumps(known, indent=0), encoding="utf-8"))


if __name__ == "__main__":
    sys.exit(main())
