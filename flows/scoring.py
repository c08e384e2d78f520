"""Scores that order pairs for people, for the routing methods that need more than a posterior."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from curate.consensus.majority import majority
from curate.consensus.outcomes import expected_win
from curate.rewards.crossfit import cross_fit
from curate.routing import active_lab
from curate.routing.hyper import route_by_hyper
from curate.routing.retrieval import confidence_on_gold, retrieval_scores, retrieve
from flows.rounds import Turn
from schemas.errors import RefusedError
from schemas.people import Routing
from schemas.tables import COMPARISONS

NOT_YET = ("hyper", "retrieval")
"""methods that need labels of people or gold first, and draw at random until these are there"""


@dataclass(frozen=True)
class Scene:
    """What a score may depend on."""

    evidence: pl.DataFrame
    posteriors: pl.DataFrame
    texts: pl.DataFrame
    """pair_id, group_id, prompt, text_a, text_b"""
    pool: pl.DataFrame
    """frame CANDIDATES"""
    gold: pl.DataFrame
    """calibrate gold with its prompts"""


def scored(turn: Turn, rule: Routing, scene: Scene) -> tuple[Routing, pl.DataFrame | None]:
    """The rule, and (pair_id, score) for a method that needs scores.

    A method that has nothing to learn from yet says so and becomes `random` for this round.
    """
    try:
        return rule, _scores(turn, rule, scene)
    except RefusedError as error:
        if rule.method not in NOT_YET:
            raise
        turn.say(f"route: {rule.method} cannot choose yet, so pairs are drawn at random: {error}")
        return rule.model_copy(update={"method": "random"}), None


def _scores(turn: Turn, rule: Routing, scene: Scene) -> pl.DataFrame | None:
    if rule.method == "active_lab":
        return active_lab.scores(scene.pool, scene.evidence)
    if rule.method == "hyper":
        return route_by_hyper(scene.texts, _labelled_twice(scene), rule.hyper, turn.seed("route"))
    return _retrieved(turn, scene) if rule.method == "retrieval" else None


def _labelled_twice(scene: Scene) -> pl.DataFrame:
    """(pair_id, group_id, p_ai, p_human): pairs on which both people and machines have an opinion."""
    is_human = pl.col("kind") == "human"
    win = expected_win(pl.col("p_a"), pl.col("p_tie"))
    people, machines = (majority(scene.evidence.filter(side)).posteriors for side in (is_human, ~is_human))
    both = machines.select("pair_id", p_ai=win).join(people.select("pair_id", p_human=win), on="pair_id")
    return scene.texts.select("pair_id", "group_id").join(both, on="pair_id").sort("pair_id")


def _retrieved(turn: Turn, scene: Scene) -> pl.DataFrame:
    """Pairs like the gold that cross-fitted heads on the current labels get wrong (Skywork-Reward-V2, stage 1)."""
    gold = scene.gold.unique("pair_id", keep="first").sort("pair_id")
    if gold.is_empty():
        raise RefusedError("no calibrate gold", expected="gold of use calibrate", next="set gold.calibrate_share")
    labelled = scene.texts.join(scene.posteriors.select("pair_id", "p_a", "p_tie"), on="pair_id").with_columns(
        weight=pl.lit(1.0))
    margins = cross_fit(COMPARISONS.complete(labelled.sort("pair_id")), turn.recipe.training)
    unverified = scene.texts.join(scene.pool.filter(pl.col("n_human") == 0), on="pair_id", how="semi")
    asking = gold.select("pair_id", "use").join(scene.texts.select("pair_id", "prompt"), on="pair_id")
    links = retrieve(asking, confidence_on_gold(gold, margins), unverified.select("pair_id", "prompt"))
    return retrieval_scores(links)
