"""The cache: used when it is sound and up to date, and never otherwise."""

import errno
import json
import os
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

from hrec.datasets import cache as caching
from hrec.datasets.recdata import RecData

HIT = "data read from the cache"


@pytest.fixture
def store(files) -> Path:
    """A cache that holds the tiny data set."""
    folder = files.folder / "cache"
    files.read(folder)
    assert not said(files, HIT)
    files.said.clear()
    return folder


def said(files, text: str) -> bool:
    return any(text in line for line in files.said)


def entry(folder: Path) -> Path:
    (only,) = folder.iterdir()  # nothing half-written beside it
    return only


def same(a: RecData, b: RecData) -> None:
    """Every array of the two is equal."""
    left, right = [], []
    assert caching._pack(a, left) == caching._pack(b, right)
    for one, two in zip(left, right, strict=True):
        assert one.dtype == two.dtype
        np.testing.assert_array_equal(one, two)


def test_hit_gives_the_same_data(files, store):
    cached = files.read(store)
    assert said(files, HIT) and isinstance(cached.interactions.user, np.memmap)
    same(cached, files.read())


def test_what_was_said_is_said_again(files):
    folder = files.folder / "cache"
    for _ in range(2):
        files.said.clear()
        files.read(folder, type=("book",))
        assert said(files, "2 interactions with items of kinds that are not used")
    assert said(files, HIT)


def test_changed_content_is_read_anew_even_with_the_same_size_and_time(files, store):
    path = files.folder / "book.csv"
    before = path.stat()
    files.spoil("book.csv", "Bob", "Rob")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    data = files.read(store)
    assert said(files, "has changed") and not said(files, HIT)
    assert "Rob" in data.kinds["book"].columns["author"].values
    files.said.clear()
    same(files.read(store), data)
    assert said(files, HIT)
    entry(store)


def test_columns_without_a_category_come_back(files):
    files.spoil("users.csv", "Paris", "")
    files.spoil("users.csv", "Rome", "")
    folder = files.folder / "cache"
    files.read(folder)
    files.said.clear()
    same(files.read(folder), files.read())
    assert said(files, HIT)


def test_touched_file_is_still_a_hit(files, store):
    os.utime(files.folder / "rates.csv")
    files.read(store)
    assert said(files, HIT)


@pytest.mark.parametrize(
    "change",
    [
        {"label": {"from": "rating", "above": 3}},
        {"type": ("music", "book")},
        {"drop_bad_rows": True},
        {"feat": {}},
        {"split": {"by": "time"}},
    ],
)
def test_settings_that_matter(files, store, change):
    data = files.read(store, **change)
    assert not said(files, HIT) and len(list(store.iterdir())) == 2
    same(data, files.read(**change))


@pytest.mark.parametrize("change", [{"inter_matrix_type": "01"}, {"sample": 0.5}, {"split": {"by": "user"}}])
def test_settings_that_do_not_matter(files, store, change):
    data = files.read(store, **change)
    assert said(files, HIT)
    same(data, files.read())


def test_number_of_negatives_does_not_matter(files):
    folder = files.folder / "cache"
    files.read(folder, label={"negatives": 2})
    files.read(folder, label={"negatives": 7, "popularity": 1})
    assert said(files, HIT)


def test_format_matters(files, store, monkeypatch):
    monkeypatch.setattr(caching, "FORMAT", caching.FORMAT + 1)
    files.read(store)
    assert not said(files, HIT)


def first_of(folder: Path, ending: str) -> Path:
    return min(folder.glob(f"*{ending}"))


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


DAMAGE = {
    "array missing": lambda folder: (folder / "0.npy").unlink(),
    "array truncated": lambda folder: os.truncate(first_of(folder, ".npy"), 60),
    "array empty": lambda folder: os.truncate(first_of(folder, ".npy"), 0),
    "bit flipped": lambda folder: flip(first_of(folder, ".npy")),
    "text truncated": lambda folder: os.truncate(first_of(folder, ".arrow"), 60),
    "text flipped": lambda folder: flip(first_of(folder, ".arrow")),
    "manifest missing": lambda folder: (folder / caching.MANIFEST).unlink(),
    "manifest truncated": lambda folder: os.truncate(folder / caching.MANIFEST, 100),
    "manifest empty": lambda folder: os.truncate(folder / caching.MANIFEST, 0),
    "manifest is another's": lambda folder: (folder / caching.MANIFEST).write_text("[1]"),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damage_is_noticed_and_repaired(files, store, damage):
    damage(entry(store))
    data = files.read(store)
    assert said(files, "is damaged") and not said(files, HIT)
    same(data, files.read())
    files.said.clear()
    files.read(store)
    assert said(files, HIT)


def test_manifest_that_was_edited_is_damage(files, store):
    path = entry(store) / caching.MANIFEST
    manifest = json.loads(path.read_text())
    manifest["data"]["of"]["negatives"] = 9
    path.write_text(json.dumps(manifest))
    files.read(store)
    assert said(files, "is damaged")


def test_full_disk_costs_a_line_and_leaves_nothing(files, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    folder = files.folder / "cache"
    monkeypatch.setattr(caching.np, "save", full)
    data = files.read(folder)
    assert said(files, "cannot be written") and said(files, "No space left")
    assert list(folder.iterdir()) == []
    same(data, files.read())


def test_place_that_cannot_be_written(files):
    path = Path(files.write("cache", "a file where the folder should be"))
    assert len(files.read(path).interactions) == 6 and said(files, "cannot be written")


def test_bad_data_leaves_nothing(files):
    files.spoil("rates.csv", "u3,b3", "u3,b9")
    with pytest.raises(ValueError, match="line 5"):
        files.read(files.folder / "cache")
    assert not (files.folder / "cache").exists()


def test_interrupted_writing_leaves_nothing(files, monkeypatch):
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(caching, "_to_disk", interrupt)
    with pytest.raises(KeyboardInterrupt):
        files.read(files.folder / "cache")
    assert list((files.folder / "cache").iterdir()) == []


def test_what_a_killed_process_left_is_swept_after_a_day(files):
    folder = files.folder / "cache"
    old, new = folder / f"{caching.UNFINISHED}old", folder / f"{caching.UNFINISHED}new"
    for left in (old, new):
        left.mkdir(parents=True)
    os.utime(old, (1, 1))
    files.read(folder)
    assert not old.exists() and new.exists()


def test_many_at_once(files):
    """All start from a damaged entry, write and read the same place; each gets the right data."""
    folder = files.folder / "cache"
    expected = files.read(folder)
    flip(entry(folder) / "0.npy")
    got: list[RecData] = []
    threads = [threading.Thread(target=lambda: got.extend(files.read(folder) for _ in range(5))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 20
    for data in got:
        same(data, expected)
    files.said.clear()
    files.read(folder)
    assert said(files, HIT)
    entry(folder)


def test_vector_files_are_used_where_they_are(files):
    path = files.folder / "cover.npy"
    np.save(path, np.ones((3, 2), np.float32))
    feat = {"cover": {"type": "vector", "source": "item_book", "path": str(path)}}
    folder = files.folder / "cache"
    files.read(folder, feat=feat)
    column = files.read(folder, feat=feat).kinds["book"].columns["cover"]
    assert said(files, HIT) and Path(column.value.filename) == path.resolve()
    np.save(path, np.full((3, 2), 2, np.float32))
    files.said.clear()
    assert files.read(folder, feat=feat).kinds["book"].columns["cover"].value.tolist() == [[2, 2]] * 3
    assert not said(files, HIT)


def test_clock_is_trusted_for_large_files_only(files, store, monkeypatch):
    monkeypatch.setattr(caching, "TRUST_CLOCK_FROM", 1)
    hashed: list[Path] = []
    digest = caching.digest
    monkeypatch.setattr(caching, "digest", lambda path: (hashed.append(path), digest(path))[1])
    files.read(store)
    assert said(files, HIT) and all(path.suffix in (".npy", ".arrow") for path in hashed)
    os.utime(files.folder / "rates.csv")  # another time: the content decides
    files.read(store)
    assert files.folder / "rates.csv" in hashed


def test_a_copied_project_reads_its_own_vectors(files, tmp_path_factory, monkeypatch):
    np.save(files.folder / "cover.npy", np.ones((3, 2), np.float32))
    feat = {"cover": {"type": "vector", "source": "item_book", "path": "cover.npy"}}
    files.settings = json.loads(json.dumps(files.settings).replace(f"{files.folder}/", ""))
    monkeypatch.chdir(files.folder)
    files.read(Path("cache"), feat=feat)
    copy = tmp_path_factory.mktemp("copies") / "copy"
    shutil.copytree(files.folder, copy)
    np.save(files.folder / "cover.npy", np.full((3, 2), 9, np.float32))
    monkeypatch.chdir(copy)
    files.said.clear()
    assert files.read(Path("cache"), feat=feat).kinds["book"].columns["cover"].value.tolist() == [[1, 1]] * 3
    assert said(files, HIT)
