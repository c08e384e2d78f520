"""What the stage `route` tells the router: margins, sources, novelty, a belief, and the voices of a majority."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
from small_rounds import simulated_recipe

from flows.label import Standing, Stock, _pool, _sources_of, posteriors_of
from schemas.tables import EVIDENCE, VOTERS, VOTES

KINDS = {"j": "judge", "k": "judge", "rm": "reward_model", "ann": "human"}
SAID = {  # (p_a, p_tie) by voter
    "p": {"j": (1.0, 0.0), "k": (1.0, 0.0), "rm": (0.8, 0.0), "ann": (0.0, 0.0)},
    "q": {"j": (1.0, 0.0), "k": (0.0, 0.0)},
}


def standing() -> Standing:
    """Two pairs: on p two judges and a reward model say a and a person b, on q two judges contradict each other."""
    evidence = EVIDENCE.complete(pl.DataFrame([
        {"pair_id": pair, "voter": voter, "criterion": "overall", "ballot_id": voter, "kind": KINDS[voter],
         "family": voter, "p_a": p_a, "p_tie": p_tie, "is_abstention": False, "weight": 1.0}
        for pair, said in SAID.items() for voter, (p_a, p_tie) in said.items()
    ]))
    texts = pl.DataFrame({"pair_id": ["p", "q"], "group_id": ["g", "h"], "prompt": ["one word", "one thing"],
                          "text_a": ["x", "y"], "text_b": ["longer", "other"]})
    voters = VOTERS.complete(pl.DataFrame(
        [{"voter": v, "kind": kind, "family": v, "cost_usd": 0.0} for v, kind in KINDS.items()]))
    return Standing(evidence, VOTES.empty(), VOTES.empty(), voters, texts, pl.DataFrame())


def told(method: str = "majority", **routing: object) -> pl.DataFrame:
    recipe = simulated_recipe(consensus={"method": method}, routing={"method": "value", "budget_votes": 6, **routing})
    turn: Any = SimpleNamespace(recipe=recipe)
    known = standing()
    stock = Stock(None, (), pl.DataFrame({"pair_id": ["p"], "source": ["x"]}))
    return _pool(turn, known, posteriors_of(turn, known), stock, 0.8)


def test_candidates_hold_the_reward_model_s_margin_the_source_and_how_new_the_prompt_is() -> None:
    rows = told()
    assert rows["margin"].to_list() == [pytest.approx(1.386294361), None]
    assert rows["margin_spread"].to_list() == [0.0, None]
    assert rows["source"].to_list() == ["x", None]
    assert rows["novelty"].to_list() == [pytest.approx(0.5)] * 2


def test_a_majority_hears_families_and_another_consensus_is_no_majority() -> None:
    assert told()["n_heard"].to_list() == [4, 2]
    assert told("one_coin")["n_heard"].to_list() == [None, None]


def test_what_is_believed_is_the_prior_without_people_joined_by_what_they_said() -> None:
    """p: three voices of 2.8 for a and 0.2 for b, a third of a vote each added; then 0.8 against 0.1 for b."""
    a, tie, b = (2.8 + 1 / 3) / 4 * 0.1, (1 / 3) / 4 * 0.1, (0.2 + 1 / 3) / 4 * 0.8
    assert told().select("believed_a", "believed_tie").row(0) == (
        pytest.approx(a / (a + tie + b), abs=1e-6), pytest.approx(tie / (a + tie + b), abs=1e-6))


@pytest.mark.slow
def test_clusters_are_looked_for_only_where_diversity_is_asked_for() -> None:
    assert told()["cluster"].is_null().all()
    assert told(diversity=0.5)["cluster"].is_not_null().all()


def test_a_pair_that_two_sources_hold_counts_for_the_first_by_name_and_one_source_alone_tells_nothing() -> None:
    held = {"x": ["p", "q"], "y": ["q", "r"]}
    writer: Any = SimpleNamespace(query=lambda name, sources: pl.DataFrame({"pair_id": held[sources[0]]}))
    both: Any = SimpleNamespace(sources=["y", "x"])
    assert dict(_sources_of(both, writer).iter_rows()) == {"p": "x", "q": "x", "r": "y"}
    one: Any = SimpleNamespace(sources=["x"])
    assert _sources_of(one, writer).is_empty()
