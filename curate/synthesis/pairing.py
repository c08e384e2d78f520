"""From responses to pairs: random distinct ones, or the best of N against a lower rank.

Chance is a hash of (seed, the two response ids): a prompt's pairs do not depend on the other prompts or on
the order of rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from curate.synthesis.selection import discarded
from schemas.errors import InputError
from schemas.ids import content_id_expr, uniform_expr
from schemas.tables import PAIRS

DROPPED = {"prompt_id": pl.String, "response_a": pl.String, "response_b": pl.String, "reason": pl.String}


@dataclass(frozen=True)
class Pairing:
    """Pairs made and candidates left out."""

    pairs: pl.DataFrame
    """contract PAIRS, sorted by pair_id"""
    dropped: pl.DataFrame
    """prompt_id, response_a, response_b (null for a single response), reason"""


def pair_up(
    responses: pl.DataFrame, n_pairs: int, seed: int, *, near_duplicates: pl.DataFrame | None = None
) -> Pairing:
    """Up to `n_pairs` random pairs per prompt, origin `random`.

    `responses` has response_id, prompt_id, text_id and perhaps source (else `synthesized`). Dropped, with a reason:
    two responses of identical text (`identical_text`: nobody can prefer one), a pair of texts that another pair of
    the prompt already asks about (`repeated_texts`), and pairs listed in `near_duplicates` (response_a,
    response_b in either order; `near_duplicate`). Raises InputError for n_pairs < 1, a missing column or a
    repeated response.
    """
    every = _judged(_every_pair(_checked(responses, n_pairs)), near_duplicates)
    drawn = every.with_columns(uniform_expr(seed, [pl.lit("pair"), "response_a", "response_b"]).alias("draw"))
    return _chosen(drawn, n_pairs, "random")


def best_against_lower(
    responses: pl.DataFrame, scores: pl.DataFrame, n_pairs: int, seed: int
) -> Pairing:
    """Up to `n_pairs` pairs per prompt of its best response and a random one of a strictly lower score.

    Best-of-N pairs as RAFT ranks them (Dong et al. 2023); origin `best_of_n`. `scores` has response_id, score; of
    equal best scores the smallest response_id is best. Responses without a finite score are dropped as
    `not_scored`; otherwise as `pair_up`.
    """
    known = _checked(responses, n_pairs).join(scores.select("response_id", "score"), on="response_id", how="left")
    is_scored = pl.col("score").is_finite().fill_null(False)
    ranked = known.filter(is_scored).sort("prompt_id", -pl.col("score"), "response_id")
    is_best = pl.int_range(pl.len()).over("prompt_id") == 0
    best = ranked.filter(is_best).select("prompt_id", best="response_id", best_score="score")
    every = _judged(_every_pair(ranked), None).join(best, on="prompt_id")
    holds_best = (pl.col("response_a") == pl.col("best")) | (pl.col("response_b") == pl.col("best"))
    against_lower = every.filter(holds_best, pl.min_horizontal("score", "score_b") < pl.col("best_score"))
    drawn = against_lower.with_columns(uniform_expr(seed, [pl.lit("best"), "response_a", "response_b"]).alias("draw"))
    pairing = _chosen(drawn, n_pairs, "best_of_n")
    unscored = known.filter(~is_scored).select(
        "prompt_id", response_a="response_id", response_b=pl.lit(None, pl.String), reason=pl.lit("not_scored"))
    return Pairing(pairing.pairs, _sorted(pl.concat([pairing.dropped, unscored])))


def _checked(responses: pl.DataFrame, n_pairs: int) -> pl.DataFrame:
    missing = [c for c in ("response_id", "prompt_id", "text_id") if c not in responses.columns]
    if missing or n_pairs < 1:
        raise InputError(f"columns missing {missing}, n_pairs = {n_pairs}", expected="none missing, n_pairs >= 1",
                         next="join texts to responses")
    if responses["response_id"].is_duplicated().any():
        raise InputError("a response_id twice", expected="one row per response", next="drop the repeated rows")
    source = pl.col("source") if "source" in responses.columns else pl.lit("synthesized")
    return responses.select("response_id", "prompt_id", "text_id", source.alias("source")).sort("response_id")


def _every_pair(responses: pl.DataFrame) -> pl.DataFrame:
    return responses.join(responses, on="prompt_id", suffix="_b").filter(
        pl.col("response_id") < pl.col("response_id_b")
    ).rename({"response_id": "response_a", "response_id_b": "response_b", "text_id": "text_id_a"})


def _judged(every: pl.DataFrame, near: pl.DataFrame | None) -> pl.DataFrame:
    ordered = pl.DataFrame(schema={"response_a": pl.String, "response_b": pl.String}) if near is None else near.select(
        pl.min_horizontal("response_a", "response_b").alias("response_a"),
        pl.max_horizontal("response_a", "response_b").alias("response_b"))
    marked = every.join(ordered.unique().with_columns(is_near=True), on=["response_a", "response_b"], how="left")
    return marked.with_columns(
        pl.when(pl.col("text_id_a") == pl.col("text_id_b")).then(pl.lit("identical_text"))
        .when("is_near").then(pl.lit("near_duplicate")).otherwise(None).alias("reason"))


def _chosen(drawn: pl.DataFrame, n_pairs: int, origin: str) -> Pairing:
    low, high = pl.min_horizontal("text_id_a", "text_id_b"), pl.max_horizontal("text_id_a", "text_id_b")
    ordered = drawn.sort("prompt_id", "draw", "response_a", "response_b").with_columns(low=low, high=high)
    n_before = pl.int_range(pl.len()).over("prompt_id", "reason", "low", "high")
    is_repeated = pl.col("reason").is_null() & (n_before > 0)
    reason = pl.when(is_repeated).then(pl.lit("repeated_texts")).otherwise("reason")
    judged = ordered.with_columns(reason.alias("reason"))
    free = judged.filter(pl.col("reason").is_null()).filter(pl.int_range(pl.len()).over("prompt_id") < n_pairs)
    pairs = free.select(
        content_id_expr(["response_a", "response_b"]).alias("pair_id"), "prompt_id", "response_a", "response_b",
        pl.lit(origin).alias("origin"), "source")
    dropped = judged.filter(pl.col("reason").is_not_null()).select(*DROPPED)
    return Pairing(PAIRS.complete(pairs).sort("pair_id"), _sorted(dropped))


def _sorted(dropped: pl.DataFrame) -> pl.DataFrame:
    typed = dropped.select(pl.col(c).cast(t) for c, t in DROPPED.items())
    return typed.sort("prompt_id", "response_a", "response_b", nulls_last=True)


def pairing_discards(pairing: Pairing, responses: pl.DataFrame, stage: str) -> pl.DataFrame:
    """Frame `discards` of the responses that are in no pair, one row each, sorted by discard_id.

    The reason is that of a dropped pair it would have been in (the first by name; `detail` names the other
    response), else `not_drawn`. `responses` is what was paired.
    """
    paired = pl.concat([pairing.pairs["response_a"], pairing.pairs["response_b"]]).unique().to_frame("response_id")
    left_out = responses.select("response_id").join(paired, on="response_id", how="anti")
    sides = [pairing.dropped.select("reason", response_id=mine, detail=other)
             for mine, other in (("response_a", "response_b"), ("response_b", "response_a"))]
    why = pl.concat(sides).drop_nulls("response_id").sort("reason", "detail").unique("response_id", keep="first")
    told = left_out.join(why, on="response_id", how="left")
    return discarded(
        told.select("detail", row_id="response_id", reason=pl.col("reason").fill_null("not_drawn")), "response", stage)
