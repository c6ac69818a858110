"""WordLlama (github.com/dleemiller/WordLlama): a text's vector is the mean of the fixed vectors of its tokens.

The package ``wordllama`` holds the vectors (256 numbers each) and the tokenizer. They are read from its folder: its own
loader wants a network.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import numpy as np

from hrec.prepare.encoders.encoder import Encoder, package_folder


class WordLlama:
    """table: float32[tokens, d]."""

    def __init__(self, table: np.ndarray, tokenizer: Any, name: str) -> None:
        self.table, self.tokenizer, self.name = table, tokenizer, name

    def __call__(self, batch: Sequence[str]) -> np.ndarray:
        """float32[B, d]; zeros for a text without tokens."""
        encoded = self.tokenizer.encode_batch_fast(list(batch), add_special_tokens=False)
        return np.stack([self.table[e.ids].sum(0) / max(len(e.ids), 1) for e in encoded])


def load() -> Encoder:
    """Raises ModuleNotFoundError where the package is missing."""
    folder = package_folder("wordllama")
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer

    (table,) = load_file(folder / "weights" / "l2_supercat_256.safetensors").values()
    tokenizer = Tokenizer.from_file(str(folder / "tokenizers" / "l2_supercat_tokenizer_config.json"))
    tokenizer.no_padding()
    return WordLlama(table.astype(np.float32), tokenizer, f"wordllama {version('wordllama')} l2_supercat_256")
