"""A pipe or a device in place of a file is refused before anything reads it, with and without the cache."""

import os
import signal
from pathlib import Path

import pytest

from hrec.datasets.reading import DataError


@pytest.fixture
def pipe(tmp_path):
    """A pipe that nobody writes to, and an alarm: whoever reads it waits for ever."""

    def stop(*_: object) -> None:
        pytest.fail("waits for a pipe")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(20)
    os.mkfifo(tmp_path / "pipe.csv")
    yield tmp_path / "pipe.csv"
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def paths_to(path: str, feat: dict) -> dict[str, dict]:
    """Settings that name the path, by the key that does."""
    vector = {"v": {"type": "vector", "source": "item_book", "path": path}}
    return {
        "data.inter_feat_path": {"inter_feat_path": path},
        "data.user_feat_path": {"user_feat_path": path},
        "data.item_feat_path.book": {"item_feat_path": {"book": path}},
        "data.item_feat_path": {"item_feat_path": path},
        "data.feat.v.path": {"feat": feat | vector},
        "data.feat.s.path": {"feat": feat | {"s": vector["v"] | {"type": "sparse"}}},
    }


@pytest.mark.parametrize("setting", paths_to("", {}))
@pytest.mark.parametrize("cached", [False, True])
def test_a_pipe_or_a_device_is_refused_at_once(files, pipe, setting, cached):
    link = files.folder / "link.csv"
    link.symlink_to(pipe)
    for path in (pipe, link, Path("/dev/zero")):
        cache = files.folder / "cache" if cached else None
        with pytest.raises(DataError) as error:
            files.read(cache, **paths_to(str(path), files.settings["feat"])[setting])
        assert f"{path}: is a pipe or a device" in str(error.value) and setting in str(error.value)


def test_a_pipe_of_a_kind_that_is_not_used_is_not_read(files, pipe):
    books = files.settings["item_feat_path"]["book"]
    for _ in range(2):
        files.read(files.folder / "cache", item_feat_path={"book": books, "music": str(pipe)}, type=("book",))
    assert any("read from the cache" in line for line in files.said)


def test_a_file_that_became_a_pipe_is_no_longer_that_of_the_cache(files, pipe):
    files.read(files.folder / "cache")
    rates = files.folder / "rates.csv"
    rates.unlink()
    pipe.rename(rates)
    with pytest.raises(DataError, match=r"rates.csv: is a pipe or a device"):
        files.read(files.folder / "cache")
