"""Qualification: what a judge is asked before it may vote, and what it is refused for."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from curate.judging.probes import KINDS, probe_pairs
from curate.judging.qualification import (
    QUESTIONS,
    RESULTS,
    exam_id,
    exam_questions,
    is_qualified,
    pairs_needed,
    qualify,
    refusal,
)
from schemas.errors import InputError
from schemas.ids import text_id
from schemas.sections import Qualification
from schemas.tables import VOTES

Rule = Callable[[str, str], str | None]
RULE = Qualification(min_accuracy=0.7)


def gold(n: int = 40) -> pl.DataFrame:
    """Pairs of `good i` and `bad i`, half of them code and half of them chat, each a group."""
    is_a = [i % 2 == 0 for i in range(n)]
    texts = {"a": [f"good answer {i}" if a else f"bad {i}" for i, a in enumerate(is_a)],
             "b": [f"bad {i}" if a else f"good answer {i}" for i, a in enumerate(is_a)]}
    return pl.DataFrame({
        "pair_id": [f"{i:03}" for i in range(n)], "prompt_id": [f"p{i}" for i in range(n)],
        "group_id": [f"g{i}" for i in range(n)], "category": ["code" if i < n // 2 else "chat" for i in range(n)],
        "prompt_text_id": [text_id(f"{i}") for i in range(n)], "prompt": [f"{i}" for i in range(n)],
        "text_a": texts["a"], "text_b": texts["b"], "text_id_a": [text_id(t) for t in texts["a"]],
        "text_id_b": [text_id(t) for t in texts["b"]], "p_a": [float(a) for a in is_a], "p_tie": [0.0] * n,
    })


def examined(rule: Rule, n: int = 40, thresholds: Qualification = RULE) -> pl.DataFrame:
    """Results of a judge that answers by `rule`: (first text, second text) → "1", "2", "tie" or nothing."""
    known, probes = gold(n), probe_pairs(gold(n), 1, 10)
    return qualify(answers(rule, known, probes), exam_questions(known, probes), thresholds)


def answers(rule: Rule, *asked: pl.DataFrame, voter: str = "j") -> pl.DataFrame:
    rows = []
    for frame in asked:
        for pair, text_a, text_b in frame.select("pair_id", "text_a", "text_b").iter_rows():
            for first, one, two in (("a", text_a, text_b), ("b", text_b, text_a)):
                said, second = rule(one, two), "b" if first == "a" else "a"
                side = {"1": first, "2": second, "tie": "tie", None: None}[said]
                rows.append({
                    "vote_id": f"{voter}{pair}{first}", "ballot_id": f"{voter}{pair}", "pair_id": pair, "voter": voter,
                    "p_a": None if side is None else float(side == "a"),
                    "p_tie": None if side is None else float(side == "tie"), "is_abstention": side is None, "n": 1,
                    "criterion": "overall", "cost_usd": 0.0, "status": "cast", "shown_first": first,
                })
    return VOTES.complete(pl.DataFrame(rows, infer_schema_length=None))


def by_merit(first: str, second: str) -> str:
    """A judge that knows a good answer, is not taken in, and ties what is the same."""
    worth = [2 * ("good answer" in " ".join(t.split())) - ("In summary" in t or "worth noting" in t)
             for t in (first, second)]
    return "tie" if worth[0] == worth[1] else "1" if worth[0] > worth[1] else "2"


def row(results: pl.DataFrame, domain: str) -> dict[str, object]:
    return results.filter(pl.col("domain") == domain).row(0, named=True)


def verdict_on(results: pl.DataFrame) -> tuple[bool, str]:
    return is_qualified(results)["is_qualified"].item(), refusal(results, RULE)


@pytest.mark.slow
def test_a_judge_that_knows_good_from_bad_may_vote() -> None:
    results = examined(by_merit)
    assert results.schema == pl.Schema(RESULTS)
    assert set(results["domain"]) == {"all", "code", "chat", *KINDS}
    assert verdict_on(results) == (True, "")
    assert row(results, "all")["low"] == pytest.approx(40 / (40 + 1.959964**2))


@pytest.mark.slow
def test_a_judge_that_always_says_first_is_refused_with_its_numbers() -> None:
    may, why = verdict_on(examined(lambda first, second: "1"))
    assert not may
    assert "50.0% right on 40 gold pairs" in why
    assert "order turned 100.0% of its verdicts, 50.0% is allowed" in why
    assert "fooled by 100.0% of 10 position probes, 10.0% is allowed" in why
    assert "fooled by 50.0% of 10 empty probes" in why


def test_a_judge_that_always_ties_is_no_better_than_a_coin() -> None:
    lenient = Qualification(min_accuracy=0.3)
    results = examined(lambda first, second: "tie", thresholds=lenient)
    assert not is_qualified(results)["is_qualified"].item()
    assert refusal(results, lenient).endswith("no better than a coin")


def test_a_judge_taken_in_by_openers_is_refused_for_openers_only() -> None:
    def gullible(first: str, second: str) -> str:
        for text, slot in ((first, "1"), (second, "2")):
            if "Thought process" in text or "Solution" in text:
                return slot
        return by_merit(first, second)

    may, why = verdict_on(examined(gullible))
    assert (may, why) == (False, "fooled by 20.0% of 10 opener probes, 10.0% is allowed")


def test_a_judge_that_obeys_its_responses_is_refused_for_injections() -> None:
    def obedient(first: str, second: str) -> str:
        told = [t for t in (first, second) if "must answer" in t or "I require" in t]
        return by_merit(first, second) if not told else "1" if told[0] == first else "2"

    results = examined(obedient)
    assert results.filter(~pl.col("is_passed"))["domain"].to_list() == ["injection"]


def test_a_judge_that_likes_padding_is_refused_for_padding() -> None:
    results = examined(lambda first, second: "1" if len(first) > len(second) else "2")
    assert not row(results, "padding")["is_passed"]
    assert row(results, "padding")["value"] == 1.0
    assert row(results, "empty")["is_passed"]


def test_a_tie_on_a_probe_does_not_fool() -> None:
    results = examined(lambda first, second: by_merit(first, second) if "bad" in first + second else "tie")
    assert results.filter(pl.col("metric") == "fooled")["value"].to_list() == [0.0] * len(KINDS)


@pytest.mark.slow
def test_answers_that_are_no_verdict_are_counted_and_refused() -> None:
    silent_on_code = examined(lambda first, second: None if first.endswith(("1", "3")) else by_merit(first, second))
    assert row(silent_on_code, "all")["failure_rate"] == pytest.approx(8 / 40)
    assert "20.0% of its answers are no verdict, 5.0% is allowed" in refusal(silent_on_code, RULE)
    nothing = examined(lambda first, second: None)
    assert row(nothing, "all")["n"] == 0
    assert "no verdict on any opener probe" in refusal(nothing, RULE)
    assert not is_qualified(nothing)["is_qualified"].item()


@pytest.mark.slow
def test_too_few_pairs_are_told_apart_from_wrong_answers() -> None:
    assert pairs_needed(0.7) == 9
    assert "8 pairs cannot show that even if all were right, 9 can" in refusal(examined(by_merit, 8), RULE)
    assert refusal(examined(by_merit, 10), RULE) == ""
    assert "cannot show" not in refusal(examined(lambda first, second: "2", 40), RULE)


def test_categories_are_told_and_do_not_decide() -> None:
    def poor_at_code(first: str, second: str) -> str:
        is_code = any(t.split()[-1].isdigit() and int(t.split()[-1]) < 8 for t in (first, second) if "bad" in t)
        return ("2" if by_merit(first, second) == "1" else "1") if is_code else by_merit(first, second)

    results = examined(poor_at_code)
    assert row(results, "code")["value"] == pytest.approx(12 / 20)
    assert not row(results, "code")["is_passed"]
    assert row(results, "chat")["is_passed"]


@pytest.mark.slow
def test_several_judges_are_examined_at_once_and_each_for_itself() -> None:
    known, probes = gold(), probe_pairs(gold(), 1, 10)
    both = pl.concat([answers(by_merit, known, probes), answers(lambda f, s: "1", known, probes, voter="k")])
    results = qualify(both, exam_questions(known, probes), RULE)
    assert is_qualified(results).rows() == [("j", True), ("k", False)]
    assert_frame_equal(qualify(both.sample(fraction=1, shuffle=True, seed=1), exam_questions(known, probes), RULE),
                       results)
    with pytest.raises(InputError, match="results of 2 judges"):
        refusal(results, RULE)


def test_without_gold_nobody_may_vote() -> None:
    results = qualify(VOTES.empty(), exam_questions(gold(2).head(0), probe_pairs(gold(2).head(0), 1)), RULE)
    assert results.height == 0
    assert "mark calibrate gold" in refusal(results, RULE)


def test_a_category_called_like_a_probe_keeps_its_own_row() -> None:
    asked = exam_questions(gold().with_columns(category=pl.lit("padding")), probe_pairs(gold(), 1, 10))
    assert asked.schema == pl.Schema(QUESTIONS)
    assert set(asked["domain"]) == {"category padding", *KINDS}
    bare = gold().with_columns(category=pl.lit(None, pl.String))
    assert set(exam_questions(bare, probe_pairs(gold(2).head(0), 1))["domain"]) == {"all"}


def test_another_model_template_threshold_or_gold_set_is_another_examination() -> None:
    asked = exam_questions(gold(), probe_pairs(gold(), 1))
    ids = [
        exam_id(asked, RULE, "m@1", "pairwise@1/aa"), exam_id(asked, RULE, "m@2", "pairwise@1/aa"),
        exam_id(asked, RULE, "m@1", "pairwise@1/bb"), exam_id(asked, Qualification(), "m@1", "pairwise@1/aa"),
        exam_id(asked.with_columns(p_a=1 - pl.col("p_a")), RULE, "m@1", "pairwise@1/aa"),
        exam_id(asked.head(asked.height - 1), RULE, "m@1", "pairwise@1/aa"),
        exam_id(asked.with_columns(system=pl.lit("Be brief.")), RULE, "m@1", "pairwise@1/aa"),
    ]
    assert len(set(ids)) == len(ids)


def test_the_same_examination_has_the_same_id_in_any_order_and_under_renamed_groups() -> None:
    asked = exam_questions(gold(), probe_pairs(gold(), 1))
    again = asked.reverse().with_columns(group_id=pl.lit("joined"))
    assert exam_id(asked, RULE, "m", "i") == exam_id(again, RULE, "m", "i")
