"""Aids are asked for once per prompt, recorded with their reasons, and shown to the judge; a missing one is said so."""

from __future__ import annotations

import json

import polars as pl
import pytest

from curate.judging.aids import AIDS, FROM_PAIR, FROM_PROMPT, aid_questions, shown_aids, written

PROMPTS = pl.DataFrame({"prompt_id": ["p1", "p2"], "prompt": ["What is 2 + 2?", "Name a river."]})
WRITER = ("w", "writer@1")


def answered(kind: str, *answers: str, finish_reason: str = "stop") -> tuple[pl.DataFrame, pl.DataFrame]:
    """Frames (rubrics, texts) when the writer answers the questions of p1, p2 so."""
    plan, links = aid_questions(PROMPTS, AIDS[kind], WRITER, {})
    said = links.sort("prompt_id").select("call_key").with_columns(
        pl.Series("response", answers), finish_reason=pl.lit(finish_reason))
    assert plan.height == len(answers)
    return written(said, links, AIDS[kind], WRITER[1])


def test_each_prompt_is_asked_about_once_and_json_is_asked_for_by_schema() -> None:
    plan, links = aid_questions(PROMPTS, AIDS["checklist"], WRITER, {"temperature": 0.0})
    assert (plan.height, links.height) == (2, 2)
    assert json.loads(plan["schema"][0])["required"] == ["items"]
    assert "What is 2 + 2?" in "".join(plan["messages"])
    assert aid_questions(PROMPTS, AIDS["reference"], WRITER, {})[0]["schema"].unique().to_list() == [""]


def test_what_was_written_is_kept_under_its_text_id_and_shown() -> None:
    made, texts = answered("reference", "It is 4.", "The Elbe.")
    assert made["is_accepted"].all()
    assert made.select("author", "kind", "reason").unique().rows() == [("writer@1", "reference", FROM_PROMPT)]
    assert set(made["text_id"]) == set(texts["text_id"])
    assert shown_aids(made, texts, PROMPTS, AIDS["reference"]).rows() == [("p1", "It is 4."), ("p2", "The Elbe.")]


def test_an_answer_that_holds_no_aid_is_recorded_and_the_judge_is_told_that_there_is_none() -> None:
    made, texts = answered("checklist", '{"items":[{"question":"Is it 4?","weight":2}]}', "I cannot.")
    refused = made.filter(~pl.col("is_accepted"))
    assert refused.select("prompt_id", "reason").rows() == [("p2", "no checklist in the answer")]
    shown = dict(shown_aids(made, texts, PROMPTS, AIDS["checklist"]).iter_rows())
    assert shown["p1"] == "1. (weight 2) Is it 4?"
    assert "judge without one" in shown["p2"]


def test_a_failed_call_makes_no_aid_whatever_it_says() -> None:
    made, _ = answered("reference", "It is", "The", finish_reason="length")
    assert made["reason"].unique().to_list() == ["finish_reason: length"]
    assert not made["is_accepted"].any()


@pytest.mark.parametrize("kind", sorted(AIDS))
def test_every_aid_fills_the_slot_that_is_named_like_it(kind: str) -> None:
    from curate.judging.instruments import shipped_instrument

    assert kind in shipped_instrument(f"pairwise-{kind}@1").slots


def test_a_rubric_from_a_pair_shows_the_better_response_first() -> None:
    rows = PROMPTS.head(1).with_columns(pair_id=pl.lit("x"), first=pl.lit("good"), second=pl.lit("bad"))
    plan, links = aid_questions(rows, FROM_PAIR, WRITER, {})
    told = plan["messages"][0]
    assert told.index("good") < told.index("bad")
    assert links["pair_id"].to_list() == ["x"]


def test_questions_do_not_depend_on_the_order_of_prompts() -> None:
    one, other = (aid_questions(rows, AIDS["rubric"], WRITER, {}) for rows in (PROMPTS, PROMPTS[::-1]))
    assert one[0].equals(other[0])
    assert one[1].equals(other[1])
