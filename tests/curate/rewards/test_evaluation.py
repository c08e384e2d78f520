from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.rewards.evaluation import (
    accuracy,
    bootstrap_by_group,
    brier,
    calibration_error,
    decided,
    evaluate,
    log_loss,
    longer_wins,
    random_margins,
    resampled_means,
    shuffled_labels,
)
from schemas.errors import InputError

Make = Callable[..., pl.DataFrame]
LOG3 = math.log(3.0)  # sigma(log 3) = 0.75


def scored(*rows: tuple[float, float, float], groups: list[str] | None = None) -> pl.DataFrame:
    """Rows of (margin, p_a, p_tie)."""
    frame = pl.DataFrame(rows, schema={"margin": pl.Float64, "p_a": pl.Float64, "p_tie": pl.Float64}, orient="row")
    names = groups or [f"g{i}" for i in range(len(rows))]
    return frame.with_columns(pair_id=pl.Series([f"p{i}" for i in range(len(rows))]), group_id=pl.Series(names))


def test_a_margin_of_zero_counts_one_half() -> None:
    assert accuracy(scored((1.0, 1, 0), (-1.0, 1, 0), (0.0, 1, 0), (-2.0, 0, 0))) == (1 + 0 + 0.5 + 1) / 4


def test_pairs_whose_truth_is_a_tie_or_even_count_nowhere_but_in_n_ties() -> None:
    rows = scored((1.0, 1, 0), (-1.0, 0, 1), (-1.0, 0.45, 0.1), (-1.0, 0.3, 0.4), (-1.0, 0.6, 0.1))
    assert decided(rows)["pair_id"].to_list() == ["p0", "p4"]
    found = dict(evaluate(rows).select("metric", "value").iter_rows())
    assert (found["accuracy"], found["n_pairs"], found["n_ties"]) == (0.5, 5, 3)


def test_losses_by_hand() -> None:
    rows = scored((LOG3, 1, 0), (LOG3, 0, 0))  # p(truth) = 3/4, then 1/4
    assert log_loss(rows) == pytest.approx(-(math.log(0.75) + math.log(0.25)) / 2)
    assert brier(rows) == pytest.approx((0.25**2 + 0.75**2) / 2)
    assert calibration_error(rows) == pytest.approx(abs(0.75 - 0.5))


def test_extreme_margins_have_finite_losses() -> None:
    assert log_loss(scored((-1e4, 1, 0), (1e4, 1, 0))) == pytest.approx(5e3)
    assert brier(scored((-1e4, 1, 0), (1e4, 1, 0))) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("right", "wrong", "is_one_bin"),
    [(0.55, 0.5999, True), (0.55, 0.5499, False), (0.95, 0.9999, True), (0.95, 0.9499, False), (0.9999, 1.0, True)],
)
def test_a_confidence_on_an_edge_is_in_the_upper_bin_only(right: float, wrong: float, is_one_bin: bool) -> None:
    margins = [math.log(p / (1 - p)) if p < 1 else 50.0 for p in (right, wrong)]
    found = calibration_error(scored((margins[0], 1, 0), (margins[1], 0, 0)))
    by_bin = abs(right + wrong - 1) if is_one_bin else (1 - right) + wrong
    assert found == pytest.approx(by_bin / 2)


@pytest.mark.slow
@settings(max_examples=12, deadline=None)
@given(st.lists(st.tuples(st.floats(-9, 9), st.sampled_from([0.0, 0.2, 0.4, 1.0])), min_size=1, max_size=8))
def test_swapping_a_and_b_changes_no_metric(rows: list[tuple[float, float]]) -> None:
    here = scored(*[(m, p, 0.0) for m, p in rows])
    there = here.with_columns(margin=-pl.col("margin"), p_a=1.0 - pl.col("p_a"))
    for metric in (accuracy, log_loss, brier, calibration_error):
        assert metric(here) == pytest.approx(metric(there), abs=1e-9, nan_ok=True)


def test_an_interval_resamples_groups_and_not_pairs() -> None:
    copies = pl.DataFrame(
        {"group_id": [f"g{i // 50:02}" for i in range(1000)], "x": [float(i // 50 % 2) for i in range(1000)]}
    )
    one_each = copies.unique(maintain_order=True)
    by_copies, by_groups = (bootstrap_by_group(rows, "x", seed=1) for rows in (copies, one_each))
    assert (by_copies.low, by_copies.high) == (by_groups.low, by_groups.high)
    assert by_copies.standard_error == pytest.approx(0.5 / math.sqrt(20), rel=0.1)


def test_a_one_sided_bound_lies_inside_the_two_sided_interval() -> None:
    rows = pl.DataFrame({"group_id": [f"g{i:02}" for i in range(40)], "x": np.linspace(0, 1, 40)})
    one, two = (bootstrap_by_group(rows, "x", sides=sides, seed=1) for sides in (1, 2))
    assert (two.low or 0) < (one.low or 0) < one.value == two.value < (one.high or 1) < (two.high or 1)


def test_intervals_do_not_depend_on_the_order_of_rows_but_on_the_seed() -> None:
    rows = pl.DataFrame({"group_id": [f"g{i % 12:02}" for i in range(60)], "x": np.linspace(0, 1, 60)})
    assert bootstrap_by_group(rows, "x", seed=1) == bootstrap_by_group(rows.reverse(), "x", seed=1)
    assert bootstrap_by_group(rows, "x", seed=1) != bootstrap_by_group(rows, "x", seed=2)


@pytest.mark.parametrize(("groups", "is_descriptive"), [(9, True), (10, False)])
def test_under_ten_groups_an_interval_is_descriptive(groups: int, is_descriptive: bool) -> None:
    rows = pl.DataFrame({"group_id": [f"g{i}" for i in range(groups)], "x": [1.0] * groups})
    assert bootstrap_by_group(rows, "x").is_descriptive is is_descriptive


def test_large_groups_weigh_by_their_pairs() -> None:
    means = resampled_means(np.array([3.0, 0.0]), np.array([3.0, 1.0]), 500, seed=0)
    assert set(np.unique(means)) == {0.0, 0.75, 1.0}


def test_no_decided_pairs_leave_counts_and_no_made_up_metric() -> None:
    found = evaluate(scored((1.0, 0, 1)))
    assert found["metric"].to_list() == ["n_pairs", "n_ties"]
    assert bootstrap_by_group(pl.DataFrame({"group_id": [], "x": []}), "x").low is None


@pytest.mark.parametrize("margin", [math.nan, math.inf, None])
def test_margins_that_are_no_numbers_are_refused(margin: float) -> None:
    with pytest.raises(InputError, match="1 margins"):
        accuracy(scored((margin, 1, 0), (1.0, 1, 0)))


def test_a_pair_scored_twice_is_refused() -> None:
    with pytest.raises(InputError, match="repeats"):
        accuracy(pl.concat([scored((1.0, 1, 0))] * 2))


def test_baselines_know_what_their_names_say(make_pairs: Make) -> None:
    rows = make_pairs(groups=1, per_group=2, text_a=pl.lit("four"), text_b=pl.lit("😀"))
    assert longer_wins(rows)["margin"].to_list() == [3.0, 3.0]
    drawn = random_margins(make_pairs(groups=100), seed=1)
    assert drawn.equals(random_margins(make_pairs(groups=100).reverse(), seed=1).reverse())
    assert (drawn["margin"] > 0).mean() == pytest.approx(0.5, abs=0.1)


def test_shuffled_labels_keep_ties_and_certainty_and_lose_the_winner(make_pairs: Make) -> None:
    rows = make_pairs(groups=100, p_a=pl.lit(0.7), p_tie=pl.lit(0.2))
    shuffled = shuffled_labels(rows, seed=1)
    assert shuffled["p_a"].round(9).value_counts().sort("p_a")["p_a"].to_list() == [0.1, 0.7]
    assert (shuffled["p_a"] > 0.5).mean() == pytest.approx(0.5, abs=0.1)
    assert shuffled.drop("p_a").equals(rows.drop("p_a"))
