"""Asking stops at the first hour that changes too few labels; the audit goes on."""

from __future__ import annotations

import polars as pl
import pytest

from curate.routing.stopping import stop


def votes(*changes: float, n_audits: int = 0, seconds: float = 1800.0) -> pl.DataFrame:
    """Audits, then one vote per expected change, half an hour each."""
    n = len(changes) + n_audits
    return pl.DataFrame({
        "is_audit": [i < n_audits for i in range(n)], "seconds": [seconds] * n,
        "expected_change": [0.0] * n_audits + list(changes),
    })


def test_the_first_hour_below_the_bound_and_all_after_it_are_left_out() -> None:
    found = stop(votes(0.9, 0.8, 0.3, 0.2, 0.9, 0.9), below=1.0)
    assert found.n_kept == 2
    assert found.reason == (
        "stopped after 2 of 6 votes: the next hour of people would change 0.50 labels, fewer than 1"
    )


def test_audits_are_asked_whatever_the_rest_is_worth() -> None:
    assert stop(votes(0.1, 0.1, n_audits=3), below=1.0).n_kept == 3


def test_an_hour_that_the_list_does_not_fill_counts_in_proportion() -> None:
    assert stop(votes(0.9, 0.9, 0.6), below=1.0).n_kept == 3
    assert stop(votes(0.9, 0.9, 0.4), below=1.0).n_kept == 2


@pytest.mark.parametrize("below", [0.0, 0.5])
def test_enough_change_or_no_bound_stop_nothing(below: float) -> None:
    assert stop(votes(0.9, 0.8, 0.7, 0.6), below) == stop(votes(0.9, 0.8, 0.7, 0.6), 0.0)
    assert stop(votes(0.9, 0.8), below).reason == ""


def test_nothing_to_ask_is_no_reason_to_stop() -> None:
    assert stop(votes().cast({"is_audit": pl.Boolean, "expected_change": pl.Float64, "seconds": pl.Float64}), 1.0) == (
        stop(votes(0.9), 0.0).__class__(0, "")
    )
