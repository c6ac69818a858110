#!/usr/bin/env python3
"""Shows that a change of the code changes no result: trains every model, keeps metrics and a digest of the weights.

usage: unchanged.py FILE [--against OLD] [--only duration dmf ...]

Each config of configs/ is trained for two epochs on planted 'tiny', seed 0, one thread; a few more on prepared real
data, where it is there. FILE holds a line of JSON for each run. With --against, prints what differs from the lines of
another commit and exits with 1.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import tempfile
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from torch import Tensor

from hrec.config import ConfigError, load
from hrec.models import find_model
from hrec.pipeline.run import run

EPOCHS = ["opt.epochs=2", "seed=0", "device=cpu", "path.cache=null"]
TINY = ["data=planted-tiny", *EPOCHS]
REAL = {
    "duration on epinions": ("duration", ["data=epinions", *EPOCHS], "data/epinions"),
    "bprmf on epinions": ("bprmf", ["data=epinions", *EPOCHS], "data/epinions"),
    "dualnet-citeulike": ("dualnet-citeulike", EPOCHS, "data/citeulike"),
}


def jobs() -> dict[str, tuple[str, list[str]]]:
    """Name of a run -> config and overrides."""
    names = sorted(p.stem for p in Path("configs").glob("*.json"))
    out = {name: (name, TINY) for name in names if "-" not in name}
    return out | {name: (config, more) for name, (config, more, folder) in REAL.items() if Path(folder).is_dir()}


def digest(state: dict[str, Tensor]) -> str:
    """Of the values in the order of their names' shapes, so that a weight that is renamed stays the same."""
    parts = sorted(hashlib.sha256(v.detach().cpu().contiguous().numpy().tobytes()).hexdigest() for v in state.values())
    return hashlib.sha256("".join(parts).encode()).hexdigest()[:16]


def train(config: str, overrides: list[str]) -> dict[str, object]:
    """Metrics of validation and test, and the digest of the weights."""
    kept: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        loaded = load(config, find_model, [*overrides, f"path.output={json.dumps(folder)}"])
        result = run(loaded, None, False, None, lambda model, *_: kept.update(weights=digest(model.state_dict())))
    return {"valid": result["valid"], "test": result["test"], **kept}


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("file", type=Path)
    p.add_argument("--against", type=Path)
    p.add_argument("--only", nargs="*")
    args = p.parse_args()
    torch.set_num_threads(1)
    old = {r["run"]: r for r in map(json.loads, args.against.read_text().splitlines())} if args.against else {}
    differ = 0
    with args.file.open("w") as out:
        for name, (config, overrides) in jobs().items():
            if args.only and name not in args.only:
                continue
            try:
                row = json.loads(json.dumps({"run": name} | train(config, overrides)))
            except ConfigError as e:  # planted 'tiny' lacks what the model reads
                print(f"{name}: skipped: {e}")
                continue
            out.write(json.dumps(row) + "\n")
            out.flush()
            if name in old and old[name] != row:
                differ += 1
                print(f"{name}: differs\n  before {old[name]}\n  now    {row}")
            elif not args.against or name in old:
                print(f"{name}: {row['weights']}" + (" as before" if name in old else ""))
    return int(differ > 0)


if __name__ == "__main__":
    sys.exit(main())
