"""A checklist is read, shown, asked item by item, and adds up to a rating; what is not one makes none."""

from __future__ import annotations

import json

import jsonschema
import polars as pl
import pytest

from curate.judging.checklists import (
    SCHEMA,
    checklist_of,
    checklist_shown,
    item_questions,
    ratings_from_items,
)
from curate.judging.instruments import shipped_instrument
from curate.judging.reading import read_verdicts
from schemas.errors import InputError

YES_NO = shipped_instrument("principle@1")
TWO = [{"question": "Is it true?", "weight": 3}, {"question": "Is it short?", "weight": 1}]
CHECKLISTS = pl.DataFrame({"prompt_id": ["p"], "checklist": [json.dumps(TWO)]})
RESPONSES = pl.DataFrame({"response_id": ["r1", "r2"], "prompt_id": ["p", "p"], "prompt": ["q", "q"],
                          "response": ["first", "second"]})


def test_a_checklist_is_read_from_an_answer_that_keeps_the_schema() -> None:
    answer = {"items": [{"question": " Is it\ntrue? ", "weight": 3}]}
    jsonschema.validate(answer, json.loads(SCHEMA))
    read = checklist_of(json.dumps(answer))
    assert read == '[{"question":"Is it true?","weight":3}]'
    assert checklist_shown(read or "") == "1. (weight 3) Is it true?"


@pytest.mark.parametrize("answer", [
    "", "[]", "{}", '{"items": []}', '{"items": [{"question": "", "weight": 1}]}', '{"items": ["Is it true?"]}',
    '{"items": [{"question": "x", "weight": 9}]}', '{"items": [{"question": "x", "weight": true}]}',
    json.dumps({"items": [{"question": "x", "weight": 1}] * 99}),
    pytest.param("[" * 100_000, id="nested"),
])
def test_an_answer_that_holds_no_checklist_makes_none(answer: str) -> None:
    assert checklist_of(answer) is None


def rated(*levels: str | None) -> dict[str, float]:
    """Ratings when the four questions (r1 true, r1 short, r2 true, r2 short) are answered so; None: a failed call."""
    plan, links = item_questions(RESPONSES, CHECKLISTS, [("j", "model@1")], YES_NO, {})
    subjects = plan.with_columns(pl.col("subject").str.json_decode(
        pl.Struct({"response_id": pl.String, "item": pl.Int64})).alias("about")).unnest("about")
    calls = subjects.sort("response_id", "item").with_columns(
        pl.Series("response", levels, dtype=pl.String).fill_null("maybe"), finish_reason=pl.lit("stop"),
        choice_logprobs=pl.lit(None, pl.String),
    )
    ratings = ratings_from_items(read_verdicts(calls, YES_NO), links, YES_NO.scale, "principle@1")
    return dict(ratings.select("response_id", "value").iter_rows())


def test_every_item_is_asked_of_every_response_and_each_question_once() -> None:
    plan, links = item_questions(RESPONSES, CHECKLISTS, [("j", "model@1")], YES_NO, {})
    assert (plan.height, links.height) == (4, 4)
    twins = pl.concat([RESPONSES, RESPONSES.with_columns(response_id=pl.lit("twin") + pl.col("response_id"))])
    plan, links = item_questions(twins, CHECKLISTS, [("j", "model@1")], YES_NO, {})
    assert (plan.height, links.height) == (4, 8)


def test_the_score_is_the_weighted_share_of_items_that_are_met() -> None:
    assert rated("Y", "N", "N", "Y") == {"r1": 0.75, "r2": 0.25}


def test_an_item_that_does_not_apply_counts_neither_way() -> None:
    assert rated("Y", "X", "N", "X") == {"r1": 1.0, "r2": 0.0}


def test_a_response_with_too_few_answers_gets_no_rating() -> None:
    assert rated(None, None, "Y", None) == {"r2": 1.0}


def test_only_a_yes_no_instrument_is_taken() -> None:
    with pytest.raises(InputError, match="yes_no"):
        item_questions(RESPONSES, CHECKLISTS, [("j", "m")], shipped_instrument("rating@1"), {})
