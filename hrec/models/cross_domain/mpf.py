"""MPF: a preference that a user has everywhere, and one that is specific to a kind.

Yan et al., Multi-site User Behavior Modeling and Its Application in Video Recommendation, TKDE 33(1) 2021, a
factorisation with a cross-site and a site-specific preference. Its equations could not be obtained. The batches are
those of the baseline in the CAT-ART code (Li et al., WSDM 2023): a pair of the target kind, and a second pair of the
same user in a random kind. The rest is our reading: the two preferences are vectors that are added, and the second
pair trains the shared one alone.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from hrec.datasets.batches import Pairs
from hrec.datasets.queries import Queries
from hrec.datasets.recdata import TrainData
from hrec.datasets.samplers import WithSecondPair
from hrec.models.base import Stage
from hrec.models.cross_domain._base import KindSettings, KindVectors, OfKinds
from hrec.models.layers.bags import Cells, EmbeddingTable
from hrec.models.layers.fold_in import best_by_pairs
from hrec.models.layers.pairs import items_of, pair_terms


class MPF(KindVectors):
    """Score (g_u + s_u^d) . q_i for item i of kind d; s is 0 where the user has no positive in the kind.

    L has three terms: BPR of g_u + s_u^d on a pair of kind d; BPR of g_u on a second pair of the user, of a random
    kind; and the norms of g, s and q of both pairs.
    """

    class Config(KindSettings):
        """Settings of MPF."""

    config: Config

    def __init__(self, config: Config, data: TrainData) -> None:
        super().__init__(config, data)
        self.shared = EmbeddingTable(data.n_users, config.embedding_size, config.init_std)

    def stages(self, data: TrainData) -> Iterator[Stage]:
        """One stage, over all vectors but those of kinds without a positive."""
        kinds = self.trained_kinds(data)
        params = [*self.shared.parameters()]
        params += [p for part in (self.users, self.items) for kind in kinds for p in part[kind].parameters()]
        yield Stage("train", self.loss, self.sampler(data), params)

    def sampler(self, data: TrainData) -> WithSecondPair:
        return WithSecondPair(data, self.config.negatives, self.device)

    def loss(self, batch: Pairs) -> dict[str, Tensor]:
        """The terms of L; the first half of the batch is of the target kind, the second of a random one."""
        first, second = _halves(batch)
        g, s = self.shared.rows(first.user), self._specific(first.user, first.positive)
        sizes = [len(first.positive)] * 2 + [first.negative.numel()] * 2
        positive, positive_2, negative, negative_2 = self._items(items_of(batch)).split(sizes)
        reg = self.config.reg_weight
        both = pair_terms(g + s, torch.cat([positive, negative]), first, reg, own=torch.cat([g, s], 1))
        shared = pair_terms(g, torch.cat([positive_2, negative_2]), second, reg)
        norm = {"norm": both["norm"] + shared["norm"]} if reg else {}
        return {"bpr": both["bpr"], "shared": shared["bpr"]} | norm

    def _specific(self, user: Tensor, item: Tensor) -> Tensor:
        """s_u^d for the kind d of each item: float[B, d]"""
        width = self.config.embedding_size
        return self.kinds.each(item, lambda kind, at: self.users[kind].rows(user[at]), width, every=True)

    def _items(self, item: Tensor) -> Tensor:
        """q_i of items of any kinds: float[B, d]"""

        def of_kind(kind: str, at: Tensor) -> Tensor:
            return self.items[kind].rows(self.kinds.row(kind, item[at]))

        return self.kinds.each(item, of_kind, self.config.embedding_size, every=True)

    def parts(self, own: OfKinds, user: Tensor | None) -> Tensor:
        """g_u + s_u^d; of unknown users ``query_vectors`` has both in one."""
        assert user is not None
        return self.shared.rows(user)[:, None] + own.present[:, :, None] * own.vectors

    def query_vectors(self, queries: Queries) -> Tensor:
        """From a history: in each kind of it g + s as one vector, and in the other kinds g, fitted to the whole."""
        if queries.history is None:
            return self.user_vectors(queries.known())
        own = self.of_histories(queries.history)
        items = torch.cat([self.items[kind].weight for kind in self.kinds.names])
        g = best_by_pairs(Cells(*queries.history.cells(positives=True)), items, self.shared.weight)
        return torch.where(own.present[:, :, None], own.vectors, g[:, None]).flatten(1)

    def trained_users(self, kind: str) -> Tensor:
        """g + s of the users who have a positive in the kind."""
        here = self.present[:, self.kinds.names.index(kind)]
        return self.shared.weight[here] + self.users[kind].weight[here]


def _halves(batch: Pairs) -> tuple[Pairs, Pairs]:
    """The pairs of the target kinds, and the second pairs of the same users."""
    columns = (batch.user, batch.positive, batch.negative)
    return tuple(Pairs(*some) for some in zip(*(column.chunk(2) for column in columns), strict=True))  # type: ignore[return-value]
