"""The DURation paper (Lu et al., WWW 2022)."""

from hrec.papers.duration.figures import figure2, figure3, figure4
from hrec.papers.duration.published import CLAIMS, PUBLISHED
from hrec.papers.duration.runs import CONFIGS, SETTINGS, SOURCES, TRIALS, Options
from hrec.papers.duration.table3 import table3
from hrec.papers.duration.tables import table2, table5
from hrec.papers.paper import Experiment, Paper, Rows

OF_SETTINGS = "rows of table3: all kinds together (He), each kind alone (Ho)"

DURATION = Paper(
    name="duration",
    title="DURation: Lu et al., WWW 2022. Its tables and figures:",
    experiments={work.__name__: Experiment(work) for work in (table2, table3, table5, figure2, figure3, figure4)},
    data=SOURCES,
    trials=dict.fromkeys(CONFIGS, TRIALS),
    published=PUBLISHED,
    claims=CLAIMS,
    options=Options,
    rows=(
        Rows("models", list(CONFIGS), (), ("table3",), "rows of table3, in place of the paper's"),
        Rows("settings", SETTINGS, SETTINGS, ("table3",), OF_SETTINGS),
    ),
)
