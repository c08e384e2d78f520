"""Skywork's five attributes: all of them or none, in the words that were asked for."""

from __future__ import annotations

import json

import polars as pl
import pytest

from curate.synthesis.attributes import KEYS, material, tags_of

WHOLE: dict[str, object] = {
    "task_category": "short poem", "objectivity": "subjective", "controversiality": "low",
    "desired_attributes": ["vivid", "short"], "annotation_guideline": "Prefer the more vivid one.",
}


def answers(*responses: str, finish_reason: str = "stop") -> pl.DataFrame:
    return pl.DataFrame({"pair_id": [f"p{i}" for i in range(len(responses))],
                         "call_key": [f"c{i}" for i in range(len(responses))], "response": list(responses),
                         "finish_reason": finish_reason}, schema_overrides={"response": pl.String})


def test_an_answer_is_five_tags_by_the_model_that_gave_it() -> None:
    tags, failed = tags_of(answers(json.dumps(WHOLE)), "org/writer@1")
    assert failed.is_empty()
    assert dict(tags.select("key", "value").rows()) == {
        **WHOLE, "desired_attributes": '["vivid","short"]'}
    assert tags["tagger"].unique().to_list() == ["org/writer@1"]


@pytest.mark.parametrize("key", KEYS)
def test_an_answer_without_one_of_the_five_tags_nothing(key: str) -> None:
    tags, failed = tags_of(answers(json.dumps({k: v for k, v in WHOLE.items() if k != key})), "w")
    assert tags.is_empty()
    assert failed.select("row_id", "reason", "detail").rows() == [("c0", "not_the_attributes", "p0")]


@pytest.mark.parametrize("wrong", [
    {"objectivity": "maybe"}, {"controversiality": "High"}, {"desired_attributes": "short"}, {"task_category": "  "},
])
def test_another_word_than_those_asked_for_is_no_tag(wrong: dict[str, object]) -> None:
    assert tags_of(answers(json.dumps({**WHOLE, **wrong})), "w")[0].is_empty()


def test_what_is_no_json_or_cut_off_is_counted_and_the_others_are_kept() -> None:
    tags, failed = tags_of(answers("sorry", json.dumps(WHOLE), "[1, 2]"), "w")
    assert tags["pair_id"].unique().to_list() == ["p1"]
    assert failed["row_id"].to_list() == ["c0", "c2"]
    assert tags_of(answers(json.dumps(WHOLE), finish_reason="length"), "w")[1]["reason"].to_list() == ["length"]


def test_two_pairs_that_share_a_call_are_both_tagged() -> None:
    shared = answers(json.dumps(WHOLE), json.dumps(WHOLE)).with_columns(call_key=pl.lit("c"))
    assert tags_of(shared, "w")[0].height == 10


def test_the_question_shows_both_responses_in_the_order_of_their_ids() -> None:
    pair = pl.DataFrame({"pair_id": ["p"], "prompt": ["q"], "text_a": ["x"], "text_b": ["y"]})
    assert material(pair).select("prompt", "first", "second").rows() == [("q", "x", "y")]
