"""Each vote goes to the person who is worth most for its price, within everybody's capacity and all budgets."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.routing.allocation import choose
from schemas.errors import ContractError
from schemas.people import Routing
from schemas.tables import CANDIDATES

COLUMNS = ["voter", "skill", "cost_usd", "seconds", "capacity"]


def pool(n: int = 20) -> pl.DataFrame:
    """From undecided (p00) to certain."""
    return CANDIDATES.complete(pl.DataFrame({
        "pair_id": [f"p{i:02}" for i in range(n)], "group_id": "g", "p_a": [0.4 + 0.6 * i / n for i in range(n)],
        "p_tie": [0.3 * (1 - i / n) for i in range(n)], "p_sd": 0.1, "n_votes": 2, "n_human": 0, "judge_spread": 0.0,
        "flip_share": 0.0, "length_a": 1, "length_b": 1, "overlap": 0.0,
    }))


def people(*rows: tuple[str, float, float, float, int | None]) -> pl.DataFrame:
    types = dict(zip(COLUMNS, (pl.String, pl.Float64, pl.Float64, pl.Float64, pl.Int64), strict=True))
    return pl.DataFrame(rows, schema=types, orient="row")


ADA, BOB = ("ada", 0.9, 0.5, 60.0, None), ("bob", 0.6, 0.5, 60.0, None)


def routed(annotators: pl.DataFrame, votes: int = 6, voted: pl.DataFrame | None = None, **more: object) -> pl.DataFrame:
    rule = Routing.model_validate({"method": "value", "budget_votes": votes, "audit_share": 0.0} | more)
    return choose(pool(), rule, 0.7, 0.5, "r", 1, annotators=annotators, voted=voted)


def by_voter(routes: pl.DataFrame) -> dict[str, int]:
    return dict(routes.group_by("to").len().sort("to").iter_rows())


def test_at_the_same_price_the_better_person_is_asked() -> None:
    assert by_voter(routed(people(ADA, BOB))) == {"ada": 6}


def test_whoever_is_full_leaves_the_rest_to_the_others() -> None:
    routes = routed(people((*ADA[:4], 2), BOB))
    assert by_voter(routes) == {"ada": 2, "bob": 4}
    assert routes["pair_id"].n_unique() == 6


def test_a_cheap_person_is_asked_where_money_is_short() -> None:
    """Ada costs five times as much as Bob and is worth less than five times as much."""
    dear = ("ada", 0.9, 0.5, 60.0, None)
    cheap = ("bob", 0.75, 0.1, 60.0, None)
    routes = routed(people(dear, cheap), votes=100, budget_usd=1.0)
    assert set(routes["to"]) == {"bob"}
    assert routes["cost_usd"].sum() == pytest.approx(1.0)


def test_a_fast_person_is_asked_where_hours_are_short() -> None:
    fast = ("bob", 0.75, 0.5, 36.0, None)
    routes = routed(people(("ada", 0.9, 0.5, 360.0, None), fast), votes=100, budget_hours=0.1)
    assert by_voter(routes) == {"bob": 10}


def test_hours_end_the_budget_without_annotators_too() -> None:
    rule = Routing(budget_votes=100, budget_hours=0.1, audit_share=0.0)
    assert choose(pool(), rule, 0.7, 0.5, "r", 1, seconds_per_vote=60.0).height == 6


def test_nobody_is_asked_twice_about_a_pair_and_ordinals_have_no_gaps() -> None:
    routes = routed(people(ADA, BOB), votes=100, max_votes_per_pair=3)
    assert routes.select("pair_id", "to").is_unique().all()
    assert routes.height == 40
    place = routes.select(pl.int_range(pl.len()).over("pair_id")).to_series()
    assert routes["ordinal"].to_list() == place.to_list()


def test_who_has_voted_before_is_not_asked_again() -> None:
    voted = pl.DataFrame({"pair_id": ["p00", "p01"], "voter": ["ada", "ada"]})
    asked = dict(routed(people(ADA, BOB), votes=20, voted=voted).select("pair_id", "to").iter_rows())
    assert [asked[p] for p in ("p00", "p01", "p02")] == ["bob", "bob", "ada"]


def test_audits_are_not_kept_for_the_best_person() -> None:
    routes = routed(people(ADA, BOB), votes=20, audit_share=1.0)
    assert min(by_voter(routes).values()) >= 4


def test_with_nobody_free_nobody_is_asked() -> None:
    assert routed(people((*ADA[:4], 0))).height == 0
    assert routed(people(ADA).clear()).height == 0


def test_a_person_listed_twice_or_without_skill_is_refused() -> None:
    with pytest.raises(ContractError, match="repeats"):
        routed(people(ADA, ADA))
    with pytest.raises(ContractError, match="skill"):
        routed(people(("ada", 1.5, 0.5, 60.0, None)))


@pytest.mark.slow
def test_the_order_of_annotators_changes_nothing() -> None:
    mixed = people((*ADA[:4], 2), BOB, ("cyd", 0.9, 0.5, 60.0, 3))
    assert routed(mixed).equals(routed(mixed.reverse()))


@pytest.mark.slow
@given(st.lists(st.tuples(st.floats(0.4, 1), st.floats(0, 2), st.floats(1, 600), st.integers(0, 5)), max_size=4),
       st.integers(1, 30), st.floats(0, 5), st.floats(0, 1), st.integers(1, 3))
def test_no_budget_and_no_capacity_is_ever_exceeded(
    rows: list[tuple[float, float, float, int]], votes: int, usd: float, hours: float, each: int
) -> None:
    listed = people(*((f"v{k}", *row) for k, row in enumerate(rows)))
    routes = routed(listed, votes=votes, budget_usd=usd, budget_hours=hours, max_votes_per_pair=each, audit_share=0.1)
    assert routes.height <= votes
    assert routes["cost_usd"].sum() <= usd + 1e-6
    spent = routes.join(listed, left_on="to", right_on="voter")
    assert spent["seconds"].sum() <= 3600 * hours + 1e-6
    counts = by_voter(routes)
    assert all(counts.get(f"v{k}", 0) <= row[3] for k, row in enumerate(rows))
