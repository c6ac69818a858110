"""What the slides of CAT-ART (Li et al., WSDM 2023) claim; its own data is not public."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hrec.papers.paper import Order

PUBLISHED: dict[str, Mapping[Any, tuple[float | None, ...]]] = {}
CLAIMS = {
    "table1": tuple(
        Order("CAT-ART", other)
        for other in ("SMF", "CMF", "MPF", "GA-MTCDR-style", "HeroGRAPH-style", "BiTGCF-style", "continued", "permuted")
    ),
    "ablation": (
        Order("+Contrastive", "+Autoencoder"),
        Order("CAT-ART", "+Contrastive"),
        Order("CAT-ART", "-Attention"),
    ),
}
"""Experiment -> the orders that are tested, in every kind; `continued` and `permuted` are our controls."""
ARROWS = {"CMF": "loses in some domains", "CAT-ART": "loses in none"}
"""What the slides say of negative transfer."""
