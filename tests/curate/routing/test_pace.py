"""Enough timed votes replace the recipe's time of one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl

from curate.routing.pace import seconds_per_vote

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def timed(*seconds: float | None) -> pl.DataFrame:
    """Votes in the order of time."""
    return pl.DataFrame({
        "vote_id": [f"v{i:04}" for i in range(len(seconds))], "seconds": seconds,
        "voted_at": [BEGIN + timedelta(minutes=i) for i in range(len(seconds))],
    }, schema_overrides={"seconds": pl.Float64})


def test_under_thirty_timed_votes_the_recipe_s_time_stands() -> None:
    assert seconds_per_vote(timed(*[10.0] * 29, None, 0.0), 60) == 60
    assert seconds_per_vote(timed(*[10.0] * 30), 60) == 10
    assert seconds_per_vote(timed(), 60) == 60


def test_the_median_forgives_a_page_left_open() -> None:
    assert seconds_per_vote(timed(*[20.0] * 31, *[9000.0] * 14), 60) == 20


def test_the_newest_two_hundred_count() -> None:
    assert seconds_per_vote(timed(*[90.0] * 300, *[30.0] * 200), 60) == 30


def test_the_order_of_rows_and_votes_without_a_time_of_day_change_nothing() -> None:
    known = timed(*range(1, 300))
    undated = timed(*[7.0] * 50).with_columns(voted_at=pl.lit(None, dtype=pl.Datetime("us", "UTC")))
    rows = pl.concat([known, undated])
    assert seconds_per_vote(rows, 60) == seconds_per_vote(rows.reverse(), 60) == seconds_per_vote(known, 60)
