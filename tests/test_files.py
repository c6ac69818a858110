"""Files in folders of others: no symbolic link is written through, no pipe waited for, and one process at a time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hrec.config import ConfigError, load
from hrec.files import Locked, append_text, lock, make_new, open_regular, read_text
from hrec.models import find_model
from hrec.pipeline.checkpoints import CheckpointError, Checkpoints, write_whole
from hrec.pipeline.fingerprint import refuse_other_data
from hrec.pipeline.finished import require_finished
from hrec.pipeline.records import RunFolder
from hrec.pipeline.run import run
from hrec.settings import DataSettings


@pytest.fixture
def victim(tmp_path) -> Path:
    """A file of somebody outside the run folder."""
    path = tmp_path / "victim"
    path.write_text("precious")
    return path


@pytest.fixture
def folder(tmp_path) -> RunFolder:
    (tmp_path / "run").mkdir()
    return RunFolder(tmp_path / "run", show=False)


# ---------------------------------------------------------------------------------------------- links, pipes


@pytest.mark.parametrize("name", ["log.txt", "log.jsonl"])
def test_a_log_that_is_a_symbolic_link_is_not_written_through(folder, victim, name):
    (folder.path / name).symlink_to(victim)
    with pytest.raises(CheckpointError, match=rf"{name}: could not be written \(it is a symbolic link"):
        folder.say("a line")
        folder.epoch({"stage": "train", "epoch": 1, "seconds": 1.0})
    assert victim.read_text() == "precious"


def test_a_link_to_no_file_makes_none(folder, tmp_path):
    (folder.path / "log.txt").symlink_to(tmp_path / "new")
    with pytest.raises(CheckpointError, match="symbolic link"):
        folder.say("a line")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("name", ["last.pt", "best.safetensors", "config.json", "curves.png"])
def test_links_under_the_names_of_a_file_and_its_partial_one_are_replaced(folder, victim, name):
    for link in (name, f".{name}.partial"):
        (folder.path / link).symlink_to(victim)
    write_whole(folder.path / name, lambda path: path.write_text("new"))
    assert victim.read_text() == "precious"
    assert (folder.path / name).read_text() == "new" and not (folder.path / name).is_symlink()
    assert [path.name for path in folder.path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["log.txt", "log.jsonl"])
def test_a_pipe_in_place_of_a_log_is_refused_at_once(folder, name):
    os.mkfifo(folder.path / name)
    with pytest.raises(CheckpointError, match="could not be written"):
        folder._append(name, "a line")
    reader = os.open(folder.path / name, os.O_RDONLY | os.O_NONBLOCK)  # now it could be opened to write
    with pytest.raises(CheckpointError, match="no regular file"):
        folder._append(name, "a line")
    os.close(reader)


def test_pipes_and_folders_in_place_of_what_is_read_are_refused_at_once(folder):
    for name in ("log.jsonl", "data.json", "last.pt", "best.safetensors"):
        os.mkfifo(folder.path / name)
    checkpoints = Checkpoints(folder.path)
    for read in (
        folder.rows,
        lambda: refuse_other_data(folder, {}),
        lambda: checkpoints.load_last("cpu"),
        lambda: checkpoints.load_best(None),
    ):
        with pytest.raises(CheckpointError, match="no regular file"):
            read()
    with pytest.raises(OSError, match="no regular file"):
        open_regular(folder.path)


def test_a_new_file_is_made_in_place_of_what_was_there(tmp_path, victim):
    os.link(victim, tmp_path / "hard")
    make_new(tmp_path / "hard")
    assert victim.read_text() == "precious" and (tmp_path / "hard").read_text() == ""


def test_text_is_written_behind_what_is_there(tmp_path):
    append_text(tmp_path / "a", "ü\udcff\n")
    append_text(tmp_path / "a", "b\n")
    assert read_text(tmp_path / "a") == "ü\\udcff\nb\n"


# ----------------------------------------------------------------------------------------------- names, rights


@pytest.mark.parametrize("name", ["a\nb", "a\x1b[2Jb", "a\x00b", "a\x7fb", "a\u202eb", "a\u2028b", "a\udc80b", "\t"])
def test_a_name_of_data_with_control_characters_is_refused(name):
    with pytest.raises(ValueError, match=r"can be printed|valid string"):
        DataSettings(name=name, inter_feat_path="i.csv")


def test_a_name_of_data_fits_into_the_names_of_folders(tmp_path):
    assert RunFolder.create(
        tmp_path, f"DURation-{DataSettings(name='日' * 66, inter_feat_path='i').name}"
    ).path.is_dir()
    with pytest.raises(ValueError, match="at most 200 bytes"):
        DataSettings(name="日" * 67, inter_feat_path="i.csv")


def test_a_file_may_have_as_long_a_name_as_there_can_be(tmp_path):
    write_whole(tmp_path / ("a" * 251 + ".csv"), lambda path: path.write_text("new"))
    assert (tmp_path / ("a" * 251 + ".csv")).read_text() == "new"


@pytest.mark.parametrize("name", ["x" * 300, "x" * 5000, "a/" * 3000])
def test_a_config_with_a_name_that_no_file_can_have_is_not_there(name):
    with pytest.raises(ConfigError, match="no settings called"):
        load(name, find_model)
    with pytest.raises(ConfigError, match=r"cannot be read|no such run folder"):
        require_finished(Path(name))


def test_a_config_that_is_a_pipe_or_a_device_is_refused_as_one(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name in (str(tmp_path / "pipe"), "/dev/null"):
        with pytest.raises(ConfigError, match=f"^{name}: is a pipe or a device"):
            load(name, find_model)
    (tmp_path / "c.json").write_text(json.dumps({"model": {"name": "DMF"}, "data": str(tmp_path / "pipe")}))
    with pytest.raises(ConfigError, match=r"pipe: is a pipe or a device\. Write the data to a file"):
        load(str(tmp_path / "c.json"), find_model)


def test_a_config_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    (tmp_path / "c.json").write_text("{}")

    def refuse(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(ConfigError, match=r"c\.json: cannot be read \(Permission denied\)"):
        load(str(tmp_path / "c.json"), find_model)
    monkeypatch.setattr(Path, "is_file", refuse)
    with pytest.raises(ConfigError, match=r"c\.json: cannot be read \(Permission denied\)"):
        load(str(tmp_path / "c.json"), find_model)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_closed_run_folder_is_named(folder):
    folder.path.chmod(0)
    with pytest.raises(CheckpointError, match="Permission denied"):
        folder.rows()
    with pytest.raises(ConfigError, match="Permission denied"):
        require_finished(folder.path)
    folder.path.chmod(0o700)


# --------------------------------------------------------------------------------------------------- contents


ROW = '{"stage": "train", "epoch": 1, "seconds": 1.0, "loss": 0.5, "best": true}'
WRONG_ROWS = [
    ROW.replace('"train"', "3"),
    ROW.replace('"train"', "[]"),
    ROW.replace('"epoch": 1', '"epoch": "1"'),
    ROW.replace('"epoch": 1', '"epoch": 1.5'),
    ROW.replace('"epoch": 1', '"epoch": true'),
    ROW.replace('"epoch": 1', '"epoch": 0'),
    ROW.replace('"epoch": 1', '"epoch": ' + "1" * 5000),
    ROW.replace("0.5", '"half"'),
    ROW.replace("0.5", "[0.5]"),
    ROW.replace("1.0", "{}"),
    ROW.replace("0.5", "[" * 3000 + "]" * 3000),
    "[" * 100_000,
    "3",
    "null",
]


@pytest.mark.parametrize("line", WRONG_ROWS)
@pytest.mark.parametrize("behind", [ROW + "\n", ""])
def test_a_row_of_other_types_is_refused_with_its_line(folder, line, behind):
    (folder.path / "log.jsonl").write_text(f"{ROW}\n{line}\n{behind}")
    with pytest.raises(CheckpointError, match=r"log\.jsonl, line 2: holds"):
        folder.rows()


WRONG_DATA = ["[]", "3", '{"digest": 3}', '{"columns": []}', '{"settings": []}', '{"name": {}}', "[" * 3000, "1" * 5000]


@pytest.mark.parametrize("text", WRONG_DATA)
def test_data_of_other_types_is_damaged(folder, text):
    (folder.path / "data.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"data\.json: is damaged"):
        refuse_other_data(folder, {"digest": "a", "columns": "b"})


# ------------------------------------------------------------------------------------------------------ locks


def test_a_second_process_is_refused_with_the_name_of_the_first(folder):
    hold = (
        "import sys; from pathlib import Path; from hrec.files import lock\n"
        "with lock(Path(sys.argv[1])):\n    print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", hold, str(folder.path / ".lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        with pytest.raises(CheckpointError, match=rf"process {other.pid} on .* is writing to it"), folder.locked():
            pass
        other.kill()  # it cannot take its file away
    assert (folder.path / ".lock").exists()
    with folder.locked():
        pass
    assert not (folder.path / ".lock").exists()


def test_a_lock_is_free_again_after_an_error(folder):
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), folder.locked():
            raise ZeroDivisionError
    assert not list(folder.path.iterdir())


def test_what_stands_in_a_lock_is_not_repeated_to_a_terminal(tmp_path):
    with lock(tmp_path / "l"):
        (tmp_path / "l").write_text("\x1b[2J")
        with pytest.raises(Locked, match=r"^another process$"), lock(tmp_path / "l"):
            pass


def test_a_lock_that_is_a_link_is_not_written_through(folder, victim):
    (folder.path / ".lock").symlink_to(victim)
    with pytest.raises(CheckpointError, match="symbolic link"), folder.locked():
        pass
    assert victim.read_text() == "precious"


def test_two_runs_cannot_go_on_with_one_folder_at_once(tmp_path):
    settings = ["data=planted-tiny", "path.cache=null", f"path.output={tmp_path}", "opt.epochs=1"]
    config = load("configs/popularity.json", find_model, settings)
    run(config, show=False)
    (folder,) = tmp_path.iterdir()
    before = sorted((path.name, path.stat().st_mtime_ns) for path in folder.iterdir())
    with RunFolder(folder).locked(), pytest.raises(CheckpointError, match="is writing to it"):
        run(config, folder, show=False)
    assert sorted((path.name, path.stat().st_mtime_ns) for path in folder.iterdir()) == before
    run(config, folder, show=False)
    assert ".lock" not in {path.name for path in folder.iterdir()}
