"""Pools: distinct policies per prompt, equally often; the best rated meets another."""

from __future__ import annotations

import itertools

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.synthesis.pools import draw_pools, mean_ratings, pool_pairs
from schemas.errors import InputError
from schemas.tables import RATINGS

RESPONSES = pl.DataFrame({"response_id": ["a", "b", "c"], "prompt_id": "p", "text_id": ["A", "B", "C"]})


def prompts(n: int) -> pl.DataFrame:
    return pl.DataFrame({"prompt_id": [f"p{i}" for i in range(n)]}, schema={"prompt_id": pl.String})


def ratings(*rows: tuple[str, str, float], scale: tuple[float, float] = (1, 5), **columns: str) -> pl.DataFrame:
    return RATINGS.complete(pl.DataFrame([
        {"rating_id": f"{r}{x}{i}{columns}", "response_id": r, "voter": "judge", "attribute": x, "value": v,
         "scale_min": scale[0], "scale_max": scale[1], "status": "cast", **columns}
        for i, (r, x, v) in enumerate(rows)]))


@pytest.mark.slow
@given(st.integers(0, 40), st.integers(1, 7), st.integers(1, 8), st.integers(0, 3))
def test_policies_are_distinct_within_a_prompt_and_differ_by_at_most_one_over_the_round(
    n: int, m: int, k: int, seed: int
) -> None:
    policies = [f"m{i}" for i in range(m)]
    drawn = draw_pools(prompts(n), policies, k, seed)
    assert drawn.height == n * min(k, m)
    assert drawn.unique(["prompt_id", "policy"]).height == drawn.height
    counts = [drawn.filter(policy=p).height for p in policies]
    assert max(counts) - min(counts) <= 1


def test_any_two_policies_meet() -> None:
    drawn = draw_pools(prompts(60), list("vwxyz"), 2, 0)
    met = {tuple(sorted(p)) for p in drawn.group_by("prompt_id").agg("policy")["policy"].to_list()}
    assert met == set(itertools.combinations("vwxyz", 2))


def test_the_draw_depends_on_seed_and_prompts_not_on_the_order_of_either_list() -> None:
    drawn = draw_pools(prompts(20), list("xyz"), 2, 1)
    assert draw_pools(prompts(20)[::-1], list("zyx"), 2, 1).equals(drawn)
    assert not draw_pools(prompts(20), list("xyz"), 2, 2).equals(drawn)


def test_a_value_is_the_mean_over_attributes_of_the_mean_over_voters_on_each_ones_scale() -> None:
    of_two = ratings(("a", "truth", 0), scale=(0, 2), voter="another")
    said = pl.concat([ratings(("a", "truth", 5), ("a", "help", 1)), of_two])
    values, left_out = mean_ratings(said, RESPONSES.head(1))
    assert values.rows() == [("a", 0.25)]
    assert left_out.is_empty()


def test_a_response_that_misses_an_attribute_is_not_compared_and_says_which() -> None:
    said = ratings(("a", "truth", 5), ("a", "help", 5), ("b", "help", 5))
    values, left_out = mean_ratings(said, RESPONSES)
    assert values["response_id"].to_list() == ["a"]
    assert left_out.rows() == [("b", "not_rated", "truth"), ("c", "not_rated", "help, truth")]


def test_retracted_ratings_and_values_off_their_scale_do_not_count() -> None:
    said = pl.concat([ratings(("a", "help", 9)), ratings(("b", "help", 5), status="retracted"),
                      ratings(("c", "help", 5))])
    assert mean_ratings(said, RESPONSES)[0]["response_id"].to_list() == ["c"]


def test_the_best_rated_meets_a_lower_rated_one_and_the_third_is_not_drawn() -> None:
    found = pool_pairs(RESPONSES, ratings(("a", "help", 1), ("b", "help", 5), ("c", "help", 2)), 1, 0)
    row = found.pairs.row(0, named=True)
    assert "b" in (row["response_a"], row["response_b"])
    assert row["origin"] == "pool"
    assert found.discards["reason"].to_list() == ["not_drawn"]


def test_scores_serve_as_well_as_ratings_and_every_response_is_told() -> None:
    scores = pl.DataFrame({"response_id": ["a", "b"], "score": [0.0, 1.0]})
    found = pool_pairs(RESPONSES, scores, 3, 0)
    assert found.pairs.select("response_a", "response_b").rows() == [("a", "b")]
    assert found.discards.select("row_id", "reason").rows() == [("c", "not_scored")]


def test_equally_rated_responses_make_no_pair() -> None:
    found = pool_pairs(RESPONSES, ratings(*((r, "help", 3) for r in "abc")), 3, 0)
    assert found.pairs.is_empty()
    assert found.discards.height == 3


def test_responses_without_any_rating_are_told() -> None:
    found = pool_pairs(RESPONSES, RATINGS.empty(), 1, 0)
    assert found.pairs.is_empty()
    assert found.discards["reason"].to_list() == ["not_rated"] * 3


def test_no_policy_and_one_named_twice_are_refused() -> None:
    for policies, k in (([], 1), (["x", "x"], 1), (["x"], 0)):
        with pytest.raises(InputError, match="pools of"):
            draw_pools(prompts(1), policies, k, 0)
