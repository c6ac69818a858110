"""What every settings class stands on."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import (
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
"""Of a count of rows; a larger one would leave the range of numbers."""


class Settings(BaseModel):
    """Parent of every settings class: unknown keys are refused and values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    @field_validator("*")
    @classmethod
    def _numbers_have_64_bits(cls, value: Any, info: ValidationInfo) -> Any:
        if holds_numbers(cls.model_fields[str(info.field_name)].annotation) and beyond_64_bits(value):
            raise ValueError("should be less than 9223372036854775808 in size")
        return value

    @model_validator(mode="before")
    @classmethod
    def _true_is_no_number(cls, values: Any) -> Any:
        """Pydantic would take true for 1, and does not take the word for it."""
        if not isinstance(values, dict):
            return values
        numbers = {name for name, field in cls.model_fields.items() if holds_numbers(field.annotation)}
        return {name: in_words(value) if name in numbers else value for name, value in values.items()}
