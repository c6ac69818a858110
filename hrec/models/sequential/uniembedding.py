"""UniEmbedding: universal vectors of items of several kinds and modalities, learnt from sequences of mixed kinds.

Dai et al., UniEmbedding: Learning Universal Multi-Modal Multi-Domain Item Embeddings via User-View Contrastive
Learning, CIKM 2024, section 3. Equations are numbered as there:

    E_i = the mean over the modalities of a mixture of experts of the kind and of all kinds (Eq. 1), of length 1
    M^u_j, M^u_M = P_j(z_u), P_M(z_u), z_u of a Transformer over the ids of the user's sequence (Eq. 2)
    E_ui = (M^u_M + M^u_j) E_i + E_i, j the kind of item i (Eq. 3)
    minimise sum_a -1 / |P_a| sum_p log [exp(E_ua . E_p / tau) / sum_n exp(E_ua . E_n / tau)] (Eq. 4)

a and p are items of one sequence, n those of other users in the batch. E_i alone is used afterwards: the items nearest
to the newest one of a user are ranked highest.

What the paper leaves open, and what is done here: an expert is a perceptron of two layers, a gate is linear; z_u is a
mean over the entries; E_ua has length 1 (``normalise_view``); items that the user has are no negatives; the loss is a
mean over anchors. Departures: the Transformer reads no item that is an anchor or a positive of the step, and what it
adds is bounded (``view``). An item lacking a modality has another one of equal width in its place, as in the paper;
if there is none of equal width, the mean is over those that it has.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, Self

import torch
import torch.nn.functional as F
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator
from torch import Tensor, nn

from hrec.datasets.batches import ItemPairs
from hrec.datasets.excerpts import Excerpt, Excerpts
from hrec.datasets.histories import positive_history
from hrec.datasets.recdata import TrainData
from hrec.models.base import Reads, Stage
from hrec.models.layers.bags import RaggedRows
from hrec.models.layers.domain_contrast import Candidates, multi_domain_contrast
from hrec.models.layers.experts import Adapter, ExpertSettings
from hrec.models.layers.item_vectors import ItemVectors, VectorSettings, coverage, once_each, required_vectors
from hrec.models.layers.kinds import Kinds
from hrec.models.layers.skip_gram import SkipGram, SkipGramSettings, skip_gram_pairs
from hrec.models.layers.user_view import UserView, ViewSettings
from hrec.models.sequential._item_to_item import ItemToItem


class UniEmbedding(ItemToItem):
    """Score E_q . E_i, q the newest item; with ``item2vec_weight`` w also w times the cosine of Item2Vec's vectors."""

    class Config(VectorSettings):
        """Settings of UniEmbedding, as published where the paper says."""

        embedding_size: PositiveInt = 128
        """d."""
        hidden: PositiveInt = 256
        """Width between the layers of an expert."""
        experts: ExpertSettings | None = ExpertSettings()
        """The experts of each adapter; null: one perceptron for the vectors of all kinds."""
        normalise: Literal["after", "before"] = "after"
        """Whether vectors of modalities get length 1 before their mean too; the mean always does."""
        user_view: bool = True
        """Eq. 2-3; false: E_ua is E_a (the ablation "w/o User-View")."""
        view: ViewSettings = ViewSettings()
        """How the user view is made."""
        normalise_view: bool = True
        """E_ua has length 1."""
        cross_domain: bool = True
        """Sequences are of all kinds; false: one for each user and kind (the ablation "w/o cross-domain")."""
        denominator: Literal["negatives", "all"] = "negatives"
        """The sum below the line in Eq. 4. negatives: as printed; all: the positives of the anchor too."""
        temperature: PositiveFloat = 0.07
        """tau."""
        items_per_step: int = Field(8, ge=2)
        """Items drawn at random from each sequence of a batch; each is an anchor, and a positive of the others."""
        max_length: int = Field(50, ge=2)
        """L, the newest items of a sequence."""
        dropout: float = Field(0.1, ge=0, lt=1)
        """In the experts and the Transformer."""
        item2vec_weight: NonNegativeFloat = 0.0
        """w, the weight of Item2Vec's cosine, which is trained first (opt.stages.item2vec); 0: without it."""
        item2vec: SkipGramSettings = SkipGramSettings()
        """Which pairs Item2Vec learns from."""

        @model_validator(mode="after")
        def _whole_heads(self) -> Self:
            if self.user_view and self.embedding_size % self.view.num_heads:
                raise ValueError(
                    f"embedding_size must be a multiple of view.num_heads, got {self.embedding_size} and "
                    f"{self.view.num_heads}"
                )
            return self

    reads = Reads(user={"sequence"}, item={"id", "columns"})
    stage_groups = ("item2vec", "train")
    config: Config
    known: Tensor

    def __init__(self, config: Config, data: TrainData) -> None:
        super().__init__(config, data)
        c, n_kinds = config, len(data.kinds)
        found = required_vectors(data, config, "UniEmbedding")
        self.remarks += coverage(found)
        self.kinds, self.own = Kinds(data), RaggedRows.of(positive_history(data))
        size = (c.hidden, c.embedding_size, c.dropout)
        self.adapters = nn.ModuleList(Adapter(v, self.kinds, c.experts, *size) for v in filled(found))
        known = torch.stack([v.known for v in found]).any(0)
        self.register_buffer("known", known, persistent=False)
        self.view = self.skip_gram = None
        if c.user_view:
            self.view = UserView(data.n_items, n_kinds, c.max_length, c.embedding_size, c.view, c.dropout)
        if c.item2vec_weight:
            self.skip_gram = SkipGram(data, c.embedding_size)

    def stages(self, data: TrainData) -> Iterator[Stage]:
        """Item2Vec's vectors, if they have a weight; then the adapters and the user view."""
        if self.skip_gram is not None:
            pairs = skip_gram_pairs(data, self.config.item2vec, self.device)
            weights = list(self.skip_gram.parameters())
            yield Stage("item2vec", self.item2vec_loss, pairs, weights, group="item2vec", measured=False)
        parts = [self.adapters] if self.view is None else [self.adapters, self.view]
        yield Stage("train", self.loss, self.sampler(data), [p for part in parts for p in part.parameters()])

    def sampler(self, data: TrainData) -> Excerpts:
        c = self.config
        disjoint = c.user_view and not c.view.reads_positives
        return Excerpts(data, c.items_per_step, c.max_length, self.device, c.cross_domain, disjoint)

    def item2vec_loss(self, batch: ItemPairs) -> dict[str, Tensor]:
        """Of the vectors that ``item2vec_weight`` weighs."""
        assert self.skip_gram is not None
        return {"item2vec": self.skip_gram.loss(batch)}

    def loss(self, batch: Excerpt) -> dict[str, Tensor]:
        """Eq. 4, and the size of the user view."""
        mask = batch.mask & self.known[batch.item]
        item, count = torch.unique(batch.item[batch.mask], return_counts=True)
        place = torch.searchsorted(item, batch.item).clamp(max=len(item) - 1)
        vectors = self.content(item)
        anchor, terms = vectors[place], {}
        if self.view is not None:
            anchor, size = self._viewed(self.view, batch, anchor, mask)
            terms["view"] = self.config.view.penalty * size
        candidates = Candidates(vectors, count * self.known[item], *self._own(batch.user, item))
        whole = self.config.denominator == "all"
        contrast = multi_domain_contrast(anchor, place, mask, candidates, self.config.temperature, whole)
        return {"contrast": contrast} | terms

    def _viewed(self, view: UserView, batch: Excerpt, vectors: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """(E_ua float[B, m, d] (Eq. 3); mean square of |E_ua - E_a| before it is bounded). A user without an entry to
        read has no view: M is 0."""
        added = view.added(view.encode(batch.context), vectors, self.kinds.index(batch.item), mask)
        square = (added.square().sum(2) * mask).sum() / mask.sum().clamp(min=1)
        seen = vectors + view.bounded(added)
        return (F.normalize(seen, dim=2) if self.config.normalise_view else seen), square

    def _own(self, user: Tensor, item: Tensor) -> tuple[Tensor, Tensor]:
        """(row of ``user``, place in ``item``, which ascends) of each item that a user has, int64[total] both."""
        cells = self.own(user)
        column = cells.column.long()
        place = torch.searchsorted(item, column).clamp(max=len(item) - 1)
        there = item[place] == column
        return cells.owner[there], place[there]

    def content(self, item: Tensor) -> Tensor:
        """E_i of length 1, float[B, d]; zeros for an item that has no vector."""
        total = torch.zeros(len(item), self.config.embedding_size, device=item.device)
        for adapter in self.adapters:
            part = adapter(item)
            part = F.normalize(part, dim=1) if self.config.normalise == "before" else part
            total = total + part * adapter.vectors.known[item][:, None]  # type: ignore[union-attr, index]
        count = torch.stack([a.vectors.known[item] for a in self.adapters]).sum(0)  # type: ignore[union-attr, index]
        mean = total / count.clamp(min=1)[:, None]
        return F.normalize(mean.where(self.known[item][:, None], 1.0), dim=1) * self.known[item][:, None]

    def item_vectors(self, item: Tensor) -> Tensor:
        """E_i, with ``item2vec_weight`` [E_i, sqrt(w) times Item2Vec's vector of length 1]"""
        return once_each(self._vectors, item, self.n_items)

    def _vectors(self, item: Tensor) -> Tensor:
        if self.skip_gram is None:
            return self.content(item)
        return torch.cat([self.content(item), self.config.item2vec_weight**0.5 * self.skip_gram(item)], 1)


def filled(vectors: Sequence[ItemVectors]) -> list[ItemVectors]:
    """The modalities, with the first other one of equal width in the place of a vector that an item lacks."""
    out = []
    for one in vectors:
        value, known = one.value.clone(), one.known.clone()
        for other in vectors:
            if other is not one and other.width == one.width:
                here = ~known & other.known
                value[here], known = other.value[here], known | here
        out.append(ItemVectors(one.name, value.numpy(), known.numpy()))
    return out
