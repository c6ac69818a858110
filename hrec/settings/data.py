"""The section "data": where the data is, what it holds, how it is split."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import combinations
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from hrec.settings.base import PathText, Power, Seed, Settings
from hrec.settings.features import FeatureSettings

LONGEST_NAME = 200
"""Bytes of data.name: a run folder's name has at most 255, with model and time."""


class LabelSettings(Settings):
    """How labels are made if the files have none."""

    source: str | None = Field(None, alias="from")
    """Name of the rating column that the label is made from."""
    above: float | None = None
    """A rating above this is a positive (label 1), any other a negative (label 0)."""
    negatives: NonNegativeInt = 0
    """Implicit data: every row is a positive, and this many negatives of the same kind are drawn for it. With 0 the
    data has no labels, which is enough for models of pairs and metrics of lists."""
    popularity: Power = 0.0
    """Drawn with probability proportional to (training rows of the item) ** popularity; 0 is uniform."""

    @model_validator(mode="after")
    def _one_way(self) -> LabelSettings:
        if (self.source is None) != (self.above is None):
            raise ValueError('\'from\' and \'above\' go together: {"from": "rating", "above": 3}')
        said = self.negatives > 0 if self.source else "negatives" in self.model_fields_set
        if said == (self.source is not None):
            raise ValueError(
                "give either 'from' and 'above', or 'negatives' (0: all rows are positives, none is drawn)"
            )
        if self.popularity and not self.negatives:
            raise ValueError("'popularity' is of drawn negatives, and without 'negatives' none is drawn; leave it out")
        return self


Ratio = Annotated[tuple[PositiveFloat, PositiveFloat, PositiveFloat], Field(description="train, valid, test")]


class RandomSplit(Settings):
    """Rows at random: the paper's 70/20/10."""

    by: Literal["ratio"] = "ratio"
    ratio: Ratio = (0.7, 0.2, 0.1)
    seed: Seed = 0


class UserSplit(Settings):
    """The ratio holds within each user."""

    by: Literal["user"]
    ratio: Ratio = (0.8, 0.1, 0.1)
    per_kind: bool = False
    """The ratio holds within each user and kind."""
    seed: Seed = 0


class LeaveOneOut(Settings):
    """Each user's last row (by time if known, else at random) is test, the one before it valid."""

    by: Literal["leave_one_out"]
    per_kind: bool = False
    """Take the last rows of each user and kind."""
    seed: Seed = 0


class TimeSplit(Settings):
    """The newest rows are test, those before them valid."""

    by: Literal["time"]
    ratio: Ratio = (0.7, 0.2, 0.1)
    seed: Seed = 0


class ColdUsers(Settings):
    """The random split, then every user with a test row keeps at most ``max_train`` training rows (paper, Table 5)."""

    by: Literal["cold_users"]
    ratio: Ratio = (0.7, 0.2, 0.1)
    max_train: NonNegativeInt = 3
    seed: Seed = 0


class ColdItems(Settings):
    """The ratio holds over items: valid and test items have no training row."""

    by: Literal["cold_items"]
    ratio: Ratio = (0.7, 0.2, 0.1)
    seed: Seed = 0


class InMatrix(Settings):
    """Rows at random; then rows of valid and test whose item has no training row become training rows."""

    by: Literal["in_matrix"]
    ratio: Ratio = (3, 1, 1)
    unknown_items: float = Field(0.0, ge=0, lt=1)
    """Share of the items that are held out first, with all of their rows (DualNet's section 5.1: 0.1)."""
    seed: Seed = 0


class ColumnSplit(Settings):
    """A column of the file of interactions holds the split of each row: train, valid or test.

    Rows with another value or none are dropped.
    """

    by: Literal["column"]
    column: str = Field(min_length=1)
    valid_share: float = Field(0.0, ge=0, lt=1)
    """Share of the test rows, drawn at random, that become validation rows if the column names none."""
    seed: Seed = 0


SplitSettings = Annotated[
    RandomSplit | UserSplit | LeaveOneOut | TimeSplit | ColdUsers | ColdItems | InMatrix | ColumnSplit,
    Field(discriminator="by"),
]


class RelationSettings(Settings):
    """A knowledge graph: triples (head, relation, tail) of entities, some of which are items."""

    path: str
    """The triples: RecBole's .kg, or a file with the columns head, relation and tail."""
    link: str | None = None
    """Which entity each item is: RecBole's .link, or a file with the columns item_id (ITEM_ID_FIELD) and entity, and
    TYPE_FIELD where kinds share ids. Left out: an item is the entity that is called as its id."""


def _seconds(value: Any) -> Any:
    """Seconds since 1970 of a date in ISO 8601, UTC unless it names an offset; any other value as it is."""
    if not isinstance(value, str):
        return value
    try:
        date = datetime.fromisoformat(value.strip())
    except ValueError:
        raise ValueError(f"should be seconds since 1970 or a date such as 2024-01-31, got '{value}'") from None
    return date.replace(tzinfo=date.tzinfo or UTC).timestamp()


Moment = Annotated[float, BeforeValidator(_seconds)]


class FilterSettings(Settings):
    """Which interactions are used at all. The filter runs before the split; users and items without a row are dropped.

    The rows of other kinds, times and ratings go first; then the k-core is taken of what is left.
    """

    kinds: tuple[str, ...] | None = Field(None, min_length=1)
    """Keep the rows of these kinds; left out, of all."""
    start: Moment | None = Field(None, alias="from")
    """Keep rows from this time on: a date, or a number of the column's unit, seconds since 1970."""
    stop: Moment | None = Field(None, alias="to")
    """Keep rows before this time, which is not part of the range."""
    min_rating: float | None = None
    """Keep rows with at least this rating."""
    min_user_rows: PositiveInt = 1
    """Drop users with fewer rows, of all kinds together; repeated with min_item_rows until nothing changes (k-core)."""
    min_item_rows: PositiveInt = 1
    """Drop items with fewer rows."""

    @model_validator(mode="after")
    def _bounds_are_in_order(self) -> FilterSettings:
        if self.start is not None and self.stop is not None and self.start >= self.stop:
            raise ValueError(f"'from' should be before 'to', got {self.start:.15g} and {self.stop:.15g} seconds")
        return self


class PlantedSettings(Settings):
    """Data made on the spot with a known answer (hrec/datasets/planted.py)."""

    size: Literal["tiny", "small", "douban"] = "small"
    seed: Seed = 0
    reviews: bool = False
    """A review for each interaction, whose words reveal the user's taste and the item's topics."""
    times: bool = False
    """Tastes change over time, so that the order of a user's rows foretells the next item."""
    image: bool = False
    """An image-like vector for each item, which reveals a taste that nothing else does: for the item's style."""
    graph: bool = False
    """A knowledge graph of the items, whose relations reveal topics."""


PLANTED_KEYS = frozenset(
    (
        "name",
        "planted",
        "type",
        "filter",
        "inter_matrix_type",
        "sample",
        "single",
        "single_type",
        "split",
        "train_columns",
    )
)
"""Keys of the section data that planted data uses."""


class DataSettings(Settings):
    """Where the data is and what is in it: the published layout, RecBole's atomic files, or planted data."""

    name: str = Field("data", min_length=1)
    """Part of the names of run folders and caches; planted data without one is 'planted-', its size and its
    options."""
    planted: PlantedSettings | None = None
    USER_ID_FIELD: str = "user_id"
    ITEM_ID_FIELD: str = "item_id"
    LABEL_FIELD: str = "label"
    TYPE_FIELD: str | None = "type"
    """The column of the kind of each row; null: no column has kinds, for files whose column ``type`` means something
    else, such as the event."""
    RATING_FIELD: str = "rating"
    TIME_FIELD: str = "timestamp"
    type: tuple[str, ...] | None = None
    """The kinds to use, in this order; left out: every kind of item_feat_path."""
    user_feat_path: PathText | None = None
    inter_feat_path: PathText | None = None
    item_feat_path: PathText | dict[str, PathText] | None = None
    """One file per kind, or one file whose TYPE_FIELD column names the kind."""
    feat: dict[str, FeatureSettings] = Field({})
    """The columns to read. Atomic files carry their types in the header: then leave this out to read all."""
    inter_matrix_type: Literal["01", "liked", "rating", "sign", "centred"] | None = None
    """The value of a row in a history. 01: 1 for each row; ``liked``: 1 for positives; rating; sign: +1 or -1; centred:
    the rating minus the mean of all. Left out: 'centred' with ratings, else 'sign'."""
    relations: RelationSettings | None = None
    """Triples of a knowledge graph."""
    label: LabelSettings | None = None
    sample: float | dict[str, float] | None = None
    """Share of the training rows kept, for all kinds or by kind (sparsity study)."""
    train_columns: tuple[Literal["count", "mean"], ...] = ()
    """Columns made from the training split for users and for items of each kind: number of rows, shrunk mean rating."""
    single: bool | None = None
    """false: single_type is ignored, as published."""
    single_type: str | None = None
    """Use only this kind. Its rows are in the same splits as among all kinds."""
    filter: FilterSettings | None = None
    """Which interactions are used, decided before the split: k-core, ratings, kinds, times. Left out: all."""
    split: SplitSettings = RandomSplit()
    repeats: Literal["refuse", "first", "last", "mean", "keep"] | None = None
    """Rows of one user and one item: refuse them; keep the first or the last, by time where there are times; keep one
    row with the mean rating; or keep all. Left out: refuse, or with drop_bad_rows the last in the file."""
    drop_bad_rows: bool = False
    """Leave out rows that cannot be used and count them in the log, instead of stopping at the first sort. A value of a
    user or an item, a rating or a time that cannot be read and is not needed is left empty, and the row stays."""
    missing_values: tuple[str, ...] = ()
    """Texts that mean "no value", such as "NULL" or "-1", which is -1.0 too; an empty cell, nan and NaN always do."""

    @model_validator(mode="before")
    @classmethod
    def _planted_data_goes_by_its_size(cls, values: Any) -> Any:
        if not isinstance(values, dict) or "name" in values or not isinstance(values.get("planted"), dict):
            return values
        made = values["planted"]
        options = [name for name in ("reviews", "times", "image", "graph") if made.get(name) is True]
        return values | {"name": "-".join(["planted", str(made.get("size", "small")), *options])}

    @field_validator("name")
    @classmethod
    def _name_is_no_path(cls, value: str) -> str:
        if "/" in value or "\\" in value:
            raise ValueError(f"is part of the names of folders, so it has no slash, got {value!r}")
        if not value.isprintable():  # control characters change a terminal
            raise ValueError(f"is in the log and in names of folders, so it can be printed, got {value!r}")
        if len(value.encode()) > LONGEST_NAME:
            raise ValueError(f"is part of the names of folders, so it has at most {LONGEST_NAME} bytes")
        return value

    @field_validator("train_columns")
    @classmethod
    def _each_once(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(names)) < len(names):
            raise ValueError("name each column once")
        return names

    @field_validator("type")
    @classmethod
    def _kinds_once_each(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if value is not None and (not value or len(set(value)) < len(value)):
            raise ValueError("name each kind once, and one at least; leave it out to use all kinds")
        return value

    @field_validator("single_type", "type", mode="before")
    @classmethod
    def _published_kinds_are_numbers(cls, value: Any) -> Any:
        if isinstance(value, list | tuple):
            return [cls._published_kinds_are_numbers(one) for one in value]
        return str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value

    @field_validator("split", mode="before")
    @classmethod
    def _split_at_random_where_not_said(cls, value: Any) -> Any:
        return {"by": "ratio"} | value if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _a_column_for_each_purpose(self) -> DataSettings:
        """Only labels may be in the column of ratings."""
        keys = ("USER_ID_FIELD", "ITEM_ID_FIELD", "TYPE_FIELD", "TIME_FIELD", "LABEL_FIELD", "RATING_FIELD")
        for key, other in combinations(keys, 2):
            name = getattr(self, key)
            if name is not None and name == getattr(self, other) and key != "LABEL_FIELD":
                raise ValueError(f"{key} and {other} both name the column '{name}'; each needs its own column")
        return self

    @model_validator(mode="after")
    def _features_of_interactions_are_not_what_is_predicted(self) -> DataSettings:
        keys = ("USER_ID_FIELD", "ITEM_ID_FIELD", "TYPE_FIELD", "LABEL_FIELD", "RATING_FIELD")
        taken = {getattr(self, key): f"data.{key}" for key in keys}
        if self.label and self.label.source:
            taken[self.label.source] = "data.label"
        if isinstance(self.split, ColumnSplit):
            taken[self.split.column] = "data.split.column"
        for name, feat in self.feat.items():
            if feat.source == "interaction" and name in taken:
                raise ValueError(f"feat.{name}: {taken[name]} names this column, so it is no feature; leave it out")
        return self

    @model_validator(mode="after")
    def _one_source(self) -> DataSettings:
        if self.planted is None and self.inter_feat_path is None:
            raise ValueError("give 'inter_feat_path' (your files) or 'planted' (made data)")
        if self.planted is not None and self.inter_feat_path is not None:
            raise ValueError("give 'inter_feat_path' or 'planted', not both")
        if self.planted is not None:
            ignored = sorted(self.model_fields_set - PLANTED_KEYS)
            if ignored:
                raise ValueError(
                    f"planted data is made, not read: {', '.join(ignored)} would have no effect; leave out"
                )
        return self
