"""The table of papers: a new one is a folder with a ``Paper``, and a name here."""

from hrec.papers.catart.paper import CATART
from hrec.papers.dualnet.paper import DUALNET
from hrec.papers.duration.paper import DURATION
from hrec.papers.jrl.paper import JRL
from hrec.papers.paper import Paper
from hrec.papers.uniembedding.paper import UNIEMBEDDING

PAPERS: dict[str, Paper] = {paper.name: paper for paper in (DURATION, DUALNET, JRL, CATART, UNIEMBEDDING)}
