"""Intervals from sums over groups: as wide as resampling groups says, and never out of [0, 1]."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from curate.auditing.clustered import with_intervals


def sums(*groups: list[float]) -> pl.DataFrame:
    """Sums of groups of opinions, each between 0 and 1."""
    totals, counts = [sum(group) for group in groups], [len(group) for group in groups]
    return pl.DataFrame([{
        "n": sum(counts), "n_groups": len(groups), "total": float(sum(totals)),
        "total_total": float(sum(t * t for t in totals)),
        "total_n": float(sum(t * n for t, n in zip(totals, counts, strict=True))),
        "n_n": float(sum(n * n for n in counts))}])


def test_one_opinion_a_group_gives_the_interval_of_a_mean() -> None:
    found = with_intervals(sums([0.9], [0.6], [0.9], [0.6])).row(0, named=True)
    assert found["value"] == pytest.approx(0.75)
    reach = 3.182446 * np.std([0.9, 0.6, 0.9, 0.6], ddof=1) / 2  # Student's t with 3 degrees of freedom
    assert found["low"] == pytest.approx(0.75 - reach, abs=1e-6)
    assert found["high"] == 1.0  # 1.03 cut to a share


def test_the_same_opinion_twice_in_a_group_is_no_more_evidence() -> None:
    once, twice = (with_intervals(sums(*rows)).row(0, named=True) for rows in (
        [[1.0], [0.0], [1.0], [0.0]], [[1.0, 1.0], [0.0, 0.0], [1.0, 1.0], [0.0, 0.0]]))
    assert (once["low"], once["high"]) == pytest.approx((twice["low"], twice["high"]))


def test_it_is_as_wide_as_a_bootstrap_of_groups() -> None:
    draw = np.random.default_rng(3)
    groups = [list(draw.binomial(1, p, n).astype(float)) for p, n in
              zip(draw.beta(4, 4, 200), draw.integers(1, 8, 200), strict=True)]
    found = with_intervals(sums(*groups)).row(0, named=True)
    picked = draw.integers(0, 200, (4000, 200))
    totals, counts = (np.array([f(g) for g in groups], float) for f in (sum, len))
    means = totals[picked].sum(1) / counts[picked].sum(1)
    low, high = np.quantile(means, [0.025, 0.975])
    assert found["high"] - found["low"] == pytest.approx(high - low, rel=0.08)


def test_one_group_has_a_value_and_no_interval() -> None:
    assert with_intervals(sums([1.0, 0.0])).select("value", "low", "high", "is_descriptive").row(0) == (
        0.5, None, None, True)


def test_no_row_gives_no_row() -> None:
    assert with_intervals(sums([1.0]).clear()).height == 0
