"""What the DURation paper (Lu et al., WWW 2022) printed and claims."""

from __future__ import annotations

from hrec.papers.paper import Order

COLUMNS_3 = ("book", "music", "film", "all")
TABLE_3 = {
    ("NAIS", "He"): (0.554, 0.563, 0.651, 0.592),
    ("DMF", "He"): (0.588, 0.631, 0.656, 0.647),
    ("FISM", "He"): (0.571, 0.576, 0.656, 0.596),
    ("DeepFM", "He"): (0.721, 0.756, 0.76, 0.77),
    ("DeepFM", "Ho"): (0.737, 0.782, 0.777, None),
    ("xDeepFM", "He"): (0.721, 0.759, 0.761, 0.77),
    ("xDeepFM", "Ho"): (0.732, 0.769, 0.78, None),
    ("AFM", "He"): (0.686, 0.709, 0.739, 0.708),
    ("AFM", "Ho"): (0.73, 0.769, 0.771, None),
    ("DSSM", "He"): (0.519, 0.543, 0.582, 0.569),
    ("DSSM", "Ho"): (0.545, 0.571, 0.707, None),
    ("WideDeep", "He"): (0.722, 0.759, 0.763, 0.771),
    ("WideDeep", "Ho"): (0.739, 0.784, 0.78, None),
    ("AutoInt", "He"): (0.722, 0.76, 0.763, 0.771),
    ("AutoInt", "Ho"): (0.738, 0.784, 0.78, None),
    ("CCCF", "He"): (0.741, 0.786, 0.782, 0.787),
    ("DDTCDR", "He"): (0.734, 0.776, 0.774, 0.78),
    ("DURation", "He"): (0.766, 0.818, 0.792, 0.804),
}
"""AUC on the paper's Douban, its columns COLUMNS_3; 'all' is pooled."""
PUBLISHED = {"table3": TABLE_3}

TOPOLOGY, NO_TOPOLOGY = "topology as published", "without topology"
RELATIVE = "relative topology, beta 1"
"""The other form of the loss, which is ours."""
CLAIMS = {
    "table3": (
        Order("contextual", "general", "contextual models above general ones"),
        Order("heterogeneous", "contextual", "heterogeneous models above contextual ones"),
    ),
    # the paper removes both losses
    "table5": (
        Order("DURation", "without A and T", "alignment and topology help"),
        Order("DURation", "without A", "alignment helps with topology", ours=True),
        Order("DURation", "without T", "topology helps with alignment", ours=True),
    ),
    "figure4": (
        Order(TOPOLOGY, NO_TOPOLOGY, f"{TOPOLOGY} keeps clusters better than none"),
        Order(RELATIVE, NO_TOPOLOGY, f"{RELATIVE} keeps clusters better than none", ours=True),
    ),
}
"""Experiment -> the orders that are tested. Table 3 also tests DURation against the best baselines, and Figures 2 and 3
against chance."""
