"""What ``hrec recommend`` and ``hrec export`` do with a finished run, once their command lines are read."""

from __future__ import annotations

import argparse
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from hrec.config import ConfigError
from hrec.datasets import encoding
from hrec.datasets.problems import DataError
from hrec.inference import NewUsers, Trained, export, load_run, new_users, recommend
from hrec.inference.export import write_csv
from hrec.inference.history import NAME, of_each_item
from hrec.inference.users_from import ids_from, with_names_of_data
from hrec.pipeline.checkpoints import CheckpointError, write_whole
from hrec.pipeline.reports import table
from hrec.streams import stdout_is_closed, tell

# ------------------------------------------------------------------------------------------- recommend


def print_or_write_lists(args: argparse.Namespace) -> None:
    """``hrec recommend``. Raises ConfigError, DataError, CheckpointError or ScoreError."""
    _check_out(args.out)
    of_users = args.all_users or args.user or args.users_from or args.history
    if not of_users and not args.item:
        raise ConfigError(
            "for whom? Give --user ID, --users-from FILE, --all-users, --history FILE of a new user, or --item ID"
        )
    if of_users and args.item:
        raise ConfigError("--item goes without --user, --users-from, --all-users and --history")
    if args.all_users and (args.user or args.users_from or args.history):
        raise ConfigError("--all-users goes without --user, --users-from and --history")
    trained = load_run(args.folder, args.device)
    rows = recommend(trained, _users(args, trained), args.k, args.kind, _warn)
    if args.out:
        named = with_names_of_data(rows, trained.config.run.data)
        write_whole(args.out, lambda path: _write(named, path, args.out.suffix.lower()))
        print(f"{len(rows):,} rows in {args.out}")
    else:
        print(_shown(rows))


def _users(args: argparse.Namespace, trained: Trained) -> NewUsers | list[str] | None:
    """For whom the lists are; None for all users."""
    if args.item:
        return of_each_item(trained, args.item, _warn)
    ids = [*args.user, *(ids_from(args.users_from, trained, _warn) if args.users_from else [])]
    return _new_users(trained, args.history, ids) if args.history else None if args.all_users else ids


def _warn(line: str) -> None:
    tell(f"warning: {line}")


def _new_users(trained: Trained, history: Path, ids: list[str]) -> NewUsers:
    """The users of a history file; ``ids`` choose among them, or name the one of a file without user ids."""
    ids = encoding.as_names(pa.array(ids, pa.string())).to_pylist()  # as the file's are read
    new = new_users(trained, history, ids[0] if len(ids) == 1 else NAME, _warn)
    if not ids or new.ids.tolist() == ids:
        return new
    if unknown := [one for one in ids if one not in new.ids]:
        column = trained.config.run.data.USER_ID_FIELD
        raise DataError(
            f"{history}: holds no history of {', '.join(map(repr, unknown[:3]))}. With --history, users are those of "
            f"the file's column '{column}'; a file without it is the history of one user, whom --user names."
        )
    return new.take(ids)


def _check_out(path: Path | None) -> None:
    """Raises ConfigError before anything is computed."""
    if path is None:
        if stdout_is_closed():
            raise ConfigError("standard output is closed, so nobody could read the lists; give --out FILE")
        return
    if path.suffix.lower() not in (".csv", ".parquet"):
        raise ConfigError(f"--out {path}: the ending names no format; write .csv or .parquet")
    if not path.parent.is_dir():
        raise ConfigError(f"--out {path}: the folder {path.parent} is not there; make it first")


def _write(rows: pa.Table, path: Path, ending: str) -> None:
    if ending == ".parquet":
        pq.write_table(rows, path)
    else:
        write_csv(rows, path)


def _shown(rows: pa.Table) -> str:
    cells = [[str(one) for one in rows[name].to_pylist()] for name in ("user", "rank", "item", "kind")]
    scores = [f"{score:.4f}" for score in rows["score"].to_pylist()]
    return table([rows.column_names, *map(list, zip(*cells, scores, strict=True))])


# ---------------------------------------------------------------------------------------------- export


def write_vectors(args: argparse.Namespace) -> None:
    """``hrec export``. Raises ConfigError, DataError or CheckpointError."""
    folder = args.out or args.folder / "vectors"
    if args.out is None and folder.is_symlink():
        raise CheckpointError(f"{folder}: is a symbolic link, which is not followed; name a folder with --out")
    for path in export(load_run(args.folder, args.device), args.to, folder):
        print(path)
