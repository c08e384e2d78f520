"""How long one human vote takes, where enough of them were timed."""

from __future__ import annotations

import polars as pl

NEWEST, ENOUGH = 200, 30
"""timed votes that are looked at, and how many of them make a measurement"""


def seconds_per_vote(votes: pl.DataFrame, told: float) -> float:
    """Median time of the newest 200 timed votes (vote_id, seconds, voted_at) of people; `told` under 30 of them.

    The median, because a page left open over lunch is timed too. Newest by `voted_at`, those without one last, then
    by vote_id: whoever reads the same votes reckons with the same time.
    """
    timed = votes.filter(pl.col("seconds") > 0).sort(
        "voted_at", "vote_id", descending=[True, False], nulls_last=True).head(NEWEST)
    return told if timed.height < ENOUGH else float(timed.select(pl.col("seconds").median()).item())
