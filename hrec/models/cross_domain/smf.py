"""SMF: a matrix factorisation for each kind, the kinds trained one after another and independent of each other.

Stage 1 of CAT-ART (Li et al., One for All, All for One: Learning and Transferring User Embeddings for Cross-Domain
Recommendation, WSDM 2023), and its baseline without transfer: BPR (Rendle et al., UAI 2009) without biases. The
published code starts at N(0, 1), with an L2 weight of 1e-4 over the batch size; both are settings.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import ClassVar

from torch import Tensor, nn

from hrec.datasets.batches import Pairs
from hrec.datasets.recdata import TrainData
from hrec.datasets.samplers import Pairwise
from hrec.models.base import Loss, Stage
from hrec.models.cross_domain._base import KindSettings, KindVectors, OfKinds


class Factors(KindVectors):
    """The stages ``mf/<kind>``, which SMF and the models that start from it share."""

    stage_groups: ClassVar[tuple[str, ...]] = ("mf",)
    groups_of_kinds: ClassVar[tuple[str, ...]] = ("mf",)

    def stages(self, data: TrainData) -> Iterator[Stage]:
        """A stage for each kind, over the vectors of its users and items; it watches the metric of its kind."""
        for kind, sampler in self.samplers(data):
            params = [*self.users[kind].parameters(), *self.items[kind].parameters()]
            yield self.stage_of("mf", kind, partial(self.of_kind, kind), sampler, params)

    def stage_of(self, group: str, kind: str, loss: Loss, sampler: Pairwise, params: Iterable[nn.Parameter]) -> Stage:
        """A stage of one kind, which depends on no other of its group."""
        watched = kind if len(self.kinds.names) > 1 else None  # of one kind there is one value of each metric
        return Stage(f"{group}/{kind}", loss, sampler, params, group, kind=watched, alone=True)

    def of_kind(self, kind: str, batch: Pairs) -> dict[str, Tensor]:
        """BPR of pairs of one kind, and the norms of their vectors."""
        return self.terms(kind, self.users[kind].rows(batch.user), batch, self.config.reg_weight)


class SMF(Factors):
    """Score e_u^t . q_i for item i of kind t.

    A user without a positive in a kind has the mean vector of those who have one. The published code has the untrained
    row (``untrained_rows``).
    """

    class Config(KindSettings):
        """Settings of SMF."""

        untrained_rows: bool = False
        """A user without a positive in a kind keeps the first, random vector, as in the published code."""

    config: Config

    def parts(self, own: OfKinds, user: Tensor | None) -> Tensor:
        return own.vectors if self.config.untrained_rows else self.completed(own)
