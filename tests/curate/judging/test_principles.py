"""Principles and references are read from a writer's answer, or found missing."""

from __future__ import annotations

import json

import pytest

from curate.judging.principles import principles_of, principles_shown
from curate.judging.references import reference_of, reference_shown


def test_principles_are_shown_numbered_in_their_order() -> None:
    read = principles_of('{"principles": ["Be right.", "Be\\nkind."]}')
    assert principles_shown(read or "") == "1. Be right.\n2. Be kind."


@pytest.mark.parametrize("answer", [
    "no", "{}", '{"principles": []}', '{"principles": "Be right."}', '{"principles": [""]}', '{"principles": [1]}',
    json.dumps({"principles": ["x"] * 50}),
])
def test_an_answer_without_principles_makes_none(answer: str) -> None:
    assert principles_of(answer) is None


def test_what_no_table_can_hold_is_replaced() -> None:
    read = principles_of('{"principles": ["a\\u0000b \\ud800 c"]}')
    assert principles_shown(read or "") == "1. a\ufffdb \ufffd c"


def test_a_reference_is_the_whole_answer_unless_empty_or_endless() -> None:
    assert reference_shown(reference_of(" It is 4.\n") or "") == "It is 4."
    assert reference_of(" \n ") is None
    assert reference_of("a" * 50_000) is None
