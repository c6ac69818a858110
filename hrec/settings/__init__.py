"""Every setting of a run: its type, its default and what it means. Reading them from a file: hrec/config.py."""

from hrec.settings.base import PathText, Power, Seed, Settings, names_a_file
from hrec.settings.data import (
    PLANTED_KEYS,
    ColdItems,
    ColdUsers,
    ColumnSplit,
    DataSettings,
    FeatureSettings,
    InMatrix,
    LabelSettings,
    LeaveOneOut,
    PlantedSettings,
    RandomSplit,
    SplitSettings,
    TimeSplit,
    UserSplit,
)
from hrec.settings.run import PathSettings, RankingSettings, RunSettings
from hrec.settings.training import (
    CellWeights,
    EarlyStopSettings,
    NegativeSettings,
    OptSettings,
    SchedulerSettings,
    StageSettings,
)

__all__ = [
    "PLANTED_KEYS",
    "CellWeights",
    "ColdItems",
    "ColdUsers",
    "ColumnSplit",
    "DataSettings",
    "EarlyStopSettings",
    "FeatureSettings",
    "InMatrix",
    "LabelSettings",
    "LeaveOneOut",
    "NegativeSettings",
    "OptSettings",
    "PathSettings",
    "PathText",
    "PlantedSettings",
    "Power",
    "RandomSplit",
    "RankingSettings",
    "RunSettings",
    "SchedulerSettings",
    "Seed",
    "Settings",
    "SplitSettings",
    "StageSettings",
    "TimeSplit",
    "UserSplit",
    "names_a_file",
]
