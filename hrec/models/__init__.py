"""The table of models, one line each: the name in a JSON file -> where the class lives."""

from __future__ import annotations

import importlib

from hrec.config import did_you_mean
from hrec.models.base import BaseModel

MODELS = {
    # general: ids and interactions
    "DMF": "hrec.models.general.dmf:DMF",
    "FISM": "hrec.models.general.fism:FISM",
    "NAIS": "hrec.models.general.nais:NAIS",
    "NCF": "hrec.models.general.ncf:NCF",
    # hetero: several kinds, each with its own columns
    "DURation": "hrec.models.hetero.duration:DURation",
}


def find_model(name: str) -> type[BaseModel]:
    """The class of a model. Raises KeyError with a sentence that suggests the nearest name."""
    if name not in MODELS:
        raise KeyError(f"no model called '{name}'.{did_you_mean(name, MODELS)} Models: {', '.join(MODELS)}")
    module, cls = MODELS[name].split(":")
    return getattr(importlib.import_module(module), cls)
