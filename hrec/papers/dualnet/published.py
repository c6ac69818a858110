"""What the DualNet paper (Xiong et al., 2017) printed and claims; recall in per cent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hrec.papers.paper import Order

TABLE_1 = {
    ("CiteULike1", "WMF"): (22.14, 32.58, 43.65),
    ("CiteULike1", "CDL"): (25.02, 36.57, 48.32),
    ("CiteULike1", "DualNet"): (30.41, 41.71, 52.24),
    ("CiteULike2", "BPRMF"): (39.11, 49.16, 59.96),
    ("CiteULike2", "WMF"): (40.45, 50.28, 59.95),
    ("CiteULike2", "CDL"): (39.49, 52.02, 64.41),
    ("CiteULike2", "DualNet"): (41.26, 53.80, 65.21),
}
TABLE_2 = {"CDL": (32.18, 43.90, 56.36), "DualNet": (47.51, 56.59, 66.36)}
TABLE_3 = {
    "basic": (15.86, 38.86, 51.03),
    "multi_level": (16.89, 39.92, 51.26),
    "branching": (17.43, 40.31, 51.78),
}
NOISE = {
    ("in-matrix", "without"): (None, 67.3),
    ("in-matrix", "with"): (None, 71.2),
    ("out-matrix", "without"): (38.6, None),
    ("out-matrix", "with"): (47.5, None),
}
"""Recall@50 and @300 in per cent."""
PUBLISHED: dict[str, Mapping[Any, tuple[float | None, ...]]] = {
    "table1": TABLE_1,
    "table2": TABLE_2,
    "table3": TABLE_3,
    "noise": NOISE,
}

BLOCKS, LOGISTIC = "dual mini-batches", "logistic loss"
SIDE = 8
"""Users and items of a block that is small enough to be empty often."""
TINY, SKIPPING = f"blocks of {SIDE} x {SIDE}", f"blocks of {SIDE} x {SIDE}, half of the empty ones left out"
CLAIMS = {
    # the order of the paper, but for single figures of its Table 1; then what the paper does not have: a model of
    # ours, and settings that no search chose
    "table1": (
        Order("DualNet", "CDL"),
        Order("CDL", "WMF"),
        Order("DualNet", "WMF"),
        *(Order(ours, other, ours=True) for ours in ("DualNet+users", "DualNet-config") for other in ("CDL", "WMF")),
    ),
    "table2": (Order("DualNet", "CDL", "DualNet above CDL, out-matrix"),),
    "table3": (
        Order("multi_level", "basic", "multi-level above basic"),
        Order("branching", "multi_level", "branching above multi-level"),
    ),
    "noise": (Order("with", "without", "noise raises recall"),),
    "tactics": (
        Order(BLOCKS, LOGISTIC, "the squared loss above the logistic loss"),
        Order(TINY, SKIPPING, "as many epochs of all blocks above those that leave empty ones out"),
    ),
}
"""Experiment -> the orders that are tested."""
