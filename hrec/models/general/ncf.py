"""NCF: a generalised inner product (GMF), a tower over both vectors (MLP), or both together (NeuMF).

He, Liao, Zhang, Nie, Hu and Chua, Neural Collaborative Filtering, WWW 2017, section 3.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Annotated, Literal, Self

import torch
from pydantic import Field, PositiveFloat, PositiveInt, model_validator
from torch import Tensor, nn

from hrec.datasets.batches import Points
from hrec.datasets.recdata import TrainData
from hrec.datasets.samplers import Pointwise
from hrec.models.base import BaseModel, Needs, Reads, Stage
from hrec.models.layers.bags import EmbeddingTable
from hrec.models.layers.mlp import MLP
from hrec.models.losses import bce
from hrec.settings import Settings

Part = Literal["gmf", "mlp"]


class NCF(BaseModel):
    """Logit h_gmf . (p_u * q_i) + h_mlp . tower([p'_u; q'_i]) (Eq. 8-10, 12), or one of the two alone.

    Each part has its own embeddings. The output layer over both, h of Eq. 12, is the sum of one output layer per
    part, so the weights of Eq. 13, alpha h_gmf and (1 - alpha) h_mlp, are a factor on each; so are their biases.
    The loss is Eq. 7.
    """

    class Config(Settings):
        """Settings of NCF."""

        parts: tuple[Part, ...] = Field(("gmf", "mlp"), min_length=1)
        """gmf, mlp, or both: NeuMF."""
        embedding_size: PositiveInt = 64
        """Width of the vectors of users and of items, in each part."""
        mlp_hidden_size: tuple[PositiveInt, ...] = Field((128, 64, 32), min_length=1)
        """Widths of the tower, which reads two vectors; in the paper each is half of the one before."""
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
        """Chance that an input of a linear layer of the tower is left out in training."""
        pretrain: bool = False
        """Train gmf alone, then mlp alone (stages of the group pretrain), then both from there (section 3.4.1)."""
        alpha: Annotated[float, Field(ge=0, le=1)] = 0.5
        """How much the pretrained gmf counts for where both begin together, and mlp the rest (Eq. 13)."""
        init_std: PositiveFloat = 0.01
        """Standard deviation of the first vectors."""

        @model_validator(mode="after")
        def _parts_fit(self) -> Self:
            if len(set(self.parts)) < len(self.parts):
                raise ValueError(f"parts names each part once, got {list(self.parts)}")
            if self.pretrain and len(self.parts) < 2:
                raise ValueError(f"pretrain trains gmf and mlp separately first, and parts has only {self.parts[0]}")
            return self

    reads = Reads(user={"id"}, item={"id"})
    needs = Needs(labels=True)
    stage_groups = ("pretrain", "train")
    config: Config

    def __init__(self, config: Config, data: TrainData) -> None:
        super().__init__(config, data)
        self.parts = nn.ModuleDict({name: _PARTS[name](config, data) for name in config.parts})
        self.scored_by: Sequence[str] = config.parts
        """The parts that a score is made of: while one is pretrained, that one."""

    def stages(self, data: TrainData) -> Iterator[Stage]:
        """All parts together; with pretrain, each alone before that."""
        for name in self.config.parts if self.config.pretrain else ():
            self.scored_by = (name,)
            part = self.parts[name]
            weight = self.config.alpha if name == "gmf" else 1 - self.config.alpha
            yield Stage(
                name,
                partial(self.loss, parts=(name,)),
                self.sampler(data),
                list(part.parameters()),
                group="pretrain",
                then=partial(_scale, part.out, weight),  # type: ignore[arg-type]
            )
        self.scored_by = self.config.parts
        yield Stage("train", self.loss, self.sampler(data), list(self.parameters()))

    def sampler(self, data: TrainData) -> Pointwise:
        return Pointwise(data)

    def loss(self, batch: Points, parts: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Binary cross-entropy of the pairs (Eq. 7), by these parts alone or by all."""
        return {"bce": bce(self._logit(batch.user, batch.item, parts or self.config.parts), batch.label)}

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        return self._logit(user, item, self.scored_by)

    def _logit(self, user: Tensor, item: Tensor, parts: Sequence[str]) -> Tensor:
        return torch.stack([self.parts[name](user, item) for name in parts]).sum(0)


class _Part(nn.Module):
    """Vectors of users and items, and an output layer of ``width`` inputs."""

    def __init__(self, config: NCF.Config, data: TrainData, width: int) -> None:
        super().__init__()
        self.users = EmbeddingTable(data.n_users, config.embedding_size, config.init_std)
        self.items = EmbeddingTable(data.n_items, config.embedding_size, config.init_std)
        self.out = nn.Linear(width, 1)


class _GMF(_Part):
    """h . (p_u * q_i) + bias (Eq. 8 and 9)."""

    def __init__(self, config: NCF.Config, data: TrainData) -> None:
        super().__init__(config, data, config.embedding_size)

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        """user, item int64[B] -> logit float[B]"""
        return self.out(self.users.rows(user) * self.items.rows(item)).squeeze(1)


class _Tower(_Part):
    """h . tower([p_u; q_i]) + bias, ReLU after every layer of the tower (Eq. 10)."""

    def __init__(self, config: NCF.Config, data: TrainData) -> None:
        super().__init__(config, data, config.mlp_hidden_size[-1])
        self.tower = MLP([2 * config.embedding_size, *config.mlp_hidden_size], config.dropout, last_relu=True)

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        """user, item int64[B] -> logit float[B]"""
        return self.out(self.tower(torch.cat([self.users.rows(user), self.items.rows(item)], 1))).squeeze(1)


_PARTS: dict[str, type[_GMF] | type[_Tower]] = {"gmf": _GMF, "mlp": _Tower}


@torch.no_grad()
def _scale(layer: nn.Linear, factor: float) -> None:
    for p in layer.parameters():
        p.mul_(factor)
