"""From log-likelihoods to votes: messages whose last one is scored, scores per response, p from margins.

The spread of a training-free score is arbitrary and no recipe can know it, so a margin is divided by
s = median|margin| / ln 3 over the pairs that are scored together: the median pair gets odds of 3 : 1. The centre is 0,
since the letters of a pair carry no opinion. Such p are for ranking pairs until consensus has fitted the voter.
"""

from __future__ import annotations

import math

import polars as pl

from curate.consensus.outcomes import quantised
from curate.questions import chat
from schemas.ids import content_id_expr
from schemas.tables import SCORES, VOTES

TYPICAL_ODDS = 3.0
"""odds at the median absolute margin"""


def said_by_assistant(response: pl.Expr) -> pl.Expr:
    """Column `messages`: the system prompt if any, the prompt's messages, then the response as the assistant's.

    Reads columns `prompt` (JSON of messages, else one user turn) and `system` (null: none).
    """
    prompt = pl.col("prompt").str.strip_chars()
    is_messages = prompt.str.starts_with('[{"role"') & prompt.str.ends_with("}]")
    turns = pl.when(is_messages).then(prompt.str.slice(1, prompt.str.len_chars() - 2)).otherwise(
        _inner(chat(("user", pl.col("prompt")))))
    system = pl.when(pl.col("system").is_not_null()).then(_inner(chat(("system", pl.col("system")))))
    parts = pl.concat_str([system, turns, _inner(chat(("assistant", response)))], separator=",", ignore_nulls=True)
    return pl.format("[{}]", parts).alias("messages")


def log_likelihoods(calls: pl.DataFrame) -> pl.DataFrame:
    """(call_key, log_p) of likelihood calls that were answered with a number of nats, sorted; others have none."""
    log_p = pl.col("response").str.strip_chars().cast(pl.Float64, strict=False)
    is_read = (pl.col("finish_reason") == "stop") & log_p.is_finite().fill_null(False)
    return calls.select("call_key", pl.when(is_read).then(log_p).alias("log_p")).sort("call_key")


def votes_from_scores(
    wanted: pl.DataFrame, scores: pl.DataFrame, *, voter: str, instrument: str, criterion: str,
    round_id: str | None = None, scale: float | None = None,
) -> pl.DataFrame:
    """One vote per pair of `wanted` (pair_id, response_a, response_b), sorted by `vote_id`.

    `scores` has response_id, score (null: not scored), call_key (one of the calls behind it). p_a = sigma(margin / s),
    no ties, p in steps of 1/200; s is `scale`, by default `spread` of these pairs' margins. A side without a score
    makes an abstention. `evidence` is JSON of both scores and s.
    """
    held = with_margins(wanted, scores)
    s = spread(held["margin"]) if scale is None else scale
    p_a = 1 / (1 + (-pl.col("margin") / s).exp())
    about: list[str | pl.Expr] = [pl.lit("likelihood"), "pair_id", pl.lit(voter), pl.lit(criterion), pl.lit(instrument)]
    silent = pl.col("margin").is_null()
    rounded = pl.struct(pl.col("score_a", "score_b").round(4), scale=pl.lit(round(s, 4)))
    missing = pl.when(pl.col("score_a").is_null()).then(pl.lit("no score of a")).otherwise(pl.lit("no score of b"))
    return VOTES.complete(held.select(
        content_id_expr([*about, pl.lit(None, pl.String)]).alias("vote_id"), content_id_expr(about).alias("ballot_id"),
        "pair_id", *quantised(p_a, 1 - p_a), silent.alias("is_abstention"), "call_key",
        pl.when(silent).then(missing).otherwise(rounded.struct.json_encode()).alias("evidence"),
        voter=pl.lit(voter), instrument=pl.lit(instrument), criterion=pl.lit(criterion), n=pl.lit(1),
        cost_usd=pl.lit(0.0), status=pl.lit("cast"), round_id=pl.lit(round_id, pl.String),
    )).sort("vote_id")


def score_rows(scores: pl.DataFrame, model: str, template: str) -> pl.DataFrame:
    """SCORES of a scorer that was never trained, so every score is out of fold; sorted by response."""
    scored = scores.filter(pl.col("score").is_not_null())
    return SCORES.complete(scored.select(
        "response_id", "score", model=pl.lit(model), template=pl.lit(template), is_out_of_fold=pl.lit(True)
    )).sort("response_id")


def with_margins(pairs: pl.DataFrame, scores: pl.DataFrame) -> pl.DataFrame:
    """`pairs` with score_a, score_b, their difference `margin` (null where one lacks) and `call_key` of a's score."""
    named = scores.select("response_id", "score", "call_key")
    a = named.rename({"response_id": "response_a", "score": "score_a"})
    b = named.select(response_b="response_id", score_b="score")
    joined = pairs.join(a, on="response_a", how="left").join(b, on="response_b", how="left")
    return joined.with_columns((pl.col("score_a") - pl.col("score_b")).alias("margin")).sort("pair_id")


def spread(margins: pl.Series) -> float:
    """s = median|margin| / ln 3; 1 where no margin differs from 0, since then every p is one half anyway."""
    median = margins.drop_nulls().abs().median()
    found = float(median) if isinstance(median, float) else 0.0
    return found / math.log(TYPICAL_ODDS) if found > 0 else 1.0


def _inner(messages: pl.Expr) -> pl.Expr:
    return messages.str.strip_prefix("[").str.strip_suffix("]")
