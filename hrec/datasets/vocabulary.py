"""Words come from the training split alone: texts are re-coded after the split.

A word is known if a training row has it in its review, or if the text of a user or item with a training row has it.
Reviews of validation and test rows are taken out, as they are written after what a model has to predict.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from hrec.datasets.columns import Tokens, joined
from hrec.datasets.recdata import RecData, Split, Table
from hrec.datasets.tokens import bag_of_words
from hrec.settings.features import FeatureSettings

Log = Callable[[str], None]
DEFAULT = FeatureSettings(type="tokens")


def with_training_words(parts: Split, feat: Mapping[str, FeatureSettings], log: Log) -> Split:
    """The same parts with texts of known words alone; validation and test rows have no texts.

    feat: min_count and max_vocabulary of each column of type tokens; those it does not name keep all known words.
    """
    parts = _in_rows(parts, feat, log)
    x, users = parts.train.interactions, parts.train.users
    (new_users,) = _in_tables([users], np.bincount(x.user, minlength=users.count) > 0, feat, log)
    kinds = dict(parts.train.kinds)
    kinds = dict(zip(kinds, _in_tables(list(kinds.values()), parts.train.has_rows(), feat, log), strict=True))
    return Split(*(replace(part, users=new_users, kinds=kinds) for part in _each(parts)))  # type: ignore[arg-type]


def _each(parts: Split) -> tuple[RecData, RecData, RecData]:
    return parts.train, parts.valid, parts.test


def _in_rows(parts: Split, feat: Mapping[str, FeatureSettings], log: Log) -> Split:
    """The texts of the interactions."""
    x = parts.train.interactions
    texts = {name: column for name, column in x.columns.items() if isinstance(column, Tokens)}
    if not texts:
        return parts
    coded = {name: _known_words(name, c, np.ones(len(c), bool), feat, log) for name, c in texts.items()}
    train = parts.train.with_interactions(replace(x, columns={**x.columns, **coded}))
    held_out = (_without_texts(part, coded) for part in (parts.valid, parts.test))
    return Split(train, *held_out)


def _without_texts(part: RecData, coded: Mapping[str, Tokens]) -> RecData:
    x, none = part.interactions, np.zeros(0, np.int32)
    empty = {name: Tokens(np.zeros(len(x) + 1, np.int64), none, column.vocabulary) for name, column in coded.items()}
    return part.with_interactions(replace(x, columns={**x.columns, **empty}))


def _in_tables(tables: list[Table], trained: np.ndarray, feat: Mapping[str, FeatureSettings], log: Log) -> list[Table]:
    """The texts of users, or of the items of all kinds; a column that several kinds have keeps one vocabulary.

    trained: bool[n], the users, or the items of all kinds, with a training row.
    """
    for name in dict.fromkeys(name for table in tables for name in table.columns):
        having = [i for i, table in enumerate(tables) if isinstance(table.columns.get(name), Tokens)]
        if not having:
            continue
        known = np.concatenate([trained[tables[i].start : tables[i].stop] for i in having])
        both = joined([tables[i].columns[name] for i in having])
        assert isinstance(both, Tokens)
        coded, start = _known_words(name, both, known, feat, log), 0
        for i in having:
            table = tables[i]
            column = coded.take(np.arange(start, start + table.count))
            tables[i] = replace(table, columns={**table.columns, name: column})
            start += table.count
    return tables


def _known_words(name: str, column: Tokens, known: np.ndarray, feat: Mapping[str, FeatureSettings], log: Log) -> Tokens:
    """The column without the words that the texts ``known`` bool[n] lack, or that are too rare in them."""
    how = feat.get(name, DEFAULT)
    texts = texts_with(column.take(known))
    kept = texts >= how.min_count
    if how.max_vocabulary is not None:
        most_first = np.argsort(-texts, kind="stable")
        kept[most_first[how.max_vocabulary :]] = False
    coded, met = recoded(column, kept), int(np.count_nonzero(texts))
    log(
        f"texts '{name}': {len(coded.vocabulary):,} of the {met:,} words of training texts are kept, "
        f"{len(coded.word):,} of {len(column.word):,} places in all texts"
    )
    return coded


def texts_with(column: Tokens) -> np.ndarray:
    """int64[words]: how many of the texts have each word."""
    return np.bincount(bag_of_words(column).index, minlength=len(column.vocabulary))


def recoded(column: Tokens, kept: np.ndarray) -> Tokens:
    """The same texts without the words that are not ``kept`` bool[words], in their texts and in the vocabulary."""
    index = np.where(kept, np.cumsum(kept) - 1, -1).astype(np.int32)
    word = index[column.word]
    stays = word >= 0
    before = np.concatenate([[0], np.cumsum(stays)])
    return Tokens(before[column.offset], word[stays], column.vocabulary[kept])
