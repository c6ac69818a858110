"""DURation: a map per kind of item into one space, kept aligned over the kinds and true to each kind's topology.

Lu et al., Deep Unified Representation for Heterogeneous Recommendation, WWW 2022, sections 3 and 4.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor

from hrec.datasets.batches import Points
from hrec.datasets.histories import item_history, user_history
from hrec.datasets.queries import Queries
from hrec.datasets.recdata import TrainData
from hrec.datasets.samplers import PerKind
from hrec.models.base import InnerProductModel, Needs, Reads, Stage
from hrec.models.layers.fields import Fields, FieldSettings
from hrec.models.layers.histories import HistoryLinear
from hrec.models.layers.kinds import ByKind, Kinds, joined, split, summed_bce
from hrec.models.layers.mlp import mlp_or_constant
from hrec.models.layers.towers import Tower, TwoTowerSettings
from hrec.models.losses import alignment, topology


class DURation(InnerProductModel):
    """u = MLP(Y_u + attributes), x_i = MLP(Y_i + f_p(attributes)) for item i of kind p, score <u, x> (+ means joined).

    L = C + alpha A + beta T (Eq. 8): cross-entropy (Eq. 7), alignment of the mapped attributes of the kinds (Eq. 4),
    topology of each kind's attributes before and after its map (Eq. 5-6). Departures from the paper, each a setting:
    No ReLU on the last layer of the towers, and a bias. With the ReLU an inner product is never negative, so no
    probability falls below one half. No ReLU on the last layer of the maps f_p (map_last_relu), which section 3.2 calls
    an MLP like the towers. The target's own cell leaves its history in training. Attribute embeddings are trained
    unless frozen_attributes. Topology has no gradient with respect to them: shrinking them would lower it.

    A kind without columns has nothing to map. Its mapped attributes are one trained vector, and it has no part in the
    alignment and topology losses. A kind whose columns are a single number has none in topology: the covariance of
    Eq. 5 is over the features of an item.
    """

    class Config(TwoTowerSettings, FieldSettings):
        """Settings of DURation; widths as published."""

        frozen_attributes: bool = False
        """Attribute embeddings are drawn from N(0, 1) and stay as they are, as in the published code, which keeps them
        outside of the model. false: drawn from N(0, history.init_std) and trained."""
        item_map_hidden_size_list: tuple[PositiveInt, ...] = Field((256, 64), min_length=1)
        map_last_relu: bool = False
        """ReLU on the last layer of the maps f_p too, so that no mapped attribute is negative."""
        kernel: Literal["gaussian"] = "gaussian"
        gamma: PositiveFloat | None = None
        """k(x, y) = exp(-gamma |x - y|^2); null: 1 over the mean squared distance of the rows drawn."""
        weight_by_rows: bool = False
        """A kind's cross-entropy counts by its share of the training rows. false: each kind counts the same."""
        align_rows: PositiveInt = 128
        """Rows of each kind that a step compares, at most the batch size; the N_i of Eq. 4."""
        alpha: NonNegativeFloat = 1.0
        """Weight of the alignment loss; 0 leaves it out. A is a difference of mean kernel values, between 0 and 1 on
        any data, so a value carries over between data sets. The paper's 5e8 multiplies sums over m pairs of rows
        that were divided by the sizes n_i n_j of whole catalogues: it is alpha = 5e8 m / (n_i n_j) here. The
        published code sums m = 128 pairs, and Douban has n = 150,955, 102,571 and 50,299, which gives 2.8 within
        books, 6.1 within music, 25 within films and 4.1 to 12 across kinds."""
        beta: NonNegativeFloat = 0.001
        """Weight of the topology loss; 0 leaves it out. As published. With it and alpha 1 the three terms differ by
        more than the one order of magnitude of section 5.3, as larger weights did not help
        (docs/log/alignment-topology.md)."""
        relative_topology: bool = False
        """Topology over its value for a map to zero, between 0 and about 1 on any data. False: as in the paper a sum
        over pairs of rows divided by N. It grows with the batch size and the features; 0.001 belongs to 1,024."""

        # the published kernel: exp(-|x - y|^2 / 2)
        paper = TwoTowerSettings.paper | {"gamma": 0.5, "map_last_relu": True}

    needs = Needs(labels=True)
    reads = Reads(user={"cells", "columns"}, item={"cells", "columns"}, per_kind=True)
    published_unused: ClassVar[dict[str, str]] = {
        "mlp_hidden_size": "the towers are user_hidden_size_list and item_hidden_size_list",
        "dropout_prob": "to have dropout, set 'dropout'",
        "align_sample_size": "to choose the rows that alignment compares, set 'align_rows'",
    }
    config: Config

    def __init__(self, config: Config, data: TrainData) -> None:
        super().__init__(config, data)
        self.users = HistoryLinear(user_history(data), config.user_emb_size, config.history)
        self.items = HistoryLinear(item_history(data), config.item_emb_size, config.history)
        std = 1.0 if config.frozen_attributes else config.history.init_std
        fields_of = partial(Fields, width=config.token_emb_size, init_std=std, buckets=config.buckets)
        self.user_fields = fields_of(data.users)
        self.kinds = Kinds(data)
        fields = {kind: fields_of(table) for kind, table in data.kinds.items()}
        self.fields = ByKind(fields)
        # f_p of section 3.2; no dropout, so that the losses on it compare the same items every time
        widths = config.item_map_hidden_size_list
        map_of = partial(mlp_or_constant, last_relu=config.map_last_relu)
        self.maps = ByKind({k: map_of([f.width, *widths]) for k, f in fields.items()})
        self.with_topology = {kind for kind, f in fields.items() if f.width > 1}
        if config.beta and (flat := [kind for kind, f in fields.items() if f.width == 1]):
            self.remarks.append(f"topology leaves out {', '.join(flat)}: a single number has no covariance (Eq. 5)")
        rows = np.bincount(data.interactions.kind, minlength=len(data.kinds))
        weight = rows / rows.max() if config.weight_by_rows else np.ones(len(rows))
        self.kind_weight = dict(zip(data.kinds, weight.tolist(), strict=True))
        user_width = self.users.width + self.user_fields.width
        self.user_tower = Tower(user_width, config.user_hidden_size_list, config)
        self.item_tower = Tower(self.items.width + widths[-1], config.item_hidden_size_list, config)

    def stages(self, data: TrainData) -> Iterator[Stage]:
        """One stage, over all weights but frozen attribute embeddings."""
        (stage,) = super().stages(data)
        attributes = [*self.user_fields.parameters(), *self.fields.parameters()]
        frozen = {id(p) for p in attributes if self.config.frozen_attributes}
        yield replace(stage, params=[p for p in stage.params if id(p) not in frozen])

    def sampler(self, data: TrainData) -> PerKind:
        return PerKind(data)

    def loss(self, batch: dict[str, Points]) -> dict[str, Tensor]:
        """The terms of Eq. 8, already weighted: bce (summed over the kinds), align, topology."""
        points = joined(batch)
        raw = {kind: self.fields[kind](self.kinds.row(kind, b.item)) for kind, b in batch.items()}
        mapped = {kind: self.maps[kind](r) for kind, r in raw.items()}
        out = self.config.history.leave_target_out
        left = self.user_vectors(points.user, leave_out=points.item if out else None)
        pooled = self.items(points.item, points.user if out else None)
        right = self.item_tower.as_right(torch.cat([pooled, torch.cat(list(mapped.values()))], 1))
        terms = {"bce": summed_bce(split((left * right).sum(1), batch), batch, self.kind_weight)}
        described = [kind for kind in batch if raw[kind].shape[1]]
        if self.config.alpha and len(described) > 1:
            n = self.config.align_rows
            terms["align"] = self.config.alpha * alignment([mapped[k][:n] for k in described], self.config.gamma)
        shaped = [kind for kind in batch if kind in self.with_topology]
        if self.config.beta and shaped:
            scaled = self.config.relative_topology
            parts = [topology(raw[kind].detach(), mapped[kind], scaled) for kind in shaped]
            terms["topology"] = self.config.beta * torch.stack(parts).sum()
        return terms

    def user_vectors(self, user: Tensor, leave_out: Tensor | None = None) -> Tensor:
        return self.user_tower.as_left(torch.cat([self.users(user, leave_out), self.user_fields(user)], 1))

    def query_vectors(self, queries: Queries) -> Tensor:
        parts = [self.users.of_queries(queries), self.user_fields.of_queries(queries)]
        return self.user_tower.as_left(torch.cat(parts, 1))

    def item_vectors(self, item: Tensor) -> Tensor:
        return self.item_tower.as_right(torch.cat([self.items(item), self.mapped(item)], 1))

    def mapped(self, item: Tensor) -> Tensor:
        """The unified representation f_p(attributes) of items of any kinds, int64[B] -> [B, d]."""

        def map_one(kind: str, here: Tensor) -> Tensor:
            return self.maps[kind](self.fields[kind](self.kinds.row(kind, item[here])))

        return self.kinds.each(item, map_one, self.config.item_map_hidden_size_list[-1])
