"""Pools: a prompt's responses are rated per attribute, and the best rated one meets another."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import polars as pl
import pytest
from served_models import ServedModels, served_turn, stored
from small_rounds import run_only
from test_prompt_sources import put_prompts

from curate.engines import CallRequest
from schemas.errors import RecipeError
from schemas.recipe import parse_recipe
from warehouse.store import Store

pytestmark = pytest.mark.usefixtures("unpublished")


def stars(request: CallRequest) -> str:
    return str(1 + hashlib.sha256(request.messages.encode()).digest()[0] % 5)


@pytest.mark.service
def test_the_best_rated_response_of_a_prompt_is_in_its_pair_and_rating_it_again_costs_nothing(
    store: Store, tmp_path: Path
) -> None:
    put_prompts(store, tmp_path, n=4)
    served = ServedModels(judge=stars)
    turn = served_turn(store, served, method="pool", responses_per_prompt=4,
                       judging={"judges": ["large"], "rate": ["helpfulness", "honesty"]})
    run_only(turn, "synthesize")
    ratings, pairs = stored(store, "ratings"), stored(store, "pairs")
    means = ratings.group_by("response_id").agg(pl.col("value").cast(pl.Float64).mean()).join(
        stored(store, "responses").select("response_id", "prompt_id"), on="response_id")
    best = dict(means.group_by("prompt_id").agg(pl.col("value").max()).rows())
    value = dict(means.select("response_id", "value").rows())
    assert pairs.height > 0
    assert pairs["origin"].unique().to_list() == ["pool"]
    for prompt_id, a, b in pairs.select("prompt_id", "response_a", "response_b").iter_rows():
        assert max(value[a], value[b]) == best[prompt_id] > min(value[a], value[b])
    n_asked = sum(r.instrument.startswith("rating") for r in served.asked)
    run_only(turn, "judge")
    assert sum(r.instrument.startswith("rating") for r in served.asked) == n_asked


def test_a_pool_without_anything_to_rate_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"needs judging\.rate"):
        parse_recipe(json.dumps({"dataset": "d", "synthesis": {"method": "pool"}}))
