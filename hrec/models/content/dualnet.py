"""DualNet: a network on the content of items and one on the histories of users, matched level by level.

Xiong, Lin, Niu, Cheng and Li, Collaborative Deep Embedding via Dual Networks (submitted to ICLR 2017), sections 3 and
4. R is 1 where a user likes an item in the training part and 0 elsewhere, in histories too. Items without a training
row are in no batch: nothing is known of their cells, and they are encoded afterwards like all others.

Choices where the paper is silent: c_ij is a where R is 1 and b elsewhere. CDL's a = 1 and b = 0.01 are the first
values. The branches are linear maps that begin as the identity. The top level is linear, its tanh a setting. Both
networks begin small. Words are weighed by tf-idf. The loss is a mean over cells, on a scale that ``loss`` names.

As in the paper, a user's history holds the item that is being predicted. The paper's remedy is noise on the history:
with more noise, the cell to be predicted is absent more often. ``hide_block`` is stricter. It removes the items of a
block from the histories of its users for that step, so no cell of a block ever sees itself, at no cost. The networks
then learn to predict what was left out, which is what is tested, and not to repeat their input.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Annotated, Any, Literal, Self

import numpy as np
import torch
from pydantic import Field, PositiveFloat, PositiveInt, ValidationInfo, field_validator, model_validator
from torch import Tensor, nn

from hrec.datasets.batches import Block, Rows
from hrec.datasets.histories import History, positive_history, transposed
from hrec.datasets.queries import Queries
from hrec.datasets.recdata import TrainData
from hrec.datasets.samplers import Dual, Items
from hrec.models.base import InnerProductModel, Reads, Stage
from hrec.models.layers.bags import Cells
from hrec.models.layers.content import ContentSettings, Scale, content, describe_all_items
from hrec.models.layers.histories import POWER
from hrec.models.layers.levels import ACTIVATIONS, Decoders, Levels, Shape
from hrec.models.layers.wide import Ones, Wide
from hrec.models.losses import weighted_logistic, weighted_squares, weighted_squares_of_all
from hrec.settings import CellWeights

Chance = Annotated[float, Field(ge=0, lt=1)]


class DualNet(InnerProductModel):
    """Score <f(x_j), g(r_i)>, summed over the levels that the design matches (section 3.2); trained on Eq. 4.

    Stages: ``pretrain/1..L``, each level of the item network as a denoising autoencoder; ``refine/1..L``, both networks
    with their lowest 1..L levels; ``train``, the whole.
    """

    class Config(ContentSettings, CellWeights):
        """Settings of DualNet."""

        levels: tuple[PositiveInt, ...] = Field((200, 200, 50), min_length=1)
        """Widths of both networks from the bottom up."""
        design: Literal["basic", "multi_level", "branching"] = "branching"
        """basic: the top levels are matched; multi_level: every level with its dual, dot products summed; branching:
        each level but the top through its own map (Figure 1 a, b, c)."""
        top: Literal["linear", "tanh"] = "linear"
        """What stands behind the sum of the top level."""
        loss: Literal["squared", "logistic"] = "squared"
        """The squared error of Eq. 4, or a cross-entropy with the same weights ("Unsuccessful tactics")."""
        block_items: PositiveInt = 512
        """Items of a dual mini-batch; opt.batch_size is the number of its users."""
        all_pairs: bool = False
        """Each step takes all items: the loss of its users over all of them, exact, without a pass over the zeros (Gram
        matrices). block_items has no effect."""
        skip_empty_blocks: Annotated[float, Field(ge=0, le=1)] = 0.0
        """Share of the dual mini-batches without any 1 that an epoch leaves out ("Unsuccessful tactics"); with large
        blocks there are none."""
        hide_block: bool = False
        """Take the items of a dual mini-batch out of the histories of its users, and with item_history its users out of
        those of its items. null: unless all_pairs, whose blocks have all items."""
        user_noise: Chance = 0.0
        """Share of the cells of a history that are set to 0 in training (noise injection)."""
        item_noise: Chance = 0.0
        """Share of the cells of an item's content that are set to 0 in training."""
        dropout: Chance = 0.0
        """Chance that an input of a level above the first, or of a branch, is left out in training."""
        batch_norm: bool = False
        """Batch normalisation of the sums of every level."""
        history_scale: Literal["sum", "sqrt", "mean"] = "sqrt"
        """A history of n cells as it is (the paper's r_i), over the square root of n, or over n."""
        item_history: bool = False
        """The item network reads who the item's users are too: what remains where items have no column."""
        user_gain: PositiveFloat = 0.1
        """About the deviation of the first sums of the lowest level of the user network."""
        item_gain: PositiveFloat = 0.1
        """The same of the item network. With 1 the first scores are of the order of 10 on CiteULike, and training takes
        many epochs to come back from there."""
        scale: Scale = "tfidf"
        pretrain: bool = True
        """Pretrain the item network, level by level."""
        pretrain_noise: Chance = 0.3
        """Share of the inputs that are set to 0 in pretraining."""
        all_items: bool = False
        """Pretrain on items without a training row too: their content, of which out-matrix prediction is not to
        know."""
        refine: bool = True
        """Train both networks with one level, then two, and so on, before the whole."""

        @field_validator("hide_block", mode="before")
        @classmethod
        def _hide_unless_all_pairs(cls, value: Any, others: ValidationInfo) -> Any:
            return not others.data.get("all_pairs", False) if value is None else value

        @model_validator(mode="after")
        def _all_pairs_fits(self) -> Self:
            clash = [
                name
                for name, given in (
                    ("loss 'logistic', which no Gram matrix can sum", self.loss == "logistic"),
                    ("skip_empty_blocks: there are no blocks", self.skip_empty_blocks > 0),
                    ("hide_block, which would take all items out of the histories", self.hide_block),
                )
                if self.all_pairs and given
            ]
            if clash:
                raise ValueError(f"all_pairs does not go with {clash[0]}")
            return self

    stage_groups = ("pretrain", "refine", "train")
    reads = Reads(user={"history"}, item={"columns"})
    config: Config

    def __init__(self, config: Config, data: TrainData) -> None:
        super().__init__(config, data)
        positive = positive_history(data)
        users = transposed(positive) if config.item_history else None
        history = _scaled(positive, POWER[config.history_scale])
        shape = partial(Shape, config.levels, dropout=config.dropout, batch_norm=config.batch_norm)
        self.item_net = Levels(content(data, config, users), shape(gain=config.item_gain))
        self.user_net = Levels(Wide(history), shape(gain=config.user_gain))
        self.matches = nn.ModuleDict({side: _Match(config) for side in ("user", "item")})
        self.decoders = Decoders(self.item_net) if config.pretrain else None
        self.ones = Ones(positive)
        x = data.interactions
        cells = len(np.unique(x.user)) * len(np.unique(x.item))
        self.cost_of_nothing = config.a * max(len(self.ones.rows.index), 1) / max(cells, 1)
        """Mean cost of a cell of R where all scores are 0, by Eq. 4."""
        # a block that held most items would take most of every history away
        most = max(1, data.n_items // 10) if config.hide_block else config.block_items
        self.block_items = min(config.block_items, most)
        if self.block_items < config.block_items:
            self.remarks.append(f"blocks of {self.block_items} items, a tenth of all, as hide_block empties histories")
        self.depth = len(config.levels)
        """The levels that a score is made of: while the networks are refined, those that are there."""
        wide = self.item_net.first.wide
        self.remarks.append(f"the item network reads {wide.width:,} inputs, {len(wide.rows.index):,} cells of them")
        self.remarks += describe_all_items(data, config.all_items)

    def stages(self, data: TrainData) -> Iterator[Stage]:
        config, levels = self.config, len(self.config.levels)
        for level in range(levels if self.decoders else 0):
            yield self._pretraining(level, data)
        sampler = Dual(data, None if config.all_pairs else self.block_items, config.skip_empty_blocks)
        for depth in range(1, levels + 1) if config.refine else ():
            self.depth = depth
            yield Stage(f"refine/{depth}", self.loss, sampler, self._trainable(depth), group="refine")
        self.depth = levels
        yield Stage("train", self.loss, sampler, self._trainable(levels))

    def _pretraining(self, level: int, data: TrainData) -> Stage:
        """Level ``level`` of the item network, counted from 0, as a denoising autoencoder."""
        assert self.decoders is not None
        trainable = [*self.item_net.level_parts(level), *self.decoders.maps[level].parameters()]
        return Stage(
            f"pretrain/{level + 1}",
            partial(self._reconstruction, level),
            Items(data, self.config.all_items),
            trainable,
            group="pretrain",
            measured=False,
        )

    def _trainable(self, depth: int) -> list[nn.Parameter]:
        nets = [*self.user_net.parts(depth), *self.item_net.parts(depth)]
        return nets + [p for match in self.matches.values() for p in match.parts(depth)]  # type: ignore[operator]

    def _reconstruction(self, level: int, batch: Rows) -> dict[str, Tensor]:
        assert self.decoders is not None
        return {"reconstruction": self.decoders.loss(self.item_net, level, batch.row, self.config.pretrain_noise)}

    def loss(self, batch: Block) -> dict[str, Tensor]:
        """Eq. 4 as the mean cost of a cell over the mean cost where all scores are 0: at 1 nothing is learnt yet.

        The scale depends neither on the size of a block nor on that of R, and so the learning rate need not either; the
        mean over the blocks of an epoch, were they of equal size, is the value for the whole of R.
        """
        config = self.config
        u = self._of_users(batch.user, batch.item if config.hide_block else None)
        users = batch.user if batch.together is None else batch.together
        v = self._of_items(batch.item, users if config.hide_block and config.item_history else None)
        if config.all_pairs:
            cells = self.ones.cells(batch.user, batch.item)
            cost = weighted_squares_of_all(u, v, cells, config.a, config.b)
            return {"squared": cost / (len(u) * len(v) * self.cost_of_nothing)}
        cost = _COSTS[config.loss](u @ v.T, self.ones.block(batch.user, batch.item), config.a, config.b)
        return {config.loss: cost / (len(u) * len(v) * self.cost_of_nothing)}

    def user_vectors(self, user: Tensor) -> Tensor:
        return self._of_users(user)

    def query_vectors(self, queries: Queries) -> Tensor:
        if queries.history is None:
            return self.user_vectors(queries.known())
        length, column, ones = queries.history.cells(positives=True)
        each = length.clamp(min=1).to(ones.dtype).pow(-POWER[self.config.history_scale])
        cells = Cells(length, column, ones * each.repeat_interleave(length))
        return self.matches["user"](self.user_net.of_cells(cells, self.depth))

    def item_vectors(self, item: Tensor) -> Tensor:
        return self._of_items(item)

    def _of_users(self, user: Tensor, without: Tensor | None = None) -> Tensor:
        """The vectors of users, int64[B], as if none of the items ``without`` were in their histories."""
        noise = self.config.user_noise if self.training else 0.0
        return self.matches["user"](self.user_net(user, self.depth, noise, _marked(self.user_net, without)))

    def _of_items(self, item: Tensor, without: Tensor | None = None) -> Tensor:
        """The vectors of items, int64[B], as if none of the users ``without`` were in their histories."""
        noise = self.config.item_noise if self.training else 0.0
        return self.matches["item"](self.item_net(item, self.depth, noise, _marked(self.item_net, without)))


class _Match(nn.Module):
    """What of the levels of one network is multiplied with its dual: the sums of the levels -> [B, d]."""

    def __init__(self, config: DualNet.Config) -> None:
        super().__init__()
        below = config.levels[:-1] if config.design == "branching" else ()
        self.branches = nn.ModuleList(_identity(width) for width in below)
        self.dropout = nn.Dropout(config.dropout)
        self.top = ACTIVATIONS[config.top]
        self.below = _BELOW[config.design]

    def forward(self, sums: list[Tensor]) -> Tensor:
        """One vector: the dot products of its parts with their duals are summed by one product of the whole."""
        return torch.cat([self.top(sums[-1]), *self.below(self, [torch.tanh(level) for level in sums[:-1]])], 1)

    def parts(self, depth: int) -> list[nn.Parameter]:
        """The weights that are used while there are ``depth`` levels."""
        return [p for branch in self.branches[: depth - 1] for p in branch.parameters()]


_BELOW: dict[str, Callable[[_Match, list[Tensor]], list[Tensor]]] = {
    "basic": lambda match, levels: [],
    "multi_level": lambda match, levels: levels,
    "branching": lambda match, levels: [b(match.dropout(x)) for b, x in zip(match.branches, levels, strict=False)],
}
"""What a design matches of the levels below the top."""

_COSTS = {"squared": weighted_squares, "logistic": weighted_logistic}


def _identity(width: int) -> nn.Linear:
    """A branch that begins by changing nothing, so that a level is matched as before when one is stacked on it."""
    branch = nn.Linear(width, width)
    nn.init.eye_(branch.weight)
    nn.init.zeros_(branch.bias)
    return branch


def _marked(net: Levels, column: Tensor | None) -> Tensor | None:
    """bool[cells' columns of the input]: those of ``column``; the users are the first of an item's inputs."""
    if column is None:
        return None
    wide = net.first.wide
    return torch.zeros(wide.cell_width, dtype=torch.bool, device=column.device).index_fill_(0, column, True)


def _scaled(history: History, power: float) -> History:
    """Each row's n cells over n ** power."""
    length = np.diff(history.offset)
    scale = np.repeat(np.maximum(length, 1) ** -power, length).astype(np.float32)
    return History(history.offset, history.index, history.value * scale, history.width)
