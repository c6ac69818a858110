"""What ``pip install .`` gives: the requirements, and a package that works from any folder."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from hrec.config import SHIPPED, configs_in, load, shipped
from hrec.models import find_model

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("hrec", "configs", "pyproject.toml", "setup.py", "README.md", "LICENSE")
Run = Callable[..., str]


def requirements(lines: list[str]) -> dict[str, str]:
    """Package -> its range, without comments."""
    found = (re.fullmatch(r"([\w-]+)(\[\w+\])?\s*([<>=!~][^#]*)?", line.split("#")[0].strip()) for line in lines)
    return {m[1]: (m[3] or "").strip() for m in found if m}


def test_requirements_hold_the_package_and_what_its_tests_need():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = requirements([*project["dependencies"], *extras["experiments"], *extras["dev"]])
    del wanted["hrec"]  # dev takes the extra [experiments] of the package itself
    given = requirements((ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines())
    assert given.pop("torch").startswith("==") and wanted.pop("torch").startswith(">=")
    assert given == wanted


def test_configs_of_the_package_are_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert load("duration", find_model, ["data=planted-tiny"]).run.data.name == "planted-tiny"
    assert shipped(Path("configs/sweeps/duration.json")) == SHIPPED / "sweeps" / "duration.json"
    assert shipped(Path("configs/sweeps/mine.json")) == Path("configs/sweeps/mine.json")
    assert shipped(Path("elsewhere/duration.json")) == Path("elsewhere/duration.json")


def test_a_config_of_the_working_directory_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    own = Path("configs/lr.json")
    own.parent.mkdir()
    own.write_text('{"model": {"name": "LR"}, "data": "planted-tiny", "seed": 7}')
    assert load("lr", find_model).run.seed == 7
    assert configs_in()["lr"] == own and configs_in()["duration"] == SHIPPED / "duration.json"


@pytest.fixture(scope="module")
def hrec(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs the command of a wheel that was built from this checkout and installed elsewhere."""
    source, wheels, site = (tmp_path_factory.mktemp(name) for name in ("source", "wheels", "site"))
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, source / name)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(wheels), str(source)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = wheels.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", str(site), str(wheel)], check=True, capture_output=True)
    shutil.rmtree(source)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(site)}

    def run(*words: str, cwd: Path) -> str:
        command = [sys.executable, str(site / "bin" / "hrec"), *words]
        done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    return run


@pytest.mark.slow
def test_an_installed_wheel_trains_recommends_and_reproduces_from_an_empty_folder(hrec: Run, tmp_path: Path):
    hrec("train", "duration", "data=planted-tiny", "opt.epochs=2", cwd=tmp_path)
    (folder,) = (tmp_path / "output").glob("DURation-*")
    lists = hrec("recommend", str(folder), "--all-users", "--k", "2", cwd=tmp_path)
    assert len(lists.splitlines()) > 100 and " film " in lists
    words = ("--data", "tiny", "--seeds", "1", "--trials", "1", "--models", "WMF", "DualNet")
    report = hrec("reproduce", "dualnet", "table1", *words, cwd=tmp_path)
    assert "| in-matrix | DualNet |" in report and "Command: `hrec reproduce dualnet table1 --data tiny" in report
