"""MISSRec: interests are clusters of the vectors of items, and an item's modalities count as the user needs.

Wang, Zeng, Wang, Wang, Lu, Li, Yuan, Zhang, Zheng and Xia, MISSRec: Pre-training and Transferring Multi-modal
Interest-aware Sequence Representation for Recommendation, MM 2023.
"""

from __future__ import annotations

import math
from functools import partial

import torch
import torch.nn.functional as F
from pydantic import Field, NonNegativeFloat, NonNegativeInt
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from hrec.datasets.queries import Queries
from hrec.datasets.recdata import TrainData
from hrec.datasets.sequence_samplers import NextItem
from hrec.datasets.sequences import SequenceBatch
from hrec.models.base import BaseModel, Ranker, Reads
from hrec.models.layers.bags import EmbeddingTable
from hrec.models.layers.item_vectors import ItemVectors, coverage, required_vectors
from hrec.models.layers.kmeans import kmeans, nearest
from hrec.models.layers.user_sequences import UserSequences
from hrec.models.sequential._interests import Decoder, diversity, visible
from hrec.models.sequential._vectors import EncoderSettings, Positions, blocks_of

CELLS = 2**22
"""Scores that are held at once in training."""


class MISSRec(BaseModel):
    """score(u, i) = [(1 - a) sum_m w_m s_m + a cos(h_u, id_i)] / tau, s_m = cos(h_u, A_m x_im), w = softmax(beta s).

    A modality m is a column of vectors with a linear map A_m. Its clusters are the interests. They are found once
    by k-means and saved with the weights. An encoder reads the interests of the sequence, each at its first entry,
    as A_m of the centre. A decoder reads the items, one token A_m x + position [+ id] of each modality, and attends
    to the encoded interests (section 3.3). h_u is the mean of the tokens of the newest entry. w runs over the
    modalities that the item has: the logit of others is -inf. beta is trained, from 0. An item without any vector
    has the cosine of its id alone.

    Departures. The authors' DPC-KNN in one space is quadratic in the items; here each modality has its k-means.
    They feed each prefix alone; here all positions are trained at once and every attention is causal. Their
    diversity term is a squared norm; here it is the mean squared cosine of different interests of a sequence. The
    contrasts of the pretraining are not here: the loss is that of the fine-tuning.
    """

    class Config(EncoderSettings):
        """Settings of MISSRec; widths as in the authors' code."""

        num_heads: int = Field(4, ge=1)
        interests: float = Field(0.02, gt=0, le=1)
        """Clusters of a modality for each item that has its vector."""
        cluster_seed: NonNegativeInt = 0
        """Seed of the clusters."""
        id_share: float = Field(1 / 3, ge=0, le=1)
        """a, the part of the score that is of the ids, where there are some."""
        diversity: NonNegativeFloat = 1e-4
        """gamma, the weight of the diversity of interests."""

    reads = Reads(user={"sequence"}, item={"id", "columns"})
    config: Config

    def __init__(self, config: Config, data: TrainData) -> None:
        super().__init__(config, data)
        width = config.embedding_size
        vectors = required_vectors(data, config, "MISSRec")
        self.remarks += coverage(vectors)
        self.sequences = UserSequences(data, config.sequences.max_length)
        self.modalities = nn.ModuleList(Modality(v, config) for v in vectors)
        self.table = EmbeddingTable(data.n_items, width, config.init_std, math.inf) if config.ids else None
        self.beta = nn.Parameter(torch.zeros(())) if len(vectors) > 1 else None
        self.positions, self.encoder = Positions(config), blocks_of(config)
        self.decoder = Decoder(width, config.num_heads, config.inner_size, config.dropout, config.n_layers)

    def sampler(self, data: TrainData) -> NextItem:
        c = self.config.sequences
        return NextItem(data, c.max_length, self.device, c.stride)

    def loss(self, batch: SequenceBatch) -> dict[str, Tensor]:
        """Cross-entropy over all items, mean over the positions, and the diversity."""
        assert batch.target is not None
        state, interest, valid = self.states(batch.item, batch.mask)
        items = self.item_parts(torch.arange(self.n_items, device=self.device))
        step = max(1, CELLS // max(self.n_items * len(items[0]), 1))
        state, target = state[batch.mask], batch.target[batch.mask]
        # scores are computed again for the gradient, so that those of one piece are held at a time
        once = partial(checkpoint, self._cross_entropy, use_reentrant=False, preserve_rng_state=False)
        total = [once(h, own, *items) for h, own in zip(state.split(step), target.split(step), strict=True)]
        terms = {"ce": torch.stack(total).sum() / len(target)}
        if self.config.diversity:
            terms["diversity"] = self.config.diversity * diversity(interest, valid)
        return terms

    def _cross_entropy(self, state: Tensor, own: Tensor, parts: Tensor, known: Tensor) -> Tensor:
        return F.cross_entropy(self.fused(state @ parts.flatten(0, 1).T, known), own, reduction="sum")

    def states(self, item: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """h float[B, L, d], of length 1, 0 for padding; the encoded interests float[B, T, d]; which of them there are,
        bool[B, T]. item int64[B, L]; mask bool[B, L]; T = modalities * L."""
        token, has = self._tokens(item, mask)
        interest, first = self._interests(item, mask)
        time = torch.arange(item.shape[1], device=item.device).repeat(len(self.modalities))
        seen = visible(time, first)
        for block in self.encoder:
            interest = block(interest, seen)
        x = self.decoder(token, interest, visible(time, has), seen)
        by_modality = (x * has[:, :, None]).unflatten(1, (len(self.modalities), -1))
        return F.normalize(by_modality.sum(1), dim=2) * mask[:, :, None], interest, first

    def _tokens(self, item: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """(float[B, T, d], bool[B, T] which there are); an item without a vector has the first modality's token."""
        known = torch.stack([m.vectors.known[item] for m in self.modalities], 1)  # type: ignore[index, union-attr]
        known[:, 0] |= ~known.any(1)
        own = 0.0 if self.table is None else self.table.rows(item.flatten()).unflatten(0, item.shape)
        tokens = [self.positions((m(item) + own) * mask[:, :, None]) for m in self.modalities]
        return torch.cat(tokens, 1), (known & mask[:, None]).flatten(1)

    def _interests(self, item: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """(float[B, T, d], bool[B, T] True at the first entry of each interest)."""
        place = torch.stack([m.cluster[item] for m in self.modalities], 1)  # type: ignore[index]
        place = torch.where(mask[:, None], place, -1)
        again = (place[:, :, :, None] == place[:, :, None, :]).tril(-1).any(3)
        tokens = [m.interest(place[:, index]) for index, m in enumerate(self.modalities)]  # type: ignore[operator]
        return torch.cat(tokens, 1), ((place >= 0) & ~again).flatten(1)

    def item_parts(self, item: Tensor) -> tuple[Tensor, Tensor]:
        """A_m x of length 1 of each modality, and id, float[parts, B, d]; which there are, bool[parts, B]."""
        parts = [m(item) for m in self.modalities]
        known = [m.vectors.known[item] for m in self.modalities]  # type: ignore[index, union-attr]
        if self.table is not None:
            parts.append(self.table.rows(item))
            known.append(torch.ones_like(known[0]))
        return F.normalize(torch.stack(parts), dim=2), torch.stack(known)

    def item_vectors(self, item: Tensor) -> Tensor:
        """One vector of each item for item-to-item matching, float[B, d] of length 1: the mean of its parts."""
        parts, known = self.item_parts(item)
        return F.normalize((parts * known[:, :, None]).sum(0), dim=1)

    def fused(self, cosine: Tensor, known: Tensor) -> Tensor:
        """float[Q, parts * n], cosines of each part -> scores float[Q, n]; known bool[parts, n]."""
        cosine, of_modality = cosine.unflatten(1, known.shape), known[: len(self.modalities)]
        some = of_modality.any(0)
        beta = 0.0 if self.beta is None else self.beta
        logit = (beta * cosine[:, : len(of_modality)]).masked_fill(~of_modality & some, -torch.inf)
        score = (logit.softmax(1) * cosine[:, : len(of_modality)]).sum(1)  # 0 for an item without any vector
        if self.table is not None:
            score = torch.lerp(score, cosine[:, -1], torch.where(some, self.config.id_share, 1.0).to(score.dtype))
        return score / self.config.temperature

    def ranker(self) -> Ranker:
        parts, known = self.item_parts(torch.arange(self.n_items, device=self.device))
        flat = parts.flatten(0, 1).T
        step = max(1, CELLS // max(self.n_items * len(parts), 1))

        def scores(queries: Queries) -> Tensor:
            users = self.query_states(queries)
            return torch.cat([self.fused(some @ flat, known) for some in users.split(step)])

        return scores

    def query_states(self, queries: Queries) -> Tensor:
        """h of the histories of the queries, or of the training rows of known users, float[Q, d]"""
        batch = self.sequences.of_queries(queries).padded(self.config.sequences.max_length)
        return self.states(batch.item, batch.mask)[0][:, -1]

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        who, place = torch.unique(user, return_inverse=True)
        state = self.query_states(Queries(who))[place]
        parts, known = self.item_parts(item)
        return self.fused((parts * state).sum(2).flatten()[None], known).flatten()


class Modality(nn.Module):
    """A and the interests of one column of vectors; item int64[...] -> A x, float[..., d], 0 without a vector."""

    cluster: Tensor
    centre: Tensor

    def __init__(self, vectors: ItemVectors, config: MISSRec.Config) -> None:
        super().__init__()
        self.vectors = vectors
        self.map = nn.Linear(vectors.width, config.embedding_size)
        x = vectors.value[vectors.known]
        centre = kmeans(x, max(1, math.ceil(config.interests * len(x))), config.cluster_seed)
        cluster = torch.full((len(vectors.known),), -1)
        cluster[vectors.known] = nearest(x, centre)
        self.register_buffer("centre", centre)
        self.register_buffer("cluster", cluster)

    def forward(self, item: Tensor) -> Tensor:
        return self.map(self.vectors(item)) * self.vectors.known[item][..., None]

    def interest(self, cluster: Tensor) -> Tensor:
        """A of the centres of these clusters, int64[...] -> float[..., d]; 0 for -1"""
        if not len(self.centre):
            return self.map.weight.new_zeros(*cluster.shape, len(self.map.weight))
        return self.map(self.centre)[cluster.clamp(min=0)] * (cluster >= 0)[..., None]
