"""CAT-ART (Li et al., WSDM 2023)."""

from hrec.papers.catart.published import CLAIMS, PUBLISHED
from hrec.papers.catart.runs import CONFIGS, SOURCES, TRIALS, Options
from hrec.papers.catart.tables import ablation, negative_transfer, table1
from hrec.papers.paper import Experiment, Paper, Rows

CATART = Paper(
    name="catart",
    title="CAT-ART: Li et al., WSDM 2023. Its tables, and what its slides claim:",
    experiments={
        "table1": Experiment(table1),
        "ablation": Experiment(ablation),
        "negative_transfer": Experiment(negative_transfer),
    },
    data=SOURCES,
    trials=TRIALS,
    published=PUBLISHED,
    claims=CLAIMS,
    options=Options,
    rows=(
        Rows("models", list(CONFIGS), (), ("table1", "negative_transfer"), "rows, in place of all; SMF is always one"),
    ),
)
