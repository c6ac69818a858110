"""The loss of a stage for one process or for several that train one model together."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from hrec.config import ConfigError
from hrec.models.base import BaseModel, Stage
from hrec.pipeline.devices import Processes


class StageLoss(nn.Module):
    """The loss of a stage as a module, which is what DistributedDataParallel wraps."""

    def __init__(self, model: BaseModel, stage: Stage) -> None:
        super().__init__()
        self.model = model
        self.stage_loss = stage.loss

    def forward(self, batch: Any) -> dict[str, Tensor]:
        assert self.stage_loss is not None
        return self.stage_loss(batch)


def losses_of(model: BaseModel, stage: Stage, processes: Processes, row_wise: bool) -> nn.Module:
    """The loss of the stage: as it is, or averaged over processes. Raises ConfigError for row-wise steps of several."""
    assert stage.sampler is not None
    losses, device, data = StageLoss(model, stage), model.device, stage.sampler.data
    if processes.world == 1:
        return losses
    if row_wise:
        raise ConfigError("opt.row_wise is for one process; leave it out under torchrun")
    for weight in losses.parameters():
        weight.dense_up_to = math.inf  # type: ignore[attr-defined]  # processes average dense gradients
    devices = [device.index] if device.type == "cuda" else None
    # A step of every process has every kind that has a training row. The weights of a kind without one get no gradient.
    # Processes would wait for it unless they search for unused weights, which takes time in every step.
    some_unused = len(np.unique(data.interactions.kind)) < len(data.kinds)
    some_unused |= not getattr(stage.sampler, "all_kinds_in_each_batch", True)
    # Most buffers are histories and columns, the same on every process. Only those of batch normalisation are sent.
    counts = any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules())
    return DistributedDataParallel(
        losses, device_ids=devices, forward_sync_buffers=counts, find_unused_parameters=some_unused
    )
