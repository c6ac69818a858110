"""The section "opt": how the stages of a model are trained; and settings of training that several models share."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import (
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from hrec.settings.base import Power, Settings


class NegativeSettings(Settings):
    """The negatives of pairwise training: items that the user has not interacted with."""

    popularity: Power = 0.0
    """Drawn with probability proportional to (training rows of the item) ** popularity; 0 is uniform."""
    pool: PositiveInt = 1
    """Negatives drawn for each row; of several the model uses the one with the highest score (hard negatives)."""
    same_kind: bool = True
    """Draw only from the kind of the positive."""


class SequenceSettings(Settings):
    """How long a sequence a model reads, and what becomes of longer ones in training."""

    max_length: PositiveInt = 50
    """The newest entries of a user that one sequence holds."""
    stride: PositiveInt | None = None
    """Train on older entries too: windows of max_length that start every so many entries. Left out: the newest
    window alone."""

    @model_validator(mode="after")
    def _windows_leave_no_gap(self) -> Self:
        if self.stride is not None and self.stride > self.max_length:
            raise ValueError(f"'stride' is at most max_length, {self.max_length}, or entries are left out; lower it")
        return self


class CellWeights(Settings):
    """c_ij, the weight of a cell of R in a sum of squares over all cells."""

    a: PositiveFloat = 1.0
    """The weight of a 1 in R, a positive."""
    b: NonNegativeFloat = 0.01
    """The weight of a 0 in R, any other item; at most a."""

    @model_validator(mode="after")
    def _ones_weigh_more(self) -> Self:
        if self.b > self.a:
            raise ValueError(f"b, the weight of the zeros, is at most a, got b {self.b} and a {self.a}")
        return self


class EarlyStopSettings(Settings):
    metric: str = "auc"
    """'auc' is the macro mean over the kinds; 'auc/pooled' and 'auc/<kind>' also exist. A metric of lists ('ndcg@10')
    is over items of all kinds."""
    stop_step: PositiveInt = 5
    """Evaluations in a row without a better value before a stage ends."""
    mode: Literal["max", "min"] | None = None
    """Whether a larger or a smaller value is better; left out: as the metric defines it."""


class SchedulerSettings(Settings):
    name: Literal["ReduceLROnPlateau", "StepLR", "MultiStepLR", "ExponentialLR", "CosineAnnealingLR", "LinearLR"]
    hyper_params: dict[str, Any] = Field({})


class StageSettings(Settings):
    """How long and how fast one stage of training runs."""

    name: Literal["Adam", "AdamW", "Adagrad", "Adadelta", "SGD", "RMSprop"] = "Adam"
    hyper_params: dict[str, Any] = Field({"lr": 0.001})
    row_wise: bool = False
    """For large tables: Adam without first moment, with one second moment a row, that updates only the rows of a batch
    (one process). A dense optimiser keeps a gradient and two moments of every row: four times the memory."""
    epochs: PositiveInt = 100
    eval_step: PositiveInt = 1
    """Epochs between two evaluations."""
    batch_size: PositiveInt = 1024
    """Rows of each batch; of each kind where the model draws a batch per kind."""
    save_step: PositiveInt = 1
    """Epochs between two saves of the state that a killed run continues from; Ctrl-C saves it too, at any step."""
    early_stop: EarlyStopSettings | None = EarlyStopSettings()
    scheduler: SchedulerSettings | None = None
    clip_grad: PositiveFloat | None = None
    """Largest norm of the gradient of all weights together."""

    @model_validator(mode="after")
    def _row_wise_is_adam(self) -> Self:
        if self.row_wise and self.name != "Adam":
            raise ValueError(f"'row_wise' is a form of Adam; set name to Adam or leave row_wise out, got {self.name}")
        unknown = [key for key in ("amsgrad", "maximize") if self.row_wise and self.hyper_params.get(key)]
        if unknown:
            raise ValueError(f"'row_wise' has no '{unknown[0]}'; leave one of the two out")
        return self


class OptSettings(StageSettings):
    """Defaults for every stage, and other values for named groups of stages."""

    stages: dict[str, dict[str, Any]] = Field({})
    precision: Literal["32", "bf16", "16"] = "32"
    """Mixed precision on GPUs; on the CPU 32 and bf16."""

    @field_validator("precision", mode="before")
    @classmethod
    def _precision_may_be_a_number(cls, value: Any) -> Any:
        return str(value) if isinstance(value, int) else value

    def for_stage(self, group: str) -> StageSettings:
        base = self.model_dump(exclude={"stages", "precision"})
        return StageSettings.model_validate(base | self.stages.get(group, {}))
