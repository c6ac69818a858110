"""What an encoder is, and where the package that holds its weights is installed."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import numpy as np


class Encoder(Protocol):
    """name: what made the vectors, with its version. Vectors that were made under another name are not used again."""

    name: str

    def __call__(self, batch: Sequence[str]) -> np.ndarray:
        """Texts, or paths of pictures, B of them -> float32[B, d]. Raises PrepareError for one it cannot read."""
        ...


def package_folder(package: str) -> Path:
    """Where an installed package is; it is not imported. Raises ModuleNotFoundError."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)
    return Path(spec.submodule_search_locations[0])
