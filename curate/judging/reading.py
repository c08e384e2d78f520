"""What judges answered: verdicts with their rationale, and the votes of one order from all its samples.

No answer is guessed at. A call that failed, an answer that is no token of the scale and JSON that does not keep its
schema have a reason in `failure`, and a vote of nothing else is an abstention that counts these reasons.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

import polars as pl

from curate.consensus.outcomes import quantised, verdict
from curate.judging.instruments import Instrument
from curate.judging.scales import Scale, expected_level, is_graded, level_of, side_shares, token_said
from schemas.errors import InputError
from schemas.ids import content_id_expr
from schemas.tables import VOTES

CANNOT_JUDGE = "cannot judge"
_NO_TEXT = re.compile("[\x00\ud800-\udfff]")
"""what JSON can escape and no table can hold"""
_VOTE = ("pair_id", "voter", "shown_first", "ballot_key", "instrument")
"""one vote per order of a ballot"""


def read_verdicts(calls: pl.DataFrame, instrument: Instrument) -> pl.DataFrame:
    """`calls` (contract CALLS) with `verdict`, `rationale` and `failure`: same rows, same order.

    `verdict` is a token of the instrument's scale or null, `rationale` the reasoning of a reasoned verdict, and
    `failure` says why there is no verdict: the finish reason when it is not "stop", else what was said instead.
    Raises InputError for an instrument without a scale.
    """
    if not instrument.scale:
        raise InputError(f"{instrument.id}, whose answers are texts", expected="a scale", next="read them as texts")
    if instrument.verdict == "choice":
        return read_tokens(calls, instrument.scale)
    answers = _answers(calls["response"].unique(maintain_order=True))
    read = calls.join(answers, on="response", how="left", maintain_order="left")
    return _with_verdict(read, instrument.scale, pl.col("said")).drop("said")


def read_tokens(calls: pl.DataFrame, scale: Scale) -> pl.DataFrame:
    """`calls` with verdict, rationale (null) and failure, where the whole answer is the token."""
    unexplained = calls.with_columns(pl.lit(None, pl.String).alias("rationale"))
    return _with_verdict(unexplained, scale, pl.col("response"))


def with_levels(read: pl.DataFrame, scale: Scale) -> pl.DataFrame:
    """What `read_verdicts` gave, with `level`: the expected level of each answer, null without one.

    In the scale's own units: 1..5 of a rating, P(yes) of a yes-no question. From the choices' log probabilities
    where there are any, else the level of the verdict (G-Eval, Liu et al. 2023).
    """
    level = expected_level(scale, pl.col("choice_logprobs"), pl.col("verdict"))
    return read.with_columns(pl.when(pl.col("verdict").is_not_null()).then(level).alias("level"))


def votes_from_verdicts(
    read: pl.DataFrame, links: pl.DataFrame, scale: Scale, *, criterion: str = "overall", is_pooled: bool = True
) -> pl.DataFrame:
    """Votes, one per pair, judge and order, sorted by `vote_id`; only those all of whose samples are recorded.

    `read` comes from `read_verdicts`, `links` has `verdicts.LINK_COLUMNS`. An answer's p is that of its log
    probabilities, summed over the levels of a side, else its verdict. Samples of one order are pooled first: p and
    strength are means over those that have a verdict (self-consistency, Wang et al. 2023), and n stays 1. `strength`
    is the expected level, towards a, in steps of 1/100; null on a scale with one level per side. When no sample
    has a verdict, or more say "cannot judge" than name a level, the vote is an abstention; `evidence` counts
    failures and abstentions. The rationale and the call named are those of the first sample by call key that
    agrees with the vote. Seconds are summed over the vote's calls; the cost of a call shared by several votes is
    borne by the first of them (by pair, voter, order). `is_pooled=False`: every sample is a vote of its own.
    """
    vote = _VOTE if is_pooled else (*_VOTE, "call_key")
    answered = _complete(links, read, vote).sort("call_key", "pair_id", "voter", "shown_first")
    opinions = answered.with_columns(*_opinion(scale)).with_columns(_borne_cost())
    pooled = opinions.with_columns(*_pooled(vote)).with_columns(*_lettered(scale)).with_columns(_rank())
    merged = pooled.group_by(vote, maintain_order=True).agg(_merged())
    explained = merged.join(_reasons(opinions, vote), on=vote, how="left")
    return VOTES.complete(explained.select(_vote_columns(criterion))).sort("vote_id")


def _answers(responses: pl.Series) -> pl.DataFrame:
    """(response, said, rationale) of each distinct reasoned answer: null where it keeps no such form."""
    read = [_reasoned(response) for response in responses]
    columns = {"said": [said for said, _ in read], "rationale": [rationale for _, rationale in read]}
    return pl.DataFrame({"response": responses, **columns}, schema=dict.fromkeys(("response", *columns), pl.String))


def _reasoned(response: str) -> tuple[str | None, str | None]:
    try:
        pairs = json.loads(response, object_pairs_hook=list)
    except (ValueError, RecursionError):
        return None, None
    # Pairs, because a field said twice would let one answer hold two verdicts; tuples are of objects, lists of arrays.
    is_object = isinstance(pairs, list) and all(isinstance(p, tuple) and isinstance(p[1], str) for p in pairs)
    if not is_object or sorted(name for name, _ in pairs) != ["reasoning", "verdict"]:
        return None, None
    fields = {name: _NO_TEXT.sub("\ufffd", value) for name, value in pairs}
    return fields["verdict"], fields["reasoning"]


def _with_verdict(frame: pl.DataFrame, scale: Scale, said: pl.Expr) -> pl.DataFrame:
    token = token_said(scale, said)
    failure = (
        pl.when(pl.col("finish_reason") != "stop").then(pl.format("finish_reason: {}", "finish_reason"))
        .when(token.is_null()).then(pl.format("unparsable verdict: {}", pl.col("response").str.slice(0, 80)))
        .otherwise(None)
    )
    return frame.with_columns(pl.when(failure.is_null()).then(token).alias("verdict"), failure.alias("failure"))


def _complete(links: pl.DataFrame, read: pl.DataFrame, vote: Sequence[str]) -> pl.DataFrame:
    """Links with their calls, without the votes that still wait for a sample."""
    joined = links.join(read.drop("voter"), on="call_key", how="left")
    return joined.filter(pl.col("finish_reason").is_not_null().all().over(vote))


def _opinion(scale: Scale) -> list[pl.Expr]:
    token, logs = pl.col("verdict"), pl.col("choice_logprobs")
    said = level_of(scale, token)
    measured = (*side_shares(scale, logs, token), expected_level(scale, logs, token))
    reason = pl.coalesce("failure", pl.when(said.is_null()).then(pl.lit(CANNOT_JUDGE)))
    each = [pl.when(said.is_not_null()).then(value).alias(value.meta.output_name()) for value in measured]
    return [said.alias("said"), reason.alias("reason"), *each]


def _borne_cost() -> pl.Expr:
    is_first_of_call = pl.int_range(pl.len()).over("call_key") == 0
    return pl.when(is_first_of_call).then("cost_usd").otherwise(0.0).alias("cost_usd")


def _pooled(vote: Sequence[str]) -> list[pl.Expr]:
    n_opinions, n_silent = pl.col("said").is_not_null().sum(), (pl.col("reason") == CANNOT_JUDGE).sum()
    has_opinion = (n_opinions > 0) & (n_opinions >= n_silent)
    means = [pl.col(c).mean().over(vote) for c in ("p_first", "p_second", "level")]
    return [*means, has_opinion.over(vote).alias("has_opinion")]


def _lettered(scale: Scale) -> list[pl.Expr]:
    is_a = pl.col("shown_first") == "a"
    wins = [pl.when(is_a).then(left).otherwise(right)
            for left, right in (("p_first", "p_second"), ("p_second", "p_first"))]
    towards_a = pl.when(is_a).then("level").otherwise(-pl.col("level")).round(2) + 0.0  # no minus zero
    strength = towards_a if is_graded(scale) else pl.lit(None, pl.Float64)
    opinion = (*quantised(*wins), strength.alias("strength"))
    return [pl.when(pl.col("has_opinion")).then(value).alias(value.meta.output_name()) for value in opinion]


def _rank() -> pl.Expr:
    """0 for a sample that agrees with its vote or its abstention, 1 for another verdict, 2 for none."""
    other = pl.when(pl.col("shown_first") == "a").then(pl.lit("b")).otherwise(pl.lit("a"))
    side = pl.when(pl.col("said") > 0).then("shown_first").when(pl.col("said") < 0).then(other).otherwise(pl.lit("tie"))
    is_side = pl.col("said").is_not_null() & (side == verdict(pl.col("p_a"), pl.col("p_tie")))
    is_silent = ~pl.col("has_opinion") & (pl.col("reason") == CANNOT_JUDGE)
    agrees = is_side.fill_null(False) | is_silent.fill_null(False)
    return pl.when(agrees).then(0).when(pl.col("said").is_not_null()).then(1).otherwise(2).alias("rank")


def _merged() -> list[pl.Expr]:
    """What becomes of the columns of a vote's samples."""
    named = {"call_key": "named_call", "rationale": "rationale", "round_id": "round_id"}
    return [
        *(pl.col(c).sort_by("rank", "call_key").first().alias(name) for c, name in named.items()),
        *(pl.col(c).first() for c in ("p_a", "p_tie", "strength", "has_opinion")),
        pl.col("seconds", "cost_usd").sum(), pl.col("called_at").max().alias("voted_at"),
        pl.col("call_key").str.join("|").alias("call_keys"),
    ]


def _reasons(opinions: pl.DataFrame, vote: Sequence[str]) -> pl.DataFrame:
    """Why samples gave no verdict, counted, per vote that has such samples: column `evidence`."""
    samples = opinions.with_columns(pl.len().over(vote).alias("n_samples"))
    counted = samples.filter(pl.col("reason").is_not_null()).group_by(*vote, "n_samples", "reason").len("n")
    listed = pl.format("{} × {}", "n", "reason").sort_by("reason").str.join("; ")
    counts = pl.format("{} of {} samples: {}", pl.col("n").sum(), pl.col("n_samples").first(), listed)
    alone = pl.when(pl.col("n_samples").first() == 1).then(pl.col("reason").first()).otherwise(counts)
    return counted.group_by(vote).agg(alone.alias("evidence"))


def _vote_columns(criterion: str) -> list[pl.Expr]:
    about: list[str | pl.Expr] = ["pair_id", "voter", pl.lit(criterion)]
    return [
        content_id_expr([pl.lit("judge"), "call_keys", *about, "instrument", "shown_first"]).alias("vote_id"),
        content_id_expr([pl.lit("judge"), "ballot_key", *about]).alias("ballot_id"),
        *(pl.col(c) for c in ("pair_id", "voter", "p_a", "p_tie", "strength", "shown_first", "instrument", "evidence")),
        *(pl.col(c) for c in ("rationale", "seconds", "cost_usd", "round_id", "voted_at")),
        (~pl.col("has_opinion")).alias("is_abstention"), pl.col("named_call").alias("call_key"),
        pl.lit(1).alias("n"), pl.lit(criterion).alias("criterion"), pl.lit("cast").alias("status"),
    ]
