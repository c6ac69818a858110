"""The UniEmbedding paper."""

from hrec.papers.paper import Experiment, Paper, Rows
from hrec.papers.uniembedding.published import CLAIMS, PUBLISHED
from hrec.papers.uniembedding.runs import CONFIGS, SOURCES, TRIALS, Options
from hrec.papers.uniembedding.tables import sequences, table1, table3

UNIEMBEDDING = Paper(
    name="uniembedding",
    title="UniEmbedding: universal item vectors by user-view contrast. Its tables, and what its text claims:",
    experiments={
        "table1": Experiment(table1),
        "table3": Experiment(table3),
        "sequences": Experiment(sequences),
    },
    data=SOURCES,
    trials=TRIALS,
    published=PUBLISHED,
    claims=CLAIMS,
    options=Options,
    rows=(Rows("models", list(CONFIGS), (), ("table1", "sequences"), "rows, in place of all that the data can have"),),
)
