"""Views of JRL and eJRL: what a user and an item look like in one source of information. One line each."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from hrec.config import did_you_mean

if TYPE_CHECKING:
    from hrec.models.views.view import View

VIEWS = {
    "review": "hrec.models.views.review:ReviewView",
    "image": "hrec.models.views.image:ImageView",
    "audio": "hrec.models.views.image:ImageView",
    "video": "hrec.models.views.image:ImageView",
    "title": "hrec.models.views.title:TitleView",
    "rating": "hrec.models.views.rating:RatingView",
}


def find_view(name: str) -> type[View]:
    """The class of a view. Raises ValueError with a sentence that suggests the nearest name."""
    if name not in VIEWS:
        raise ValueError(
            f"no view called '{name}'.{did_you_mean(name, VIEWS)} Views: {', '.join(VIEWS)}; for another name "
            'set "of" to one of them: "of": "image"'
        )
    module, cls = VIEWS[name].split(":")
    found: type[View] = getattr(importlib.import_module(module), cls)
    return found
