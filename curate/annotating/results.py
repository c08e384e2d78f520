"""What a submitted page says, item by item: nothing is guessed at, whatever does not fit has a fault.

A platform validates almost nothing (measured on Label Studio 1.23: unknown choices, two verdicts and empty results
are stored), so every item is checked against the page here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping

import polars as pl

from curate.annotating.page import MAX_RATING, SLOTS, STEPS, VERDICT, WHY, rating_name
from curate.engines import Page
from schemas.errors import InputError

RATING = pl.Struct({"attribute": pl.String(), "slot": pl.String(), "value": pl.Float64()})
RESULTS: dict[str, pl.DataType] = {
    "result": pl.String(), "said": pl.String(), "verdict": pl.String(), "why": pl.String(),
    "ratings": pl.List(RATING), "is_unchanged": pl.Boolean(), "column": pl.String(), "seen": pl.String(),
    "expected": pl.String(),
}
_ALIASES = tuple(alias for alias, _, _ in STEPS)
_NO_TEXT = re.compile("[\x00\ud800-\udfff]")
"""what JSON can escape and no table can hold"""
_QUOTED = 80


class _FaultError(InputError):
    """Why a result is refused; caught here, where it becomes a row."""

    def __init__(self, column: str, seen: str, expected: str) -> None:
        super().__init__(seen, expected=expected)
        self.column = column


def read_results(results: Iterable[str | None], page: Page) -> pl.DataFrame:
    """Frame RESULTS: one row per distinct result, raw JSON as the platform keeps it.

    `said` is what it says, without random ids and marks of the platform: equal for equal answers. `verdict` is one of
    the page's aliases, `is_unchanged` whether it stands as it was pre-filled. Where the result breaks the page,
    `column`, `seen` and `expected` say how, and the rest is null.
    """
    rows = [_read(result, page) for result in sorted({r for r in results if r is not None})]
    return pl.DataFrame(rows, schema=RESULTS, orient="row")


def _read(result: str, page: Page) -> dict[str, object]:
    said = _NO_TEXT.sub("\ufffd", result)
    try:
        items = _items(result)
        # The same whatever the page: what was once read under another page is known again.
        said = json.dumps(sorted((n, t, json.dumps(v, sort_keys=True)) for (n, t), v in items.items()))
        return {"result": result, "said": said, **_answer(items, page, result)}
    except _FaultError as fault:
        seen = _NO_TEXT.sub("\ufffd", fault.seen)[:_QUOTED]
        return {"result": result, "said": said, "column": fault.column, "seen": seen, "expected": fault.expected}


def _items(result: str) -> dict[tuple[str, str], Mapping[str, object]]:
    """Values by (from_name, type), each once."""
    items: dict[tuple[str, str], Mapping[str, object]] = {}
    for item in _listed(result):
        name, kind, value = item.get("from_name"), item.get("type"), item.get("value")
        if not isinstance(name, str) or not isinstance(kind, str) or not isinstance(value, dict):
            raise _FaultError("result", _short(item), "from_name, type and value in every item")
        if (name, kind) in items:
            raise _FaultError(name, "answered twice", "each control answered once")
        items[name, kind] = value
    return items


def _listed(result: str) -> list[dict[str, object]]:
    try:
        items = json.loads(result)
    except (ValueError, RecursionError):
        raise _FaultError("result", result, "JSON") from None
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise _FaultError("result", result, "a list of answered controls")
    return items


def _answer(items: Mapping[tuple[str, str], Mapping[str, object]], page: Page, result: str) -> dict[str, object]:
    rated = {rating_name(a, slot): (a, slot) for a in page.attributes for slot in SLOTS}
    known = {(VERDICT, "choices"), (WHY, "textarea"), *((name, "rating") for name in rated)}
    strange = sorted(f"{name} of type {kind}" for name, kind in items if (name, kind) not in known)
    if strange:
        raise _FaultError("from_name", ", ".join(strange), "the controls of the queue's page")
    if (VERDICT, "choices") not in items:
        raise _FaultError(VERDICT, "no verdict" if items else "an empty result", "one choice")
    ratings = [{"attribute": a, "slot": slot, "value": _rating(name, items[name, "rating"])}
               for name, (a, slot) in sorted(rated.items()) if (name, "rating") in items]
    return {"verdict": _verdict(items[VERDICT, "choices"]), "why": _why(items.get((WHY, "textarea"), {})),
            "ratings": ratings, "is_unchanged": _is_unchanged(result)}


def _verdict(value: Mapping[str, object]) -> str:
    chosen = value.get("choices")
    if not isinstance(chosen, list) or len(chosen) != 1 or chosen[0] not in _ALIASES:
        raise _FaultError(VERDICT, f"choices {_short(chosen)}", f"one of {', '.join(_ALIASES)}")
    return str(chosen[0])


def _rating(name: str, value: Mapping[str, object]) -> float:
    given = value.get("rating")
    if isinstance(given, bool) or not isinstance(given, int | float) or given not in range(1, MAX_RATING + 1):
        raise _FaultError(name, f"rating {_short(given)}", f"a whole number from 1 to {MAX_RATING}")
    return float(given)


def _why(value: Mapping[str, object]) -> str | None:
    text = value.get("text", [])
    lines = [text] if isinstance(text, str) else text
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        raise _FaultError(WHY, _short(text), "text")
    return _NO_TEXT.sub("\ufffd", "\n".join(lines)).strip() or None


def _is_unchanged(result: str) -> bool:
    """Label Studio marks each item `prediction`, `prediction-changed` or `manual`."""
    return any(item.get("from_name") == VERDICT and item.get("origin") == "prediction" for item in _listed(result))


def _short(value: object) -> str:
    return json.dumps(value)[:_QUOTED]
