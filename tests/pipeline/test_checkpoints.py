"""Checkpoints are whole or not there, and are loaded without running anything that a file says."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import nn

from hrec.pipeline.checkpoints import CheckpointError, Checkpoints, load_into, write_whole
from hrec.pipeline.context import Position

CPU = torch.device("cpu")


@pytest.fixture
def saved(tmp_path) -> Checkpoints:
    """Two checkpoints of ``layer(1)``."""
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save_best(layer(1), {"stage": "train", "epoch": "3"})
    checkpoints.save_last({"model": layer(1).state_dict(), "position": {"epoch": 3}})
    return checkpoints


def layer(value: float, width: int = 2) -> nn.Linear:
    out = nn.Linear(width, 1)
    nn.init.constant_(out.weight, value)
    nn.init.constant_(out.bias, value)
    return out


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_saved_is_loaded_bit_for_bit(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    torch.manual_seed(0)
    model, other = nn.Linear(5, 3), nn.Linear(5, 3)
    checkpoints.save_best(model, {"stage": "train", "epoch": "3"})
    checkpoints.load_best(other)
    assert torch.equal(model.weight, other.weight) and torch.equal(model.bias, other.bias)
    state = {"model": model.state_dict(), "rng": [torch.get_rng_state()], "at": {"sums": {"a": 0.1}, "best": None}}
    checkpoints.save_last(state)
    again = checkpoints.load_last(CPU)
    assert torch.equal(again["model"]["weight"], model.weight) and again["at"] == state["at"]
    assert torch.equal(again["rng"][0], state["rng"][0])


def test_the_same_weights_make_the_same_file(tmp_path):
    files = []
    for note in ({"a": "1", "b": "2", "c": "3", "d": "4"},) * 4:
        Checkpoints(tmp_path).save_best(layer(1), note)
        files.append((tmp_path / "best.safetensors").read_bytes())
    assert len(set(files)) == 1


def test_the_best_checkpoint_says_which_epoch_it_is_of(saved):
    with safe_open(saved.best, "pt") as file:
        shown = json.loads(file.metadata()["best"])
    assert shown | {"digest": ""} == {"stage": "train", "epoch": "3", "digest": ""}


@pytest.mark.parametrize("name", ["best", "last"])
def test_a_bit_that_was_turned_over_on_the_disk_is_found(saved, name: str):
    path = getattr(saved, name)
    content = bytearray(path.read_bytes())
    content[content.index(layer(1).weight.detach().numpy().tobytes())] ^= 64
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"is damaged"):
        saved.load_best(layer(5)) if name == "best" else saved.load_last(torch.device("cpu"))


def test_a_last_checkpoint_that_is_no_state_is_refused(tmp_path):
    torch.save([1, 2], tmp_path / "last.pt")
    with pytest.raises(CheckpointError, match="not the state of a run"):
        Checkpoints(tmp_path).load_last(torch.device("cpu"))


# ---------------------------------------------------------------------------------------------- writing


def half(path: Path) -> None:
    path.write_text("half of it")
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_write_that_fails_leaves_the_old_file_whole_and_no_other(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(CheckpointError) as caught:
        write_whole(path, half)
    assert path.read_text() == "old" and names(tmp_path) == ["file"]
    message = str(caught.value)
    assert str(path) in message and "No space left on device" in message
    assert "The file written before it is whole. Make room and resume." in message


def test_the_new_file_takes_the_place_of_the_old_one_at_once(tmp_path):
    """Written over in place, the old file would be neither old nor new for a while."""
    path, second_name = tmp_path / "file", tmp_path / "second name of the old file"
    path.write_text("old")
    second_name.hardlink_to(path)
    write_whole(path, lambda partial: partial.write_text("new"))
    assert path.read_text() == "new" and second_name.read_text() == "old"


def test_a_first_write_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(CheckpointError, match="No space left on device") as caught:
        write_whole(tmp_path / "file", half)
    assert names(tmp_path) == [] and "written before it" not in str(caught.value)


def test_a_mistake_in_the_program_is_not_reported_as_a_full_disk(tmp_path):
    def wrong(path: Path) -> None:
        path.write_text("half")
        raise KeyError("x")

    with pytest.raises(KeyError):
        write_whole(tmp_path / "file", wrong)
    assert names(tmp_path) == []


def test_room_is_asked_for_where_there_may_be_none(tmp_path):
    def shown(error: Exception) -> str:
        def wrong(path: Path) -> None:
            raise error

        with pytest.raises(CheckpointError) as caught:
            write_whole(tmp_path / "file", wrong)
        return str(caught.value)

    assert shown(OSError(errno.ENOSPC, "No space left on device")).endswith("(No space left on device). Make room.")
    assert shown(OSError(errno.EACCES, "Permission denied")).endswith("could not be written (Permission denied).")


def test_a_folder_that_is_gone_is_reported_in_a_sentence(tmp_path):
    with pytest.raises(CheckpointError, match="could not be written"):
        Checkpoints(tmp_path / "gone").save_last({})
    with pytest.raises(CheckpointError, match="could not be written"):
        Checkpoints(tmp_path / "gone").save_best(layer(1), {})


def test_a_full_disk_in_the_middle_of_a_save_is_a_sentence_and_the_previous_checkpoints_survive(saved):
    """The limit on the size of a file fails a write half way, as a full disk does."""
    before = {path: path.read_bytes() for path in (saved.best, saved.last)}
    script = f"""
import resource, signal
from pathlib import Path
from torch import nn
from hrec.pipeline.checkpoints import CheckpointError, Checkpoints
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
checkpoints, model = Checkpoints(Path({str(saved.last.parent)!r})), nn.Linear(300, 300)
for save in (lambda: checkpoints.save_best(model, {{}}), lambda: checkpoints.save_last(model.state_dict())):
    try:
        save()
    except CheckpointError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0 and done.stderr == ""
    lines = done.stdout.splitlines()
    for path, line in zip((saved.best, saved.last), lines, strict=True):
        assert line.startswith(f"{path}: could not be written (") and "Make room and resume." in line
        assert "inline_container" not in line
    assert {p: p.read_bytes() for p in before} == before and names(saved.last.parent) == [saved.best.name, "last.pt"]


def test_a_save_that_is_killed_leaves_the_old_checkpoint_and_the_next_save_takes_its_place(saved):
    script = f"""
import os, signal
from pathlib import Path
from hrec.pipeline.checkpoints import write_whole
def write(path):
    path.write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
write_whole(Path({str(saved.last)!r}), write)
"""
    done = subprocess.run([sys.executable, "-c", script], timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    assert saved.load_last(CPU)["position"] == {"epoch": 3}
    saved.save_last({"position": {"epoch": 4}})
    assert saved.load_last(CPU)["position"] == {"epoch": 4}
    assert names(saved.last.parent) == [saved.best.name, "last.pt"]


# ---------------------------------------------------------------------------------------------- reading


@pytest.mark.parametrize("damage", ["empty", "cut", "cut late", "noise"])
def test_a_damaged_checkpoint_is_reported_in_a_sentence(saved, damage):
    for path, load in ((saved.last, lambda: saved.load_last(CPU)), (saved.best, lambda: saved.load_best(layer(0)))):
        whole = path.read_bytes()
        path.write_bytes(
            {
                "empty": b"",
                "cut": whole[: len(whole) // 2],
                "cut late": whole[:-3],
                "noise": bytes(range(256)) * 8,
            }[damage]
        )
        with pytest.raises(CheckpointError) as caught:
            load()
        message = str(caught.value)
        assert message.startswith(f"{path}: cannot be read") or "is not opened" in message
        assert "\n" not in message and "()" not in message


def test_a_checkpoint_that_is_not_there_is_reported_in_a_sentence(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    with pytest.raises(CheckpointError, match="nothing to continue from"):
        checkpoints.load_last(CPU)
    with pytest.raises(CheckpointError, match="cannot be read"):
        checkpoints.load_best(layer(0))


class Harmful:
    """What a checkpoint from a stranger may hold: loading it with pickle would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


def test_a_checkpoint_that_holds_a_pickled_object_is_refused_and_not_run(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    torch.save({"model": Harmful(tmp_path / "ran")}, checkpoints.last)
    with pytest.raises(CheckpointError) as caught:
        checkpoints.load_last(CPU)
    assert "holds more than tensors and numbers, so it is not opened" in str(caught.value)
    assert "weights_only" not in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("other", [nn.Linear(3, 1), nn.Sequential(nn.Linear(2, 1))], ids=["size", "names"])
def test_weights_of_another_model_are_refused_with_a_sentence(saved, other):
    for load in (lambda: saved.load_best(other), lambda: load_into(other, layer(1).state_dict(), saved.last)):
        with pytest.raises(CheckpointError, match=r"does not fit this model\. The settings or the data have changed"):
            load()


@pytest.mark.parametrize("state", [{"a": 1}, {"position": {}, "model": 3}, {"position": {"x": 3}, "model": {}}])
def test_a_state_that_is_none_of_a_run_is_reported_in_a_sentence(state: dict):
    with pytest.raises(CheckpointError, match=r"run/last\.pt: it is not the state of a run"):
        Position.of(state, Path("run/last.pt"))
