"""The budget is spent once, the audit first, the rest where it pays; chance enters by content hash alone."""

from __future__ import annotations

import json
from collections.abc import Sequence

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.routing.allocation import choose, n_audit
from schemas.ids import content_id
from schemas.recipe import Routing
from schemas.tables import CANDIDATES, ROUTES

SKILL, COST = 0.7, 0.25


def pool(**changes: Sequence[object]) -> pl.DataFrame:
    """Forty pairs, from undecided (p00) to certain (p39); the judges spread the other way round."""
    n = 40
    columns: dict[str, object] = {
        "pair_id": [f"p{i:02}" for i in range(n)], "group_id": [f"g{i % 7}" for i in range(n)],
        "p_a": [0.4 + 0.6 * i / n for i in range(n)], "p_tie": [0.3 * (1 - i / n) for i in range(n)],
        "p_sd": 0.1, "n_votes": 2, "n_human": 0, "judge_spread": [0.5 * i / n for i in range(n)], "flip_share": 0.0,
        "margin": None, "margin_spread": None, "length_a": 10, "length_b": 12, "overlap": 0.1, "n_buyable": 3,
    }
    return CANDIDATES.complete(pl.DataFrame(columns | changes))


def rule(method: str = "value", votes: int = 10, **more: object) -> Routing:
    return Routing.model_validate({"method": method, "budget_votes": votes, "audit_share": 0.2} | more)


def routed(frame: pl.DataFrame, by: Routing, seed: int = 1) -> pl.DataFrame:
    return choose(frame, by, SKILL, COST, "round", seed)


def test_the_audit_comes_first_and_says_its_propensity_on_every_route() -> None:
    routes = routed(pool(), rule())
    assert routes["is_audit"].to_list() == [True] * 2 + [False] * 8
    assert routes["propensity"].unique().to_list() == [2 / 40]


@pytest.mark.parametrize("method", ["random", "disagreement", "value"])
def test_the_audit_is_the_same_draw_whatever_the_method(method: str) -> None:
    drawn = routed(pool(), rule(method)).filter("is_audit")["pair_id"].to_list()
    assert drawn == routed(pool(), rule()).filter("is_audit")["pair_id"].to_list()


def test_value_asks_about_undecided_pairs_and_disagreement_where_judges_spread() -> None:
    value, disagreement = (routed(pool(), rule(m, 4, audit_share=0.0)) for m in ("value", "disagreement"))
    assert set(value["pair_id"]) == {"p00", "p01", "p02", "p03"}
    assert set(disagreement["pair_id"]) == {"p36", "p37", "p38", "p39"}


def test_gains_fall_along_the_routes_of_value() -> None:
    gains = routed(pool(), rule(votes=30, audit_share=0.0))["expected_gain"]
    assert gains.is_sorted(descending=True)


def test_the_reason_tells_the_rule_and_the_features_hold_the_label_before_the_vote() -> None:
    routes = routed(pool(), rule())
    last = routes.row(-1, named=True)
    assert routes["reason"][0] == "audit: drawn at random"
    assert last["reason"] == f"value: {last['expected_gain']:.3f} expected error drop"
    before = json.loads(last["features"])
    assert list(before) == list(CANDIDATES.columns)
    assert before["p_a"] == pool().filter(pl.col("pair_id") == last["pair_id"])["p_a"][0]


def test_route_ids_are_those_of_the_interface() -> None:
    for row in routed(pool(), rule(max_votes_per_pair=2)).iter_rows(named=True):
        assert row["route_id"] == content_id("round", row["pair_id"], row["ordinal"])


@pytest.mark.parametrize("nothing", [rule("none"), rule(votes=0), rule(budget_usd=0.0), rule(budget_usd=0.24)])
def test_no_method_no_votes_or_no_money_give_an_empty_frame(nothing: Routing) -> None:
    assert routed(pool(), nothing).equals(ROUTES.empty())


def test_no_candidates_and_nothing_to_buy_give_an_empty_frame() -> None:
    assert not routed(pool().clear(), rule()).height
    assert not routed(pool(n_buyable=[0] * 40), rule()).height


@pytest.mark.slow
def test_money_ends_the_budget_when_it_ends_first() -> None:
    assert routed(pool(), rule(budget_usd=1.0)).height == 4
    assert routed(pool(), rule(budget_usd=100.0)).height == 10
    assert choose(pool(), rule(budget_usd=0.3), SKILL, 0.1, "round", 1).height == 3
    assert choose(pool(), rule(budget_usd=0.0), SKILL, 0.0, "round", 1).height == 10


def test_a_pair_is_asked_no_oftener_than_allowed_and_than_can_be_bought() -> None:
    stock = [1] * 20 + [3] * 20
    routes = routed(pool(n_buyable=stock), rule(votes=500, max_votes_per_pair=2))
    assert routes.height == 20 * 1 + 20 * 2
    asked = dict(routes.group_by("pair_id").agg(pl.col("ordinal").sort()).iter_rows())
    assert asked["p00"] == [0]
    assert asked["p39"] == [0, 1]


def test_unlimited_people_can_be_asked_as_often_as_the_recipe_says() -> None:
    assert routed(pool(n_buyable=[None] * 40), rule(votes=500, max_votes_per_pair=3)).height == 120


@pytest.mark.slow
def test_ordinals_of_a_pair_have_no_gaps_in_the_order_of_purchase() -> None:
    for method in ("random", "disagreement", "value"):
        routes = routed(pool(), rule(method, votes=50, max_votes_per_pair=3))
        place = routes.select(pl.int_range(pl.len()).over("pair_id")).to_series()
        assert routes["ordinal"].to_list() == place.to_list()


def test_equal_candidates_are_ordered_by_hash_and_not_by_row() -> None:
    alike = pool(p_a=[0.5] * 40, p_tie=[0.2] * 40)
    chosen = routed(alike, rule(audit_share=0.0))["pair_id"].to_list()
    assert chosen == routed(alike.reverse(), rule(audit_share=0.0))["pair_id"].to_list()
    assert chosen != sorted(chosen)
    assert chosen != routed(alike, rule(audit_share=0.0), seed=2)["pair_id"].to_list()


def test_the_audit_rounds_halves_up_and_is_at_least_one_vote() -> None:
    assert [n_audit(b, 0.05, 99) for b in (0, 1, 10, 29, 30, 50, 412)] == [0, 1, 1, 1, 2, 3, 21]
    assert n_audit(10, 0.0, 99) == 0
    assert n_audit(10, 1.0, 4) == 4


@pytest.mark.slow
@given(st.sampled_from(["random", "disagreement", "value"]), st.integers(0, 150), st.integers(1, 3), st.floats(0, 1))
def test_the_budget_is_never_exceeded_and_spent_while_there_is_something_to_buy(
    method: str, votes: int, each: int, share: float
) -> None:
    routes = routed(pool(), rule(method, votes=votes, max_votes_per_pair=each, audit_share=share))
    assert routes.height == min(votes, 40 * each)
    assert routes["route_id"].n_unique() == routes.height
