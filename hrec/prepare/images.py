"""Vectors by id of pictures: a file's name without its ending is the id.

hrec prepare images posters --out data/films/posters.parquet
hrec prepare images food=pictures/food kitchen=pictures/kitchen --out pictures.parquet --encoder resnet50

Encoders: efficientnet-lite0 (1,280 numbers; installed with its weights), or the name of a model of timm. After a kill
the same command continues, and pictures that the file has already are not encoded again.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from hrec.prepare.base import PrepareError
from hrec.prepare.encoders import image_encoder
from hrec.prepare.text import options
from hrec.prepare.vectors import Contents, digest, in_kinds, run

ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif")


def contents(folders: Sequence[str]) -> Contents:
    """The pictures of the folders, by name. Raises PrepareError for a folder that is none."""
    found = [(kind, path) for kind, folder in in_kinds(folders, "FOLDER") for path in pictures(folder)]
    return Contents(
        [path.stem for _, path in found],
        [str(path) for _, path in found],
        [digest(path.read_bytes()) for _, path in found],
        [kind for kind, _ in found if kind is not None] or None,
    )


def pictures(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise PrepareError(f"{folder} is not a folder. Give the one that holds the pictures, each named by its id.")
    paths = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    chosen = [path for path in paths if path.suffix.lower() in ENDINGS]
    if len(chosen) < len(paths):
        print(f"{folder}: {len(paths) - len(chosen):,} files do not end in {', '.join(ENDINGS)} and are not read")
    return chosen


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    parser = options(__doc__, prog)
    parser.add_argument("folders", nargs="+", metavar="FOLDER", help="a folder, or KIND=FOLDER for each of several")
    parser.add_argument("--encoder", default="efficientnet-lite0", metavar="NAME", help="(%(default)s)")
    args = parser.parse_args(argv)
    return run(args, partial(contents, args.folders), image_encoder)
