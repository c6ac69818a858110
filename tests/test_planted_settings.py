"""The section data with planted data: kinds can be chosen, what only files have is refused."""

import numpy as np
import pytest

from hrec.config import load as load_config
from hrec.datasets import load, load_split
from hrec.datasets.problems import DataError
from hrec.models import find_model
from hrec.settings import DataSettings


def planted(**settings) -> DataSettings:
    return DataSettings.model_validate({"planted": {"size": "tiny"}, **settings})


def test_single_type_leaves_one_kind_numbered_from_0():
    whole, film = load(planted(), None), load(planted(single_type="film"), None)
    assert list(film.kinds) == ["film"] and film.kinds["film"].start == 0
    rows = whole.interactions.kind == 2
    assert np.array_equal(film.interactions.item + whole.kinds["film"].start, whole.interactions.item[rows])
    assert np.array_equal(film.interactions.label, whole.interactions.label[rows])
    assert not film.interactions.kind.any()


def test_type_chooses_and_orders_the_kinds():
    whole, two = load(planted(), None), load(planted(type=["film", "book"]), None)
    assert list(two.kinds) == ["film", "book"] and two.kinds["book"].start == whole.kinds["film"].count
    ids = np.concatenate([table.ids for table in two.kinds.values()])
    assert {i.split("_")[0] for i in ids[two.interactions.item[two.interactions.kind == 1]]} == {"book"}


def test_an_unknown_kind_is_refused_with_the_nearest():
    with pytest.raises(DataError, match=r"no kind 'bok'\. Did you mean 'book'"):
        load(planted(single_type="bok"), None)


def test_single_false_passes_over_single_type():
    assert len(load(planted(single=False, single_type="film"), None).kinds) == 3


@pytest.mark.parametrize(
    "key", [{"label": {"negatives": 2}}, {"feat": {"x": {"type": "token"}}}, {"USER_ID_FIELD": "u"}]
)
def test_what_only_files_have_is_refused(key):
    with pytest.raises(ValueError, match=f"made, not read.*{next(iter(key))}"):
        planted(**key)


def test_a_split_that_the_data_cannot_give_is_a_data_error():
    with pytest.raises(DataError, match="bok"):
        load_split(planted(sample={"bok": 0.5}), None)


@pytest.mark.parametrize("name", ["planted-tiny", "planted-small", "planted-douban"])
def test_planted_data_goes_by_its_size_unless_it_has_a_name(name):
    size = name.removeprefix("planted-")
    assert DataSettings(planted={"size": size}).name == name
    assert DataSettings(planted={"size": size}, name="mine").name == "mine"
    config = load_config("duration", find_model, ["data=planted-small", f"data.planted.size={size}"])
    assert config.run.data.name == name
