"""Which task goes into which queue, what is mixed in, and what is taken back."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from curate.annotating.assigning import (
    ONBOARDING,
    assign,
    gold_tasks,
    mixed,
    onboarding_tasks,
    recalls,
    room_of,
    shown_first,
)
from schemas.settings import Queue

ONE, TWO = Queue(name="one"), Queue(name="two")
EXPERTS = Queue(name="experts", is_expert=True)
NOTHING_HELD = pl.DataFrame(schema={"pair_id": pl.String, "queue": pl.String, "is_open": pl.Boolean,
                                    "is_gold": pl.Boolean})


def routes(*pairs: str, to: str = "human", gain: float = 0.1, reason: str = "value: 0.1", n: int = 1) -> pl.DataFrame:
    """One route each; a pair may come several times."""
    return pl.DataFrame({
        "route_id": [f"{pair}{i}{to}{n}" for i, pair in enumerate(pairs)], "pair_id": list(pairs), "to": to, "n": n,
        "is_audit": False, "expected_gain": gain, "reason": reason,
    }, schema_overrides={"n": pl.Int64})


def held(*tasks: tuple[str, str, bool], is_gold: bool = False) -> pl.DataFrame:
    return pl.DataFrame([(*task, is_gold) for task in tasks], schema=NOTHING_HELD.schema, orient="row")


def queues_of(assigned: pl.DataFrame, of: pl.DataFrame) -> dict[str, list[str]]:
    """Pair → queues of its routes, sorted."""
    rows = of.join(assigned, on="route_id").group_by("pair_id").agg(pl.col("queue").sort())
    return dict(rows.sort("pair_id").iter_rows())


def test_two_votes_on_one_pair_go_to_different_queues() -> None:
    twice = routes("p", "p")
    assert queues_of(assign(twice, [ONE, TWO], NOTHING_HELD, 1), twice) == {"p": ["one", "two"]}


def test_in_a_single_queue_the_second_vote_waits_until_the_first_is_there() -> None:
    twice = routes("p", "p", "q")
    assert queues_of(assign(twice, [ONE], NOTHING_HELD, 1), twice) == {"p": ["one"], "q": ["one"]}
    second = routes("p")
    assert assign(second, [ONE], held(("p", "one", True)), 1).is_empty()
    assert queues_of(assign(second, [ONE], held(("p", "one", False)), 1), second) == {"p": ["one"]}


def test_a_pair_goes_where_it_never_was_and_waits_while_that_queue_is_full() -> None:
    again = routes("p")
    before = held(("p", "one", False))
    assert queues_of(assign(again, [ONE, TWO], before, 1), again) == {"p": ["two"]}
    full = Queue(name="two", capacity=1)
    assert assign(again, [ONE, full], pl.concat([before, held(("x", "two", True))]), 1).is_empty()


def test_only_experts_are_given_what_is_to_be_adjudicated_and_they_are_given_nothing_else() -> None:
    both = pl.concat([routes("p", to="expert"), routes("q")])
    assert queues_of(assign(both, [ONE, EXPERTS], NOTHING_HELD, 1), both) == {"p": ["experts"], "q": ["one"]}
    assert assign(routes("p", to="expert"), [ONE], NOTHING_HELD, 1).is_empty()


def test_capacity_counts_open_tasks_and_what_does_not_fit_waits() -> None:
    small = Queue(name="one", capacity=3)
    open_and_done = held(("x", "one", True), ("y", "one", False))
    assert assign(routes("p", "q", "r", "s"), [small], open_and_done, 1).height == 2
    assert room_of([small, TWO], open_and_done)["room"].to_list() == [2, 2**53]


def test_where_room_is_short_escalations_come_first_then_older_rounds_then_gain() -> None:
    everything = pl.concat([
        routes("low", gain=0.1, n=2), routes("high", gain=0.3, n=2), routes("old", gain=0.2, n=1),
        routes("second", gain=0.0, n=3, reason="second: a person says b, the judges a")])
    for n, expected in ((1, {"second"}), (2, {"second", "old"}), (3, {"second", "old", "high"})):
        taken = assign(everything, [Queue(name="one", capacity=n)], NOTHING_HELD, 1)
        assert set(everything.join(taken, on="route_id")["pair_id"]) == expected


def test_what_one_queue_has_no_room_for_goes_to_another() -> None:
    many = routes(*"abcdefgh")
    taken = assign(many, [Queue(name="one", capacity=2), Queue(name="two", capacity=5)], NOTHING_HELD, 1)
    assert dict(taken.group_by("queue").len().sort("queue").iter_rows()) == {"one": 2, "two": 5}


@pytest.mark.slow
@given(st.permutations(range(8)))
def test_no_order_of_routes_queues_or_tasks_changes_who_is_given_what(order: list[int]) -> None:
    many, before = routes(*"abcdabcd"), held(("a", "one", True), ("b", "two", False), ("c", "one", False))
    queues = [Queue(name="one", capacity=3), Queue(name="two", capacity=2), Queue(name="three")]
    expected = assign(many, queues, before, 1)
    assert_frame_equal(assign(many[order], queues[::-1], before[::-1], 1), expected)


def test_gold_is_the_named_share_of_all_tasks_a_queue_was_given_and_none_comes_twice() -> None:
    gold = pl.DataFrame({"pair_id": [f"g{i}" for i in range(9)]})
    votes = pl.DataFrame({"queue": ["one"] * 12 + ["two"] * 4})
    drawn = gold_tasks(gold, [ONE, TWO], votes, NOTHING_HELD, 0.25, 1)
    assert dict(drawn.group_by("queue").len().sort("queue").iter_rows()) == {"one": 4, "two": 1}
    given_before = drawn.with_columns(is_open=pl.lit(False), is_gold=pl.lit(True))
    more = gold_tasks(gold, [ONE, TWO], pl.DataFrame({"queue": ["one"] * 24}), given_before, 0.25, 1)
    assert more.height == 4
    assert more.join(drawn, on=["pair_id", "queue"]).is_empty()
    assert gold_tasks(gold, [ONE], votes, NOTHING_HELD, 0.0, 1).is_empty()
    assert gold_tasks(gold, [ONE], votes, NOTHING_HELD, 1.0, 1).height == 9


def test_gold_takes_no_more_than_the_room_that_is_left() -> None:
    gold = pl.DataFrame({"pair_id": ["g0", "g1", "g2"]})
    small, votes = Queue(name="one", capacity=2), pl.DataFrame({"queue": ["one"] * 8})
    assert gold_tasks(gold, [small], votes, held(("x", "one", True)), 0.5, 1).height == 1
    assert assign(routes(*"abcd"), [Queue(name="one", capacity=4)], NOTHING_HELD, 1, gold_share=0.25).height == 3


def test_onboarding_draws_the_same_pairs_for_everyone() -> None:
    gold = pl.DataFrame({"pair_id": [f"g{i}" for i in range(9)]})
    drawn = onboarding_tasks(gold, 3, 1)
    assert drawn["queue"].to_list() == [ONBOARDING] * 3
    assert_frame_equal(onboarding_tasks(gold[::-1], 3, 1), drawn)


def test_gold_lies_among_the_votes_which_keep_their_order() -> None:
    tasks = pl.DataFrame({"task_key": [f"t{i}" for i in range(12)], "queue": "one",
                          "place": [*range(9), None, None, None]}, schema_overrides={"place": pl.Int64})
    order = mixed(tasks.sample(fraction=1.0, shuffle=True, seed=5), 1)
    assert order["place"].drop_nulls().to_list() == list(range(9))
    at = [i for i, place in enumerate(order["place"]) if place is None]
    assert at != [9, 10, 11]
    assert at != [0, 1, 2]


def test_either_side_is_shown_first_about_equally_often_and_always_the_same_for_one_route() -> None:
    many = pl.DataFrame({"route_id": [f"r{i}" for i in range(400)]}).with_columns(shown_first(7))
    assert 160 < (many["shown_first"] == "a").sum() < 240
    assert_frame_equal(many[::-1].drop("shown_first").with_columns(shown_first(7))[::-1], many)


def test_a_task_is_taken_back_when_its_answer_would_change_nothing() -> None:
    tasks = pl.DataFrame([
        ("sure", "vote", False, False), ("open", "vote", False, False), ("audit", "vote", True, False),
        ("unseen", "vote", False, False), ("old", "vote", False, True), ("gone", "gold", False, False),
        ("test", "gold", False, False), ("torn", "adjudicate", False, False),
    ], schema=["pair_id", "purpose", "is_audit", "is_superseded"], orient="row").with_columns(task_key="pair_id")
    sure = ["sure", "audit", "torn", "test"]
    posteriors = pl.DataFrame({
        "pair_id": [*sure, "open", "unseen"], "p_a": [0.995] * 4 + [0.9, 1.0], "p_tie": 0.0,
        "n_human": [1, 1, 2, 1, 1, 0]})
    scope = pl.Series(["sure", "open", "audit", "unseen", "old", "test", "torn"])
    expected = [("gone", "out_of_scope"), ("old", "superseded"), ("sure", "decided")]
    assert recalls(tasks, posteriors, scope).rows() == expected
    mirrored = posteriors.with_columns(p_a=1 - pl.col("p_a") - pl.col("p_tie"))
    assert recalls(tasks[::-1], mirrored, scope).rows() == expected
