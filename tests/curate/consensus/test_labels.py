"""A label is a quantised posterior; whatever teaches no order is dropped with a reason."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.consensus.labels import labels_from
from schemas.recipe import Consensus, Filtering
from schemas.tables import POSTERIORS


def posterior(p_a: float, p_tie: float, n_votes: int = 3, pair_id: str = "p") -> pl.DataFrame:
    return POSTERIORS.complete(pl.DataFrame([dict(
        pair_id=pair_id, p_a=p_a, p_tie=p_tie, p_sd=0.1234, n_votes=n_votes, n_human=0)]))


def label(p_a: float, p_tie: float, *, filtering: Filtering | None = None, min_votes: int = 1) -> dict[str, object]:
    rule = filtering or Filtering()
    return labels_from(posterior(p_a, p_tie), Consensus(min_votes=min_votes), rule).row(0, named=True)


def test_a_clear_posterior_is_kept_and_quantised() -> None:
    assert label(0.8012, 0.1) == dict(pair_id="p", p_a=0.8, p_tie=0.1, p_sd=0.125, strength=2.0, n_votes=3,
                                      action="keep", reason="", weight=1.0)


@pytest.mark.parametrize(
    ("p_a", "p_tie", "strength"), [(1, 0, 3), (0, 0, -3), (0.6, 0, 1), (0.55, 0.0, 0), (0.25, 0.5, 0)])
def test_strength_is_six_times_the_lead_in_expected_win(p_a: float, p_tie: float, strength: float) -> None:
    assert label(p_a, p_tie)["strength"] == strength


@pytest.mark.parametrize(("given_", "reason"), [
    (dict(p_a=0.05, p_tie=0.9), "tie"), (dict(p_a=0.5, p_tie=0.0), "undecided"),
    (dict(p_a=0.9, p_tie=0.0, min_votes=4), "too_few_votes"),
    (dict(p_a=0.6, p_tie=0.1, filtering=Filtering(min_certainty=0.7)), "uncertain"),
])
def test_what_teaches_no_order_is_dropped_with_its_reason(given_: dict[str, float], reason: str) -> None:
    seen = label(**given_)
    assert (seen["action"], seen["reason"], seen["weight"]) == ("drop", reason, 0.0)


def test_a_tie_exactly_at_the_limit_is_kept() -> None:
    assert label(0.15, 0.8)["action"] == "keep"


def test_a_recipe_that_keeps_every_tie_keeps_undecided_pairs_too() -> None:
    every = Filtering(drop_ties_above=1.0)
    assert label(0.0, 1.0, filtering=every)["action"] == label(0.5, 0.0, filtering=every)["action"] == "keep"


def test_identical_texts_are_a_tie_whatever_was_voted_and_even_without_votes() -> None:
    labels = labels_from(posterior(0.9, 0.0), Consensus(), Filtering(drop_ties_above=1.0), pl.Series(["p", "q"]))
    assert labels["pair_id"].to_list() == ["p", "q"]
    assert labels["n_votes"].to_list() == [3, 0]
    for row in labels.iter_rows(named=True):
        assert (row["p_a"], row["p_tie"], row["action"], row["reason"]) == (0.0, 1.0, "drop", "identical_text")


def test_every_posterior_becomes_one_label_whatever_the_order() -> None:
    rows = pl.concat([posterior(0.9, 0, pair_id="p"), posterior(0.5, 0, pair_id="q"), posterior(0, 0.9, pair_id="r")])
    labels = labels_from(rows, Consensus(), Filtering())
    assert labels["pair_id"].to_list() == ["p", "q", "r"]
    assert labels_from(rows[::-1], Consensus(), Filtering()).equals(labels)


@pytest.mark.slow
def test_every_step_is_stored_as_the_double_nearest_to_it() -> None:
    rows = pl.concat([posterior(k / 200, 0.0, pair_id=f"p{k:03}") for k in range(201)])
    assert labels_from(rows, Consensus(), Filtering())["p_a"].to_list() == [k / 200 for k in range(201)]


@pytest.mark.slow
@given(st.floats(0, 1), st.floats(0, 1))
def test_quantised_shares_are_whole_steps_that_sum_to_at_most_one_and_mirror(x: float, y: float) -> None:
    p_a, p_tie, p_b = min(x, y), abs(x - y), 1 - max(x, y)
    if p_a + p_tie > 1:
        p_tie = 1 - p_a
    straight, swapped = label(p_a, p_tie), label(p_b, p_tie)
    for value in (straight["p_a"], straight["p_tie"]):
        assert isinstance(value, float)
        assert value * 200 == pytest.approx(round(value * 200), abs=1e-9)
        assert abs(value - (p_a if value is straight["p_a"] else p_tie)) <= 1.5 / 200 + 1e-9
    assert straight["p_a"] + straight["p_tie"] <= 1
    steps = [round(200 * v) for v in (straight["p_a"], straight["p_tie"], swapped["p_a"])]
    assert sum(steps) == 200
    assert straight["strength"] == -swapped["strength"]
