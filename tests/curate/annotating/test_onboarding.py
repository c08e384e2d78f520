"""Onboarding: a test that is passed, done again, or failed, with the tasks that come next."""

from __future__ import annotations

import polars as pl
import pytest
from people_at_work import answer, answers

from curate.annotating.doubtful import left_out
from curate.annotating.onboarding import STATUS, next_tasks, onboarding, results
from schemas.people import Quality
from schemas.tables import VOTERS, VOTES

RULE = Quality(onboarding_tasks=5, min_gold_accuracy=0.8)


def lessons(right: int, wrong: int, voter: str = "ann") -> list[dict[str, object]]:
    """Onboarding answers: the truth is always a."""
    said = ["a"] * right + ["b"] * wrong
    return [answer(voter, f"g{i}", s, purpose="onboarding", gold_p_a=1.0, gold_p_tie=0.0) for i, s in enumerate(said)]


def status(*rows: dict[str, object], rule: Quality = RULE) -> dict[str, object]:
    frame = onboarding(answers(*rows), ["ann"], rule)
    assert frame.schema == pl.Schema(STATUS)
    return frame.row(0, named=True)


@pytest.mark.parametrize(("right", "wrong", "state", "n_left"), [
    (0, 0, "testing", 5), (3, 0, "testing", 2), (4, 1, "passed", 0), (5, 0, "passed", 0),
    (3, 2, "again", 5), (8, 2, "passed", 0), (2, 3, "failed", 0), (7, 3, "failed", 0),
])
def test_the_test_is_open_passed_to_be_done_again_or_failed(right: int, wrong: int, state: str, n_left: int) -> None:
    told = status(*lessons(right, wrong))
    assert (told["state"], told["n_left"], told["n_done"], told["n_right"]) == (state, n_left, right + wrong, right)
    assert told["accuracy"] == (right / (right + wrong) if right + wrong else None)


def test_as_many_right_answers_as_are_left_pass_the_test() -> None:
    left = int(str(status(*lessons(3, 2))["n_left"]))
    assert status(*lessons(3 + left, 2))["state"] == "passed"
    assert status(*lessons(3 + left - 1, 2))["state"] == "again"


def test_where_one_error_is_too_many_nobody_tries_again() -> None:
    strict = Quality(onboarding_tasks=5, min_gold_accuracy=1.0)
    assert status(*lessons(4, 1), rule=strict)["state"] == "failed"
    assert status(*lessons(5, 0), rule=strict)["state"] == "passed"


def test_without_onboarding_everyone_has_passed() -> None:
    assert status(rule=Quality(min_gold_accuracy=0.9))["state"] == "passed"


def test_a_pair_counts_once_and_is_right_only_if_it_always_was() -> None:
    again = [answer(pair="g0", said="b", purpose="onboarding", gold_p_a=1.0, gold_p_tie=0.0, ballot_id="again")]
    told = results(answers(*lessons(2, 0), *again))
    assert told.select("pair_id", "truth", "is_right").rows() == [("g0", "a", False), ("g1", "a", True)]
    assert status(*lessons(2, 0), *again)["n_done"] == 2


def test_other_gold_tasks_are_no_onboarding() -> None:
    assert status(*({**row, "purpose": "gold"} for row in lessons(5, 0)))["state"] == "testing"


def test_next_tasks_are_gold_never_seen_and_the_same_each_time() -> None:
    rows = answers(*lessons(3, 0), answer(pair="g9", said=None))
    gold = [f"g{i}" for i in range(12)]
    told = onboarding(rows, ["ann", "ben"], RULE)
    given = next_tasks(told, rows, gold, seed=7)
    assert given.group_by("voter").len().sort("voter").rows() == [("ann", 2), ("ben", 5)]
    assert not {"g0", "g1", "g2", "g9"} & set(given.filter(pl.col("voter") == "ann")["pair_id"])
    assert given.equals(next_tasks(told.reverse(), rows.reverse(), gold[::-1], seed=7))
    assert next_tasks(told, rows, gold[:4], seed=7).filter(pl.col("voter") == "ann").height == 1
    assert not given.equals(next_tasks(told, rows, gold, seed=8))


@pytest.mark.parametrize(("right", "wrong"), [(4, 1), (3, 2), (3, 0), (8, 2)])
def test_passed_here_is_counted_there(right: int, wrong: int) -> None:
    rows = answers(*lessons(right, wrong))
    constant = {"vote_id": pl.col("ballot_id"), "is_abstention": pl.lit(False), "n": pl.lit(1),
                "status": pl.lit("cast"), "round_id": pl.lit("r")}
    votes = VOTES.complete(rows.with_columns(**constant).select(
        "vote_id", "ballot_id", "pair_id", "voter", "p_a", "p_tie", "is_abstention", "n", "shown_first", "criterion",
        "cost_usd", "status", "round_id"))
    voters = VOTERS.complete(pl.DataFrame([{"voter": "ann", "kind": "human", "family": "ann", "cost_usd": 0.0}]))
    gold = rows.select("pair_id", p_a="gold_p_a", p_tie="gold_p_tie")
    out = left_out(votes, voters, gold, rows.select("voter", "pair_id"), RULE)
    is_passed = status(*lessons(right, wrong))["state"] == "passed"
    assert (out.filter(pl.col("reason") == "onboarding").height == 0) == is_passed
