"""One vote at a time is the batch, as long as no answer arrives; other methods, second audits and stopping."""

from __future__ import annotations

import polars as pl
import pytest
from test_allocation import COST, SKILL, pool, rule

from curate.routing.allocation import People, choose, decide
from schemas.errors import RefusedError
from schemas.people import Routing


def batch(by: Routing, **more: pl.DataFrame) -> pl.DataFrame:
    return choose(pool(), by, SKILL, COST, "round", 1, **more)


def one_at_a_time(by: Routing, **more: pl.DataFrame) -> pl.DataFrame:
    """Routes taken one by one until there are none."""
    taken = choose(pool(), by, SKILL, COST, "round", 1, limit=1, **more)
    while (following := choose(pool(), by, SKILL, COST, "round", 1, limit=1, already=taken, **more)).height:
        taken = pl.concat([taken, following])
    return taken


@pytest.mark.slow
@pytest.mark.parametrize("method", ["random", "length", "disagreement", "value"])
def test_one_vote_at_a_time_gives_the_batch_in_its_order(method: str) -> None:
    by = rule(method, votes=8, max_votes_per_pair=2, second_audit_share=0.5)
    assert one_at_a_time(by).equals(batch(by))


def test_an_answer_that_arrives_is_counted_once() -> None:
    """p00 was asked and answered: its posterior holds the vote, and what comes next is its second vote, not a third."""
    by = rule(votes=9, audit_share=0.0, max_votes_per_pair=2)
    first = choose(pool(), by, SKILL, COST, "round", 1, limit=1)
    pair = first["pair_id"][0]
    answered = first.with_columns(is_answered=pl.lit(True))
    following = choose(pool(), by, SKILL, COST, "round", 1, already=answered)
    assert following.height == 8
    assert following.filter(pl.col("pair_id") == pair)["ordinal"].to_list() == [1]
    assert following.filter(pl.col("pair_id") == pair)["expected_gain"].to_list() == first["expected_gain"].to_list()


def test_what_is_not_charged_leaves_the_budget_and_is_not_asked_again() -> None:
    """Of nine votes two are asked: one was skipped, which costs nothing, and another pair takes its place."""
    by = rule(votes=9, audit_share=0.0)
    first = choose(pool(), by, SKILL, COST, "round", 1, limit=2)
    skipped = first.with_columns(is_answered=pl.lit(True), is_charged=pl.Series([False, True]))
    following = choose(pool(), by, SKILL, COST, "round", 1, already=skipped)
    assert following.height == 8
    assert set(first["pair_id"]).isdisjoint(following["pair_id"])


def test_the_audit_is_asked_whole_with_the_first_wave_and_never_drawn_again() -> None:
    """Six audits of twelve votes and their seconds, though one vote was to be asked; later the budget doubles."""
    by = rule(votes=12, audit_share=0.5, second_audit_share=1.0)
    first = choose(pool(), by, SKILL, COST, "round", 1, limit=1)
    assert first["is_audit"].to_list() == [True] * 12
    assert first["ordinal"].to_list() == [0] * 6 + [1] * 6
    more = by.model_copy(update={"budget_votes": 24})
    later = choose(pool(), more, SKILL, COST, "round", 1, already=first)
    assert (later.height, later["is_audit"].sum()) == (12, 0)
    assert later["propensity"].unique().to_list() == first["propensity"].unique().to_list()


def test_near_identical_pairs_of_earlier_waves_take_their_share_too() -> None:
    alike = pool().with_columns(cluster=pl.when(pl.col("pair_id") < "p03").then(pl.lit("c")))
    by = rule(votes=3, audit_share=0.0).model_copy(update={"diversity": 1.0})
    taken = choose(alike, by, SKILL, COST, "round", 1, limit=1)
    for _ in range(2):
        following = choose(alike, by, SKILL, COST, "round", 1, limit=1, already=taken)
        taken = pl.concat([taken, following])
    assert taken["pair_id"].to_list() == choose(alike, by, SKILL, COST, "round", 1)["pair_id"].to_list()


def test_length_asks_where_the_responses_differ_most() -> None:
    longest = pool(length_b=list(range(10, 50)))
    routes = choose(longest, rule("length", 3, audit_share=0.0), SKILL, COST, "round", 1)
    assert routes["pair_id"].to_list() == ["p39", "p38", "p37"]
    assert routes["reason"][0] == "length: 39 characters apart"


@pytest.mark.parametrize("method", ["active_lab", "retrieval", "hyper"])
def test_scores_from_outside_order_pairs_and_unknown_pairs_come_last(method: str) -> None:
    scores = pl.DataFrame({"pair_id": ["p07", "p03", "p11"], "score": [0.5, -2.0, 0.9]})
    routes = batch(rule(method, 4, audit_share=0.0), scores=scores)
    assert routes["pair_id"].to_list()[:3] == ["p11", "p07", "p03"]
    assert routes["reason"].to_list()[:3] == [f"{method}: score {x}" for x in (0.9, 0.5, -2.0)]
    assert routes["reason"][3] == f"{method}: score unknown"


def test_a_method_that_needs_scores_and_has_none_is_refused() -> None:
    with pytest.raises(RefusedError, match="without scores"):
        batch(rule("active_lab"))


def test_a_second_person_audits_the_share_that_the_recipe_says() -> None:
    routes = batch(rule("random", votes=40, audit_share=0.5, second_audit_share=1.0))
    audit = routes.filter("is_audit")
    assert audit["ordinal"].to_list() == [0] * 20 + [1] * 20
    assert audit["reason"].unique().sort().to_list() == ["audit: drawn at random", "audit: second vote"]
    assert set(audit["pair_id"].head(20)) == set(audit["pair_id"].tail(20))
    some = batch(rule("random", votes=40, audit_share=0.5, second_audit_share=0.5)).filter("is_audit")
    assert 4 <= some.filter(pl.col("ordinal") == 1).height <= 16
    assert routes["propensity"].unique().to_list() == [0.5]


def test_without_a_share_of_second_audits_no_pair_is_asked_beyond_its_bound() -> None:
    routes = batch(rule("value", votes=40, second_audit_share=0.5))
    assert routes.filter(~pl.col("is_audit"))["ordinal"].max() == 0


def test_near_identical_pairs_are_not_asked_one_after_the_other() -> None:
    """p00 to p03 are the four pairs of most value; the first three are one cluster."""
    alike = pool().with_columns(cluster=pl.when(pl.col("pair_id") < "p03").then(pl.lit("c")))
    by = rule(votes=3, audit_share=0.0)
    assert choose(alike, by, SKILL, COST, "round", 1)["pair_id"].sort().to_list() == ["p00", "p01", "p02"]
    apart = choose(alike, by.model_copy(update={"diversity": 1.0}), SKILL, COST, "round", 1)
    assert apart["pair_id"].sort().to_list() == ["p00", "p03", "p04"]


def test_asking_stops_where_an_hour_changes_too_little_and_says_so() -> None:
    people = People(SKILL, COST, seconds=1200.0)
    found = decide(pool(), rule(votes=30, stop_below=0.9), people, "round", 1)
    everything = decide(pool(), rule(votes=30), people, "round", 1)
    assert everything.stopped == ""
    assert 6 < found.routes.height < 30
    assert found.routes.equals(everything.routes.head(found.routes.height))
    assert found.stopped.startswith(f"stopped after {found.routes.height} of 30 votes: the next hour")
    assert found.routes["is_audit"].sum() == 6
