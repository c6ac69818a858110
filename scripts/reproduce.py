"""Do again a table or a figure of a paper, on data that is here, with the statistics beside it.

    python scripts/reproduce.py duration table3 --data planted --seeds 3 --trials 2
    python scripts/reproduce.py duration figure2 --data amazon

Every run is kept under --out and done once: repeat the command after a stop and it goes on. Markdown, CSV and pictures
land in <out>/<experiment>-<data>/, with a line for each claim of the paper: holds, does not hold, or not decided.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import _checkout  # noqa: F401
from experiments import duration, figures

from hrec.config import ConfigError
from hrec.datasets.problems import DataError
from hrec.pipeline.devices import reuse_memory

EXPERIMENTS = {
    "duration": {
        "table2": duration.table2,
        "table3": duration.table3,
        "table5": duration.table5,
        "figure2": figures.figure2,
        "figure3": figures.figure3,
        "figure4": figures.figure4,
    }
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paper", choices=EXPERIMENTS)
    parser.add_argument("experiment", choices=EXPERIMENTS["duration"])
    parser.add_argument("--data", choices=duration.SOURCES, default="planted")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side; they share the cores")
    parser.add_argument("--trials", type=int, default=2, help=f"settings tried a row, 1 to {len(duration.TRIALS)}")
    parser.add_argument("--models", nargs="+", choices=duration.CONFIGS, default=list(duration.CONFIGS))
    parser.add_argument("--out", type=Path, default=Path("output/reproduce"))
    args = parser.parse_args()
    reuse_memory()
    options = duration.Options(args.data, args.out, args.seeds, args.jobs, args.trials, tuple(args.models))
    try:
        EXPERIMENTS[args.paper][args.experiment](options)
    except (ConfigError, DataError) as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command goes on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
