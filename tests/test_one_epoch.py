"""Models with a closed form train one epoch, and say so where more are asked for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hrec.config import load
from hrec.models import find_model
from hrec.pipeline.run import run

ROOT = Path(__file__).parents[1]
CLOSED = ["ease", "itemknn", "popularity"]


@pytest.fixture(autouse=True)
def _in_the_checkout(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)


def config_of(name: str, *overrides: str):
    return load(name, find_model, ["data=planted-tiny", "path.cache=null", "device=cpu", *overrides])


@pytest.mark.parametrize("name", CLOSED)
@pytest.mark.parametrize("more", [["opt.epochs=5"], ["opt.stages.solve.epochs=5", "opt.early_stop=null"]])
def test_a_closed_form_is_solved_once(name: str, more: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    config, solved = config_of(name, f"path.output={tmp_path}", *more), []
    solve = config.model_class.solve
    monkeypatch.setattr(config.model_class, "solve", lambda model: solved.append(1) or solve(model))
    run(config, show=False)
    (folder,) = tmp_path.iterdir()
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert len(solved) == 1 and [row["epoch"] for row in rows] == [1]
    assert any("epochs: has no effect" in line and "solved in one epoch" in line for line in config.warnings)
    run(config, folder, show=False)
    assert (
        len(solved) == 1 and "this run is finished: its result is measured again\n" in (folder / "log.txt").read_text()
    )


def test_epochs_that_have_an_effect_are_not_warned_of():
    assert not any("epochs" in line for line in config_of("wmf", "opt.epochs=5").warnings)
    assert not any("epochs" in line for name in CLOSED for line in config_of(name).warnings)
    assert not any("epochs" in line for line in config_of("ease", "opt.epochs=100").warnings)  # the default, of any run
