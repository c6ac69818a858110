"""data.single_type: one kind, with the parts that it has among all kinds, so that models of both can be compared."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hrec.datasets import load, load_split
from hrec.datasets.problems import DataError
from hrec.datasets.recdata import RecData
from hrec.settings import DataSettings


def planted(**settings) -> DataSettings:
    return DataSettings.model_validate({"planted": {"size": "tiny"}, **settings})


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Twenty users who each have a row with each of two books and three films."""
    items = {"book": ["b0", "b1"], "film": ["f0", "f1", "f2"]}
    rows = [(user, item, user % 2) for user in range(20) for of_kind in items.values() for item in of_kind]
    pd.DataFrame(rows, columns=["user_id", "item_id", "label"]).to_csv(tmp_path / "rows.csv", index=False)
    for kind, ids in items.items():
        pd.DataFrame({"item_id": ids, f"{kind}_year": range(len(ids))}).to_csv(tmp_path / f"{kind}.csv", index=False)
    return tmp_path


def of_files(folder: Path, **settings) -> DataSettings:
    return DataSettings.model_validate(
        {
            "inter_feat_path": str(folder / "rows.csv"),
            "item_feat_path": {kind: str(folder / f"{kind}.csv") for kind in ("book", "film")},
            "feat": {f"{kind}_year": {"type": "float", "source": f"item_{kind}"} for kind in ("book", "film")},
            **settings,
        }
    )


def pairs(part: RecData) -> set[tuple[str, str]]:
    """(user, item) of the rows, by their raw ids."""
    ids = np.concatenate([table.ids for table in part.kinds.values()])
    x = part.interactions
    return set(zip(part.users.ids[x.user].tolist(), ids[x.item].tolist(), strict=True))


def test_one_kind_has_the_parts_that_it_has_among_all_kinds():
    whole, film = load_split(planted(), None), load_split(planted(single_type="film"), None)
    start = whole.train.kinds["film"].start
    for part, alone in ((whole.train, film.train), (whole.valid, film.valid), (whole.test, film.test)):
        rows = part.interactions.take(part.interactions.kind == 2)
        assert np.array_equal(alone.interactions.user, rows.user) and len(rows)
        assert np.array_equal(alone.interactions.item + start, rows.item)
        assert list(alone.kinds) == ["film"] and not alone.interactions.kind.any()


def test_columns_made_of_the_training_part_are_those_of_the_one_kind():
    one, all_kinds = planted(single_type="film", train_columns=["count"]), planted(train_columns=["count"])
    alone, whole = load_split(one, None).train, load_split(all_kinds, None).train
    (name,) = set(alone.users.columns) - set(load(one, None).users.columns)
    rows = np.bincount(alone.interactions.user, minlength=alone.n_users)
    assert np.allclose(alone.users.columns[name].value[rows > 0], np.log1p(rows[rows > 0]))
    more = (whole.users.columns[name].value - alone.users.columns[name].value)[rows > 0]
    assert (more >= 0).all() and (more > 0).any()


def test_one_kind_of_files_has_the_test_rows_that_it_has_among_all_kinds(files: Path):
    whole, film = load_split(of_files(files), None), load_split(of_files(files, single_type="film"), None)
    for part, alone in ((whole.train, film.train), (whole.valid, film.valid), (whole.test, film.test)):
        assert pairs(alone) == {pair for pair in pairs(part) if pair[1].startswith("f")} != set()
    assert list(film.train.kinds) == ["film"] and list(film.train.kinds["film"].columns) == ["film_year"]


def test_drawn_negatives_of_one_kind_are_those_that_it_has_among_all_kinds(files: Path):
    pd.read_csv(files / "rows.csv").query("user_id % 3 != item_id.str[1].astype('int')").drop(columns="label").to_csv(
        files / "rows.csv", index=False
    )
    implicit = {"label": {"negatives": 1}}
    whole = load_split(of_files(files, **implicit), None)
    film = load_split(of_files(files, single_type="film", **implicit), None)
    assert pairs(film.test) == {pair for pair in pairs(whole.test) if pair[1].startswith("f")}
    assert set(film.test.interactions.label.tolist()) == {0.0, 1.0}


def test_one_kind_is_split_by_itself_where_the_others_cannot_be_read(files: Path):
    (files / "book.csv").unlink()
    said: list[str] = []
    film = load_split(of_files(files, single_type="film"), None, said.append)
    assert sum(len(part.interactions) for part in (film.train, film.valid, film.test)) == 60
    (line,) = [line for line in said if "split alone" in line]
    assert line.startswith("warning: 'film' is split alone, as other kinds cannot be read:") and "book.csv" in line


def test_a_fault_in_the_one_kind_is_a_fault(files: Path):
    (files / "film.csv").write_text("item_id,film_year\nf0,soon\n")
    with pytest.raises(DataError, match="'soon' is not a number"):
        load_split(of_files(files, single_type="film"), None)
    with pytest.raises(DataError, match=r"no kind 'fim'\. Did you mean 'film'"):
        load_split(of_files(files, single_type="fim"), None)
