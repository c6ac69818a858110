"""The DualNet paper (Xiong et al., 2017)."""

from hrec.papers.dualnet.published import CLAIMS, PUBLISHED
from hrec.papers.dualnet.runs import CONFIGS, SOURCES, TRIALS, Options
from hrec.papers.dualnet.tables import noise, table1, table2, table3
from hrec.papers.dualnet.tactics import RATES, tactics
from hrec.papers.paper import Experiment, Paper, Rows

DUALNET = Paper(
    name="dualnet",
    title="DualNet: Xiong et al., 2017. Its tables, and what its text claims:",
    experiments={
        "table1": Experiment(table1),
        "table2": Experiment(table2),
        "table3": Experiment(table3),
        "noise": Experiment(noise),
        "tactics": Experiment(tactics, trials=len(RATES)),
    },
    data=SOURCES,
    trials=TRIALS,
    published=PUBLISHED,
    claims=CLAIMS,
    options=Options,
    rows=(
        Rows("models", list(CONFIGS), (), ("table1", "table2"), "rows of table1 and table2, in place of the paper's"),
    ),
)
