"""Cells of texts (Arrow arrays) -> words, without a Python loop over rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hrec.datasets import encoding
from hrec.datasets.columns import Tokens

NO_WORD = r"[^\pL\pN\pM]+"
"""What stands between words: neither letter, nor digit, nor the mark of a letter (accents, vowel signs)."""
BLOCK = 1 << 16
"""Texts that are split at a time, so that the words of all texts are never in memory as text."""


@dataclass(frozen=True)
class Tokenizer:
    """How a text becomes words; see FeatureSettings. ``name``: of SPLIT."""

    name: str = "words"
    separator: str = " "
    lower: bool = True
    max_length: int | None = None


@dataclass(frozen=True, eq=False)
class Texts:
    """Texts of one file: ``length`` int64[n], words of each; ``blocks`` of the words, each with its own dictionary."""

    length: np.ndarray
    blocks: Sequence[pa.DictionaryArray]


SPLIT: Mapping[str, Callable[[pa.Array, Tokenizer], pa.Array]] = {
    "words": lambda text, how: pc.split_pattern_regex(_lowered(text, how), NO_WORD),
    "blanks": lambda text, how: pc.utf8_split_whitespace(_lowered(text, how)),
    "ids": lambda text, how: pc.split_pattern(text, how.separator),
}
"""Text -> lists of words, some of them empty, by the name of the tokenizer."""


def read_texts(cells: pa.Array, how: Tokenizer) -> Texts:
    """The words of each cell; a null cell has none. Raises encoding.NotText for cells that are no texts."""
    lengths, blocks = [np.zeros(0, np.int64)], []
    for block in _blocks(cells):
        lists = _lists(block, how)
        entries = pc.list_flatten(lists)
        filled = pc.and_(entries.is_valid(), pc.greater(pc.utf8_length(entries), 0)).fill_null(False)
        row = pc.list_parent_indices(lists).filter(filled).to_numpy(zero_copy_only=False).astype(np.int64)
        length = np.bincount(row, minlength=len(block))
        words = entries.filter(filled)
        if how.max_length is not None:
            place = np.arange(len(row)) - (np.cumsum(length) - length)[row]
            words = words.filter(pa.array(place < how.max_length))
            length = np.minimum(length, how.max_length)
        lengths.append(length)
        blocks.append(words.dictionary_encode())
    return Texts(np.concatenate(lengths), blocks)


def join_texts(parts: Sequence[Texts]) -> list[Tokens]:
    """Columns of texts with one sorted vocabulary between them."""
    blocks = [block for part in parts for block in part.blocks]
    every = pa.concat_arrays([pa.array([], pa.string()), *(block.dictionary for block in blocks)]).dictionary_encode()
    order = pc.array_sort_indices(every.dictionary)
    place = np.empty(len(order), np.int32)
    place[order.to_numpy()] = np.arange(len(order))
    of_word = place[every.indices.to_numpy()]
    vocabulary = encoding.as_objects(every.dictionary.take(order))
    out, start = [], 0
    for part in parts:
        words = [np.zeros(0, np.int32)]
        for block in part.blocks:
            words.append(of_word[start + block.indices.to_numpy()])
            start += len(block.dictionary)
        offset = np.concatenate([[0], np.cumsum(part.length)]).astype(np.int64)
        out.append(Tokens(offset, np.concatenate(words), vocabulary))
    return out


def _blocks(cells: pa.Array) -> Iterator[pa.Array]:
    for start in range(0, len(cells), BLOCK):
        yield cells.slice(start, BLOCK)


def _lists(cells: pa.Array, how: Tokenizer) -> pa.Array:
    """Lists of text: those of the cells, or what the tokenizer makes of their texts."""
    types = pa.types
    if not (types.is_list(cells.type) or types.is_large_list(cells.type) or types.is_fixed_size_list(cells.type)):
        return SPLIT[how.name](encoding.as_text(cells), how)
    entries = pc.list_flatten(cells)
    text = entries.cast(pa.string()) if encoding.is_text(entries.type) else encoding.as_names(entries)
    length = np.bincount(pc.list_parent_indices(cells).to_numpy(), minlength=len(cells))
    words = text if how.name == "ids" else _lowered(text, how)
    return pa.ListArray.from_arrays(pa.array(np.concatenate([[0], np.cumsum(length)]), pa.int32()), words)


def _lowered(text: pa.Array, how: Tokenizer) -> pa.Array:
    return pc.utf8_lower(text) if how.lower else text
