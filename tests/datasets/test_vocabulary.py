"""Words come from the training split alone: what only a test review says never reaches a model."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from hrec.datasets import load_split
from hrec.datasets.columns import Tokens
from hrec.datasets.tokens import Words, documents, rows_by, texts_of
from hrec.datasets.vocabulary import recoded, texts_with
from hrec.settings import DataSettings

SHARED = Path(os.environ.get("HREC_SHARED", Path(__file__).resolve().parents[2] / ".." / "shared"))


def words_of(column: Tokens) -> list[str]:
    return [
        " ".join(column.vocabulary[column.word[a:b]]) for a, b in zip(column.offset, column.offset[1:], strict=False)
    ]


ROWS = [
    "u1,a,5,train,good good song",
    "u1,b,2,train,bad song",
    "u2,a,4,train,good sound",
    "u2,b,1,valid,secretvalid bad",
    "u3,a,5,test,secrettest good",
    "u2,c,5,test,song",
]
ITEMS = ["a,Red Song", "b,blue song", "c,secrettitle red red", "d,unread"]
USERS = ["u1,likes Rock", "u2,rock", "u3,secretuser rock"]


def settings_of(folder, review=None, title=None, **changes):
    for name, header, rows in (
        ("i.csv", "user_id,item_id,rating,part,review", ROWS),
        ("items.csv", "item_id,title", ITEMS),
        ("users.csv", "user_id,about", USERS),
    ):
        (folder / name).write_text("\n".join([header, *rows]) + "\n")
    feat = {
        "review": {"type": "tokens", "source": "interaction"} | (review or {}),
        "title": {"type": "tokens", "source": "item"} | (title or {}),
        "about": {"type": "tokens", "source": "user"},
    }
    paths = {"inter_feat_path": "i.csv", "item_feat_path": "items.csv", "user_feat_path": "users.csv"}
    given = {key: str(folder / name) for key, name in paths.items()} | {"feat": feat}
    split = {"by": "column", "column": "part"}
    label = {"from": "rating", "above": 3}
    return DataSettings.model_validate(given | {"label": label, "split": split} | changes)


def split_of(folder, log=lambda line: None, cache=None, **changes):
    return load_split(settings_of(folder, **changes), cache, log)


def test_a_word_that_only_a_test_review_contains_never_reaches_a_model(tmp_path):
    for _ in range(2):  # read, and then from the cache
        parts = split_of(tmp_path, cache=tmp_path / "cache")
        train = texts_of(parts.train, "review")
        assert train.vocabulary.tolist() == ["bad", "good", "song", "sound"]
        assert words_of(train) == ["good good song", "bad song", "good sound"]
        for part in (parts.valid, parts.test):
            held_out = part.interactions.columns["review"]
            assert isinstance(held_out, Tokens) and len(held_out.word) == 0
            assert len(held_out) == len(part.interactions) and held_out.vocabulary is train.vocabulary


def arrays_in(value):
    if isinstance(value, np.ndarray):
        yield value
    elif hasattr(value, "__dataclass_fields__"):
        for name in value.__dataclass_fields__:
            yield from arrays_in(getattr(value, name))
    elif isinstance(value, dict):
        for part in value.values():
            yield from arrays_in(part)


@pytest.mark.parametrize("negatives", [0, 2])
def test_nothing_of_the_three_parts_holds_a_word_of_held_out_texts(tmp_path, negatives):
    changes = {"label": {"negatives": negatives}} if negatives else {}
    parts = split_of(tmp_path, **changes)
    found = [array for part in (parts.train, parts.valid, parts.test) for array in arrays_in(part)]
    texts = {word for array in found if array.dtype == object for word in array.tolist()}
    assert {"good", "red", "rock"} <= texts
    assert not {word for word in texts if word.startswith("secret")}


def test_titles_and_texts_of_users_are_coded_by_those_with_training_rows(tmp_path):
    parts = split_of(tmp_path)
    for part in (parts.train, parts.valid, parts.test):
        title, about = part.kinds["item"].columns["title"], part.users.columns["about"]
        assert isinstance(title, Tokens) and isinstance(about, Tokens)
        assert title.vocabulary.tolist() == ["blue", "red", "song"] and about.vocabulary.tolist() == ["likes", "rock"]
        assert words_of(title) == ["red song", "blue song", "red red", ""]
        assert words_of(about) == ["likes rock", "rock", "rock"]


def test_kinds_share_the_words_of_a_title(tmp_path):
    rows = ["u1,a,5,x", "u1,b,1,y", "u2,a,2,x", "u2,b,4,y"]
    (tmp_path / "i.csv").write_text("\n".join(["user_id,item_id,rating,type", *rows]))
    (tmp_path / "x.csv").write_text("item_id,title\na,red one\nc,lost")
    (tmp_path / "y.csv").write_text("item_id,title,n\nb,red two,1")
    settings = DataSettings.model_validate(
        {
            "inter_feat_path": str(tmp_path / "i.csv"),
            "item_feat_path": {kind: str(tmp_path / f"{kind}.csv") for kind in "xy"},
            "feat": {"title": {"type": "tokens"}},
            "label": {"negatives": 0},
            "split": {"by": "ratio", "ratio": [1, 0.001, 0.001]},
        }
    )
    train = load_split(settings, None, lambda line: None).train
    x, y = (train.kinds[kind].columns["title"] for kind in "xy")
    assert isinstance(x, Tokens) and isinstance(y, Tokens) and x.vocabulary is y.vocabulary
    assert set(x.vocabulary) == {"red", "one", "two"} and words_of(x) == ["red one", ""] and words_of(y) == ["red two"]
    alone = load_split(settings.model_copy(update={"single_type": "x"}), None, lambda line: None).train
    title = alone.kinds["x"].columns["title"]
    assert isinstance(title, Tokens) and title.vocabulary.tolist() == ["one", "red"]


def test_rare_words_are_dropped_by_the_training_rows_that_have_them(tmp_path):
    said = []
    parts = split_of(tmp_path, said.append, review={"min_count": 2})
    texts = texts_of(parts.train, "review")
    assert texts.vocabulary.tolist() == ["good", "song"]  # "bad" is in one training and one validation row
    assert words_of(texts) == ["good good song", "song", "good"]
    assert any("texts 'review': 2 of the 4 words of training texts are kept, 5 of 7 places" in line for line in said)


def test_a_vocabulary_keeps_the_words_of_the_most_texts(tmp_path):
    texts = texts_of(split_of(tmp_path, review={"max_vocabulary": 1}).train, "review")
    assert texts.vocabulary.tolist() == ["good"] and words_of(texts) == ["good good", "", "good"]
    title = split_of(tmp_path, title={"max_vocabulary": 2}).train.kinds["item"].columns["title"]
    assert isinstance(title, Tokens) and title.vocabulary.tolist() == ["blue", "song"]  # "red" of item c does not count


def test_a_thinned_training_part_has_its_own_words(tmp_path):
    rows = [f"u{i % 5},i{i},5,,w{i}" for i in range(40)]
    (tmp_path / "w.csv").write_text("\n".join(["user_id,item_id,rating,part,review", *rows]))
    settings = DataSettings.model_validate(
        {
            "inter_feat_path": str(tmp_path / "w.csv"),
            "feat": {"review": {"type": "tokens", "source": "interaction"}},
            "label": {"negatives": 0},
            "sample": 0.25,
        }
    )
    train = load_split(settings, None, lambda line: None).train
    texts = texts_of(train, "review")
    assert len(texts.vocabulary) == len(train.interactions) == 7


def test_counts_are_of_texts_and_recoding_leaves_no_holes():
    column = Tokens(np.array([0, 3, 3, 5]), np.array([2, 2, 0, 1, 2], np.int32), np.array(["a", "b", "c"], object))
    assert texts_with(column).tolist() == [1, 1, 2]
    assert words_of(recoded(column, np.array([True, False, True]))) == ["c c a", "", "c"]
    none = Tokens(np.zeros(3, np.int64), np.zeros(0, np.int32), np.zeros(0, object))
    assert texts_with(none).tolist() == [] and words_of(recoded(none, np.zeros(0, bool))) == ["", ""]


# ------------------------------------------------------------------------------------- what models read


def test_documents_are_the_training_reviews_of_each_user_or_item(tmp_path):
    train = split_of(tmp_path).train
    assert words_of(documents(train, "user", "review")) == ["good good song bad song", "good sound", ""]
    assert words_of(documents(train, "item", "review")) == ["good good song good sound", "bad song", "", ""]
    offset, row = rows_by(train, "item")
    assert (offset.tolist(), row.tolist()) == ([0, 2, 3, 3, 3], [0, 2, 1])


def test_a_missing_column_of_texts_is_named(tmp_path):
    train = split_of(tmp_path).train
    with pytest.raises(ValueError, match="has no texts 'text' of interactions, it has review"):
        documents(train, "user", "text")
    with pytest.raises(ValueError, match="has no texts 'part'"):
        texts_of(train, "part")


def test_words_of_a_batch_are_gathered_and_a_negative_has_none(tmp_path):
    texts = texts_of(split_of(tmp_path).train, "review")
    length, word = Words(texts).row_words(torch.tensor([2, -1, 0, 2]))
    assert length.tolist() == [2, 0, 3, 2]
    assert texts.vocabulary[word.numpy()].tolist() == ["good", "sound", "good", "good", "song", "good", "sound"]
    length, word = Words(texts).row_words(torch.tensor([], dtype=torch.int64))
    assert len(length) == len(word) == 0
    assert not Words(texts).state_dict()


# --------------------------------------------------------------------------------------------- real data


def instruments(**review) -> DataSettings:
    path = SHARED / "data" / "amazon_musical_instruments_text" / "reviews.parquet"
    if not path.is_file():
        pytest.skip(f"{path} is not there; set HREC_SHARED to the folder that holds data/")
    ((name, feature),) = review.items()
    return DataSettings.model_validate(
        {
            "inter_feat_path": str(path),
            "USER_ID_FIELD": "user",
            "ITEM_ID_FIELD": "item",
            "feat": {name: {"type": "tokens", "source": "interaction"} | feature},
            "label": {"from": "rating", "above": 3},
            "split": {"by": "column", "column": "split"},
        }
    )


def test_word_ids_of_musical_instruments(tmp_path):
    for _ in range(2):
        parts = load_split(instruments(tokens={"tokenizer": "ids"}), tmp_path, lambda line: None)
    train = texts_of(parts.train, "tokens")
    sizes = [len(part.interactions) for part in (parts.train, parts.valid, parts.test)]
    assert sizes == [8209, 1026, 1026] and (parts.train.n_users, parts.train.n_items) == (1429, 900)
    assert 10_000 < len(train.vocabulary) < 12_777 and 400_000 < len(train.word) < 523_732
    assert texts_with(train).min() == 1
    assert all(len(part.interactions.columns["tokens"].word) == 0 for part in (parts.valid, parts.test))
    for by, count in (("user", 1429), ("item", 900)):
        found = documents(parts.train, by, "tokens")
        assert len(found) == count and len(found.word) == len(train.word)
    few = load_split(instruments(tokens={"tokenizer": "ids", "min_count": 5}), None, lambda line: None).train
    assert texts_with(texts_of(few, "tokens")).min() == 5


def test_raw_reviews_of_musical_instruments():
    train = load_split(instruments(text={"max_vocabulary": 5000, "max_length": 100}), None, lambda line: None).train
    texts = texts_of(train, "text")
    assert len(texts.vocabulary) == 5000 and {"guitar", "strings", "the"} <= set(texts.vocabulary.tolist())
    assert np.diff(texts.offset).max() <= 100 and np.mean(np.diff(texts.offset) > 0) > 0.99
