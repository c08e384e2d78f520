"""The audit estimates the error of the labels as they were before it asked."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from curate.routing.allocation import choose
from curate.routing.audit import audit_estimate, audits, error_behind, second_opinions, skill_behind
from schemas.errors import RefusedError
from schemas.people import Routing
from schemas.tables import CANDIDATES


def pool(n: int = 60) -> pl.DataFrame:
    """Every label is a."""
    return CANDIDATES.complete(pl.DataFrame({
        "pair_id": [f"p{i:03}" for i in range(n)], "group_id": [f"g{i % 12}" for i in range(n)], "p_a": 0.8,
        "p_tie": 0.1, "p_sd": 0.1, "n_votes": 2, "n_human": 0, "judge_spread": 0.0, "flip_share": 0.0, "length_a": 1,
        "length_b": 1, "overlap": 0.0,
    }))


def audited(n_wrong: int, n: int = 60) -> pl.DataFrame:
    """Everything is audited; people say b on the first `n_wrong` pairs."""
    routes = choose(pool(n), Routing(method="random", budget_votes=n, audit_share=1.0), 0.7, 0.0, "r", 1)
    says_b = pl.col("pair_id").str.slice(1).cast(pl.Int64) < n_wrong
    answered = routes.select("route_id", p_a=pl.when(says_b).then(0.0).otherwise(1.0), p_tie=pl.lit(0.0))
    return audits(routes, answered)


def test_an_audit_holds_the_candidate_as_it_was_and_whether_it_was_contradicted() -> None:
    seen = audited(2)
    assert seen.filter("is_contradicted")["pair_id"].sort().to_list() == ["p000", "p001"]
    assert seen.select(*CANDIDATES.schema).sort("pair_id").equals(pool())


def test_routes_that_are_no_audit_abstentions_and_unanswered_ones_are_left_out() -> None:
    routes = choose(pool(), Routing(method="random", budget_votes=40, audit_share=0.5), 0.7, 0.0, "r", 1)
    skipped = routes.with_row_index().select("route_id", p_a=pl.when(pl.col("index") > 0).then(1.0), p_tie=pl.lit(0.0))
    assert audits(routes, skipped).height == 19
    assert audits(routes, skipped.clear()).height == 0


def test_perfect_people_give_the_share_of_wrong_labels() -> None:
    estimate = audit_estimate(audited(15), human_skill=1.0)
    assert estimate.error == estimate.contradicted == 0.25
    assert estimate.low < 0.25 < estimate.high
    assert (estimate.n_pairs, estimate.n_groups, estimate.is_descriptive) == (60, 12, False)


def test_errors_of_people_are_taken_out() -> None:
    """Of 100 labels 20 are wrong; people with skill 0.7 contradict 80 · 0.3 + 20 · 0.85 = 41."""
    assert error_behind(0.41, 0.7) == pytest.approx(0.2)
    assert audit_estimate(audited(41, 100), human_skill=0.7).error == pytest.approx(0.2)


def test_an_audit_drawn_half_as_often_counts_twice() -> None:
    seen = audited(30).with_columns(propensity=pl.when("is_contradicted").then(0.25).otherwise(0.5))
    assert audit_estimate(seen, human_skill=1.0).error == pytest.approx(2 / 3)


def test_few_groups_are_descriptive_and_one_is_refused() -> None:
    few = audited(15).with_columns(group_id=pl.when("is_contradicted").then(pl.lit("x")).otherwise(pl.lit("y")))
    assert audit_estimate(few, 1.0).is_descriptive
    with pytest.raises(RefusedError, match="groups"):
        audit_estimate(few.with_columns(group_id=pl.lit("x")), 1.0)


def test_people_no_better_than_chance_audit_nothing() -> None:
    with pytest.raises(RefusedError, match="chance"):
        audit_estimate(audited(15), 1 / 3)


@pytest.mark.slow
def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng, covered, seen = np.random.default_rng(0), 0, audited(0, 200)
    for _ in range(200):
        drawn = seen.with_columns(pl.Series("is_contradicted", rng.random(200) < 0.3))
        estimate = audit_estimate(drawn, human_skill=1.0)
        covered += estimate.low <= 0.3 <= estimate.high
    assert 175 <= covered <= 200


def test_no_contradiction_at_all_is_no_certainty() -> None:
    none, every = audit_estimate(audited(0), human_skill=1.0), audit_estimate(audited(60), human_skill=1.0)
    assert (none.low, none.error) == (0.0, 0.0)
    assert none.high == pytest.approx(1 - 0.025 ** (1 / 60))
    assert every.low == pytest.approx(1 - none.high)


def asked_twice() -> tuple[pl.DataFrame, pl.DataFrame]:
    """Routes with ten audits, all asked twice, and ten routed votes; every second person says b, all others a."""
    rule = Routing(method="random", budget_votes=30, audit_share=1 / 3, second_audit_share=1.0)
    routes = choose(pool(), rule, 0.7, 0.0, "r", 1)
    says_a = (pl.col("ordinal") == 0).cast(pl.Float64)
    return routes, routes.select("route_id", p_a=says_a, p_tie=pl.lit(0.0))


def test_a_second_vote_is_no_second_audit_and_tells_whether_people_agree() -> None:
    routes, answered = asked_twice()
    assert audits(routes, answered).height == 10
    assert audits(routes, answered)["is_contradicted"].sum() == 0
    twice = second_opinions(routes, answered)
    assert twice["pair_id"].sort().to_list() == audits(routes, answered)["pair_id"].sort().to_list()
    assert not twice["is_agreed"].any()
    assert second_opinions(routes, answered.head(5)).height <= 5


def test_what_the_router_asked_for_is_no_audit() -> None:
    routes, answered = asked_twice()
    assert audits(routes.with_columns(is_audit=pl.lit(False)), answered).is_empty()


def test_agreement_of_two_gives_the_skill_of_each() -> None:
    assert skill_behind(0.8**2 + 0.2**2 / 2) == pytest.approx(0.8)
    assert skill_behind(0.2) == 1 / 3


def agreeing(seen: pl.DataFrame, n: int, agreed: int) -> pl.DataFrame:
    """Second votes on the first `n` audits, of which `agreed` agree."""
    return seen.head(n).select("route_id", is_agreed=pl.int_range(pl.len()) < agreed)


def test_enough_second_votes_replace_the_skill_that_is_said() -> None:
    """66 of 100 second votes agree: skill 0.8; 33 of 100 contradict, so (0.33 − 0.2) / 0.7 are wrong."""
    seen = audited(33, 100)
    learned = audit_estimate(seen, human_skill=0.99, seconds=agreeing(seen, 100, 66))
    assert (learned.human_skill, learned.n_seconds) == (pytest.approx(0.8), 100)
    assert learned.error == pytest.approx(0.13 / 0.7)
    assert audit_estimate(seen, 0.8, seconds=agreeing(seen, 29, 20)).n_seconds == 0


def test_a_skill_that_is_learned_widens_the_interval() -> None:
    seen = audited(33, 100)
    told, learned = audit_estimate(seen, 0.8), audit_estimate(seen, 0.8, seconds=agreeing(seen, 100, 66))
    assert learned.high - learned.low > 1.1 * (told.high - told.low)


def test_people_who_agree_no_more_than_by_chance_audit_nothing() -> None:
    seen = audited(33, 100)
    with pytest.raises(RefusedError, match="chance"):
        audit_estimate(seen, 0.9, seconds=agreeing(seen, 100, 20))
