"""What a stop or an error leaves of a run's folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hrec.config import LoadedConfig, load
from hrec.models import find_model
from hrec.pipeline.checkpoints import CheckpointError
from hrec.pipeline.devices import Processes
from hrec.pipeline.measured import Metrics
from hrec.pipeline.open_run import open_run
from hrec.pipeline.records import Heading
from hrec.pipeline.stage_run import Interrupted

ROOT = Path(__file__).resolve().parents[2]
METRICS = Metrics.of(["auc"])


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LoadedConfig:
    monkeypatch.chdir(ROOT)
    return load("lr", find_model, ["data=planted-tiny", f"path.output={json.dumps(str(tmp_path / 'out'))}"])


def stopped_by(error: BaseException, config: LoadedConfig, saved: bool, resume: Path | None = None) -> Path:
    """The folder of a run that this error ends, with or without a state."""
    with open_run(config, METRICS, resume, Processes(), Heading(False), False) as folder:
        assert folder is not None
        if saved:
            (folder.path / "last.pt").touch()
        path = folder.path
        (path.parent.parent / "path").write_text(str(path))
        raise error


def folder_of(tmp_path: Path) -> Path:
    return Path((tmp_path / "path").read_text())


@pytest.mark.parametrize("error", [KeyboardInterrupt(), Interrupted(), ValueError("bad")])
def test_a_new_folder_without_a_state_is_removed(config: LoadedConfig, tmp_path: Path, error: BaseException):
    with pytest.raises(type(error)):
        stopped_by(error, config, saved=False)
    assert not folder_of(tmp_path).exists()


def test_ctrl_c_names_the_folder_that_can_be_resumed(config: LoadedConfig, tmp_path: Path):
    with pytest.raises(Interrupted, match="LR-planted-tiny-"):
        stopped_by(KeyboardInterrupt(), config, saved=True)
    assert (folder_of(tmp_path) / "last.pt").exists()


def test_an_error_is_the_last_line_of_the_log(config: LoadedConfig, tmp_path: Path):
    with pytest.raises(ValueError, match="bad"):
        stopped_by(ValueError("bad"), config, saved=True)
    assert (folder_of(tmp_path) / "log.txt").read_text().endswith("stopped: bad\n")


def test_a_resumed_folder_without_a_state_is_kept(config: LoadedConfig, tmp_path: Path):
    old = tmp_path / "out" / "old"
    old.mkdir(parents=True)
    with pytest.raises(KeyboardInterrupt):
        stopped_by(KeyboardInterrupt(), config, saved=False, resume=old)
    assert old.exists()


def test_other_processes_have_no_folder(config: LoadedConfig, tmp_path: Path):
    with open_run(config, METRICS, None, Processes(1, 2), Heading(False), False) as folder:
        assert folder is None
    with pytest.raises(Interrupted), open_run(config, METRICS, None, Processes(1, 2), Heading(False), False):
        raise KeyboardInterrupt
    assert not (tmp_path / "out").exists()


def test_a_new_folder_is_locked(config: LoadedConfig):
    with open_run(config, METRICS, None, Processes(), Heading(False), False) as folder:
        assert folder is not None
        with pytest.raises(CheckpointError, match="is writing to it"), folder.locked():
            pass
