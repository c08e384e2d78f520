"""Which pairs are asked again, and why: an answer is doubtful or was taken back, or people do not agree."""

from __future__ import annotations

from collections.abc import Collection

import polars as pl

from curate.annotating.marks import ANSWERED
from curate.consensus.outcomes import verdict

REASONS = ("retracted", "fails_gold", "against_others", "like_chance", "drifts", "too_fast", "people_disagree")
REQUEUE: dict[str, pl.DataType] = {
    "pair_id": pl.String(), "criterion": pl.String(), "reason": pl.String(), "to": pl.String(),
    "n_doubtful": pl.Int64(), "n_sound": pl.Int64(), "voters": pl.List(pl.String()),
}
DOUBTED: dict[str, pl.DataType] = {"voter": pl.String(), "reason": pl.String(), "since": ANSWERED["said_at"]}


def doubted(found: pl.DataFrame, failing: pl.DataFrame) -> pl.DataFrame:
    """Columns DOUBTED: whose votes are not relied on, from when on (null: all of them), one row per voter and reason.

    `found` are `findings`, `failing` has the voters of `failing_gold`. Who prefers a slot, copies or answers too fast
    is told so; what they said is no worse than any vote, less their habit, and stays.
    """
    of_found = found.filter(pl.col("finding").is_in(REASONS)).select("voter", reason="finding", since="since")
    of_gold = failing.select("voter", reason=pl.lit("fails_gold"), since=pl.lit(None, DOUBTED["since"]))
    rows = pl.concat([f.select(pl.col(name).cast(kind) for name, kind in DOUBTED.items()) for f in (of_found, of_gold)])
    return rows.filter(pl.col("reason") != "too_fast").sort("voter", "reason")


def requeue(
    answers: pl.DataFrame, doubts: pl.DataFrame, *, min_seconds: float = 0.0, open_pairs: Collection[str] = ()
) -> pl.DataFrame:
    """Columns REQUEUE, one row per pair and criterion that is asked again, sorted by pair and criterion.

    `answers` has the columns ANSWERED, `doubts` the columns DOUBTED; `open_pairs` have a task already that nobody has
    answered yet. A pair is asked again when none of its opinions is sound: each was taken back (`retracted`), said
    faster than `min_seconds` (`too_fast`), or is of somebody doubted; `reason` is the first of REASONS that applies.
    It goes to an expert (`people_disagree`) when its sound opinions have no single likeliest outcome and no expert has
    spoken. `voters` have answered it, whatever they said: another person is to be asked. Gold and onboarding pairs,
    and votes that no round asked for, are left alone. Votes stay as they are: doubt changes no vote.
    """
    rows = answers.filter(
        pl.col("round").is_not_null(), ~pl.col("purpose").is_in(["gold", "onboarding"]),
        ~pl.col("pair_id").is_in(list(open_pairs)),
    )
    reasoned = _reasons(_criteria(rows, answers), doubts, min_seconds)
    pairs = reasoned.sort("pair_id", "criterion", "voter", "ballot_id").group_by(
        "pair_id", "criterion", maintain_order=True
    ).agg(
        pl.col("reason").drop_nulls().cast(pl.Enum(REASONS)).min().cast(pl.String),
        pl.col("reason").count().alias("n_doubtful"), pl.col("is_sound").sum().alias("n_sound"),
        _is_split().alias("is_split"), pl.col("voter").unique().sort().alias("voters"),
    )
    is_void = (pl.col("n_sound") == 0) & (pl.col("n_doubtful") > 0)
    asked = pairs.filter(is_void | pl.col("is_split")).with_columns(
        pl.when(is_void).then("reason").otherwise(pl.lit("people_disagree")).alias("reason"),
        pl.when(is_void).then(pl.lit("person")).otherwise(pl.lit("expert")).alias("to"),
    )
    return asked.select(pl.col(name).cast(kind) for name, kind in REQUEUE.items())


def _criteria(rows: pl.DataFrame, answers: pl.DataFrame) -> pl.DataFrame:
    """What made no vote names no criterion: it stands for every one that is asked of its dataset."""
    is_named = pl.col("criterion") != ""
    asked = answers.filter(is_named).select("dataset", "criterion").unique()
    unnamed = rows.filter(~is_named).drop("criterion").join(asked, on="dataset", how="left").with_columns(
        pl.col("criterion").fill_null(""))
    return pl.concat([rows.filter(is_named), unnamed.select(rows.columns)])


def _reasons(rows: pl.DataFrame, doubts: pl.DataFrame, min_seconds: float) -> pl.DataFrame:
    """Answers with `said`, the first reason to doubt them, and whether they are an opinion without one."""
    since = doubts.select("voter", pl.col("reason").alias("doubt"), pl.col("since")).join(
        rows.select("voter", "ballot_id", "pair_id", "criterion", "said_at"), on="voter"
    ).filter(pl.col("since").is_null() | (pl.col("said_at") >= pl.col("since")))
    key = ["voter", "ballot_id", "pair_id", "criterion"]
    worst = since.group_by(key).agg(pl.col("doubt").cast(pl.Enum(REASONS)).min().cast(pl.String))
    is_opinion = pl.col("outcome") == "voted"
    reason = (
        pl.when(outcome="deleted").then(pl.lit("retracted"))
        .when(is_opinion & pl.col("doubt").is_not_null()).then("doubt")
        .when(is_opinion & (pl.col("seconds") < min_seconds)).then(pl.lit("too_fast"))
    )
    return rows.join(worst, on=key, how="left").with_columns(
        reason.alias("reason"), pl.when(is_opinion).then(verdict(pl.col("p_a"), pl.col("p_tie"))).alias("said")
    ).with_columns((is_opinion & pl.col("reason").is_null()).alias("is_sound"))


def _is_split() -> pl.Expr:
    """No single likeliest outcome among the sound opinions, and no expert's among them."""
    said = pl.col("said").filter("is_sound")
    counts = said.value_counts().struct.field("count")
    is_settled = (pl.col("is_sound") & (pl.col("purpose") == "adjudicate")).any()
    return ((counts == counts.max()).sum() > 1) & ~is_settled
