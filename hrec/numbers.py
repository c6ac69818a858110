"""Which settings are numbers, so that true and false are not taken for 1 and 0."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, Any, Literal, get_args, get_origin


def holds_numbers(annotation: Any) -> bool:
    """Whether a setting holds numbers, and nothing that may be true or false."""
    kinds = set(_leaves(annotation))
    return bool(kinds & {int, float}) and not kinds & {bool, Any}


def beyond_64_bits(value: Any) -> bool:
    """Whether a whole number, or one in nested lists and dicts, is too large for arrays and tensors."""
    if isinstance(value, dict):
        return any(beyond_64_bits(part) for part in value.values())
    if isinstance(value, list | tuple):
        return any(beyond_64_bits(part) for part in value)
    return isinstance(value, int) and not -(2**63) <= value < 2**63


def _leaves(annotation: Any) -> Iterator[Any]:
    """The types that a nested annotation is made of."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if not parts or origin is Literal:
        yield annotation
    for part in () if origin is Literal else parts[:1] if origin is Annotated else parts:
        yield from _leaves(part)


def in_words(value: Any) -> Any:
    """The same with text for true and false, in nested lists and dicts too."""
    if isinstance(value, dict):
        return {key: in_words(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [in_words(part) for part in value]
    return json.dumps(value) if isinstance(value, bool) else value
