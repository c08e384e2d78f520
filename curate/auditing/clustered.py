"""Interval of a share from sums over groups: opinions of one group are not independent."""

from __future__ import annotations

import numpy as np
import polars as pl
from scipy import special

LEAST_GROUPS = 10
"""Under this many groups an interval is descriptive."""
SUMS = ("n", "n_groups", "total", "total_total", "total_n", "n_n")
"""opinions, groups, and over groups the sums of t, t², t·n and n²: t and n are total and count of one group"""


def with_intervals(sums: pl.DataFrame, confidence: float = 0.95) -> pl.DataFrame:
    """Mean and two-sided interval per row of `sums` (columns SUMS and any others), clustered by group.

    The mean t/n over all opinions is a ratio of two sums over groups; its variance is G/(G−1) · Σ(t − mean·n)² / (Σn)²
    (Cochran 1977, "Sampling Techniques", section 6.3, without the finite population), its quantile Student's with
    G − 1 degrees of freedom. Adds value, low, high (null under two groups, cut to [0, 1]) and is_descriptive; drops
    the sums but n and n_groups. Sums suffice, so a version of any size needs no row of it here.
    """
    mean = pl.col("total") / pl.col("n")
    squares = pl.col("total_total") - 2 * mean * pl.col("total_n") + mean**2 * pl.col("n_n")
    groups = pl.col("n_groups")
    # Rounding can leave a sum of squares a hair below 0.
    error = (squares.clip(lower_bound=0.0) * groups / (groups - 1)).sqrt() / pl.col("n")
    known = groups >= 2
    reach = pl.lit(pl.Series("reach", _quantiles(sums["n_groups"], confidence))) * error
    return sums.with_columns(
        value=mean, low=pl.when(known).then((mean - reach).clip(0.0, 1.0)),
        high=pl.when(known).then((mean + reach).clip(0.0, 1.0)), is_descriptive=groups < LEAST_GROUPS,
    ).drop("total", "total_total", "total_n", "n_n")


def _quantiles(n_groups: pl.Series, confidence: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Student's quantile for each number of groups; 0 where there is no degree of freedom."""
    freedom = np.maximum(n_groups.to_numpy().astype(np.float64) - 1, 1.0)
    return np.asarray(special.stdtrit(freedom, 0.5 + confidence / 2), np.float64)
