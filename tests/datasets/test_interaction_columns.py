"""Columns of the interactions: read, cached, and still with their rows after repeats, bad rows, splits and kinds."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from hrec.config import validate
from hrec.datasets import load_split
from hrec.datasets.columns import Categorical, CategoricalList, Numeric, Tokens
from hrec.datasets.reading import DataError, read
from hrec.settings import DataSettings, FeatureSettings

HEADER = "user_id,item_id,rating,device,tags,hours,review"
ROWS = [
    "u1,a,5,phone,x|y,1.5,Great strings",
    'u1,b,2,,,,"Broke, twice"',
    "u2,a,1,web,y,3,",
    "u2,b,4,phone,x,2,great",
]
FEAT = {
    "device": {"type": "token", "source": "interaction"},
    "tags": {"type": "token_seq", "source": "interaction"},
    "hours": {"type": "float", "source": "interaction"},
    "review": {"type": "tokens", "source": "interaction"},
}


def settings_of(folder, rows=ROWS, header=HEADER, name="i.csv", **changes):
    path = folder / name
    path.write_text("\n".join([header, *rows]) + "\n")
    given = {"inter_feat_path": str(path), "label": {"from": "rating", "above": 3}, "feat": FEAT}
    return DataSettings.model_validate(given | changes)


def shown(x):
    """Each row's (user, item, device, tags, hours, review), as texts."""
    device, tags, hours, review = (x.columns[name] for name in FEAT)
    assert isinstance(device, Categorical) and isinstance(tags, CategoricalList)
    assert isinstance(hours, Numeric) and isinstance(review, Tokens)
    of_code = ["", "?", *device.values]
    out = []
    for r in range(len(x)):
        listed = [tags.values[c - 2] for c in tags.code[tags.offset[r] : tags.offset[r + 1]]]
        words = review.vocabulary[review.word[review.offset[r] : review.offset[r + 1]]]
        out.append((of_code[device.code[r]], "|".join(listed), float(hours.value[r]), " ".join(words)))
    return out


WHOLE = [
    ("phone", "x|y", 1.5, "great strings"),
    ("", "", np.nan, "broke twice"),
    ("web", "y", 3, ""),
    ("phone", "x", 2, "great"),
]


def same(found, expected):
    assert [r[:2] + r[3:] for r in found] == [r[:2] + r[3:] for r in expected]
    np.testing.assert_equal([r[2] for r in found], [r[2] for r in expected])


def test_all_types_are_read_row_by_row_and_kept_in_the_cache(tmp_path):
    settings, said = settings_of(tmp_path), []
    for _ in range(2):
        same(shown(read(settings, tmp_path / "cache", said.append).interactions), WHOLE)
    assert any("read from the cache" in line for line in said)


@pytest.mark.parametrize("changed", [{"lower": False}, {"max_length": 1}, {"tokenizer": "blanks"}])
def test_a_setting_of_texts_is_no_stale_cache(tmp_path, changed):
    cache = tmp_path / "cache"
    read(settings_of(tmp_path), cache, lambda line: None)
    other = settings_of(tmp_path, feat=FEAT | {"review": FEAT["review"] | changed})
    same(shown(read(other, cache, lambda line: None).interactions), shown(read(other, None).interactions))


def test_atomic_and_parquet_files_hold_the_same(tmp_path):
    header = "user_id:token\titem_id:token\trating:float\tdevice:token\ttags:token_seq\thours:float\treview:token_seq"
    rows = [row.replace('"', "").replace(", ", " ").replace(",", "\t").replace("|", " ") for row in ROWS]
    same(shown(read(settings_of(tmp_path, rows, header, "i.inter"), None).interactions), WHOLE)
    table = pa.table(
        {
            "user_id": [1, 1, 2, 2],
            "item_id": ["a", "b", "a", "b"],
            "rating": [5, 2, 1, 4],
            "device": ["phone", None, "web", "phone"],
            "tags": [["x", "y"], [], ["y"], ["x"]],
            "hours": [1.5, None, 3, 2],
            "review": [["Great", "strings"], ["broke", "twice"], None, ["great"]],
        }
    )
    pq.write_table(table, tmp_path / "i.parquet")
    settings = settings_of(tmp_path).model_copy(update={"inter_feat_path": str(tmp_path / "i.parquet")})
    same(shown(read(settings, None).interactions), WHOLE)


def test_rows_left_out_take_their_columns_with_them(tmp_path):
    rows = ["u9,a,x,web,y,1,lost words", *ROWS[:2], ",b,4,web,y,1,lost", *ROWS[2:], "u1,a,4,tv,z,7,again"]
    data = read(settings_of(tmp_path, rows, drop_bad_rows=True), None, lambda line: None)
    same(shown(data.interactions), [*WHOLE[1:], ("tv", "z", 7, "again")])
    review = data.interactions.columns["review"]
    assert isinstance(review, Tokens) and "lost" not in review.vocabulary.tolist()
    first = read(settings_of(tmp_path, [*ROWS, rows[-1]], repeats="first"), None, lambda line: None)
    same(shown(first.interactions), WHOLE)


def test_a_number_that_cannot_be_read_is_refused_or_left_empty(tmp_path):
    rows = [*ROWS[:3], "u2,b,4,phone,x,long,great"]
    with pytest.raises(DataError, match=r"line 5, column 'hours': 'long' is not a number"):
        read(settings_of(tmp_path, rows), None)
    found = shown(read(settings_of(tmp_path, rows, drop_bad_rows=True), None, lambda line: None).interactions)
    same(found, [*WHOLE[:3], ("phone", "x", np.nan, "great")])


def test_a_column_that_is_not_there_is_named_with_the_nearest(tmp_path):
    feat = {"reviews": {"type": "tokens", "source": "interaction"}}
    with pytest.raises(DataError, match=r"no column 'reviews'\. Did you mean 'review'\?.*data\.feat\.reviews"):
        read(settings_of(tmp_path, feat=feat), None)


def test_columns_follow_their_rows_into_the_parts_and_kinds(tmp_path):
    rows = [f"u{i % 9},{kind}{i % 7},{1 + i % 5},d{i},t{i},{i},w{i}" for i in range(120) for kind in "ab"][: 2 * 63]
    rows = [f"{row},{row.split(',')[1][0]}" for row in rows]
    settings = settings_of(tmp_path, rows, HEADER + ",type", type=("b", "a"), sample=0.5)
    for single in (None, "a"):
        parts = load_split(settings.model_copy(update={"single_type": single}), None, lambda line: None)
        for part in (parts.train, parts.valid, parts.test):
            x, ids = part.interactions, np.concatenate([table.ids for table in part.kinds.values()])
            for row, (device, tags, hours, review) in enumerate(shown(x)):
                i = int(hours)
                assert (device, tags) == (f"d{i}", f"t{i}") and review == (f"w{i}" if part is parts.train else "")
                assert part.users.ids[x.user[row]] == f"u{i % 9}" and ids[x.item[row]][1:] == str(i % 7)
        assert len(parts.train.interactions) < 0.4 * 126


@pytest.mark.parametrize(
    ("feature", "message"),
    [
        ({"source": "interactions"}, "got 'interactions'. Did you mean 'interaction'?"),
        ({"source": "intraction"}, "Did you mean 'interaction'?"),
        ({"type": "token", "source": "usr"}, "Did you mean 'user'?"),
        ({"type": "tokns"}, "Did you mean 'tokens'?"),
        ({"tokenizer": "blank"}, "Did you mean 'blanks'?"),
        ({"tokeniser": "words"}, "Did you mean 'tokenizer'?"),
        ({"separator": ":"}, "'separator' is of tokens with tokenizer 'ids', not 'words'"),
        ({"type": "float", "max_length": 3}, "'max_length' is of columns of type tokens, not float"),
        ({"type": "token", "lower": False}, "'lower' is of columns of type tokens, not token"),
        (
            {"type": "vector", "path": "v.npy", "source": "interaction"},
            "a column of the interactions is of type token,",
        ),
        ({"min_count": 0}, "min_count"),
    ],
)
def test_settings_of_a_feature_are_strict(feature, message):
    _, problems = validate(DataSettings, {"inter_feat_path": "i.csv", "feat": {"review": {"type": "tokens"} | feature}})
    (line,) = problems
    assert line.startswith("feat.review") and message in line


@pytest.mark.parametrize(
    ("name", "changes", "taken"),
    [
        ("rating", {}, "data.RATING_FIELD"),
        ("stars", {"label": {"from": "stars", "above": 3}}, "data.label"),
        ("part", {"split": {"by": "column", "column": "part"}}, "data.split.column"),
        ("user_id", {}, "data.USER_ID_FIELD"),
    ],
)
def test_what_is_predicted_is_no_feature_of_the_interaction(name, changes, taken):
    feat = {name: {"type": "token", "source": "interaction"}}
    with pytest.raises(ValidationError, match=f"feat.{name}: {taken}"):
        DataSettings.model_validate({"inter_feat_path": "i.csv", "feat": feat} | changes)
    FeatureSettings(type="token", source="interaction")
