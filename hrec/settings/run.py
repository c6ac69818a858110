"""A whole run: its sections, its seed and its device."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import (
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from hrec.settings.base import PathText, Seed, Settings
from hrec.settings.data import DataSettings
from hrec.settings.training import OptSettings


class RankingSettings(Settings):
    """How top-N lists are made: for the metrics written with '@', such as recall@10."""

    eval_memory_mb: PositiveInt = 512
    """Memory of the scores of one chunk of users against all items, and of the lists made of them."""
    items: Literal["all", "known", "new", "new_of_part"] = "all"
    """Which items may be recommended. Those "known" have a training row (in-matrix), those "new" none (out-matrix).
    With "new_of_part" they are new and positives of the measured split: the held-out fold of the out-matrix papers."""
    mask_valid: bool = False
    """Test lists also leave out the items of the user's validation rows, as RecBole does."""
    valid_in_history: bool = False
    """When test lists are made, the user's history holds the validation rows too. Only models that read histories from
    the query use it; drawn validation negatives are not part of it."""
    sampled: PositiveInt | None = None
    """Rank each user's positives among this many other candidates, drawn once, instead of among all. The values are not
    comparable with full ranking, nor between catalogues (Krichene and Rendle, KDD 2020)."""
    sampled_per_kind: bool = False
    """Draw ``sampled`` items of each kind that the user has a positive of, and measure a list of each kind too."""
    seed: Seed = 0
    """The seed of the sampled candidates."""
    cold_rows: NonNegativeInt = 5
    """Users with at most this many training rows are cold, the others warm."""
    head_share: PositiveFloat = Field(0.2, le=1)
    """Share of the items, those with the most training rows, that count as head; the others are tail."""

    @model_validator(mode="after")
    def _only_sampled_is_per_kind(self) -> Self:
        if self.sampled_per_kind and self.sampled is None:
            raise ValueError("'sampled_per_kind' is of sampled candidates; give 'sampled' too, or leave it out")
        return self

    @property
    def lists_per_kind(self) -> bool:
        """Whether a list of each kind is measured: candidates that are sampled over all kinds make none."""
        return self.sampled is None or self.sampled_per_kind


class PathSettings(Settings):
    output: PathText = "output"
    """Parent of the run folders."""
    cache: PathText | None = "data/.cache"
    """The folder that keeps parsed data between runs; null to parse each time."""


class InitFrom(Settings):
    """A finished run whose weights a model starts from."""

    run: PathText
    """The run's folder."""
    weights: dict[str, str] = Field({})
    """Name of a weight here, or of a module with all of its weights -> its name there; left out: every weight whose
    name and shape are the same."""


class InitSettings(Settings):
    """The key of the section model that every model has."""

    init_from: tuple[InitFrom, ...] = ()
    """Runs whose weights the model starts from, a later one over an earlier one; a path is a run without pairs of
    names. Rows of users and items are matched by raw id and kind. A resumed run does not read them again."""

    @field_validator("init_from", mode="before")
    @classmethod
    def _a_path_is_a_run(cls, value: Any) -> Any:
        several = value if isinstance(value, list | tuple) else [] if value is None else [value]
        return [{"run": one} if isinstance(one, str) else one for one in several]


class RunSettings(Settings):
    """One run: the published sections data, model, opt, path and metrics, and a seed."""

    data: DataSettings
    model: dict[str, Any]
    opt: OptSettings = OptSettings()
    path: PathSettings = PathSettings()
    metrics: tuple[str, ...] = ("auc", "gauc", "logloss")
    ranking: RankingSettings = RankingSettings()
    seed: Seed = 0
    device: str = "auto"
    """auto (the freest GPU, else the CPU), cpu, cuda or cuda:<n>."""

    @field_validator("metrics", mode="before")
    @classmethod
    def _names_in_lower_case(cls, value: Any) -> Any:
        """The published names are in upper case; a text holds names with commas between them: recall@10,ndcg@10."""
        if isinstance(value, str) and (names := value.strip(" []")):
            value = [name.strip() for name in names.split(",")]
        return [str(v).lower() for v in value] if isinstance(value, (list, tuple)) else value
