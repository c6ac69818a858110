"""DURation: a map per kind of item into one space, kept aligned over the kinds and true to each kind's topology.

Lu et al., Deep Unified Representation for Heterogeneous Recommendation, WWW 2022, sections 3 and 4.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn

from hrec.datasets.batches import Points, per_kind, pointwise
from hrec.datasets.histories import item_history, user_history
from hrec.datasets.recdata import RecData
from hrec.models.base import InnerProductModel, Needs
from hrec.models.layers.fields import Fields
from hrec.models.layers.histories import HistoryLinear
from hrec.models.layers.mlp import MLP
from hrec.models.layers.towers import Tower, TwoTowerSettings
from hrec.models.losses import alignment, bce, topology


class DURation(InnerProductModel):
    """u = MLP(Y_u + attributes), x_i = MLP(Y_i + f_p(attributes)) for item i of kind p, score <u, x> (+ means joined).

    L = C + alpha A + beta T (Eq. 8): cross-entropy (Eq. 7), alignment of the mapped attributes of the kinds (Eq. 4),
    topology of each kind's attributes before and after its map (Eq. 5-6). Departures from the paper, each a setting:
    no ReLU on the last layer and a bias (with the ReLU an inner product is never negative, so no probability falls
    below one half); the target's own cell leaves its history in training. Attribute embeddings are trained; topology
    takes them as given (no gradient), or it could be met by shrinking them.

    A kind without columns has nothing to map: its mapped attributes are one trained vector, and it takes no part in
    the alignment and topology losses.
    """

    class Config(TwoTowerSettings):
        """Settings of DURation; widths as published."""

        token_emb_size: PositiveInt = 32
        item_map_hidden_size_list: tuple[PositiveInt, ...] = (256, 64)
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
        """Weight of the topology loss; 0 leaves it out."""
        relative_topology: bool = False
        """Topology over its value for a map to zero, between 0 and about 1 on any data. false: as in the paper a sum
        over pairs of rows divided by N, which grows with the batch size and the features; 0.001 belongs to 1,024."""

        # the published kernel: exp(-|x - y|^2 / 2)
        paper = TwoTowerSettings.paper | {"gamma": 0.5}

    needs = Needs(labels=True)
    sample = staticmethod(per_kind(pointwise))
    keeps_kinds_apart = True
    published_unused: ClassVar[dict[str, str]] = {
        "mlp_hidden_size": "the towers are user_hidden_size_list and item_hidden_size_list",
        "dropout_prob": "to have dropout, set 'dropout'",
        "align_sample_size": "to choose the rows that alignment compares, set 'align_rows'",
    }
    config: Config

    def __init__(self, config: Config, data: RecData) -> None:
        super().__init__(config, data)
        self.users = HistoryLinear(user_history(data), config.user_emb_size, config.history)
        self.items = HistoryLinear(item_history(data), config.item_emb_size, config.history)
        std = config.history.init_std
        self.user_fields = Fields(data.users, config.token_emb_size, std)
        self.kinds = list(data.kinds)
        self.fields = nn.ModuleDict({k: Fields(t, config.token_emb_size, std) for k, t in data.kinds.items()})
        self.maps = nn.ModuleDict({k: _map(f.width, config) for k, f in self.fields.items()})  # type: ignore[arg-type]
        rows = np.bincount(data.interactions.kind, minlength=len(self.kinds))
        weight = rows / rows.max() if config.weight_by_rows else np.ones(len(rows))
        self.kind_weight = dict(zip(self.kinds, weight.tolist(), strict=True))
        self.register_buffer("starts", torch.tensor([t.start for t in data.kinds.values()]), persistent=False)
        mapped = config.item_map_hidden_size_list[-1]
        user_width = self.users.width + self.user_fields.width
        self.user_tower = Tower(user_width, config.user_hidden_size_list, config)
        self.item_tower = Tower(self.items.width + mapped, config.item_hidden_size_list, config)

    starts: Tensor

    def loss(self, batch: dict[str, Points]) -> dict[str, Tensor]:
        """The terms of Eq. 8, already weighted: bce (summed over the kinds), align, topology."""
        user = torch.cat([b.user for b in batch.values()])
        item = torch.cat([b.item for b in batch.values()])
        raw = {kind: self.fields[kind](b.item - self._start(kind)) for kind, b in batch.items()}
        mapped = {kind: self.maps[kind](r) for kind, r in raw.items()}
        out = self.config.history.leave_target_out
        left = self.user_vectors(user, leave_out=item if out else None)
        pooled = self.items(item, user if out else None)
        right = self.item_tower.as_right(torch.cat([pooled, torch.cat(list(mapped.values()))], 1))
        logit = (left * right).sum(1).split([len(b) for b in batch.values()])
        entropy = [self.kind_weight[k] * bce(s, b.label) for s, (k, b) in zip(logit, batch.items(), strict=True)]
        terms = {"bce": torch.stack(entropy).sum()}
        described = [kind for kind in batch if raw[kind].shape[1]]
        if self.config.alpha and len(described) > 1:
            n = self.config.align_rows
            terms["align"] = self.config.alpha * alignment([mapped[k][:n] for k in described], self.config.gamma)
        if self.config.beta and described:
            scaled = self.config.relative_topology
            parts = [topology(raw[kind].detach(), mapped[kind], scaled) for kind in described]
            terms["topology"] = self.config.beta * torch.stack(parts).sum()
        return terms

    def user_vectors(self, user: Tensor, leave_out: Tensor | None = None) -> Tensor:
        return self.user_tower.as_left(torch.cat([self.users(user, leave_out), self.user_fields(user)], 1))

    def item_vectors(self, item: Tensor) -> Tensor:
        return self.item_tower.as_right(torch.cat([self.items(item), self.mapped(item)], 1))

    def mapped(self, item: Tensor) -> Tensor:
        """The unified representation f_p(attributes) of items of any kinds, int64[B] -> [B, d]."""
        out = item.new_zeros(len(item), self.config.item_map_hidden_size_list[-1], dtype=torch.float32)
        kind_of = torch.searchsorted(self.starts, item, right=True) - 1
        for number, kind in enumerate(self.kinds):
            here = (kind_of == number).nonzero().squeeze(1)
            if len(here):
                out = out.index_copy(
                    0, here, self.maps[kind](self.fields[kind](item[here] - self._start(kind))).float()
                )
        return out

    def _start(self, kind: str) -> int:
        return int(self.starts[self.kinds.index(kind)])


class _Constant(nn.Module):
    """The map of a kind without columns: one vector for every item."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.vector = nn.Parameter(torch.zeros(width))

    def forward(self, raw: Tensor) -> Tensor:
        return self.vector.expand(len(raw), -1)


def _map(width: int, config: DURation.Config) -> nn.Module:
    """f_p of section 3.2; no dropout, so that the losses on it compare the same items every time."""
    return MLP([width, *config.item_map_hidden_size_list]) if width else _Constant(config.item_map_hidden_size_list[-1])
