"""What the UniEmbedding paper claims, and published figures of sequence models on Scientific."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hrec.papers.paper import Order

SCIENTIFIC = {"MISSRec": (12.69, 6.59), "MISSRec with ids": (12.82, 7.11)}
"""Recall@10 and NDCG@10 in per cent of MISSRec's published runs from scratch."""
PUBLISHED: dict[str, Mapping[Any, tuple[float | None, ...]]] = {"sequences": SCIENTIFIC}
CLAIMS = {
    "table1": (
        *(Order("UniEmbedding", other) for other in ("TextVectors", "Item2Vec", "UniSRec", "VQRec", "MISSRec")),
        *(Order("UniEmbedding", f"{other}-style") for other in ("PGG", "CB2CF", "UAE")),
        Order("Item2Vec", "TextVectors", "methods of ids above methods of content"),
        Order("UniEmbedding", "CoOccurrence", ours=True),
    ),
    "table3": (
        Order("UniEmbedding", "without user view", "the user view helps"),
        Order("UniEmbedding", "without other kinds", "sequences of mixed kinds help"),
        Order("UniEmbedding", "without experts", ours=True),
        Order("with Item2Vec", "UniEmbedding", "a fusion with Item2Vec helps", ours=True),
    ),
    "sequences": (),
}
"""Experiment -> the orders that are tested."""
