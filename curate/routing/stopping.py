"""When to stop asking: the next hour of people would change too few labels."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

HOUR = 3600.0


@dataclass(frozen=True)
class Stop:
    """How much of a list is worth asking."""

    n_kept: int
    reason: str
    """empty: all of it"""


def stop(votes: pl.DataFrame, below: float) -> Stop:
    """How many of `votes` (is_audit, seconds, expected_change), in the order of purchase, are asked.

    The list is cut into hours of one person's time; the first hour that would change fewer than
    `below` labels, and all after it, are left out. An hour that the list does not fill counts in
    proportion. Audits are always asked and take no part in it: without them nobody would know that
    stopping was right.
    """
    if below <= 0:
        return Stop(votes.height, "")
    n_audits = int(votes["is_audit"].sum())
    hours = votes.filter(~pl.col("is_audit")).with_columns(
        hour=((pl.col("seconds").cum_sum() - pl.col("seconds")) / HOUR).floor()
    ).group_by("hour", maintain_order=True).agg(
        n=pl.len(), rate=pl.col("expected_change").sum() / (pl.col("seconds").sum() / HOUR).clip(1e-9, 1.0)
    )
    low = (hours["rate"] < below).arg_true()
    if not len(low):
        return Stop(votes.height, "")
    kept, rate = int(hours["n"].head(int(low[0])).sum()), float(hours["rate"][int(low[0])])
    return Stop(n_audits + kept, (
        f"stopped after {n_audits + kept} of {votes.height} votes: the next hour of people would change "
        f"{rate:.2f} labels, fewer than {below:g}"
    ))
