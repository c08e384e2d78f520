"""A rubric counts when a judge that is shown it finds the known side in both orders, and never for its own group."""

from __future__ import annotations

import json

import polars as pl
import pytest
from small_rows import votes

from curate.judging.rubrics import ACCEPTED, examples_for, known_sides, rubric_of, rubric_shown, tried

PAIR = pl.DataFrame({"pair_id": ["p"]})
SIDE_A = pl.DataFrame({"pair_id": ["p"], "side": ["a"]})


def test_a_rubric_is_shown_rules_first() -> None:
    read = rubric_of('{"principles": ["Be clear."], "hard_rules": ["Two lines.", "No names."]}')
    assert rubric_shown(read or "") == "Hard rules:\n1. Two lines.\n2. No names.\nPrinciples:\n1. Be clear."
    assert rubric_shown(rubric_of('{"principles": ["Be clear."], "hard_rules": []}') or "") == (
        "Principles:\n1. Be clear.")


@pytest.mark.parametrize("answer", [
    "", "{}", '{"hard_rules": [], "principles": []}', '{"hard_rules": ["x"]}', '{"hard_rules": "x", "principles": []}',
    json.dumps({"hard_rules": ["x"] * 99, "principles": []}),
])
def test_an_answer_without_rules_makes_no_rubric(answer: str) -> None:
    assert rubric_of(answer) is None


def test_only_a_side_that_is_likelier_than_all_else_is_known() -> None:
    gold = pl.DataFrame({"pair_id": ["x", "y", "z"], "p_a": [0.9, 0.1, 0.4], "p_tie": [0.0, 0.1, 0.4]})
    assert known_sides(gold).rows() == [("x", "a"), ("y", "b")]


@pytest.mark.parametrize(("p_first", "p_second", "is_accepted"), [
    (0.9, 0.8, True), (0.9, 0.2, False), (0.5, 0.9, False),
])
def test_a_rubric_is_accepted_when_both_orders_find_the_known_side(
    p_first: float, p_second: float, is_accepted: bool
) -> None:
    said = pl.concat([votes(PAIR, "j", p_first, shown_first="a"), votes(PAIR, "j", p_second, shown_first="b")])
    row = tried(said, SIDE_A).row(0, named=True)
    assert row["is_accepted"] is is_accepted
    assert (row["reason"] == ACCEPTED) is is_accepted


def test_the_known_side_may_be_b() -> None:
    said = pl.concat([votes(PAIR, "j", 0.2, shown_first="a"), votes(PAIR, "j", 0.1, shown_first="b")])
    assert tried(said, SIDE_A.with_columns(side=pl.lit("b")))["is_accepted"].item()


def test_a_rubric_that_was_not_tried_in_both_orders_is_not_accepted() -> None:
    half = votes(PAIR, "j", 0.9, shown_first="a")
    silent = votes(PAIR, "j", 0.9, shown_first="b").with_columns(
        is_abstention=pl.lit(True), p_a=pl.lit(None, pl.Float64))
    for said in (half, half.clear(), pl.concat([half, silent])):
        row = tried(said, SIDE_A).row(0, named=True)
        assert (row["is_accepted"], "no verdict" in row["reason"]) == (False, True)


def accepted(*groups: str) -> pl.DataFrame:
    rubric = '{{"hard_rules":["of {}"],"principles":[]}}'
    return pl.DataFrame({"rubric_id": [f"r{i}" for i in range(len(groups))], "group_id": list(groups),
                         "rubric": [rubric.format(group) for group in groups]},
                        schema=dict.fromkeys(("rubric_id", "group_id", "rubric"), pl.String))


PROMPTS = pl.DataFrame({"prompt_id": ["p1", "p2"], "group_id": ["g1", "g2"]})


def test_a_prompt_is_never_shown_a_rubric_of_its_own_group() -> None:
    shown = dict(examples_for(PROMPTS, accepted("g1", "g9", "g9", "g9")).iter_rows())
    assert "of g1" not in shown["p1"]
    assert "of g9" in shown["p1"]
    assert "of g1" in shown["p2"]


def test_without_an_accepted_rubric_there_are_no_examples() -> None:
    assert examples_for(PROMPTS, accepted())["examples"].to_list() == [None, None]
    assert examples_for(PROMPTS, accepted("g1"))["examples"].null_count() == 1


def test_examples_do_not_depend_on_the_order_of_rubrics() -> None:
    held = accepted("g1", "g7", "g8", "g9")
    assert examples_for(PROMPTS, held).equals(examples_for(PROMPTS[::-1], held[::-1]))
