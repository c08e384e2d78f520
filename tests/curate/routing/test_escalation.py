"""Judges first, one person, a second who is asked only where the first contradicts them, then an expert."""

from __future__ import annotations

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from curate.routing.escalation import MAX_SECONDS, escalate, first_votes
from schemas.people import Routing
from schemas.tables import ROUTES

A, B, TIE = (1.0, 0.0), (0.0, 0.0), (0.0, 1.0)
SURE_A, RATHER_A = (0.9, 0.05), (0.6, 0.1)
ROUNDS = pl.DataFrame(
    {"round_id": ["r1", "r2"], "budget_votes": [4, 4], "budget_usd": [None, 1.0], "budget_hours": [None, None]},
    schema={"round_id": pl.String, "budget_votes": pl.Int64, "budget_usd": pl.Float64, "budget_hours": pl.Float64})
ROOMY = ROUNDS.with_columns(budget_votes=pl.lit(99, pl.Int64))


def asked(*rows: tuple[str, int, str | None], to: str = "human", round_id: str = "r1", reason: str = "value: 0.1",
          n: int = 1) -> pl.DataFrame:
    """(pair, ordinal, outcome) each."""
    routes = pl.DataFrame([
        {"route_id": f"{pair}{ordinal}{round_id}", "pair_id": pair, "round_id": round_id, "to": to, "ordinal": ordinal,
         "expected_gain": 0.1, "cost_usd": 0.25, "propensity": 0.5, "is_audit": False, "reason": reason,
         "features": f'{{"pair_id":"{pair}"}}'} for pair, ordinal, _ in rows])
    outcomes = pl.Series("outcome", [outcome for *_, outcome in rows], pl.String)
    return ROUTES.complete(routes).with_columns(outcomes, n=pl.lit(n, pl.Int64))


def people(*rows: tuple[str, str, tuple[float, float]]) -> pl.DataFrame:
    return pl.DataFrame([(pair, voter, *p) for pair, voter, p in rows], orient="row",
                        schema={"pair_id": pl.String, "voter": pl.String, "p_a": pl.Float64, "p_tie": pl.Float64})


def doubts(**pairs: str) -> pl.DataFrame:
    return pl.DataFrame(list(pairs.items()), orient="row", schema={"pair_id": pl.String, "reason": pl.String})


def judged(**pairs: tuple[float, float]) -> pl.DataFrame:
    return pl.DataFrame([(pair, *p) for pair, p in pairs.items()], orient="row",
                        schema={"pair_id": pl.String, "p_a": pl.Float64, "p_tie": pl.Float64})


def steps(routes: pl.DataFrame, said: pl.DataFrame, judges: pl.DataFrame, escalation: str = "expert",
          rounds: pl.DataFrame = ROUNDS, **doubted: str) -> pl.DataFrame:
    rule = Routing.model_validate({"escalation": escalation})
    found = escalate(routes, said, judges, rounds, doubts(**doubted), rule, 0.25, 60.0, 3)
    return found.select("pair_id", "to", "ordinal", "reason").sort("pair_id")


def test_a_person_who_agrees_with_the_judges_ends_the_matter() -> None:
    assert steps(asked(("p", 0, "voted")), people(("p", "ann", A)), judged(p=SURE_A)).is_empty()


def test_a_person_who_contradicts_the_judges_calls_for_a_second() -> None:
    found = steps(asked(("p", 0, "voted")), people(("p", "ann", B)), judged(p=SURE_A))
    assert found.rows() == [("p", "human", 1, "second: a person says b, the judges a")]


def test_a_tie_contradicts_a_side() -> None:
    found = steps(asked(("p", 0, "voted")), people(("p", "ann", TIE)), judged(p=SURE_A))
    assert found["reason"].to_list() == ["second: a person says tie, the judges a"]


def test_two_people_who_disagree_call_for_an_expert_and_two_who_agree_do_not() -> None:
    routes = asked(("p", 0, "voted"), ("p", 1, "voted"), ("q", 0, "voted"), ("q", 1, "voted"))
    said = people(("p", "ann", B), ("p", "ben", A), ("q", "ann", B), ("q", "ben", B))
    found = steps(routes, said, judged(p=SURE_A, q=SURE_A), rounds=ROOMY)
    assert found.rows() == [("p", "expert", 2, "expert: people say a, b")]


def test_without_experts_the_chain_ends_with_the_second_and_without_escalation_it_never_begins() -> None:
    two = asked(("p", 0, "voted"), ("p", 1, "voted"))
    torn = people(("p", "ann", B), ("p", "ben", A))
    assert steps(two, torn, judged(p=SURE_A), "second").is_empty()
    assert steps(asked(("p", 0, "voted")), people(("p", "ann", B)), judged(p=SURE_A), "none").is_empty()


def test_an_expert_is_asked_once() -> None:
    routes = pl.concat([asked(("p", 0, "voted"), ("p", 1, "voted")), asked(("p", 2, "voted"), to="expert")])
    said = people(("p", "ann", B), ("p", "ben", A), ("p", "eve", TIE))
    assert steps(routes, said, judged(p=SURE_A)).is_empty()


def test_a_pair_with_an_open_task_waits() -> None:
    routes = asked(("p", 0, "voted"), ("p", 1, None))
    assert steps(routes, people(("p", "ann", B)), judged(p=SURE_A)).is_empty()


def test_a_pair_that_nobody_could_answer_takes_no_step() -> None:
    assert steps(asked(("p", 0, "skipped")), people(), judged(p=SURE_A)).is_empty()


def test_without_an_opinion_of_the_judges_nothing_is_contradicted() -> None:
    assert steps(asked(("p", 0, "voted")), people(("p", "ann", B)), judged()).is_empty()


def test_the_same_person_twice_is_one_person_and_another_is_asked_but_not_for_ever() -> None:
    first, said = asked(("p", 0, "voted")), people(("p", "ann", B))
    seconds = [asked(("p", i + 1, "voted"), reason="second: a person says b, the judges a") for i in range(MAX_SECONDS)]
    again = steps(pl.concat([first, *seconds[:1]]), said, judged(p=SURE_A))
    assert again.rows() == [("p", "human", 2, "second: a person says b, the judges a")]
    assert steps(pl.concat([first, *seconds]), said, judged(p=SURE_A)).is_empty()


def test_an_answer_that_came_too_fast_is_asked_again_even_where_it_agrees_with_the_judges() -> None:
    routes, said = asked(("p", 0, "voted")), people(("p", "ann", A))
    assert steps(routes, said, judged(p=SURE_A), "none", p="too_fast").rows() == [
        ("p", "human", 1, "again: the answer came too fast")]


def test_what_was_taken_back_or_said_by_someone_who_fails_gold_is_asked_again_though_no_opinion_is_left() -> None:
    routes = asked(("p", 0, "voted"), ("q", 0, "voted"))
    found = steps(routes, people(), judged(p=SURE_A), "none", p="retracted", q="fails_gold")
    assert found["reason"].to_list() == ["again: the answer was taken back", "again: the annotator fails gold"]


def test_two_doubtful_opinions_that_agree_call_for_a_third_within_the_bound_and_the_budget() -> None:
    said = people(("p", "ann", A), ("p", "ben", A))
    two = asked(("p", 0, "voted"), ("p", 1, "voted"))
    assert steps(two, said, judged(p=SURE_A), "none", p="drifts")["reason"].to_list() == [
        "again: the annotator got worse"]
    thrice = pl.concat([asked(("p", 0, "voted")), asked(("p", 1, "voted"), ("p", 2, "voted"), reason="again: so")])
    assert steps(thrice, said, judged(p=SURE_A), "none", rounds=ROOMY, p="drifts").is_empty()
    spent = asked(("p", 0, "voted"), ("p", 1, "voted"), ("q", 0, "voted"), ("t", 0, "voted"))
    assert steps(spent, said, judged(p=SURE_A), "none", p="drifts").is_empty()


def test_steps_keep_to_the_leftover_votes_experts_first_then_where_judges_were_surest() -> None:
    routes = asked(*((pair, 0, "voted") for pair in "pq"), ("t", 0, "voted"))
    said = people(("p", "ann", B), ("q", "ann", B), ("t", "ann", B), ("t", "ben", A))
    found = steps(routes, said, judged(p=RATHER_A, q=SURE_A, t=RATHER_A))
    assert found["pair_id"].to_list() == ["t"]  # four votes, three were spent
    freed = asked(("p", 0, "voted"), ("q", 0, "voted"), ("t", 0, "skipped"))
    assert steps(freed, said, judged(p=RATHER_A, q=SURE_A, t=RATHER_A))["pair_id"].to_list() == ["q", "t"]


def test_steps_keep_to_the_leftover_money() -> None:
    routes = asked(*((pair, 0, "voted") for pair in "pqs"), round_id="r2")
    said = people(*((pair, "ann", B) for pair in "pqs"))
    found = steps(routes, said, judged(p=RATHER_A, q=SURE_A, s=RATHER_A))
    assert found["pair_id"].to_list() == ["q"]  # of 1 USD, 0.75 are gone


def test_steps_keep_to_the_leftover_hours() -> None:
    """Five votes of a quarter of an hour are all that 1.3 hours hold, and three are gone."""
    routes = asked(*((pair, 0, "voted") for pair in "pqs"))
    said = people(*((pair, "ann", B) for pair in "pqs"))
    hours = ROOMY.with_columns(budget_hours=pl.lit(1.3))
    judges, rule = judged(p=SURE_A, q=SURE_A, s=SURE_A), Routing(escalation="second")
    found = escalate(routes, said, judges, hours, doubts(), rule, 0.25, 900.0, 3)
    assert found.height == 2


def test_a_step_is_charged_to_the_pair_s_newest_round_and_numbered_after_its_routes_there() -> None:
    routes = pl.concat([asked(("p", 0, "voted")), asked(("p", 0, "voted"), round_id="r2", n=2)])
    rule = Routing(escalation="second")
    found = escalate(routes, people(("p", "ann", B)), judged(p=SURE_A), ROUNDS, doubts(), rule, 0.25, 60.0, 3)
    assert found.select("round_id", "ordinal", "cost_usd", "propensity", "is_audit", "features").rows() == [
        ("r2", 1, 0.25, 0.5, False, '{"pair_id":"p"}')]


def test_swapping_the_letters_mirrors_the_verdicts_and_changes_nothing_else() -> None:
    routes = asked(*((pair, 0, "voted") for pair in "pqst"))
    said = people(("p", "ann", B), ("q", "ann", TIE), ("s", "ann", A), ("t", "ann", A), ("t", "ben", B))
    judges = judged(p=SURE_A, q=RATHER_A, s=(0.1, 0.2), t=SURE_A)
    turn = (1 - pl.col("p_a") - pl.col("p_tie")).round(9).alias("p_a")
    rule = Routing(escalation="expert")
    one = escalate(routes, said, judges, ROOMY, doubts(), rule, 0.25, 60.0, 3)
    other = escalate(routes, said.with_columns(turn), judges.with_columns(turn), ROOMY, doubts(), rule, 0.25, 60.0, 3)
    assert_frame_equal(one.drop("reason"), other.drop("reason"))
    assert one.height == 4


def test_no_order_of_rows_changes_a_step() -> None:
    routes = asked(*((pair, 0, "voted") for pair in "pqs"))
    said = people(*((pair, "ann", B) for pair in "pqs"))
    judges = judged(p=SURE_A, q=SURE_A, s=SURE_A)
    rule, doubted = Routing(escalation="expert"), doubts(p="too_fast", q="drifts")
    one = escalate(routes, said, judges, ROUNDS, doubted, rule, 0.25, 60.0, 3)
    assert one.height == 1
    other = escalate(routes[::-1], said[::-1], judges[::-1], ROUNDS[::-1], doubted[::-1], rule, 0.25, 60.0, 3)
    assert_frame_equal(one, other)


@pytest.mark.parametrize(("escalation", "votes"), [("none", 100), ("second", 80), ("expert", 73)])
def test_a_share_of_the_budget_is_set_aside_for_what_first_votes_will_call_for(escalation: str, votes: int) -> None:
    rule = first_votes(Routing.model_validate(
        {"escalation": escalation, "budget_votes": 100, "budget_usd": 25.0}))
    assert rule.budget_votes == votes
    assert rule.budget_usd == pytest.approx(25.0 * (votes / 100), abs=0.1)
    assert rule.budget_hours is None
    assert first_votes(Routing(escalation="second", budget_votes=1)).budget_votes == 1


def test_steps_beyond_what_was_set_aside_are_taken_from_the_first_votes() -> None:
    rule = Routing(escalation="second", budget_votes=100, budget_usd=50.0, budget_hours=2.0)
    few, many = (first_votes(rule, n, cost_usd=0.5, seconds=60.0) for n in (20, 30))
    assert few == first_votes(rule)
    assert (few.budget_votes, few.budget_usd, few.budget_hours) == (80, 40.0, 1.6)
    assert (many.budget_votes, many.budget_usd, many.budget_hours) == (70, 35.0, 1.5)
    assert first_votes(rule, 200).budget_votes == 0
