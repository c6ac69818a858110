"""CMF: one matrix factorisation per kind, with the users' vectors shared by all kinds.

Singh and Gordon, Relational Learning via Collective Matrix Factorization, KDD 2008, section 3: L = sum_d alpha_d L_d of
relations that share the factors of an entity. As a baseline of the CAT-ART slides (Li et al., One for All, All for One,
WSDM 2023) L_d is BPR, as in all their models. In the code of that paper CMF is one factorisation of the union of all
items, so that most negatives are of another kind than the positive: ``negatives.same_kind`` false.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from hrec.datasets.batches import Pairs
from hrec.datasets.recdata import TrainData
from hrec.models.general.bprmf import BPRMF
from hrec.models.layers.kinds import Kinds


class CMF(BPRMF):
    """Score p_u . q_i; a pair of kind d counts alpha_d N / N_d, with N_d of the N training rows."""

    class Config(BPRMF.Config):
        """Settings of CMF: those of BPRMF, and the weights of the kinds."""

        weight_by_rows: bool = True
        """alpha_d is the kind's share of the training rows, so that each pair counts the same. false: 1 / n each."""

    config: Config
    factor: Tensor

    def __init__(self, config: Config, data: TrainData) -> None:
        super().__init__(config, data)
        self.kinds = Kinds(data)
        rows = np.maximum(np.bincount(data.interactions.kind, minlength=len(data.kinds)), 1)
        factor = torch.from_numpy(rows.sum() / (len(rows) * rows)).float()
        self.register_buffer("factor", factor, persistent=False)

    def pair_weight(self, batch: Pairs) -> Tensor | None:
        if self.config.weight_by_rows:
            return None
        return self.factor[torch.searchsorted(self.kinds.starts, batch.positive, right=True) - 1]
