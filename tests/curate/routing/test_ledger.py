"""The ledger adds up: every answered route once, every changed label once."""

from __future__ import annotations

import polars as pl
import pytest

from curate.routing.allocation import choose
from curate.routing.ledger import ledger
from schemas.people import Routing
from schemas.tables import CANDIDATES


def routes(votes: int = 4, each: int = 1) -> pl.DataFrame:
    """Four pairs labelled a with 0.6; one audit."""
    pool = CANDIDATES.complete(pl.DataFrame({
        "pair_id": ["p0", "p1", "p2", "p3"], "group_id": "g", "p_a": 0.6, "p_tie": 0.1, "p_sd": 0.1, "n_votes": 2,
        "n_human": 0, "judge_spread": 0.0, "flip_share": 0.0, "length_a": 1, "length_b": 2, "overlap": 0.0,
    }))
    rule = Routing(method="value", budget_votes=votes, audit_share=0.25, max_votes_per_pair=each)
    return choose(pool, rule, 0.8, 0.5, "r1", 1)


def answers(asked: pl.DataFrame) -> pl.DataFrame:
    return asked.select("route_id", "cost_usd", seconds=pl.lit(30.0))


def after(p_a: float, p_tie: float = 0.1) -> pl.DataFrame:
    return pl.DataFrame({"round_id": "r1", "pair_id": ["p0", "p1", "p2", "p3"], "p_a": p_a, "p_tie": p_tie})


def test_votes_money_and_time_are_those_of_answered_routes() -> None:
    asked = routes()
    found = ledger(asked, answers(asked.head(3)), after(0.9))
    assert found["reason"].to_list() == ["audit", "value"]
    assert found.select("n_routes", "n_votes", "cost_usd", "seconds").rows() == [(1, 1, 0.5, 30.0), (3, 2, 1.0, 60.0)]


def test_a_label_that_stays_changes_nothing_and_gains_nothing() -> None:
    asked = routes()
    found = ledger(asked, answers(asked), after(0.9))
    assert found["n_changed"].sum() == found["realised_gain"].sum() == 0
    assert found["expected_gain"].sum() == pytest.approx(asked["expected_gain"].sum())


def test_a_turned_label_gains_what_it_is_likelier_than_the_old_one() -> None:
    """From a to b, of which the votes now say 0.7 against 0.2."""
    asked = routes()
    found = ledger(asked, answers(asked), after(0.2))
    assert found["n_changed"].sum() == 4
    assert found["realised_gain"].sum() == pytest.approx(4 * 0.5)


def test_a_pair_asked_twice_counts_its_change_once() -> None:
    asked = routes(votes=8, each=2)
    found = ledger(asked, answers(asked), after(0.2))
    assert found["n_votes"].sum() == 8
    assert found["n_changed"].sum() == pytest.approx(4)


def test_without_answers_nothing_was_bought() -> None:
    asked = routes()
    found = ledger(asked, answers(asked).clear(), after(0.2))
    assert found.select("n_votes", "cost_usd", "n_changed", "expected_gain", "realised_gain").sum().row(0) == (
        0, 0.0, 0.0, 0.0, 0.0)
