"""Imported for its effect: the scripts find the package of the checkout they stand in, installed or not."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
