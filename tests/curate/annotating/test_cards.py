"""From cards to tasks: exactly what the page reads, every text whole, nothing that gives a side away."""

from __future__ import annotations

import json
import re
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.annotating.cards import MAX_PARTS, Part, parts_of_text, task_bodies
from curate.annotating.page import OBJECT, VERDICT, label_config
from curate.engines import Page
from schemas.errors import ContractError
from schemas.tables import CARDS

PROMPT = json.dumps([
    {"role": "user", "content": "Is 7 prime?"}, {"role": "assistant", "content": "Yes."},
    {"role": "user", "content": "Show it."},
])
BLIND = {
    "task_key": "t1", "pair_id": "p1", "queue": "all", "shown_first": "b", "prompt": PROMPT, "text_first": "by sieve",
    "text_second": "by division", "purpose": "gold",
}


def body(**columns: object) -> dict[str, Any]:
    (only,) = task_bodies(CARDS.complete(pl.DataFrame([BLIND | columns], infer_schema_length=None)))
    return dict(only)


def part(prose: str = "", code: str = "", role: str = "") -> Part:
    return Part(role=role, prose=prose, code=code)


def whole(parts: list[Part]) -> str:
    return "\n".join(p["prose"] or p["code"] for p in parts)


def test_a_task_holds_exactly_the_variables_that_the_page_reads() -> None:
    read = set(re.findall(r"\$(\w+)", label_config(Page("helpful", "all", ""))))
    assert set(body()["data"]) == read | {"task_key"}


def test_neither_purpose_nor_order_nor_queue_is_told() -> None:
    told = json.dumps(body())
    assert body() == body(shown_first="a", purpose="vote", queue="experts")
    assert not re.search("gold|shown_first|purpose", told)


def test_a_conversation_is_shown_turn_by_turn_behind_its_system_prompt() -> None:
    assert body(system="Be brief.")["data"]["conversation"] == [
        part("Be brief.", role="system"), part("Is 7 prime?", role="user"), part("Yes.", role="assistant"),
        part("Show it.", role="user"),
    ]


def test_a_prompt_that_is_no_list_of_messages_is_one_turn_of_the_user() -> None:
    assert body(prompt="[1, 2")["data"]["conversation"] == [part("[1, 2", role="user")]


def test_a_guideline_of_an_item_is_data_and_absent_without_one() -> None:
    assert body()["data"]["guideline"] == []
    assert body(guideline="<b>x</b>")["data"]["guideline"] == [part("<b>x</b>", role="for this task")]


def test_code_is_told_from_prose_by_its_fences() -> None:
    text = "Run:\n```python\nx = 1\n```\nthen\n~~~\ny\n~~~"
    assert parts_of_text(text) == [
        part("Run:"), part(code="```python\nx = 1\n```"), part("then"), part(code="~~~\ny\n~~~"),
    ]


def test_a_fence_is_closed_by_its_own_kind_and_an_open_one_lasts_to_the_end() -> None:
    assert parts_of_text("````\n```\n````\nend") == [part(code="````\n```\n````"), part("end")]
    assert parts_of_text("a\n```\nb\n~~~") == [part("a"), part(code="```\nb\n~~~")]


@given(st.text(st.sampled_from("a `~\n$<{")) | st.text())
def test_parts_joined_are_the_text(text: str) -> None:
    kept = text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "\ufffd")
    parts = parts_of_text(text)
    assert whole(parts) == kept
    assert all(not (p["prose"] and p["code"]) for p in parts)


def test_a_text_of_very_many_parts_is_shown_as_one() -> None:
    text = "```\nx\n```\ny\n" * MAX_PARTS
    assert parts_of_text(text, "user") == [part(text, role="user")]


def test_what_a_database_cannot_keep_is_replaced() -> None:
    assert parts_of_text("a\0b\rc") == [part("a\ufffdb\nc")]


def test_an_empty_response_is_no_part() -> None:
    assert body(text_first="")["data"]["first"] == []


def test_a_blind_card_has_no_prediction() -> None:
    assert "predictions" not in body()


def test_a_prediction_names_who_said_it_and_how_sure() -> None:
    (prediction,) = body(prefill=-2.0, prefill_by="judge@1", prefill_score=0.75)["predictions"]
    assert prediction == {
        "model_version": "judge@1", "score": 0.75,
        "result": [{"from_name": VERDICT, "to_name": OBJECT, "type": "choices", "value": {"choices": ["-2"]}}],
    }


@pytest.mark.parametrize(("level", "step"), [(0.4, "0"), (0.5, "1"), (1.5, "2"), (2.49, "2"), (3.0, "3")])
def test_a_level_between_two_steps_is_rounded_alike_on_both_sides(level: float, step: str) -> None:
    def chosen(prefill: float) -> str:
        (prediction,) = body(prefill=prefill)["predictions"]
        return str(prediction["result"][0]["value"]["choices"][0])
    assert (chosen(level), chosen(-level)) == (step, "0" if step == "0" else f"-{step}")


def test_tasks_stand_in_the_order_of_their_cards() -> None:
    cards = CARDS.complete(pl.DataFrame([BLIND | {"task_key": key} for key in ("z", "a", "m")]))
    assert [task["data"]["task_key"] for task in task_bodies(cards)] == ["z", "a", "m"]
    assert task_bodies(CARDS.empty()) == []


def test_a_frame_of_something_else_is_refused() -> None:
    with pytest.raises(ContractError):
        task_bodies(pl.DataFrame({"task_key": ["t1"]}))
