"""Grown prompts: examples of one category, each shown once before one is twice; near-copies never get in."""

from __future__ import annotations

import json

import polars as pl
import pytest

from curate.synthesis.growth import N_EXAMPLES, accepted, draw_examples, proposed
from schemas.errors import InputError
from schemas.ids import content_id


def prompts(n: int, category: str | None = None, start: int = 0) -> pl.DataFrame:
    numbers = [str(i) for i in range(start, start + n)]
    return pl.DataFrame({"prompt_id": numbers, "category": [category] * n, "question": [f"q{i}" for i in numbers]},
                        schema_overrides={"category": pl.String})


def answers(*responses: str, finish_reason: str = "stop") -> pl.DataFrame:
    return pl.DataFrame({
        "call_key": [f"c{i}" for i in range(len(responses))], "draw": list(range(len(responses))),
        "category": ["x"] * len(responses), "response": list(responses), "finish_reason": finish_reason,
    })


def proposals(*questions: str) -> pl.DataFrame:
    return proposed(answers(*(json.dumps({"prompts": [q]}) for q in questions)))[0]


NOTHING = pl.DataFrame(schema={"prompt_id": pl.String, "near_id": pl.String, "text": pl.String})


def test_five_new_prompts_are_one_question_and_six_are_two() -> None:
    assert [draw_examples(prompts(40), n, 0).height for n in (1, 5, 6, 11)] == [1, 1, 2, 3]


def test_examples_are_of_one_category_and_every_prompt_is_shown_before_one_is_shown_twice() -> None:
    both = pl.concat([prompts(12, "a"), prompts(6, "b", 12)])
    draws = draw_examples(both, 15, 3)
    assert sorted(draws["category"]) == ["a", "a", "b"]
    shown = draws.explode("examples")["examples"]
    assert sorted(shown) == sorted(both["question"])
    assert draws["examples"].list.len().to_list() == [N_EXAMPLES] * 3


def test_few_prompts_are_shown_again_in_another_order() -> None:
    draws = draw_examples(prompts(4), 10, 1)
    assert [sorted(e) for e in draws["examples"]] == [["q0", "q1", "q2", "q3"]] * 2
    assert draws["examples"][0].to_list() != draws["examples"][1].to_list()


def test_the_order_of_rows_decides_nothing_and_the_seed_does() -> None:
    rows = prompts(20)
    assert draw_examples(rows, 9, 5).equals(draw_examples(rows.reverse(), 9, 5))
    assert not draw_examples(rows, 9, 5).equals(draw_examples(rows, 9, 6))


def test_without_a_prompt_there_is_no_manner_to_follow() -> None:
    with pytest.raises(InputError, match="ingest a file of prompts"):
        draw_examples(prompts(0), 5, 0)


def test_proposals_come_in_the_writer_s_order_and_blank_ones_are_left_out() -> None:
    good, left_out = proposed(answers('{"prompts": ["one", " ", "three"]}'))
    assert good.select("draw", "place", "question").rows() == [(0, "0", "one"), (0, "2", "three")]
    assert left_out.select("row_id", "reason").rows() == [("c0/1", "empty")]


@pytest.mark.parametrize(("response", "finish_reason", "reason"), [
    ("[", "stop", "no_prompts"), ('{"prompts": "x"}', "stop", "no_prompts"), ('{"prompts": ["x"]}', "length", "length"),
])
def test_an_answer_that_holds_no_list_of_prompts_is_counted(response: str, finish_reason: str, reason: str) -> None:
    good, left_out = proposed(answers(response, finish_reason=finish_reason))
    assert good.is_empty()
    assert left_out.select("row_id", "reason").rows() == [("c0", reason)]


def test_an_accepted_prompt_has_the_id_and_group_that_ingesting_it_would_give() -> None:
    row = accepted(proposals(" Why? "), NOTHING, 5, 0.9).prompts.row(0, named=True)
    message = '[{"role":"user","content":"Why?"}]'
    assert (row["prompt_id"], row["asked"], row["question"]) == (content_id(message, None), message, "Why?")
    assert (row["group_id"], row["category"]) == (row["near_id"], "x")


def test_near_copies_of_stored_prompts_and_of_each_other_and_the_surplus_are_left_out() -> None:
    said = "please explain in simple words why the sea is salty and the rivers are not"
    river = accepted(proposals("Name a river"), NOTHING, 1, 0.9).prompts
    stored = river.select("prompt_id", "near_id", text="question")
    grown = accepted(proposals("NAME a river!", said, said + " ?", "Draw a map", "Sing a song"), stored, 2, 0.8)
    assert grown.prompts.height == 2
    assert sorted(grown.left_out["reason"]) == ["near_duplicate", "near_duplicate", "surplus"]


def test_what_is_accepted_does_not_depend_on_the_order_of_answers() -> None:
    rows = proposals("Draw a map", "Sing a song", "Cook a soup")
    one, other = (accepted(frame, NOTHING, 2, 0.9) for frame in (rows, rows.reverse()))
    assert set(one.prompts["question"]) == {"Draw a map", "Sing a song"}
    assert one.prompts.equals(other.prompts)
