"""Vectors by id from an encoder: in batches, kept in parts while they are made, and never made twice for one content.

The file has the columns id, vector and digest, and kind if kinds are given. The digest is that of the content: a text,
or the bytes of a picture. ``feat: {"type": "vector", "path": ...}`` reads the file. A second run, after a kill or after
some texts changed, encodes only contents whose digest is neither in the file nor in the parts next to it.
"""

from __future__ import annotations

import shutil
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from hrec.files import Locked, lock
from hrec.prepare.base import PrepareError
from hrec.prepare.encoders.encoder import Encoder

SECONDS = 10.0
"""A part is written when so much time has gone by: what a kill costs at most."""
MADE_BY = b"hrec_encoder"
"""In the files' metadata: name of the encoder."""
Known = dict[bytes, np.ndarray]
"""Digest of a content -> its vector, float32[d]."""


@dataclass(frozen=True)
class Contents:
    """What is encoded. ids, contents (texts or paths), digests: n of each; kinds: n, or None."""

    ids: Sequence[str]
    contents: Sequence[str]
    digests: Sequence[bytes]
    kinds: Sequence[str] | None = None

    def __post_init__(self) -> None:
        """Raises PrepareError if it is empty, or has an id twice in one kind."""
        if not self.ids:
            raise PrepareError("there is nothing to encode: no row has an id and a text, or the folder no picture.")
        seen = set()
        for key in zip(self.kinds or [""] * len(self.ids), self.ids, strict=True):
            if key in seen:
                kind = f" of kind {key[0]!r}" if key[0] else ""
                raise PrepareError(
                    f"id {key[1]!r}{kind} occurs twice. Leave one out, or give their kinds (see --help)."
                )
            seen.add(key)


def digest(content: bytes) -> bytes:
    """16 bytes"""
    return blake2b(content, digest_size=16).digest()


def in_kinds(words: Sequence[str], what: str) -> list[tuple[str | None, Path]]:
    """``KIND=PATH`` or ``PATH`` -> (kind or None, path). Raises PrepareError where some have a kind and others none."""
    found: list[tuple[str | None, Path]] = []
    for word in words:
        kind, equals, path = word.partition("=")
        named = equals and kind and not Path(word).exists()
        found.append((kind, Path(path)) if named else (None, Path(word)))
    if len({kind is None for kind, _ in found}) > 1:
        raise PrepareError(
            f"some of {', '.join(words)} name a kind and some do not: write KIND={what} for all or none."
        )
    return found


def run(args: Namespace, contents: Callable[[], Contents], encoder: Callable[[str], Encoder]) -> int:
    """Make args.out with args.encoder and args.batch; print what was made, or why it was not; the exit status."""
    try:
        if args.batch < 1:
            raise PrepareError(f"--batch {args.batch}: should be 1 or more.")
        what = contents()
        started = time.monotonic()
        print(write(what, encoder(args.encoder), args.out, args.batch, args.force))
        print(f"{args.out}: {args.out.stat().st_size / 1e6:,.1f} MB, {time.monotonic() - started:,.1f} s")
    except (PrepareError, ValueError) as error:  # a DataError is a ValueError
        print(error, file=sys.stderr)
        return 1
    print(f'To read it: data.feat.NAME={{"type": "vector", "source": "item", "path": "{args.out.as_posix()}"}}')
    return 0


def write(what: Contents, encoder: Encoder, out: Path, batch: int, force: bool = False) -> str:
    """Encode what is not yet known, write the file whole; what was done.

    Raises PrepareError where the file is another encoder's or none of ours, unless ``force``, and where another process
    makes it now.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    parts = out.parent / f".{out.name}.parts"
    try:
        with lock(out.parent / f".{out.name}.lock"):
            known = (_read_own(out, encoder.name, force) if out.exists() else {}) | _read_parts(parts, encoder.name)
            rows = [row for digest, row in _first_rows(what.digests).items() if digest not in known]
            reused = len(set(what.digests)) - len(rows)
            _encode(what, rows, encoder, batch, parts, known)
            _write_table(_table(what, known), encoder.name, out)
            shutil.rmtree(parts, ignore_errors=True)
    except Locked as holder:
        raise PrepareError(f"{out}: {holder} makes it now. Wait for it, or stop it.") from None
    width = len(next(iter(known.values())))
    return (
        f"{len(what.ids):,} vectors of {width} numbers by {encoder.name}: {len(rows):,} contents encoded, "
        f"{reused:,} were known"
    )


def _first_rows(digests: Sequence[bytes]) -> dict[bytes, int]:
    """Digest -> the first row that has it."""
    return {digest: row for row, digest in reversed(list(enumerate(digests)))}


def _encode(what: Contents, rows: list[int], encoder: Encoder, batch: int, parts: Path, known: Known) -> None:
    """Adds the vectors of ``rows`` to ``known``, and writes them in parts."""
    rows.sort()
    fresh: Known = {}
    last = time.monotonic()
    with tqdm(total=len(rows), unit="", desc="encode", leave=False, disable=None) as bar:
        for start in range(0, len(rows), batch):
            chosen = rows[start : start + batch]
            vectors = encoder([what.contents[row] for row in chosen])
            _require_finite(vectors, what, chosen)
            fresh |= {what.digests[row]: vector for row, vector in zip(chosen, vectors, strict=True)}
            bar.update(len(chosen))
            if time.monotonic() - last >= SECONDS or start + batch >= len(rows):
                _write_part(fresh, encoder.name, parts)
                known |= fresh
                fresh, last = {}, time.monotonic()


def _require_finite(vectors: np.ndarray, what: Contents, rows: Sequence[int]) -> None:
    bad = ~np.isfinite(vectors).all(1)
    if bad.any():
        name = what.ids[rows[int(bad.argmax())]]
        raise PrepareError(f"id {name!r}: the encoder gave numbers that are missing or infinite. Leave the id out.")


def _write_part(fresh: Known, name: str, parts: Path) -> None:
    parts.mkdir(exist_ok=True)
    table = pa.table({"digest": _digests(list(fresh)), "vector": _vectors(list(fresh.values()))})
    _write_table(table, name, parts / f"{next(iter(fresh)).hex()}.parquet")


def _write_table(table: pa.Table, name: str, path: Path) -> None:
    """The file is whole or not there."""
    new = path.with_name(f".{path.name}.new")
    try:
        pq.write_table(table.replace_schema_metadata({MADE_BY: name.encode()}), new)
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)


def _table(what: Contents, known: Known) -> pa.Table:
    columns = {"id": pa.array(what.ids, pa.string()), "vector": _vectors([known[digest] for digest in what.digests])}
    kinds = {} if what.kinds is None else {"kind": pa.array(what.kinds, pa.string())}
    return pa.table(columns | kinds | {"digest": _digests(what.digests)})


def _digests(digests: Sequence[bytes]) -> pa.Array:
    return pa.array(digests, pa.binary(16))


def _vectors(vectors: Sequence[np.ndarray]) -> pa.Array:
    matrix = np.stack(vectors).astype(np.float32, copy=False)
    return pa.FixedSizeListArray.from_arrays(pa.array(matrix.reshape(-1)), matrix.shape[1])


def _read_known(path: Path, name: str) -> Known | None:
    """None where the file was not made here by the encoder of this name."""
    try:
        file = pq.ParquetFile(path)
        if (file.schema_arrow.metadata or {}).get(MADE_BY) != name.encode():
            return None
        table = file.read(["digest", "vector"]).combine_chunks()
    except (pa.ArrowException, OSError):
        return None
    flat = table["vector"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return dict(zip(table["digest"].to_pylist(), flat.reshape(len(table), -1), strict=True)) if len(table) else {}


def _read_own(out: Path, name: str, force: bool) -> Known:
    known = _read_known(out, name)
    if known is None and not force:
        raise PrepareError(f"{out} is there already and was not made by {name}: --force replaces it.")
    return known or {}


def _read_parts(parts: Path, name: str) -> Known:
    known: Known = {}
    for path in sorted(parts.glob("[!.]*.parquet")):
        known |= _read_known(path, name) or {}
    return known
