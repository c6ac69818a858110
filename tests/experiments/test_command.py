"""Lines that name the next command name one that works as this process was started."""

from __future__ import annotations

import sys

import pytest

from hrec.experiments.command import started_by, training_command


@pytest.mark.parametrize(
    ("started", "words", "training"),
    [
        ("/home/me/hrec/scripts/sweep.py", ["python", "scripts/sweep.py"], ["python", "train_hete.py"]),
        ("/home/me/venv/bin/hrec", ["hrec"], ["hrec", "train"]),
        ("/site-packages/hrec/__main__.py", ["python", "-m", "hrec"], ["python", "-m", "hrec", "train"]),
    ],
)
def test_a_script_names_scripts_and_the_command_names_itself(started, words, training, monkeypatch):
    monkeypatch.setattr(sys, "argv", [started, "more"])
    assert started_by() == words and training_command() == training


def test_a_training_script_names_itself(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["../hrec/train_homo.py", "deepmf"])
    assert training_command() == ["python", "../hrec/train_homo.py"]
