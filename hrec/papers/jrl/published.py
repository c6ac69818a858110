"""What the JRL paper (Zhang et al., CIKM 2017) printed in Table 3 and claims: NDCG, Recall, HT, Precision @10 in %."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hrec.papers.paper import Order

BEAUTY = {
    "BPRMF": (2.753, 4.241, 8.241, 1.143),
    "BPR-HFT": (2.934, 4.459, 8.268, 1.132),
    "VBPR": (1.901, 2.786, 5.961, 0.902),
    "DeepCoNN": (3.359, 5.429, 9.807, 1.200),
    "CKE": (3.717, 5.938, 11.043, 1.371),
    "Review": (4.216, 6.766, 12.422, 1.467),
    "Image": (3.310, 5.288, 10.280, 1.211),
    "Rating": (0.876, 1.442, 3.322, 0.313),
    "eJRL": (3.896, 6.010, 11.090, 1.355),
    "JRL": (4.396, 6.949, 12.776, 1.546),
}
CLOTHING = {
    "BPRMF": (0.601, 1.046, 1.767, 0.185),
    "BPR-HFT": (1.067, 1.819, 2.872, 0.297),
    "VBPR": (0.560, 0.968, 1.557, 0.166),
    "DeepCoNN": (1.310, 2.332, 3.286, 0.229),
    "CKE": (1.502, 2.509, 4.275, 0.388),
    "Review": (1.270, 2.211, 3.527, 0.336),
    "Image": (1.393, 2.481, 3.773, 0.354),
    "Rating": (0.377, 0.732, 1.219, 0.112),
    "eJRL": (1.523, 2.679, 4.182, 0.396),
    "JRL": (1.735, 2.989, 4.634, 0.442),
}
PUBLISHED: dict[str, Mapping[Any, tuple[float | None, ...]]] = {"table3": BEAUTY}

SINGLE = ("Review", "Image", "Rating")
BASELINES = ("BPRMF", "BPR-HFT", "VBPR", "DeepCoNN", "CKE")
CLAIMS = {
    "table3": (
        *(Order("JRL", single) for single in SINGLE),
        Order("JRL", "eJRL"),
        Order("JRL", "CKE"),
        Order("eJRL", "CKE"),
        Order("JRL", "BPRMF"),
        *(Order(model, "BPRMF") for model in BASELINES if model != "BPRMF"),
        Order("JRL", "EASE", ours=True),
        Order("JRL", "FREEDOM", ours=True),
    ),
    "views": (Order("extended", "before", "a view that is added raises NDCG@10"),),
}
"""Experiment -> the orders that are tested; of those the rows that a table has."""
