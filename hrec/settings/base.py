"""The parent of every settings class, and common types."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from hrec.numbers import beyond_64_bits, holds_numbers, in_words

Seed = Annotated[int, Field(ge=0, lt=2**63)]
Power = Annotated[float, Field(ge=0, le=10)]
"""The power of a count of rows; a larger one would overflow."""
LayerCount = Annotated[int, Field(gt=0, le=100)]
"""The number of layers or hops, each of which is computed at every step."""


def names_a_file(path: str) -> str:
    """The path, if a file or folder can have it, else ValueError.

    An empty path would mean the working folder.
    """
    if not path.strip():
        raise ValueError(f"should be a path, got {path!r}, which names no file; give one, or leave it out")
    if "\0" in path:
        raise ValueError(f"should be a path, got {path!r}; no file's name has a character of code 0")
    return path


PathText = Annotated[str, AfterValidator(names_a_file)]
"""The path of a file or folder."""


class Settings(BaseModel):
    """Parent of every settings class: unknown keys are refused, numbers are finite, and values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, allow_inf_nan=False)

    @field_validator("*")
    @classmethod
    def _numbers_have_64_bits(cls, value: Any, info: ValidationInfo) -> Any:
        if holds_numbers(cls.model_fields[str(info.field_name)].annotation) and beyond_64_bits(value):
            raise ValueError("should be less than 9223372036854775808 in size")
        return value

    @model_validator(mode="before")
    @classmethod
    def _true_is_no_number(cls, values: Any) -> Any:
        """Pydantic would read true as 1; the word "true" it refuses."""
        if not isinstance(values, dict):
            return values
        numbers = {name for name, field in cls.model_fields.items() if holds_numbers(field.annotation)}
        return {name: in_words(value) if name in numbers else value for name, value in values.items()}
