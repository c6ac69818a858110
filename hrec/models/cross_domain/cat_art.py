"""CAT-ART: a global vector of each user from all kinds, and what each kind takes over from it and the other kinds.

Li, Xie, Yu, Hu, Li, Shu, Qie and Niu, One for All, All for One: Learning and Transferring User Embeddings for
Cross-Domain Recommendation, WSDM 2023; equations from the authors' slides and published code.

Stages (Algorithm 1):

1. ``mf/<kind>`` trains e_u^t and q_i by BPR. It is SMF bit for bit.
2. ``cat`` trains g_u = Enc([e_u^1; ...; e_u^n]), a contrastive autoencoder (hrec/models/layers/contrastive.py). It runs
   for all its epochs, as no metric depends on it yet.
3. ``art/<kind>`` trains h_u^t = e_u^t + a_u + W_g g_u + b by BPR, with a_u the attention over the other kinds
   (hrec/models/layers/transfer.py). The users' vectors and CAT are frozen.

Ours, each a setting: W_o, W_g and b start at 0, so that stage 3 starts at SMF (``zero_start``). With early stopping
that alone makes a loss against SMF rare, whatever the transfer is worth: compare with both ``control``. There is L2 in
stage 3 (``art_reg_weight``), and users may lack kinds (``missing``).

The ablations of the slides: +Autoencoder is ``encoder`` reconstruction and ``sources`` none; +Contrastive is
``sources`` none; -Attention is ``sources`` mean; +ART is the full model.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Literal, Self

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, model_validator
from torch import Tensor, nn

from hrec.datasets.batches import Pairs, Rows
from hrec.datasets.queries import UnknownUserError
from hrec.datasets.recdata import TrainData
from hrec.datasets.samplers import Users
from hrec.models.base import Needs, Stage
from hrec.models.cross_domain._base import KindSettings, OfKinds
from hrec.models.cross_domain.smf import Factors
from hrec.models.layers.bags import EmbeddingTable
from hrec.models.layers.contrastive import ContrastiveAutoencoder, one_of
from hrec.models.layers.kinds import ByKind
from hrec.models.layers.transfer import Transfer


class CATART(Factors):
    """Score h_u^t . q_i for item i of kind t, h_u^t = e_u^t + a_u + W_g g_u + b.

    A user new to a kind is scored from the other kinds: e_u^t is then the mean of the kind's users.
    """

    class Config(KindSettings):
        """Settings of CAT-ART."""

        missing: Literal["pad", "zero", "row"] = "pad"
        """A kind in which a user has no positive. pad: CAT reads the mask vector, and the attention leaves the kind
        out. As a target it is the mean of the kind's users. zero: zeros in place of the mask vector and of the mean.
        row: the untrained row everywhere, as in the published code."""
        encoder: Literal["contrastive", "reconstruction"] = "contrastive"
        """The loss of stage 2; reconstruction: MSE(Dec(g), x) alone."""
        contrastive_weight: NonNegativeFloat = 0.2
        reconstruction_weight: NonNegativeFloat = 0.4
        """Of each of the two reconstructions, from the whole and from the masked input."""
        temperature: PositiveFloat = 0.1
        """tau of InfoNCE."""
        sources: Literal["attention", "mean", "none"] = "attention"
        """What a target takes from the vectors of the other kinds."""
        dropout: float = Field(0.1, ge=0, lt=1)
        """Chance that a weight of the attention is left out in training."""
        zero_start: bool = True
        """W_o, W_g and b (with sources mean A_s) start at 0, so that stage 3 starts at the scores of stage 1."""
        art_reg_weight: NonNegativeFloat | None = None
        """reg_weight of stage 3, of h and the items; null: that of stage 1. The published code has 0."""
        freeze_items: bool = False
        """The items keep in stage 3 what they learnt in stage 1."""
        variant: Literal["slides", "released"] = "slides"
        """released: stage 3 also trains the source vectors that a_u reads, a copy for each target. The target's own
        vectors stay frozen, and g_u is that of stage 2."""
        control: Literal["continued", "permuted"] | None = None
        """What transfer is measured against. continued: stage 3 trains the items alone, with h = e. permuted: a_u and
        g_u are those of another user."""

        @model_validator(mode="after")
        def _has_something_to_train(self) -> Self:
            if self.control == "continued" and self.freeze_items:
                raise ValueError("control 'continued' trains the items alone in stage 3; leave out freeze_items")
            return self

    needs = Needs(min_kinds=2)
    stage_groups = ("mf", "cat", "art")
    groups_of_kinds = ("mf", "art")
    config: Config
    partner: Tensor

    def __init__(self, config: Config, data: TrainData) -> None:
        super().__init__(config, data)
        n, width = len(data.kinds), config.embedding_size
        self.lends = config.control != "continued"
        """Whether a kind takes over anything from another."""
        if self.lends:
            self.cat = ContrastiveAutoencoder(n, width, config.missing == "pad", config.init_std)
            shape = (n, width, config.sources, config.dropout, config.zero_start)
            self.transfers = ByKind({kind: Transfer(index, *shape) for index, kind in enumerate(data.kinds)})
        self.copies = self._copies(data) if self.lends and config.variant == "released" else None
        if config.missing == "row":
            self.present.fill_(True)
        if config.control == "permuted":
            self.register_buffer("partner", _other_users(data.n_users), persistent=False)
        self.carried = set(self.trained_kinds(data))
        """The kinds whose h has more than e: none before stage 3, and in the end all with a positive."""

    def _copies(self, data: TrainData) -> ByKind[ByKind[EmbeddingTable]]:
        """For each target kind a table of the users of each other kind."""

        def tables(target: str) -> ByKind[EmbeddingTable]:
            others = [kind for kind in data.kinds if kind != target]
            return ByKind(
                {k: EmbeddingTable(data.n_users, self.config.embedding_size, self.config.init_std) for k in others}
            )

        return ByKind({kind: tables(kind) for kind in data.kinds})

    # ------------------------------------------------------------------ training

    def stages(self, data: TrainData) -> Iterator[Stage]:
        self.carried = set()
        yield from super().stages(data)
        if self.lends:
            params = list(self.cat.parameters())
            stage = Stage("cat", self.encode, Users(data), params, "cat", measured=False, alone=True)
            yield replace(stage, then=self._begin_copies)
        for kind, sampler in self.samplers(data):
            self.carried.add(kind)
            yield self.stage_of("art", kind, partial(self.enhance, kind), sampler, self._trainable(kind))

    def _trainable(self, kind: str) -> list[nn.Parameter]:
        """The weights of stage 3 of a kind."""
        parts: list[nn.Module] = [] if self.config.freeze_items else [self.items[kind]]
        parts += [self.transfers[kind]] if self.lends else []
        parts += [self.copies[kind]] if self.copies is not None else []
        return [p for part in parts for p in part.parameters()]

    @torch.no_grad()
    def _begin_copies(self) -> None:
        """The copies of the users' vectors start where stage 1 has left these."""
        for target in self.kinds.names if self.copies is not None else ():
            for kind in self.kinds.names:
                if kind != target:
                    self.copies[target][kind].weight.copy_(self.users[kind].weight)  # type: ignore[index]

    def encode(self, batch: Rows) -> dict[str, Tensor]:
        """The loss of CAT for some users."""
        vectors, present = self.of_users(batch.row)
        if self.config.encoder == "reconstruction":
            return self.cat.reconstruction(vectors, present)
        weights = self.config.contrastive_weight, self.config.reconstruction_weight
        return self.cat.loss(vectors, present, one_of(present), weights, self.config.temperature)

    def enhance(self, kind: str, batch: Pairs) -> dict[str, Tensor]:
        """BPR of h on pairs of one kind, and the norms of h and the items."""
        own = self.of_users(batch.user)
        h = self.completed(own)[:, self.kinds.names.index(kind)]
        if self.lends:
            lent = self._lent(own, batch.user)
            h = self._with_others(kind, h, lent, self.cat(*lent), batch.user)
        reg = self.config.art_reg_weight
        return self.terms(kind, h, batch, self.config.reg_weight if reg is None else reg)

    # ------------------------------------------------------------------ vectors

    def parts(self, own: OfKinds, user: Tensor | None) -> Tensor:
        """h of all kinds; e for those whose stage 3 has not begun."""
        e = self.completed(own)
        if not self.lends or not self.carried:
            return e
        lent = self._lent(own, user)
        g = self.cat(*lent)
        kinds = enumerate(self.kinds.names)
        h = [self._with_others(kind, e[:, t], lent, g, user) if kind in self.carried else e[:, t] for t, kind in kinds]
        return torch.stack(h, 1)

    def completed(self, own: OfKinds) -> Tensor:
        return own.present[:, :, None] * own.vectors if self.config.missing == "zero" else super().completed(own)

    def _lent(self, own: OfKinds, user: Tensor | None) -> OfKinds:
        """The vectors that a_u and g_u are made of: the user's own, or with the control 'permuted' another user's."""
        if self.config.control != "permuted":
            return own
        if user is None:
            raise UnknownUserError("the control 'permuted' has no other user for one that training did not know")
        return self.of_users(self.partner[user])

    def _with_others(self, kind: str, e: Tensor, lent: OfKinds, g: Tensor, user: Tensor | None) -> Tensor:
        """h = e + a + W_g g + b of one kind, float[B, d]; with the variant 'released' a_u is made of the copies."""
        vectors = lent.vectors
        if self.copies is not None and user is not None:
            vectors = self._copied(kind, self.partner[user] if self.config.control == "permuted" else user)
        return e + self.transfers[kind](e, vectors, lent.present, g)

    def _copied(self, target: str, user: Tensor) -> Tensor:
        """The vectors of all kinds for one target: its own from stage 1, those of the others as it has trained them."""
        assert self.copies is not None
        tables = [self.users[kind] if kind == target else self.copies[target][kind] for kind in self.kinds.names]
        return torch.stack([table.rows(user) for table in tables], 1)


def _other_users(n: int) -> Tensor:
    """int64[n]: another user for each, each once, the same ones every time."""
    order = torch.randperm(n, generator=torch.Generator().manual_seed(0))
    return torch.empty_like(order).scatter_(0, order, order.roll(1))
