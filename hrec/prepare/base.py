"""What all sources share: arguments, downloads, tables in one layout, and a closing table of counts.

A source says which files the source publishes and how to turn a folder with them into ``Prepared``; the rest is here.
"""

from __future__ import annotations

import argparse
import json
import lzma
import re
import shutil
import sys
import tempfile
import textwrap
import zipfile
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

CONFIG_DIR = Path("configs/data")


class PrepareError(Exception):
    """The source cannot be used; the message is one sentence for the person who ran the command."""


@dataclass(frozen=True)
class Source:
    """One published file: where it is, and its checksum (``md5:...`` or ``sha256:...``) where one is known."""

    url: str
    checksum: str | None = None


@dataclass(frozen=True)
class Prepared:
    """Tables of one data set; ids are text, a list of categories is a list of texts.

    users: user_id and columns.
    kinds: name -> item_id and columns.
    interactions: user_id, item_id, type and more.
    label, feat, more: Copied into the data settings (DataSettings in hrec/settings/). A path in feat is relative to
    the folder.
    matrices: name -> sparse matrix, written as <name>.npz.
    vectors: name -> float[n, d] in the order of a table's rows, NaN rows for missing ones, written as <name>.npy.
    files: name -> a file that is copied.
    made: name -> a function that writes the file, for what is too large to hold in memory.
    graph: The copied files with the triples and the links of a knowledge graph.
    tables: More tables, which no settings name.
    variants: suffix -> what differs in the settings <name>-<suffix> of the same tables.
    """

    users: pd.DataFrame
    kinds: dict[str, pd.DataFrame]
    interactions: pd.DataFrame
    label: dict[str, Any]
    feat: dict[str, dict[str, Any]] = field(default_factory=dict)
    more: dict[str, Any] = field(default_factory=dict)
    matrices: dict[str, Any] = field(default_factory=dict)
    vectors: dict[str, Any] = field(default_factory=dict)
    files: dict[str, Path] = field(default_factory=dict)
    made: dict[str, Callable[[Path], None]] = field(default_factory=dict)
    graph: tuple[str, ...] | None = None
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    variants: dict[str, dict[str, Any]] = field(default_factory=dict)


Builder = Callable[[Path], Prepared]
"""A folder with a source's files -> its tables; raises PrepareError."""


def arguments(description: str | None, name: str, prog: str | None = None) -> argparse.ArgumentParser:
    """The arguments that every source takes; ``name``: the data's."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog, description=description, formatter_class=form, allow_abbrev=False)
    parser.add_argument("--from", dest="folder", type=Path, help="a folder that holds the files: nothing is downloaded")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("data") / name,
        help="where the tables go; its last part names the data (%(default)s)",
    )
    parser.add_argument("--force", action="store_true", help="replace the tables that are there")
    return parser


def from_folder(
    argv: Sequence[str] | None, prog: str | None, description: str | None, source: tuple[str, str], build: Builder
) -> int:
    """``prepare`` of a source whose files are given with --from. source: the data's name, and where it is published."""
    name, where = source
    parser = arguments(description, name, prog)
    parser.set_defaults(where=where)
    return prepare(parser.parse_args(argv), {}, build)


def prepare(args: argparse.Namespace, files: Mapping[str, Source], build: Builder) -> int:
    """Get the files, build the tables, write them with their data settings, print the counts; the exit status."""
    out: Path = args.out
    try:
        if out.exists() and not args.force:
            raise PrepareError(f"{out} is there already: --force replaces it.")
        _require_own_settings(out, args.force)
        downloads = out.parent / ".downloads"
        prepared = build(args.folder or (download(files, downloads) if files else _nowhere(args)))
        write(prepared, out)
        if args.folder is None:
            record_checksums(files, downloads)
    except PrepareError as error:
        print(error, file=sys.stderr)
        return 1
    config = write_settings(prepared, out)
    others = [str(write_settings(prepared, out, suffix)) for suffix in prepared.variants]
    print(counts(prepared))
    print(f"Tables in {out}, data settings in {', '.join([str(config), *others])}.")
    for path in _left_over(out, {str(config), *others}):
        print(f"{path} reads {out} too and was not written now: see whether what it names is still there.")
    return 0


# ------------------------------------------------------------------------------------------- getting files


RECORDED = "checksums.json"
"""In the folder of downloads: name of a file -> the checksum that it had when tables were first made from it."""


def download(files: Mapping[str, Source], folder: Path) -> Path:
    """Bring the files into ``folder`` (those that are there are not fetched again) and return it.

    A file whose checksum is published, or recorded from an earlier download, must have it: PrepareError.
    """
    import pooch

    pooch.get_logger().setLevel("WARNING")  # it would print every checksum that it was not given; so do we, below
    recorded = _recorded_checksums(folder)
    for name, source in files.items():
        try:
            checksum = source.checksum or recorded.get(name)
            pooch.retrieve(source.url, checksum, fname=name, path=folder, progressbar=True)
        except ValueError as error:
            raise PrepareError(_other_checksum(name, source, folder, str(error))) from error
        except OSError as error:  # no connection or no such page
            reason = textwrap.shorten(str(error), 160)
            raise PrepareError(
                f"Could not download {source.url} ({type(error).__name__}: {reason}); get the files by other means "
                f"and give their folder with --from FOLDER. It should hold: {', '.join(files)}."
            ) from error
    return folder


def _nowhere(args: argparse.Namespace) -> Path:
    raise PrepareError(f"this source has no download: give its files with --from FOLDER. {args.where}")


def _other_checksum(name: str, source: Source, folder: Path, error: str) -> str:
    known = "published" if source.checksum else f"recorded at the first download, in {folder / RECORDED}"
    remedy = (
        "Try again later" if source.checksum else f"Try again later, or delete the line of {name} to trust the new file"
    )
    return (
        f"{source.url}: the file does not have the checksum that is {known} ({textwrap.shorten(error, 400)}). It was "
        f"damaged on the way, or it was replaced. {remedy}; a file you trust can be given with --from FOLDER."
    )


def record_checksums(files: Mapping[str, Source], folder: Path) -> None:
    """Write down the sha256 of files without a published checksum, which later downloads must have.

    Called once tables were made from them: a page in place of the file, or half of it, is not what to trust.
    """
    import pooch

    recorded = _recorded_checksums(folder)
    new = {n: f"sha256:{pooch.file_hash(folder / n)}" for n, s in files.items() if not s.checksum and n not in recorded}
    for name, checksum in new.items():
        sha = checksum.removeprefix("sha256:")
        print(f"{name}: no checksum is known for it; its sha256 is {sha}, which later downloads must have")
    if new:
        part = folder / f"{RECORDED}.part"
        part.write_text(json.dumps(recorded | new, indent=2) + "\n", encoding="utf-8")
        part.replace(folder / RECORDED)
        print(f"recorded in {folder / RECORDED}")


def _recorded_checksums(folder: Path) -> dict[str, str]:
    """Name of a file -> its checksum, of earlier downloads. Raises PrepareError where the record cannot be read."""
    path = folder / RECORDED
    if not path.exists():
        return {}
    try:
        recorded = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise PrepareError(f"{path} cannot be read ({textwrap.shorten(str(error), 160)}). Delete it.") from error
    if not isinstance(recorded, dict) or not all(_is_checksum(value) for value in recorded.values()):
        raise PrepareError(f"{path} does not map names of files to checksums such as sha256:50d2... Delete it.")
    return recorded


def _is_checksum(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch("sha256:[0-9a-f]{64}", value) is not None


def find(folder: Path, *names: str) -> Path | None:
    """The first of the files that the folder holds."""
    return next((folder / name for name in names if (folder / name).is_file()), None)


def need(folder: Path, *names: str) -> Path:
    """The first of the files that the folder holds; PrepareError where it holds none."""
    path = find(folder, *names)
    if path is None:
        raise PrepareError(f"{folder} does not hold {' or '.join(names)}.")
    return path


def read_lines(path: Path) -> list[str]:
    """The lines of a text file, which may be compressed (.xz)."""
    data = path.read_bytes()
    text = (lzma.decompress(data) if path.suffix == ".xz" else data).decode("utf-8", "replace")
    return text.removesuffix("\n").split("\n")


def read_array(path: Path) -> np.ndarray:
    """The array of a .npy file, which may be compressed (.xz)."""
    data = path.read_bytes()
    return np.load(BytesIO(lzma.decompress(data) if path.suffix == ".xz" else data), allow_pickle=False)


def missing_rows(vectors: np.ndarray, missing: Iterable[bool]) -> np.ndarray:
    """float32: the vectors, NaN in the rows that have none."""
    out = vectors.astype(np.float32)
    out[np.fromiter(missing, bool, len(out))] = np.nan
    return out


def open_zip(path: Path) -> zipfile.ZipFile:
    """The archive; PrepareError where it is cut short or none at all."""
    try:
        return zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise PrepareError(f"{path} is not a whole zip file ({error}).") from error


# ------------------------------------------------------------------------------------------- making tables


def as_text(ids: pd.Series) -> pd.Series:
    """Raw ids as text, whatever they are in the source."""
    return ids.astype(str)


def without_repeats(rows: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """The last of the rows that agree in ``keys``: what a user said last is what the user thinks."""
    kept = rows.drop_duplicates(keys, keep="last")
    print(f"{len(rows) - len(kept):,} of {len(rows):,} rows repeat an earlier {', '.join(keys)}; the last is kept")
    return kept.reset_index(drop=True)


def ids_of(interactions: pd.DataFrame, kind: str | None = None) -> pd.DataFrame:
    """A table of the users, or of the items of one kind, in the order of their first interaction."""
    if kind is None:
        return interactions[["user_id"]].drop_duplicates(ignore_index=True)
    return interactions.loc[interactions["type"] == kind, ["item_id"]].drop_duplicates(ignore_index=True)


def distinct(values: Iterable[Any]) -> list[str]:
    """The values as text, each once, in their order."""
    return list(dict.fromkeys(map(str, values)))


def words(text: str | None) -> list[str]:
    """The distinct words of a text, in lower case."""
    return distinct(re.findall(r"[^\W_]+(?:'[^\W_]+)*", text.lower())) if isinstance(text, str) else []


# ------------------------------------------------------------------------------------------------- writing


def write(prepared: Prepared, out: Path) -> None:
    """Write the tables into a folder next to ``out`` and rename it: ``out`` is whole or not there."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as parent:
        new = Path(parent) / "new"
        new.mkdir()
        prepared.users.to_parquet(new / "users.parquet", index=False)
        prepared.interactions.to_parquet(new / "interactions.parquet", index=False)
        for name, table in {**prepared.kinds, **prepared.tables}.items():
            table.to_parquet(new / f"{name}.parquet", index=False)
        for name, matrix in prepared.matrices.items():
            sparse.save_npz(new / f"{name}.npz", matrix)
        for name, vector in prepared.vectors.items():
            np.save(new / f"{name}.npy", np.asarray(vector, np.float32))
        for name, file in prepared.files.items():
            shutil.copy(file, new / name)
        for name, make in prepared.made.items():
            make(new / name)
        if out.exists():
            shutil.move(out, Path(parent) / "old")
        new.rename(out)


def _require_own_settings(out: Path, force: bool) -> None:
    """Raises PrepareError where the settings of this name read tables of another folder."""
    path = CONFIG_DIR / f"{out.name}.json"
    known = json.loads(path.read_text(encoding="utf-8")).get("inter_feat_path") if path.is_file() else None
    if known and Path(known) != out / "interactions.parquet" and not force:
        raise PrepareError(
            f"{path} reads {known}, and would read {out} then: end --out with another name, which becomes that of the "
            "data, or --force it."
        )


def _left_over(out: Path, written: Collection[str]) -> list[Path]:
    """Settings of this name's variants that read the tables and were not written now."""
    found = [path for path in sorted(CONFIG_DIR.glob(f"{out.name}-*.json")) if str(path) not in written]
    ours = (out / "interactions.parquet").as_posix()
    return [path for path in found if json.dumps(ours) in path.read_text(encoding="utf-8", errors="replace")]


def write_settings(prepared: Prepared, out: Path, variant: str = "") -> Path:
    """Write the data settings that read the tables, under the name of their folder; or a variant of them."""
    name = f"{out.name}-{variant}" if variant else out.name
    settings = {
        "name": name,
        "type": list(prepared.kinds),
        "user_feat_path": (out / "users.parquet").as_posix(),
        "inter_feat_path": (out / "interactions.parquet").as_posix(),
        "item_feat_path": {kind: (out / f"{kind}.parquet").as_posix() for kind in prepared.kinds},
        "feat": prepared.feat,
        "label": prepared.label,
        **prepared.more,
        **(prepared.variants[variant] if variant else {}),
    }
    if prepared.graph:
        triples, links = prepared.graph
        settings["relations"] = {"path": (out / triples).as_posix(), "link": (out / links).as_posix()}
    settings["feat"] = {column: _in_folder(how, out) for column, how in settings["feat"].items()}
    path = CONFIG_DIR / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(_readable(settings) + "\n", encoding="utf-8")
    part.replace(path)
    return path


def _in_folder(feature: dict[str, Any], out: Path) -> dict[str, Any]:
    return feature | {"path": (out / feature["path"]).as_posix()} if "path" in feature else feature


def _readable(settings: dict[str, Any]) -> str:
    """JSON with one line for each key, and one for each column of ``feat``."""

    def line(key: str, value: Any, indent: str) -> str:
        return f"{indent}{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}"

    def block(key: str, value: dict[str, Any]) -> str:
        return f'  "{key}": {{\n' + ",\n".join(line(k, v, "    ") for k, v in value.items()) + "\n  }"

    blocks = ("feat", "item_feat_path")
    lines = [block(k, v) if k in blocks and v else line(k, v, "  ") for k, v in settings.items()]
    return "{\n" + ",\n".join(lines) + "\n}"


def counts(prepared: Prepared) -> str:
    """A table: users, items, rows and columns of each kind and of all."""
    rows = prepared.interactions
    lines = [f"{'':10}{'users':>9}{'items':>9}{'rows':>11}   columns"]
    for kind, items in prepared.kinds.items():
        part = rows[rows["type"] == kind]
        columns = ", ".join(c for c in items.columns if c != "item_id") or "none"
        lines.append(f"{kind:10}{part['user_id'].nunique():9,}{len(items):9,}{len(part):11,}   {columns}")
    n_items = sum(map(len, prepared.kinds.values()))
    columns = ", ".join(c for c in prepared.users.columns if c != "user_id") or "none"
    lines.append(f"{'all':10}{len(prepared.users):9,}{n_items:9,}{len(rows):11,}   users: {columns}")
    return "\n".join(lines)
