"""RecBole's atomic files: the header carries the types."""

import os
from pathlib import Path

import numpy as np
import pytest

from hrec.datasets.columns import FIRST, Categorical, CategoricalList, Dense, Numeric
from hrec.datasets.reading import DataError, read
from hrec.settings import DataSettings

SHARED = Path(os.environ.get("HREC_SHARED", Path(__file__).resolve().parents[2] / ".." / "shared"))

INTER = "user_id:token\titem_id:token\trating:float\ttimestamp:float\tmood:token\n1\t10\t5\t3.5\tx\n2\t11\t1\t4\ty\n"
USER = 'user_id:token\tage:token\n1\t"24\n2\t53\n'
ITEM = "item_id:token\ttitle:token_seq\tyear:float\tplace:float_seq\n10\tToy Story\t1995\t1 2.5\n11\t\t\t0 1\n"
RATING = {"from": "rating", "above": 3}


@pytest.fixture
def atomic(tmp_path):
    """Settings of three small atomic files, and a function that writes one again."""

    def write(ending: str, text: str) -> str:
        (tmp_path / f"tiny.{ending}").write_text(text)
        return str(tmp_path / f"tiny.{ending}")

    settings = {
        "inter_feat_path": write("inter", INTER),
        "user_feat_path": write("user", USER),
        "item_feat_path": write("item", ITEM),
        "label": RATING,
    }
    return settings, write


def load(settings: dict, **changes: object):
    return read(DataSettings.model_validate(settings | changes), None, lambda line: None)


def test_all_columns_are_read_by_their_type(atomic):
    data = load(atomic[0])
    item = data.kinds["item"].columns
    assert list(data.users.columns) == ["age"] and list(item) == ["title", "year", "place"]
    assert isinstance(data.users.columns["age"], Categorical)
    assert data.users.columns["age"].values.tolist() == ['"24', "53"]  # a quotation mark is a letter like any other
    assert isinstance(item["title"], CategoricalList) and item["title"].values.tolist() == ["Story", "Toy"]
    assert item["title"].offset.tolist() == [0, 2, 2]
    assert isinstance(item["year"], Numeric) and np.isnan(item["year"].value[1])
    assert isinstance(item["place"], Dense) and item["place"].value.tolist() == [[1, 2.5], [0, 1]]
    assert data.interactions.rating.tolist() == [5, 1] and data.interactions.label.tolist() == [1, 0]
    assert data.interactions.time.tolist() == [3.5, 4] and data.interactions.columns == {}


def test_an_empty_cell_of_a_vector_is_missing(atomic):
    settings, write = atomic
    write("item", ITEM.replace("\t1 2.5\n", "\t\n"))
    place = load(settings).kinds["item"].columns["place"]
    assert isinstance(place, Dense) and np.isnan(place.value[0]).all() and place.value[1].tolist() == [0, 1]


def test_feat_selects_columns_and_may_change_their_type(atomic):
    feat = {
        "user_id": {"type": "token", "source": "user"},
        "age": {"type": "token", "source": "user"},
        "year": {"type": "token", "source": "item"},
        "place": {"type": "float", "source": "item"},
        "title": {"type": "token_seq", "source": "item"},
    }
    data = load(atomic[0], feat=feat)
    item = data.kinds["item"].columns
    assert isinstance(item["year"], Categorical) and isinstance(item["place"], Dense)
    assert item["title"].values.tolist() == ["Story", "Toy"]
    feat["title"]["separator"] = "|"
    assert load(atomic[0], feat=feat).kinds["item"].columns["title"].values.tolist() == ["Toy Story"]


def test_bad_number_and_missing_type(atomic):
    settings, write = atomic
    write("item", ITEM.replace("1995", "old"))
    with pytest.raises(DataError, match=r"tiny.item, line 2, column 'year': 'old' is not a number. Correct the file"):
        load(settings)
    write("item", ITEM.replace("year:float", "year"))
    with pytest.raises(DataError, match=r"tiny.item, line 1, column 'year': .*name:type.*Correct the header"):
        load(settings)
    write("item", ITEM.replace("0 1", "0"))
    with pytest.raises(DataError, match=r"tiny.item, line 3, column 'place': '0' is not a list of 2 numbers"):
        load(settings)
    write("item", ITEM.replace("0 1", "0 x"))
    with pytest.raises(DataError, match=r"tiny.item, line 3, column 'place': '0 x' is not a list of numbers"):
        load(settings)


def test_kinds_with_columns_of_different_type(atomic):
    settings, write = atomic
    other = write("other.item", "item_id:token\tyear:token\n12\t1990\n")
    with pytest.raises(DataError, match=r"column 'year': is of type token here and float in .*tiny.item"):
        load(settings, item_feat_path={"a": settings["item_feat_path"], "b": other})


def test_the_real_movielens():
    folder = SHARED / "data" / "movielens_100k_text"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there; set HREC_SHARED to the folder that holds data/movielens_100k_text")
    paths = {f"{what}_feat_path": str(folder / f"ml-100k.{what}.xz") for what in ("inter", "user", "item")}
    data = load(paths, label=RATING)
    assert (data.n_users, data.n_items, len(data.interactions)) == (943, 1682, 100_000)
    assert list(data.users.columns) == ["age", "gender", "occupation", "zip_code"]
    assert set(data.kinds["item"].columns) == {"movie_title", "release_year", "class"}
    assert len(data.kinds["item"].columns["class"].values) == 19
    first = data.interactions
    assert data.users.ids[first.user[0]] == "196" and data.kinds["item"].ids[first.item[0]] == "242"
    assert first.time[0] == 881250949 and first.rating.mean() == pytest.approx(3.52986, abs=1e-5)
    assert first.label.sum() == 55_375


def test_settings_written_out_whole_read_the_same(atomic):
    """config.json of a run names every key, those left out too."""
    feat = {name: {"type": kind, "source": "item"} for name, kind in (("title", "token_seq"), ("place", "float"))}
    settings = DataSettings.model_validate(atomic[0] | {"feat": feat})
    again = DataSettings.model_validate_json(settings.model_dump_json(by_alias=True))
    for each in (settings, again):
        columns = read(each, None, lambda line: None).kinds["item"].columns
        assert columns["title"].values.tolist() == ["Story", "Toy"] and columns["place"].value.shape == (2, 2)


@pytest.mark.parametrize("first", ["film", "article"])
def test_each_file_is_split_as_its_own_format_says(atomic, tmp_path, first):
    settings, write = atomic
    films = write("item", "item_id:token\ttags:token_seq\tplace:float_seq\n10\tDrama Crime\t1 2\n")
    articles = tmp_path / "articles.csv"
    articles.write_text("item_id,tags,place\n11,red wine|food,3|4\n")
    paths = {"film": films, "article": str(articles)}
    paths = {first: paths[first]} | paths
    feat = {"tags": {"type": "token_seq", "source": "item"}, "place": {"type": "float", "source": "item"}}
    kinds = load(settings, item_feat_path=paths, feat=feat).kinds
    entries = {kind: t.columns["tags"].values[t.columns["tags"].code - FIRST].tolist() for kind, t in kinds.items()}
    assert {k: sorted(v) for k, v in entries.items()} == {"film": ["Crime", "Drama"], "article": ["food", "red wine"]}
    assert kinds["film"].columns["place"].value.tolist() == [[1, 2]]
    assert kinds["article"].columns["place"].value.tolist() == [[3, 4]]


def test_a_feature_may_have_the_name_of_an_id_or_kind_of_the_other_file(atomic):
    settings, write = atomic
    settings |= {"user_feat_path": write("user", "user_id:token\titem_id:token\ttype:token\n1\t10\tpro\n2\t11\tfree\n")}
    data = load(settings)
    assert list(data.users.columns) == ["item_id", "type"] and "item_id" not in data.kinds["item"].columns
    feat = {name: {"type": "token", "source": "user"} for name in ("user_id", "item_id")}
    chosen = load(settings, feat=feat).users.columns
    assert list(chosen) == ["item_id"] and chosen["item_id"].values.tolist() == ["10", "11"]
    feat = {"item_id": {"type": "token", "source": "item"}, "user_id": {"type": "token", "source": "item"}}
    settings |= {"item_feat_path": write("item", "item_id:token\tuser_id:token\n10\tann\n11\tbob\n")}
    assert list(load(settings, feat=feat).kinds["item"].columns) == ["user_id"]
