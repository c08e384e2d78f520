"""The value of a vote is the drop of error that Bayes' rule promises, no more and never negative."""

from __future__ import annotations

import itertools

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.routing.value import (
    belief,
    believed_curves,
    expected_certainty,
    information,
    slopes,
    stopping_rates,
    with_changes,
    with_gains,
)
from schemas.errors import InputError


def pair(p_a: float, p_tie: float) -> pl.DataFrame:
    return pl.DataFrame({"p_a": [p_a], "p_tie": [p_tie]})


def certainty(p_a: float, p_tie: float, n: int, skill: float) -> float:
    return float(pair(p_a, p_tie).select(expected_certainty(n, skill)).item())


def gains(p_a: float, p_tie: float, skill: float, n: int) -> list[float]:
    return with_gains(pair(p_a, p_tie), skill, n)["expected_gain"].to_list()


def test_without_a_vote_certainty_is_the_largest_probability() -> None:
    assert certainty(0.5, 0.2, 0, 0.8) == 0.5


def test_one_perfect_vote_removes_all_error() -> None:
    assert gains(0.5, 0.2, 1.0, 1) == [pytest.approx(0.5)]


def test_one_vote_by_hand() -> None:
    """p = (.5, .5, 0), s = .8, misses .1 each: says a → .4, says tie → .4, says b → .05."""
    assert certainty(0.5, 0.5, 1, 0.8) == pytest.approx(0.4 + 0.4 + 0.05)
    assert gains(0.5, 0.5, 0.8, 1) == [pytest.approx(0.35)]


def test_a_vote_too_weak_to_turn_a_label_is_worth_nothing_but_says_something() -> None:
    assert gains(0.95, 0.03, 0.5, 1) == [0.0]
    assert pair(0.95, 0.03).select(information(0.5)).item() > 0


def test_a_guess_is_worth_nothing_and_says_nothing() -> None:
    assert gains(0.4, 0.3, 1 / 3, 2) == [0.0, 0.0]
    assert pair(0.4, 0.3).select(information(1 / 3)).item() == pytest.approx(0, abs=1e-8)


def test_two_votes_that_turn_a_label_together_share_the_gain() -> None:
    together = certainty(0.85, 0.15, 2, 0.7) - 0.85
    assert certainty(0.85, 0.15, 1, 0.7) == pytest.approx(0.85)
    assert gains(0.85, 0.15, 0.7, 2) == [pytest.approx(together / 2, abs=1e-8)] * 2
    assert together > 0


def test_a_skill_that_is_no_probability_is_refused() -> None:
    with pytest.raises(InputError, match="skill"):
        gains(0.5, 0.2, 1.2, 1)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.integers(1, 4))
def test_gains_are_never_negative_never_grow_and_stay_under_the_error(p: float, q: float, skill: float, n: int) -> None:
    p_a, p_tie = p, (1 - p) * q
    slopes = gains(p_a, p_tie, skill, n)
    assert all(x >= y - 1e-9 for x, y in itertools.pairwise(slopes))
    assert min(slopes) >= 0
    assert sum(slopes) <= 1 - max(p_a, p_tie, 1 - p_a - p_tie) + 1e-7


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_swapping_a_and_b_changes_no_gain(p: float, q: float, skill: float) -> None:
    p_a, p_tie = p, (1 - p) * q
    assert gains(p_a, p_tie, skill, 2) == pytest.approx(gains(1 - p_a - p_tie, p_tie, skill, 2), abs=1e-8)


def believed(p_a: float, p_tie: float, wrong: float | None) -> pl.DataFrame:
    return pair(p_a, p_tie).with_columns(pair_id=pl.lit("p"), p_wrong=pl.lit(wrong, dtype=pl.Float64))


def test_belief_takes_the_label_s_share_and_spreads_the_rest_as_the_consensus_does() -> None:
    assert belief(believed(0.6, 0.1, 0.8))[0].tolist() == [pytest.approx(x) for x in (0.2, 0.2, 0.6)]
    assert belief(believed(0.6, 0.1, None))[0].tolist() == [pytest.approx(x) for x in (0.6, 0.1, 0.3)]


def test_columns_of_belief_go_before_everything_else() -> None:
    rows = believed(0.6, 0.1, 0.8).with_columns(believed_a=pl.lit(0.5), believed_tie=pl.lit(0.3))
    assert belief(rows)[0].tolist() == [pytest.approx(x) for x in (0.5, 0.3, 0.2)]
    assert rows.select(information(0.8, ("believed_a", "believed_tie"))).item() == pytest.approx(
        pair(0.5, 0.3).select(information(0.8)).item())


def test_a_belief_equal_to_the_posterior_is_worth_what_the_posterior_is() -> None:
    right, _ = believed_curves(believed(0.5, 0.2, 0.5), 0.8, 3)
    assert right[0].tolist() == [pytest.approx(certainty(0.5, 0.2, n, 0.8)) for n in range(4)]


def test_one_believed_vote_by_hand() -> None:
    """Consensus (.6, .05, .35), skill .8, misses .1: a vote for b turns it, one for a tie does not.

    Belief (.4, .075, .525): right when a is true and a or tie is said, or b is true and b is said.
    """
    right, changed = believed_curves(believed(0.6, 0.05, 0.6), 0.8, 1)
    assert right[0].tolist() == [pytest.approx(0.4), pytest.approx(0.4 * 0.9 + 0.525 * 0.8)]
    assert changed[0].tolist() == [0, pytest.approx(0.4 * 0.1 + 0.075 * 0.1 + 0.525 * 0.8)]


def test_a_vote_that_the_consensus_will_not_heed_is_worth_nothing_alone() -> None:
    """It is as good as certain that the label is wrong, and the consensus needs two votes to see it."""
    right, changed = believed_curves(believed(0.96, 0.02, 0.9), 0.8, 2)
    assert right[0, 1] == pytest.approx(right[0, 0])
    assert changed[0, 1] == 0
    assert right[0, 2] > right[0, 0] + 0.3


def test_a_label_that_two_votes_turn_is_worth_asking_for_the_first_of_them() -> None:
    assert with_gains(believed(0.96, 0.02, 0.9), 0.8, 1)["expected_gain"][0] > 0.15


def heard(p_a: float, p_tie: float, n: float, belief: tuple[float, float], buyable: int | None = None) -> pl.DataFrame:
    """A majority of `n` voices, and what is believed of a and tie."""
    return pair(p_a, p_tie).with_columns(
        pair_id=pl.lit("p"), n_heard=pl.lit(n), believed_a=pl.lit(belief[0]), believed_tie=pl.lit(belief[1]),
        n_buyable=pl.lit(buyable, dtype=pl.Int64))


def test_one_person_cannot_turn_a_majority_of_two_and_two_make_it_a_tie() -> None:
    """Two judges say a. One person for b: 2 to 1. Two for b: 2 to 2, a tie; two for a tie: the same."""
    right, changed = believed_curves(heard(1.0, 0.0, 2, (0.2, 0.7)), 1.0, 2)
    assert right[0].tolist() == [pytest.approx(0.2), pytest.approx(0.2), pytest.approx(0.9)]
    assert changed[0].tolist() == [0, 0, pytest.approx(0.8)]


def test_one_person_decides_where_two_judges_contradict_each_other() -> None:
    """One a, one b make a tie; a person for a side decides for it, one for a tie leaves three of three apart: a tie."""
    right, _ = believed_curves(heard(0.5, 0.0, 2, (0.5, 0.2)), 0.8, 1)
    assert right[0].tolist() == [pytest.approx(0.2), pytest.approx(0.5 * 0.8 + 0.3 * 0.8 + 0.2 * 0.8)]


def test_a_second_vote_is_paid_for_only_where_the_first_calls_for_it() -> None:
    """Two judges say a, people never err. Told a tie (0.7), a second vote mends the label.

    Told b (0.1), it would make a tie, as wrong as before; told a (0.2), nothing is to mend.
    """
    assert stopping_rates(heard(1.0, 0.0, 2, (0.2, 0.7)), 1.0).tolist() == [pytest.approx(0.7 / 1.7)]


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0.4, 1))
def test_stopping_where_it_pays_is_worth_no_less_than_buying_both_and_no_more_than_the_error(
    p: float, q: float, wrong: float, skill: float
) -> None:
    rows = believed(p, (1 - p) * q, wrong)
    right, _ = believed_curves(rows, skill, 2)
    rate = stopping_rates(rows, skill)[0]
    assert rate >= slopes(right)[0, 0] - 1e-8
    assert rate <= wrong + 1e-8


def test_votes_that_cannot_be_bought_promise_nothing() -> None:
    """Two would turn the label; one is left, and it would not."""
    both, one = (with_gains(heard(1.0, 0.0, 2, (0.2, 0.7), n), 1.0, 1)["expected_gain"][0] for n in (2, 1))
    assert both == pytest.approx(0.7 / 1.7)
    assert one == 0


def test_a_pair_on_which_nobody_spoke_goes_with_the_first_person() -> None:
    right, _ = believed_curves(heard(1 / 3, 1 / 3, 0, (0.6, 0.2)), 0.8, 1)
    assert right[0].tolist() == [pytest.approx(0.2), pytest.approx(0.8)]


def test_slopes_are_those_of_the_least_concave_majorant() -> None:
    assert slopes(np.array([[0.5, 0.5, 0.9], [0.5, 0.8, 0.7]])).tolist() == [
        [pytest.approx(0.2)] * 2, [pytest.approx(0.3), 0.0]]


def test_changes_are_expected_per_vote() -> None:
    found = with_changes(believed(0.5, 0.5, None), 0.8, 2)
    assert found["ordinal"].to_list() == [0, 1]
    assert 0 <= found["expected_change"][1] <= found["expected_change"][0] <= 1


@pytest.mark.slow
@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_swapping_a_and_b_changes_no_believed_gain(p: float, q: float, wrong: float, skill: float) -> None:
    p_a, p_tie = round(p, 3), round((1 - p) * q, 3)
    one, other = believed(p_a, p_tie, wrong), believed(round(1 - p_a - p_tie, 3), p_tie, wrong)
    gains_of = [with_gains(rows, skill, 2)["expected_gain"].to_list() for rows in (one, other)]
    assert gains_of[0] == pytest.approx(gains_of[1], abs=1e-6)
