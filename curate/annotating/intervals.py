"""Intervals of shares and of their differences, as expressions over whole frames, at any level."""

from __future__ import annotations

import polars as pl
from scipy.special import ndtri


def quantile_of(level: float, n_tests: int = 1, *, sides: int = 2) -> float:
    """Standard normal quantile of a test at `level`, shared evenly by `n_tests` tests (Bonferroni)."""
    return float(ndtri(1 - level / (sides * max(n_tests, 1))))


def wilson_bounds(share: pl.Expr, n: pl.Expr, z: float) -> tuple[pl.Expr, pl.Expr]:
    """(low, high) of a share of n independent marks in 0..1 (Wilson 1927), null where the share is.

    A mark between 0 and 1 varies less than the coin that Wilson assumes, so the bounds are never too narrow.
    """
    shrink = 1 + z * z / n
    centre = (share + z * z / (2 * n)) / shrink
    reach = (share * (1 - share) / n + z * z / (4 * n * n)).clip(0).sqrt() * z / shrink
    return (centre - reach).clip(0, 1), (centre + reach).clip(0, 1)


def difference_bounds(
    one: pl.Expr, n_one: pl.Expr, other: pl.Expr, n_other: pl.Expr, z: float
) -> tuple[pl.Expr, pl.Expr]:
    """(low, high) of one share less another, independent of it (Newcombe 1998, method 10, from Wilson's bounds)."""
    low_one, high_one = wilson_bounds(one, n_one, z)
    low_other, high_other = wilson_bounds(other, n_other, z)
    below = ((one - low_one) ** 2 + (high_other - other) ** 2).sqrt()
    above = ((high_one - one) ** 2 + (other - low_other) ** 2).sqrt()
    return one - other - below, one - other + above
