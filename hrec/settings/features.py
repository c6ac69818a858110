"""One feature of the section "data": its type, where it comes from, how it is read."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt, field_validator, model_validator

from hrec.settings.base import PathText, Settings
from hrec.spelling import did_you_mean

BY_ID = (".parquet", ".pq", ".npz")
"""Endings of files of vectors that name the ids."""
WRITTEN_BEFORE = {"separator": "|"}
"""What config.json of runs of early versions says of columns of every type."""


OF_TYPES = {
    "separator": ("token_seq", "tokens"),
    "min_count": ("token", "token_seq", "tokens"),
    "tokenizer": ("tokens",),
    "lower": ("tokens",),
    "max_vocabulary": ("tokens",),
    "max_length": ("tokens",),
}
"""Settings of a feature -> the types that have them."""
SOURCES = ("user", "item", "interaction")
OF_INTERACTIONS = ("token", "token_seq", "float", "tokens")
"""The types that a column of the interactions may have."""


class FeatureSettings(Settings):
    """One column of a user, item or interaction file."""

    type: Literal["token", "token_seq", "float", "tokens", "vector", "sparse"]
    """token: a category; token_seq: a list of categories; float: a number; vector: dense numbers, such as an image's;
    sparse: a row of a .npz file, such as a bag of words. tokens: a text, such as a title or a review."""
    source: str = "item"
    """user, item (every kind that has the column), item_<kind>, or interaction."""
    separator: str | None = Field(None, min_length=1)
    """What is between the entries of a token_seq, or of tokens with tokenizer 'ids', in a text file; parquet lists
    need none. Left out: a blank in atomic files and for tokens, '|' in all others."""
    min_count: PositiveInt = 1
    """Categories in fewer rows than this share the row for unknown categories. type tokens: words in fewer
    training texts than this are dropped."""
    tokenizer: Literal["words", "blanks", "ids"] = "words"
    """How a text becomes words. words: runs of letters and digits; blanks: what is between blanks; ids: words or
    word ids as given, with 'separator' between them. Entries of parquet lists are words as they stand."""
    lower: bool = True
    """Whether words are lower-cased; tokenizer 'ids' leaves them as they are."""
    max_vocabulary: PositiveInt | None = None
    """At most so many words are kept: those in the most training texts. null: all."""
    max_length: PositiveInt | None = None
    """A text is cut to its first so many words. null: whole texts."""
    path: PathText | None = None
    """type vector: a .npy file of float[n, d], one row for each row of the source's file; or vectors joined by raw id:
    parquet with columns id, vector and perhaps kind (hrec export writes such), or .npz with arrays ids, matrix and
    perhaps kinds. type sparse: a .npz file as scipy.sparse.save_npz writes it, one row for each row of the source's
    file."""

    @property
    def by_id(self) -> bool:
        """Whether the file of a vector names the ids, so that its rows may have any order."""
        name = (self.path or "").lower().removesuffix(".gz").removesuffix(".xz")
        return self.type == "vector" and name.endswith(BY_ID)

    @field_validator("source")
    @classmethod
    def _a_source_that_there_is(cls, value: str) -> str:
        if value not in SOURCES and (not value.startswith("item_") or value == "item_"):
            near = did_you_mean(value, SOURCES)
            hint = f".{near}" if near else ""
            raise ValueError(f"should be user, item, interaction, or item_ and the name of a kind, got '{value}'{hint}")
        return value

    @model_validator(mode="after")
    def _vectors_need_a_file(self) -> FeatureSettings:
        if (self.type in ("vector", "sparse")) != (self.path is not None):
            raise ValueError(
                "'path' names the file of a feature of type 'vector' (.npy, .parquet or .npz) or 'sparse' (.npz), and "
                "no other type has one"
            )
        for name, types in OF_TYPES.items():
            own = (FeatureSettings.model_fields[name].default, WRITTEN_BEFORE.get(name))
            if getattr(self, name) not in own and self.type not in types:
                raise ValueError(f"'{name}' is of columns of type {' or '.join(types)}, not {self.type}; leave it out")
        return self

    @model_validator(mode="after")
    def _what_interactions_hold(self) -> FeatureSettings:
        if self.source == "interaction" and self.type not in OF_INTERACTIONS:
            known = ", ".join(OF_INTERACTIONS)
            raise ValueError(f"a column of the interactions is of type {known}, not {self.type}")
        return self

    @model_validator(mode="after")
    def _a_separator_of_given_words(self) -> FeatureSettings:
        if self.type == "tokens" and self.separator is not None and self.tokenizer != "ids":
            raise ValueError(
                f"'separator' is of tokens with tokenizer 'ids', not '{self.tokenizer}'; leave it out, or set tokenizer"
            )
        return self
