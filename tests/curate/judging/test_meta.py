"""The meta-judge silences a refuted verdict, keeps what was said, and never turns a vote."""

from __future__ import annotations

import polars as pl
import pytest
from small_rows import votes

from curate.judging.instruments import shipped_instrument
from curate.judging.meta import apply_meta, meta_questions
from curate.judging.reading import read_verdicts
from schemas.errors import InputError

META = shipped_instrument("meta@1")
PAIRS = pl.DataFrame({"pair_id": ["p"], "prompt": ["q"], "text_a": ["AAA"], "text_b": ["BBB"]})
REASONED = votes(PAIRS, "j", 0.9, shown_first="b", rationale="AAA is right", strength=2.0, evidence="seen")


def after(answer: str, logprobs: str | None = None, finish_reason: str = "stop") -> dict[str, object]:
    plan, links = meta_questions(REASONED, PAIRS, ("m", "meta@7"), META, {})
    calls = plan.select("call_key").with_columns(
        response=pl.lit(answer), finish_reason=pl.lit(finish_reason), choice_logprobs=pl.lit(logprobs, pl.String))
    return apply_meta(REASONED, read_verdicts(calls, META), links, META.scale, "meta@7").row(0, named=True)


def test_a_refuted_verdict_is_an_abstention_that_names_who_refuted_it() -> None:
    seen = after("N")
    assert (seen["is_abstention"], seen["p_a"], seen["p_tie"], seen["strength"]) == (True, None, None, None)
    assert seen["evidence"] == "refuted by meta@7 (p = 1.0)"
    assert seen["rationale"] == "AAA is right"


@pytest.mark.parametrize(("answer", "finish_reason"), [("Y", "stop"), ("X", "stop"), ("N", "length"), ("No!", "stop")])
def test_a_verdict_stands_unless_it_is_refuted(answer: str, finish_reason: str) -> None:
    assert after(answer, finish_reason=finish_reason) == REASONED.row(0, named=True)


def test_the_probability_decides_not_the_word() -> None:
    assert after("N", '{"Y": -0.6, "N": -0.8}')["is_abstention"] is False
    assert after("Y", '{"Y": -0.8, "N": -0.6}')["is_abstention"] is True


def test_the_reviewer_sees_the_order_that_the_judge_saw() -> None:
    plan, _ = meta_questions(REASONED, PAIRS, ("m", "meta@7"), META, {})
    told = plan["messages"][0]
    assert told.index("BBB") < told.index("AAA")
    assert "Response 2 is better." in told


def test_votes_without_reasons_and_abstentions_are_not_reviewed() -> None:
    silent = REASONED.with_columns(is_abstention=pl.lit(True))
    bare = REASONED.with_columns(rationale=pl.lit(None, pl.String))
    for rows in (silent, bare):
        plan, links = meta_questions(rows, PAIRS, ("m", "meta@7"), META, {})
        assert (plan.height, links.height) == (0, 0)


def test_only_a_meta_instrument_is_taken() -> None:
    with pytest.raises(InputError, match="meta"):
        meta_questions(REASONED, PAIRS, ("m", "meta@7"), shipped_instrument("pairwise@1"), {})
