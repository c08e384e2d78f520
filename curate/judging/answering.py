"""What the writers of aids answer in: one JSON object of bounded lists, read without trusting it."""

from __future__ import annotations

import re
from collections.abc import Mapping

NOT_READABLE = (ValueError, KeyError, TypeError, RecursionError)
"""what reading a wrong answer as JSON of the expected form raises"""
LONGEST_SENTENCE = 1_000
_NO_TEXT = re.compile("[\x00-\x08\x0b-\x1f\ud800-\udfff]")
"""what JSON can escape and no table or line of a list can hold"""


def one_object(**properties: Mapping[str, object]) -> dict[str, object]:
    """JSON Schema of an object that has exactly these properties."""
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def bounded_list(most: int, items: Mapping[str, object], *, least: int = 1) -> dict[str, object]:
    """JSON Schema of a list with so many items at most."""
    return {"type": "array", "items": items, "minItems": least, "maxItems": most}


def sentence(text: object) -> str:
    """One line of an answer: blanks as single spaces, nothing unprintable, cut at LONGEST_SENTENCE; "" for no text."""
    if not isinstance(text, str):
        return ""
    return " ".join(_NO_TEXT.sub("\ufffd", text).split())[:LONGEST_SENTENCE]


def sentences(value: object, most: int) -> list[str] | None:
    """A list of lines; None when it is no list of texts, has an empty one, or too many."""
    if not isinstance(value, list) or len(value) > most:
        return None
    lines = [sentence(text) for text in value]
    return lines if all(lines) else None
