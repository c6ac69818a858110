"""``hrec prepare text`` and ``images``: which contents are encoded, what a kill costs, and what the file holds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from hrec.__main__ import main
from hrec.files import lock
from hrec.prepare import images, text, vectors

KILLED = ["--id", "item_id", "--text", "title", "--out", "out.parquet"]


class Lengths:
    """Encodes a text as (its length, 1), a picture as (size of its file, 1); remembers what it was given."""

    def __init__(self, name: str = "lengths 1", stop: int | None = None) -> None:
        self.name, self.stop, self.batches = name, stop, []

    def __call__(self, batch: Sequence[str]) -> np.ndarray:
        if self.stop == len(self.batches):
            raise KeyboardInterrupt
        self.batches.append(list(batch))
        return np.array([[Path(one).stat().st_size if Path(one).is_file() else len(one), 1] for one in batch], float)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(vectors, "SECONDS", 0.0)  # a part for each batch


@pytest.fixture
def use(monkeypatch):
    """Makes --encoder this one."""

    def put(encoder: Lengths) -> Lengths:
        for module, name in ((text, "text_encoder"), (images, "image_encoder")):
            monkeypatch.setattr(module, name, lambda _: encoder)
        return encoder

    return put


def write(path: str, **columns: list) -> None:
    pd.DataFrame(columns).to_parquet(path)


def titles(*more: str, out: str = "out.parquet") -> int:
    files = [] if more and not more[0].startswith("-") else ["items.parquet"]
    return main(["prepare", "text", *files, *more, "--id", "item_id", "--text", "title", "--out", out])


def table(path: str = "out.parquet") -> pd.DataFrame:
    return pd.read_parquet(path)


def test_each_row_with_a_text_has_a_vector_and_equal_texts_are_encoded_once(use, capsys):
    encoder = use(Lengths())
    write("items.parquet", item_id=["a", "b", "c", "d"], title=["one", None, "three", "one"])
    assert titles() == 0
    assert encoder.batches == [["one", "three"]]
    assert table()["id"].tolist() == ["a", "c", "d"]
    assert np.stack(table()["vector"]).tolist() == [[3, 1], [5, 1], [3, 1]]
    assert "kind" not in table()
    said = capsys.readouterr().out
    assert "1 of 4 rows have no text" in said and "2 contents encoded, 0 were known" in said


def test_texts_of_several_columns_and_of_lists_are_joined(use):
    encoder = use(Lengths())
    write("items.parquet", item_id=[1, 2], title=["A", ""], tags=[["x", "y"], []], year=[1999, 2000])
    found = ["--text", "title", "tags", "year", "--out", "out.parquet"]
    assert main(["prepare", "text", "items.parquet", "--id", "item_id", *found]) == 0
    assert encoder.batches == [["A. x, y. 1999", "2000"]] and table()["id"].tolist() == ["1", "2"]


def test_kinds_are_named_by_file_or_by_column(use):
    use(Lengths())
    write("a.parquet", item_id=["1"], title=["x"])
    write("b.parquet", item_id=["1"], title=["yy"])
    assert titles("food=a.parquet", "kitchen=b.parquet") == 0
    write("items.parquet", item_id=["1", "1"], title=["x", "yy"], type=["food", "kitchen"])
    assert titles("--kind", "type", out="other.parquet") == 0
    assert table()[["id", "kind"]].to_numpy().tolist() == [["1", "food"], ["1", "kitchen"]]
    assert Path("out.parquet").read_bytes() == Path("other.parquet").read_bytes()


def test_after_a_kill_only_the_rest_is_encoded_and_the_file_is_the_same(use):
    write("items.parquet", item_id=list("abcdef"), title=["1", "22", "333", "4444", "55555", "666666"])
    use(Lengths())
    assert titles("--batch", "2", out="whole.parquet") == 0
    killed = use(Lengths(stop=2))
    with pytest.raises(KeyboardInterrupt):
        text.main(["items.parquet", *KILLED, "--batch", "2"])
    assert len(killed.batches) == 2 and not Path("out.parquet").exists()
    rest = use(Lengths())
    assert titles("--batch", "2") == 0
    assert rest.batches == [["55555", "666666"]]
    assert Path("out.parquet").read_bytes() == Path("whole.parquet").read_bytes()
    assert sorted(path.name for path in Path().iterdir()) == ["items.parquet", "out.parquet", "whole.parquet"]


def test_a_damaged_part_is_made_again(use):
    write("items.parquet", item_id=list("ab"), title=["1", "22"])
    use(Lengths(stop=1))
    with pytest.raises(KeyboardInterrupt):
        text.main(["items.parquet", *KILLED, "--batch", "1"])
    (part,) = Path(".out.parquet.parts").iterdir()
    part.write_bytes(part.read_bytes()[:-9])
    again = use(Lengths())
    assert titles() == 0 and again.batches == [["1", "22"]]


def test_only_changed_texts_are_encoded_again(use, capsys):
    write("items.parquet", item_id=list("abc"), title=["one", "two", "three"])
    use(Lengths())
    assert titles() == 0
    write("items.parquet", item_id=list("zca"), title=["seven", "two", "three"])
    again = use(Lengths())
    assert titles() == 0
    assert again.batches == [["seven"]] and "1 contents encoded, 2 were known" in capsys.readouterr().out
    assert table()["id"].tolist() == ["z", "c", "a"]
    assert np.stack(table()["vector"])[:, 0].tolist() == [5, 3, 5]


def test_vectors_of_another_encoder_are_neither_used_nor_replaced_without_force(use, capsys):
    write("items.parquet", item_id=["a"], title=["one"])
    use(Lengths())
    titles()
    other = use(Lengths("lengths 2"))
    assert titles() == 1
    assert "out.parquet is there already and was not made by lengths 2: --force" in capsys.readouterr().err
    assert not other.batches
    assert titles("--force") == 0 and other.batches == [["one"]]
    assert pq.read_schema("out.parquet").metadata[vectors.MADE_BY] == b"lengths 2"


@pytest.mark.parametrize(
    ("columns", "more", "said"),
    [
        ({"item_id": ["a", "a"], "title": ["x", "y"]}, [], "id 'a' occurs twice"),
        ({"item_id": ["a", None], "title": ["x", "y"]}, [], "items.parquet, row 2, column 'item_id': is empty"),
        ({"item_id": ["a"], "name": ["x"]}, [], "no column 'title'"),
        ({"item_id": ["a"], "title": [""]}, [], "there is nothing to encode"),
        ({"item_id": ["a"], "title": ["x"]}, ["--batch", "0"], "--batch 0: should be 1 or more"),
        (
            {"item_id": ["a"], "title": ["x"]},
            ["food=items.parquet", "items.parquet"],
            "write KIND=FILE for all or none",
        ),
        ({"item_id": ["a"], "title": ["x"]}, ["k=items.parquet", "--kind", "title"], "both give the kind"),
        ({"item_id": ["a"], "title": ["x"]}, ["nothing.parquet"], "nothing.parquet"),
    ],
)
def test_what_cannot_be_encoded_is_named(columns, more, said, use, capsys):
    encoder = use(Lengths())
    write("items.parquet", **columns)
    assert titles(*more) == 1
    assert said in capsys.readouterr().err and not encoder.batches and not Path("out.parquet").exists()


def test_numbers_that_are_not_finite_stop_with_the_id(use, monkeypatch, capsys):
    use(Lengths())
    monkeypatch.setattr(Lengths, "__call__", lambda self, batch: np.array([[1.0], [np.nan]]))
    write("items.parquet", item_id=["a", "b"], title=["x", "yy"])
    assert titles() == 1
    assert "id 'b': the encoder gave numbers that are missing or infinite" in capsys.readouterr().err


def test_two_processes_do_not_make_one_file(use, capsys):
    use(Lengths())
    write("items.parquet", item_id=["a"], title=["x"])
    with lock(Path(".out.parquet.lock")):
        assert titles() == 1
    assert "makes it now" in capsys.readouterr().err


def test_pictures_are_named_by_id_and_known_by_their_bytes(use, capsys):
    Path("food").mkdir()
    for name, content in (("B1.jpg", b"12"), ("B2.PNG", b"345"), ("B3.png", b"12"), ("notes.txt", b"1")):
        Path("food", name).write_bytes(content)
    encoder = use(Lengths())
    assert main(["prepare", "images", "food=food", "--out", "out.parquet"]) == 0
    assert encoder.batches == [["food/B1.jpg", "food/B2.PNG"]]
    assert "1 files do not end in" in capsys.readouterr().out
    assert table()[["id", "kind"]].to_numpy().tolist() == [[f"B{i}", "food"] for i in (1, 2, 3)]
    assert np.stack(table()["vector"])[:, 0].tolist() == [2, 3, 2]
    Path("food", "B4.gif").write_bytes(b"6789")
    assert main(["prepare", "images", "food=food", "--out", "out.parquet"]) == 0
    assert encoder.batches[1:] == [["food/B4.gif"]]


def test_a_picture_twice_and_a_folder_that_is_none_are_named(use, capsys):
    use(Lengths())
    assert main(["prepare", "images", "nothing", "--out", "out.parquet"]) == 1
    assert "nothing is not a folder" in capsys.readouterr().err
    Path("p").mkdir()
    Path("p/B1.jpg").write_bytes(b"1")
    Path("p/B1.png").write_bytes(b"2")
    assert main(["prepare", "images", "p", "--out", "out.parquet"]) == 1
    assert "id 'B1' occurs twice" in capsys.readouterr().err
