"""Quotas: shares are kept to a seat, what is missing goes elsewhere and is reported, nobody is lost."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.synthesis.quotas import draw_prompts, largest_remainder
from schemas.errors import InputError


def prompts(**counts: int) -> pl.DataFrame:
    """So many prompts per category; of category `none`, null."""
    rows = [(f"{c}{i:02}", None if c == "none" else c) for c, n in counts.items() for i in range(n)]
    return pl.DataFrame(rows, schema={"prompt_id": pl.String, "category": pl.String}, orient="row")


def taken(report: pl.DataFrame) -> dict[str, int]:
    return dict(report.select("category", "taken").iter_rows())


def test_seats_follow_the_largest_remainder() -> None:
    assert largest_remainder(np.array([0.5, 0.3, 0.2]), 7).tolist() == [4, 2, 1]
    assert largest_remainder(np.array([1.0, 1.0, 1.0]), 4).tolist() == [2, 1, 1]
    assert largest_remainder(np.array([0.0, 0.0]), 4).tolist() == [0, 0]


def test_shares_are_kept_and_what_has_no_share_waits() -> None:
    found = draw_prompts(prompts(code=9, math=9, chat=9), 10, {"code": 0.7, "math": 0.3}, 0)
    assert taken(found.report) == {"code": 7, "math": 3}
    assert set(found.discards.filter(pl.col("row_id").str.starts_with("chat"))["reason"]) == {"no_quota"}
    assert found.discards["reason"].value_counts().sort("count").rows() == [("quota_full", 8), ("no_quota", 9)]


def test_the_rest_of_the_shares_belongs_to_all_other_categories() -> None:
    found = draw_prompts(prompts(code=9, math=9, none=9), 10, {"code": 0.4}, 0)
    assert taken(found.report) == {"code": 4, "other": 6}


def test_an_unmet_quota_goes_to_the_others_by_their_shares_and_the_report_shows_both() -> None:
    found = draw_prompts(prompts(code=1, math=20, chat=20), 10, {"code": 0.5, "math": 0.25, "chat": 0.25}, 0)
    assert found.report.rows() == [
        ("chat", 3, 20, 5, 0.5), ("code", 5, 1, 1, 0.1), ("math", 2, 20, 4, 0.4)]


def test_a_category_of_share_zero_is_the_last_resort() -> None:
    shares = {"code": 1.0, "math": 0.0}
    assert taken(draw_prompts(prompts(code=3, math=9), 3, shares, 0).report) == {"code": 3, "math": 0}
    assert taken(draw_prompts(prompts(code=3, math=9), 5, shares, 0).report) == {"code": 3, "math": 2}


def test_without_quotas_prompts_come_as_drawn_and_the_balance_is_reported() -> None:
    found = draw_prompts(prompts(code=30, math=10), 20, {}, 0)
    assert found.prompts.height == 20
    assert found.report["available"].to_list() == [30, 10]
    assert found.report["taken"].sum() == 20
    assert set(found.discards["reason"]) == {"not_drawn"}


def test_no_number_means_all_that_have_a_share() -> None:
    found = draw_prompts(prompts(code=3, math=4), 0, {"math": 1.0}, 0)
    assert taken(found.report) == {"math": 4}
    assert draw_prompts(prompts(code=3, math=4), 0, {}, 0).prompts.height == 7


@pytest.mark.slow
@given(st.tuples(*[st.integers(0, 6)] * 4), st.integers(0, 30), st.sampled_from([{}, {"a": 0.5}, {"a": 0.3, "b": 0.7}]),
       st.integers(0, 9))
def test_every_prompt_is_drawn_or_discarded_and_as_many_are_drawn_as_can_be(
    counts: tuple[int, ...], n: int, shares: dict[str, float], seed: int
) -> None:
    rows = prompts(**dict(zip(("a", "b", "c", "none"), counts, strict=True)))
    found = draw_prompts(rows, n, shares, seed)
    assert sorted([*found.prompts["prompt_id"], *found.discards["row_id"]]) == sorted(rows["prompt_id"])
    available = found.report["available"].sum()
    assert found.prompts.height == found.report["taken"].sum() == min(n or available, available)
    again = draw_prompts(rows[::-1], n, shares, seed)
    assert again.prompts.equals(found.prompts)
    assert again.discards.equals(found.discards)


def test_another_seed_draws_other_prompts() -> None:
    rows = prompts(a=30)
    assert not draw_prompts(rows, 5, {}, 0).prompts.equals(draw_prompts(rows, 5, {}, 1).prompts)


def test_a_column_of_the_caller_s_never_stands_in_for_a_computed_one() -> None:
    rows = prompts(a=9, b=9)
    crowded = rows.with_columns(taken=pl.lit(0), wanted=pl.lit(0), is_drawn=pl.lit(False), available=pl.lit(0))
    found = draw_prompts(crowded, 6, {"a": 0.5, "b": 0.5}, 0)
    assert found.prompts.columns == crowded.columns
    assert found.prompts["prompt_id"].equals(draw_prompts(rows, 6, {"a": 0.5, "b": 0.5}, 0).prompts["prompt_id"])


def test_shares_above_one_and_a_missing_category_are_refused() -> None:
    with pytest.raises(InputError, match="quotas"):
        draw_prompts(prompts(a=3), 1, {"a": 0.7, "b": 0.7}, 0)
    with pytest.raises(InputError, match="category"):
        draw_prompts(prompts(a=3).drop("category"), 1, {}, 0)
