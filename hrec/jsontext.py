"""JSON that anybody may have written: what Python's reader would end on with a traceback is a ValueError here."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

DEPTH = 50
"""Objects and lists inside one another that are accepted; settings take fewer than ten."""

DIGITS = 100
"""Digits of a whole number that are accepted; settings take 19."""


def parse(text: str, pairs_hook: Callable[[list[tuple[str, Any]]], Any] | None = None) -> Any:
    """The content of a JSON text. Raises JSONDecodeError where it is none, ValueError for what is too large or holds
    text that cannot be written."""
    too_deep = f"objects and lists are nested more than {DEPTH} deep"
    try:
        content = json.loads(text, object_pairs_hook=pairs_hook, parse_int=_whole)
    except RecursionError:
        raise ValueError(too_deep) from None
    if _deeper_than(content, DEPTH):
        raise ValueError(too_deep)
    require_characters(json.dumps(content, ensure_ascii=False))
    return content


def require_characters(text: str) -> None:
    """Raises ValueError for half a pair of surrogates, which no file can hold: "\\ud800" in JSON, or a byte on the
    command line that is not UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = ascii(text[error.start])[1:-1]
        raise ValueError(f"{half} is no character. Write the text in UTF-8, or correct its escape") from None


def _whole(digits: str) -> int:
    if len(digits) > DIGITS:
        raise ValueError(f"the number {digits[:10]}... has {len(digits):,} digits")
    return int(digits)


def _deeper_than(content: Any, depth: int) -> bool:
    """Whether lists and dicts are nested more than ``depth`` deep; level by level, not by recursion."""
    level = _inside([content])
    for _ in range(depth):
        level = _inside([part for one in level for part in (one.values() if isinstance(one, dict) else one)])
    return bool(level)


def _inside(parts: list[Any]) -> list[Any]:
    return [part for part in parts if isinstance(part, dict | list)]
