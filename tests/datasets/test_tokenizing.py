"""Texts become words: each tokenizer, the settings that change words, and one vocabulary for several files."""

import time

import numpy as np
import pyarrow as pa
import pytest

from hrec.datasets import tokenizing
from hrec.datasets.columns import Categorical, Tokens, before_missing, behind_missing, joined
from hrec.datasets.encoding import NotText
from hrec.datasets.tokenizing import Tokenizer, join_texts, read_texts


def words_of(column: Tokens) -> list[list[str]]:
    return [
        column.vocabulary[column.word[a:b]].tolist() for a, b in zip(column.offset, column.offset[1:], strict=False)
    ]


def split(cells, **how) -> list[list[str]]:
    return words_of(join_texts([read_texts(pa.array(cells), Tokenizer(**how))])[0])


def test_words_are_runs_of_letters_and_digits_in_any_script():
    texts = ["It's GREAT,  really-great 4U!", "Größe 10", "नमस्ते दुनिया", "Ελλάδα_x", "  ", None, "nan", "...", "a nan b"]
    assert split(texts) == [
        ["it", "s", "great", "really", "great", "4u"],
        ["größe", "10"],
        ["नमस्ते", "दुनिया"],
        ["ελλάδα", "x"],
        [],
        [],
        [],
        [],
        ["a", "nan", "b"],
    ]


def test_blanks_keep_what_stands_between_them():
    assert split(["It's  GREAT,\tyes"], name="blanks") == [["it's", "great,", "yes"]]
    assert split(["It's GREAT"], name="blanks", lower=False) == [["It's", "GREAT"]]


def test_ids_are_taken_as_given():
    assert split(["3:17:3", "", "A:b"], name="ids", separator=":") == [["3", "17", "3"], [], ["A", "b"]]
    assert split(pa.array([[3, 17], None, [], [3]], pa.list_(pa.int16())), name="ids") == [["3", "17"], [], [], ["3"]]
    assert split([["B c", "", None, "nan"], ["B c"]], name="ids") == [["B c", "nan"], ["B c"]]
    assert split([["B c"]], name="words") == [["b c"]]


def test_a_text_is_cut_to_its_first_words_empty_ones_not_counted():
    assert split([", a b c", "d", ""], max_length=2) == [["a", "b"], ["d"], []]


@pytest.mark.parametrize(
    "cells", [["a b", None, "c a", "", "b b", "d"], [["a", "b"], None, ["c", "a"], [], ["b", "b"], ["d"]]]
)
def test_blocks_change_nothing(cells, monkeypatch):
    whole = split(cells, max_length=3)
    monkeypatch.setattr(tokenizing, "BLOCK", 2)
    assert split(cells, max_length=3) == whole == [["a", "b"], [], ["c", "a"], [], ["b", "b"], ["d"]]


def test_several_files_have_one_sorted_vocabulary():
    one, other = join_texts([read_texts(pa.array(cells), Tokenizer()) for cells in (["z b"], ["a b", "c"])])
    assert one.vocabulary is other.vocabulary and one.vocabulary.tolist() == ["a", "b", "c", "z"]
    assert (words_of(one), words_of(other)) == ([["z", "b"]], [["a", "b"], ["c"]])
    assert (one.word.dtype, one.offset.dtype) == (np.int32, np.int64)


def test_cells_that_are_no_texts_are_refused():
    with pytest.raises(NotText):
        read_texts(pa.array([{"a": 1}]), Tokenizer())


def test_no_text_at_all_is_no_vocabulary():
    (column,) = join_texts([read_texts(pa.array([None, "!"], pa.string()), Tokenizer())])
    assert words_of(column) == [[], []] and len(column.vocabulary) == 0


def column(*texts: str) -> Tokens:
    return join_texts([read_texts(pa.array(list(texts), pa.string()), Tokenizer())])[0]


def test_rows_of_texts_are_taken_padded_and_joined():
    one, other = column("b a", "", "c"), column("d b")
    assert len(one) == 3 and words_of(one.take(np.array([2, 0, 0]))) == [["c"], ["b", "a"], ["b", "a"]]
    assert words_of(one.take(np.array([False, True, True]))) == [[], ["c"]]
    assert words_of(behind_missing(2, one, np.array([2]))) == [[], [], ["c"]]
    assert words_of(before_missing(one, 1)) == [["b", "a"], [], ["c"], []]
    both = joined([one, other])
    assert isinstance(both, Tokens) and words_of(both) == [["b", "a"], [], ["c"], ["d", "b"]]
    assert both.vocabulary.tolist() == ["a", "b", "c", "d"]
    assert joined([one, one.take(np.array([0]))]).vocabulary is one.vocabulary
    with pytest.raises(ValueError, match="is of type Tokens and Categorical"):
        joined([one, Categorical(np.zeros(1, np.int32), np.array([], object))])


def test_twenty_thousand_reviews_take_well_under_six_seconds():
    rng = np.random.default_rng(0)
    vocabulary = np.array([f"word{i}" for i in range(20_000)], object)
    cells = pa.array([" ".join(vocabulary[rng.zipf(1.3, 80) % 20_000]) + "!" for _ in range(20_000)])
    start = time.perf_counter()
    (found,) = join_texts([read_texts(cells, Tokenizer())])
    assert time.perf_counter() - start < 6  # 200,000 in a minute; about a second on an idle core
    assert len(found.word) == 80 * 20_000
