"""The JRL paper (Zhang et al., CIKM 2017)."""

from hrec.papers.jrl.adding import views
from hrec.papers.jrl.published import CLAIMS, PUBLISHED
from hrec.papers.jrl.runs import CONFIGS, SOURCES, TRIALS, Options
from hrec.papers.jrl.tables import figure3, figure4, table2, table3
from hrec.papers.paper import Experiment, Paper, Rows

JRL = Paper(
    name="jrl",
    title="JRL and eJRL: Zhang et al., CIKM 2017. Its tables and figures, and what its text claims:",
    experiments={
        "table2": Experiment(table2),
        "table3": Experiment(table3),
        "figure3": Experiment(figure3),
        "figure4": Experiment(figure4),
        "views": Experiment(views),
    },
    data=SOURCES,
    trials=TRIALS,
    published=PUBLISHED,
    claims=CLAIMS,
    options=Options,
    rows=(Rows("models", list(CONFIGS), (), ("table3",), "rows of table3, in place of all that the data can have"),),
)
