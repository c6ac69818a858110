"""What a run that adds views to a finished one says of the views that it keeps."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path


def kept_from(run: Path, views: Sequence[str]) -> tuple[str, str]:
    """Overrides of eJRL: these views take the weights of the finished run, and keep them."""
    weights = {f"views.view_{view}": f"views.view_{view}" for view in views}
    source = json.dumps([{"run": str(run), "weights": weights}])
    return f"model.frozen={json.dumps(list(views))}", f"model.init_from={source}"
