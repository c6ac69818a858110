"""How this process was started, for lines that say what to run next."""

from __future__ import annotations

import sys
from pathlib import Path


def started_by() -> list[str]:
    """The words before the arguments: ["python", "scripts/seeds.py"] of a script, else ["hrec"]."""
    path = Path(sys.argv[0])
    if path.name == "__main__.py":
        return ["python", "-m", "hrec"]
    return ["python", f"scripts/{path.name}"] if path.suffix == ".py" else ["hrec"]


def training_command() -> list[str]:
    """What trains one model: the script that runs now if it does, train_hete.py after another script, or hrec train."""
    words = started_by()
    if words[-1] == "hrec":
        return [*words, "train"]
    return ["python", sys.argv[0] if Path(sys.argv[0]).name.startswith("train_") else "train_hete.py"]
