"""Matching: which of a prompt's candidates meet in a pair, by the recipe's method."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

from curate.consensus.folding import fold_orders
from curate.synthesis.lineage import discards, merged
from curate.synthesis.pairing import Pairing, best_against_lower, pair_up, pairing_discards
from curate.synthesis.pools import pool_pairs
from curate.synthesis.tournament import first_matches, next_matches, played, to_judge, tournament_pairs
from curate.synthesis.west_of_n import west_of_n
from flows.candidates import STAGE, scores_of
from flows.judging import judged, voters_of
from flows.panel import Member, judges_of
from flows.rating import rated, raters_of
from flows.rounds import Turn
from schemas.ids import content_id_expr, seed_of
from schemas.tables import VOTES


@dataclass(frozen=True)
class Matched:
    """Pairs, and what was made on the way to them."""

    pairs: pl.DataFrame
    """contract PAIRS, without what the writer stands in the recipe"""
    discards: pl.DataFrame
    """contract DISCARDS"""
    scores: pl.DataFrame | None = None
    """contract SCORES; None when no scorer was asked"""
    frames: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    """further rows to append: votes of matches and their voters"""


def matched(turn: Turn, candidates: pl.DataFrame) -> Matched:
    """Pairs of `candidates` (columns of `flows.candidates.CANDIDATE`) by `synthesis.method`."""
    synthesis = turn.recipe.synthesis
    scores = scores_of(turn, candidates) if synthesis.scorer and candidates.height else None
    if synthesis.method == "tournament":
        return _tournament(turn, candidates, scores)
    if synthesis.method == "pool":
        return _pool(turn, candidates, scores)
    if synthesis.method == "random" or scores is None:
        return _at_random(turn, candidates, scores)
    if synthesis.method == "west_of_n":
        found = west_of_n(candidates, scores, west_quantile=synthesis.west_quantile,
                          likelihood_quantile=synthesis.likelihood_quantile)
        return Matched(found.pairs, discards(found.discards, "response", STAGE, turn.round_id), scores)
    return _of_pairing(turn, candidates, best_against_lower(
        candidates, scores, synthesis.pairs_per_prompt, draw_seed(turn)), scores)


def draw_seed(turn: Turn) -> int:
    """Seed of the pairs drawn in one round."""
    return seed_of(turn.recipe.seed, "pair", turn.n)


def _at_random(turn: Turn, candidates: pl.DataFrame, scores: pl.DataFrame | None) -> Matched:
    pairing = pair_up(candidates, turn.recipe.synthesis.pairs_per_prompt, draw_seed(turn))
    return _of_pairing(turn, candidates, pairing, scores)


def _of_pairing(turn: Turn, candidates: pl.DataFrame, pairing: Pairing, scores: pl.DataFrame | None) -> Matched:
    left_out = pairing_discards(pairing, candidates, STAGE)
    return Matched(pairing.pairs, discards(left_out, "response", STAGE, turn.round_id), scores)


def _tournament(turn: Turn, candidates: pl.DataFrame, scores: pl.DataFrame | None) -> Matched:
    """Champions of a bracket judged by the recipe's first judge; every match is a pair with its votes."""
    judge = judges_of(turn)[0]
    voters = voters_of(turn, [judge])
    draw = first_matches(candidates, scores, draw_seed(turn))
    level, levels, votes = draw.matches, list[pl.DataFrame](), [VOTES.empty()]
    while level.height:
        votes.append(judged(turn, _as_asked(to_judge(level), candidates, judge), [judge]))
        verdicts = fold_orders(votes[-1], voters, turn.recipe.judging.margin)
        levels.append(played(level, verdicts.filter(~pl.col("is_abstention")).select("pair_id", "p_a", "p_tie")))
        level = next_matches(levels[-1])
    done = pl.concat([draw.matches.clear().with_columns(p_high=pl.lit(None, pl.Float64)), *levels])
    result = tournament_pairs(done, turn.recipe.synthesis.pairs_per_prompt)
    pairs = merged([{"pairs": result.pairs}, {"pairs": to_judge(done)}])["pairs"]
    left_out = discards(pl.concat([draw.discards, result.discards]), "response", STAGE, turn.round_id)
    return Matched(pairs, left_out, scores, {"voters": voters, "votes": pl.concat(votes)})


def _pool(turn: Turn, candidates: pl.DataFrame, scores: pl.DataFrame | None) -> Matched:
    """The best rated of each prompt's pool against another, rated by the recipe's served judges (UltraFeedback)."""
    raters = raters_of(turn)
    judges = [judge for judge in judges_of(turn) if judge.name in dict(raters)]
    responses = candidates.select("response_id", "prompt_id", "system", prompt="asked", response="text")
    ratings, _ = rated(turn, responses, raters)
    found = pool_pairs(candidates, ratings, turn.recipe.synthesis.pairs_per_prompt, draw_seed(turn))
    left_out = discards(found.discards, "response", STAGE, turn.round_id)
    return Matched(found.pairs, left_out, scores, {"voters": voters_of(turn, judges), "ratings": ratings})


def _as_asked(pairs: pl.DataFrame, candidates: pl.DataFrame, judge: Member) -> pl.DataFrame:
    """Pairs with their texts, system prompt and whom to ask, as the judge stage gives them."""
    told = candidates.select("prompt_id", "system").unique("prompt_id")
    texts = with_texts(pairs, candidates).join(told, on="prompt_id", maintain_order="left")
    return texts.with_columns(content_id_expr(["prompt"]).alias("prompt_text_id"), judge=pl.lit(judge.voter))


def with_texts(pairs: pl.DataFrame, candidates: pl.DataFrame) -> pl.DataFrame:
    """Pairs with group_id, `prompt` (JSON of messages), text_a, text_b, text_id_a, text_id_b; by pair_id."""
    asked = candidates.select("prompt_id", "group_id", prompt="asked").unique("prompt_id")
    sided = pairs.select("pair_id", "prompt_id", "response_a", "response_b").join(asked, on="prompt_id")
    for side in ("a", "b"):
        said = candidates.select(pl.col("response_id").alias(f"response_{side}"), pl.col("text").alias(f"text_{side}"),
                                 pl.col("text_id").alias(f"text_id_{side}"))
        sided = sided.join(said, on=f"response_{side}")
    return sided.sort("pair_id")
