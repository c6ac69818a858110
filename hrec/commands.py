"""The ``hrec`` command: what is done with a finished run. Training has scripts of its own (hrec/cli.py)."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from hrec.config import ConfigError, path_argument
from hrec.datasets import encoding
from hrec.datasets.problems import DataError
from hrec.id_arguments import Parser, with_dashed_values
from hrec.inference import NewUsers, Trained, export, load_run, new_users, recommend
from hrec.inference.export import FORMATS, write_csv
from hrec.inference.history import NAME
from hrec.inference.users_from import ids_from, with_names_of_data
from hrec.pipeline.checkpoints import CheckpointError, write_whole
from hrec.pipeline.metrics import ScoreError
from hrec.pipeline.records import print_nowhere, table


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; returns the exit status. Problems are told in sentences, not tracebacks."""
    args = parser().parse_args(with_dashed_values(sys.argv[1:] if argv is None else argv))
    try:
        args.run(args)
        sys.stdout.flush()
    except (ConfigError, DataError, CheckpointError, ScoreError) as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # hrec recommend ... | head
        print_nowhere()
        return 1
    return 0


def parser() -> argparse.ArgumentParser:
    p = Parser(prog="hrec", description="Use a finished run: lists for users, vectors for programs.")
    commands = p.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_recommend(commands.add_parser("recommend", help="the best items for users, known ones or new ones"))
    _add_export(commands.add_parser("export", help="the vectors of users and items, as files"))
    return p


def _add_run(p: argparse.ArgumentParser) -> None:
    p.add_argument(
        "folder", type=path_argument, metavar="RUN", help="the folder of a finished run: output/DURation-..."
    )
    p.add_argument("--device", default="auto", help="auto (the freest GPU, else the CPU), cpu, cuda or cuda:<n>")


# ------------------------------------------------------------------------------------------- recommend


def _add_recommend(p: argparse.ArgumentParser) -> None:
    _add_run(p)
    p.add_argument("--user", nargs="+", action="extend", default=[], metavar="ID", help="raw ids of users")
    p.add_argument(
        "--users-from", type=path_argument, metavar="FILE", help="a file of user ids: a table, or .txt, one a line"
    )
    p.add_argument("--all-users", action="store_true", help="every user of the data")
    p.add_argument(
        "--history", type=path_argument, metavar="FILE", help="what new users have done: items, ratings where known"
    )
    p.add_argument("--k", type=int, default=10, help="items for each user (10)")
    p.add_argument("--kind", help="items of this kind alone")
    p.add_argument(
        "--out", type=path_argument, metavar="FILE", help="write a .csv or .parquet file instead of printing"
    )
    p.set_defaults(run=_recommend)


def _recommend(args: argparse.Namespace) -> None:
    _check_out(args.out)
    if args.all_users + bool(args.user or args.users_from) + bool(args.history) == 0:
        raise ConfigError("for whom? Give --user ID, --users-from FILE, --all-users, or --history FILE of a new user")
    if args.all_users and (args.user or args.users_from or args.history):
        raise ConfigError("--all-users goes without --user, --users-from and --history")
    trained = load_run(args.folder, args.device)
    ids = [*args.user, *(ids_from(args.users_from, trained, _warn) if args.users_from else [])]
    users = _new_users(trained, args.history, ids) if args.history else None if args.all_users else ids
    rows = recommend(trained, users, args.k, args.kind, _warn)
    if args.out:
        named = with_names_of_data(rows, trained.config.run.data)
        write_whole(args.out, lambda path: _write(named, path, args.out.suffix.lower()))
        print(f"{len(rows):,} rows in {args.out}")
    else:
        print(_shown(rows))


def _warn(line: str) -> None:
    print(f"warning: {line}", file=sys.stderr)


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
        return
    if path.suffix.lower() not in (".csv", ".parquet"):
        raise ConfigError(f"--out {path}: the ending tells no format; write .csv or .parquet")
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


def _add_export(p: argparse.ArgumentParser) -> None:
    _add_run(p)
    p.add_argument("--to", required=True, choices=FORMATS, help="the files' format")
    p.add_argument("--out", type=path_argument, metavar="FOLDER", help="where to write them; left out: RUN/vectors")
    p.set_defaults(run=_export)


def _export(args: argparse.Namespace) -> None:
    folder = args.out or args.folder / "vectors"
    for path in export(load_run(args.folder, args.device), args.to, folder):
        print(path)
