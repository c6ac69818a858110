"""CDL: matrix factorisation whose item vectors are tied to the codes of a stacked denoising autoencoder.

Wang, Wang and Yeung, Collaborative Deep Learning for Recommender Systems, KDD 2015, sections 3.2 to 3.4; settings as in
the DualNet paper, section 5.2 (its Eq. 5, but that the autoencoder makes the clean x of the noisy x~, as in Wang et
al.; as printed there it makes x~ of x~). With x~ the content x with masking noise, minimise

    1/2 sum_ij c_ij (R_ij - u_i . v_j)^2 + l_u/2 sum_i |u_i|^2 + l_v/2 sum_j |v_j - enc(x~_j)|^2
        + l_n/2 sum_j |dec(enc(x~_j)) - x_j|^2 + l_w/2 |W|^2,   c_ij = a where R_ij = 1, b elsewhere.

Before each epoch U and V are solved in closed form, with the codes of the clean content as prior means of V. In the
epoch the weights of the autoencoder descend on the last three terms, with noise and dropout. As in the authors' Matlab
code all layers are sigmoids and the autoencoder is pretrained layer by layer. Their MXNet demonstration has ReLU and no
pretraining (``activation``). As in Wang and Blei's code, items without a training row have no cells. They count in no
u_i, and their vector is their code.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Annotated, Literal

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn

from hrec.datasets.batches import Rows
from hrec.datasets.histories import positive_history, transposed
from hrec.datasets.queries import Queries
from hrec.datasets.recdata import TrainData
from hrec.datasets.samplers import Items
from hrec.models.base import InnerProductModel, Reads, Stage
from hrec.models.layers.bags import Cells, RaggedRows
from hrec.models.layers.content import ContentSettings, content, describe_all_items
from hrec.models.layers.least_squares import best_rows
from hrec.models.layers.levels import Decoders, Levels, Shape
from hrec.settings import CellWeights

Chance = Annotated[float, Field(ge=0, lt=1)]


class CDL(InnerProductModel):
    """Score u_i . v_j; v_j of an item without a training row is enc(x_j).

    Stages: ``pretrain/1..L``, each layer of the autoencoder with its decoder; ``train``, closed-form steps and descent.
    """

    class Config(ContentSettings, CellWeights):
        """Settings of CDL."""

        widths: tuple[PositiveInt, ...] = Field((2000, 1000, 300), min_length=1)
        """Hidden layers up to the middle one, which is as wide as u and v; the decoder mirrors them."""
        activation: Literal["sigmoid", "relu", "tanh"] = "sigmoid"
        """Of all hidden layers."""
        output: Literal["sigmoid", "linear"] = "sigmoid"
        """Of the reconstruction; the inputs are between 0 and 1."""
        noise: Chance = 0.3
        """Share of the inputs that are set to 0 in training: what x~ is made by."""
        dropout: Chance = 0.1
        """Chance that an input of a layer above the first is left out in training."""
        lambda_u: PositiveFloat = 1.0
        lambda_v: PositiveFloat = 10.0
        lambda_n: PositiveFloat = 1000.0
        lambda_w: NonNegativeFloat = 0.0005
        sweeps: PositiveInt = 1
        """Times that U and V are solved before each epoch."""
        pretrain: bool = True
        """Train each layer with its decoder first, from the bottom up."""
        all_items: bool = False
        """Learn from the content of items without a training row too, as the paper does; out-matrix prediction is not
        to know it."""

    stage_groups = ("pretrain", "train")
    reads = Reads(user={"id"}, item={"id", "columns"})
    config: Config
    known: Tensor

    def __init__(self, config: Config, data: TrainData) -> None:
        super().__init__(config, data)
        shape = Shape(config.widths, config.activation, config.dropout, row_gradient=False)  # |W|^2 reads all of W
        self.encoder = Levels(content(data, config), shape)
        self.decoder = Decoders(self.encoder, config.output)
        self._begin_at_the_mean()
        self.users = nn.Parameter(torch.randn(data.n_users, config.widths[-1]) * 0.01)
        self.items = nn.Parameter(torch.randn(data.n_items, config.widths[-1]) * 0.01)
        positive = positive_history(data)
        self.positive, self.positive_by = RaggedRows.of(positive), RaggedRows.of(transposed(positive))
        known = torch.from_numpy(data.has_rows())
        self.register_buffer("known", known)
        self.walked = data.n_items if config.all_items else max(1, int(known.sum()))
        wide = self.encoder.first.wide
        self.remarks.append(f"the autoencoder reads {wide.width:,} inputs, {len(wide.rows.index):,} cells of them")
        self.remarks += describe_all_items(data, config.all_items)

    @torch.no_grad()
    def _begin_at_the_mean(self) -> None:
        """The first reconstruction is about the mean content: from one half everywhere it takes sigmoids long."""
        last, mean = self.decoder.maps[0], self.encoder.first.wide.column_sums() / self.n_items
        assert isinstance(last, nn.Linear)
        last.bias.copy_(torch.logit(mean.clamp(1e-4, 1 - 1e-4)) if self.config.output == "sigmoid" else mean)

    def stages(self, data: TrainData) -> Iterator[Stage]:
        sampler, last = Items(data, self.config.all_items), len(self.config.widths) - 1
        for level in range(last + 1) if self.config.pretrain else ():
            yield Stage(
                f"pretrain/{level + 1}",
                partial(self._layer_loss, level),
                sampler,
                [*self.encoder.level_parts(level), *self.decoder.maps[level].parameters()],
                group="pretrain",
                then=self._begin if level == last else lambda: None,
                measured=False,
            )
        trainable = [*self.encoder.parameters(), *self.decoder.parameters()]
        yield Stage("train", self.loss, sampler, trainable, each_epoch=self.solve)

    def _layer_loss(self, level: int, batch: Rows) -> dict[str, Tensor]:
        return {"reconstruction": self.decoder.loss(self.encoder, level, batch.row, self.config.noise)}

    def loss(self, batch: Rows) -> dict[str, Tensor]:
        """The terms that move the autoencoder, over the number of items that an epoch walks: a mean over the batch, and
        |W|^2 over that number."""
        config, wide = self.config, self.encoder.first.wide
        code = self._codes(batch.row, config.noise if self.training else 0.0)
        made = self.decoder(self.encoder, code)
        # an item without a training row has its code for a vector, so nothing pulls at the code
        away = (code - self.items[batch.row].detach()).square().sum(1) * self.known[batch.row]
        missed = (made - wide.dense(batch.row)).square().sum(1)
        # as squared norms: the gradient of a sum of squares takes several passes over weights of 64 MB
        norms = [torch.linalg.vector_norm(p) for net in (self.encoder, self.decoder) for p in net.parameters()]
        return {
            "code": config.lambda_v / 2 * away.mean(),
            "reconstruction": config.lambda_n / 2 * missed.mean(),
            "weights": config.lambda_w / 2 / self.walked * torch.stack(norms).square().sum(),
        }

    def _codes(self, item: Tensor, noise: float = 0.0) -> Tensor:
        """enc(x) of items, int64[B] -> float[B, d]"""
        return self.encoder.activation(self.encoder(item, len(self.config.widths), noise)[-1])

    @torch.no_grad()
    def _begin(self) -> None:
        """V begins at the codes of the pretrained autoencoder."""
        self.eval()
        for item in torch.arange(self.n_items, device=self.device).split(self.rows_at_once):
            self.items[item] = self._codes(item)

    @torch.no_grad()
    def solve(self) -> None:
        """U and V in closed form, in turns: each v_j given U and its code, then each u_i given V.

        In this order each user's vector is the best for the items in their final state, for a new user too.
        """
        self.eval()
        item = torch.arange(self.n_items, device=self.device)
        code = torch.cat([self._codes(some) for some in item.split(self.rows_at_once)])
        c, known = self.config, self.known[:, None]
        for _ in range(c.sweeps):
            solved = best_rows(self.positive_by, self.users, (c.a, c.b), c.lambda_v, code)
            self.items.copy_(torch.where(known, solved, code))
            self._solve_users()

    @torch.no_grad()
    def _solve_users(self) -> None:
        self.users.copy_(self._best_users(self.positive))

    def _best_users(self, rows: RaggedRows) -> Tensor:
        c, seen = self.config, self.items * self.known[:, None]
        return best_rows(rows, seen, (c.a, c.b), c.lambda_u)

    def query_vectors(self, queries: Queries) -> Tensor:
        """A history is solved as the users are in training, V fixed."""
        if queries.history is None:
            return self.user_vectors(queries.known())
        return self._best_users(RaggedRows.of_cells(Cells(*queries.history.cells(positives=True))))

    def user_vectors(self, user: Tensor) -> Tensor:
        return self.users[user]

    def item_vectors(self, item: Tensor) -> Tensor:
        vectors = self.items[item]
        new = (~self.known[item]).nonzero().squeeze(1)  # their codes have moved with the weights
        return vectors.index_copy(0, new, self._codes(item[new])) if len(new) else vectors
