"""The onboarding test: who has passed it, on which tasks, and what each new annotator is asked next."""

from __future__ import annotations

import math
from collections.abc import Iterable

import polars as pl

from curate.consensus.outcomes import verdict
from schemas.ids import uniform_expr
from schemas.people import Quality

MOST_TRIES = 2
"""after so many times the test's tasks without passing, more tasks are no help"""
STATUS: dict[str, pl.DataType] = {
    "voter": pl.String(), "n_done": pl.Int64(), "n_right": pl.Int64(), "accuracy": pl.Float64(), "n_left": pl.Int64(),
    "state": pl.String(), "next": pl.String(),
}
_NEXT = {
    "testing": "answers the onboarding tasks that are left",
    "passed": "votes count",
    "again": "reads the guideline again, then answers more onboarding tasks",
    "failed": "somebody talks the guideline through with them",
}


def onboarding(answers: pl.DataFrame, voters: Iterable[str], quality: Quality) -> pl.DataFrame:
    """Columns STATUS, one row per annotator of `voters` or with an onboarding answer, sorted by voter.

    `answers` has the columns ANSWERED. Passed: at least `onboarding_tasks` different onboarding pairs voted on, and at
    least `min_gold_accuracy` of them right, the rule by which `doubtful.left_out` counts votes. `n_left`: tasks until
    the test is done (`testing`), or until it is passed if all of them are right (`again`); 0 otherwise. `failed`: that
    would be more than MOST_TRIES times the tasks in all. Without an onboarding in the recipe everyone has passed.
    """
    done = results(answers).group_by("voter").agg(
        pl.len().alias("n_done"), pl.col("is_right").sum().alias("n_right"))
    everyone = pl.DataFrame({"voter": sorted({*voters, *done["voter"]})}, schema={"voter": pl.String()})
    counted = everyone.join(done, on="voter", how="left", maintain_order="left").with_columns(
        pl.col("n_done", "n_right").fill_null(0)).with_columns((pl.col("n_right") / pl.col("n_done")).alias("share"))
    least, asked = quality.min_gold_accuracy, quality.onboarding_tasks
    needed = _n_needed(least)
    state = (
        pl.when(pl.col("n_done") < asked).then(pl.lit("testing"))
        .when((asked == 0) | (pl.col("share") >= least)).then(pl.lit("passed"))
        .when(pl.col("n_done") + needed <= MOST_TRIES * asked).then(pl.lit("again")).otherwise(pl.lit("failed"))
    )
    told = counted.with_columns(state.alias("state"), pl.col("share").fill_nan(None).alias("accuracy"))
    n_left = pl.when(state="testing").then(asked - pl.col("n_done")).when(state="again").then(needed).otherwise(0)
    return told.with_columns(
        n_left.alias("n_left"), pl.col("state").replace_strict(_NEXT, return_dtype=pl.String).alias("next"),
    ).select(pl.col(name).cast(kind) for name, kind in STATUS.items())


def results(answers: pl.DataFrame) -> pl.DataFrame:
    """(voter, pair_id, said, truth, is_right), one row per annotator and onboarding pair voted on, sorted.

    A pair that somebody voted on twice is right when both votes are; `said` is the last.
    """
    said = answers.filter(
        pl.col("purpose") == "onboarding", pl.col("outcome") == "voted", pl.col("gold_p_a").is_not_null()
    ).with_columns(
        verdict(pl.col("p_a"), pl.col("p_tie")).alias("said"),
        verdict(pl.col("gold_p_a"), pl.col("gold_p_tie")).alias("truth"),
    )
    return said.sort("voter", "pair_id", "said_at", "ballot_id").group_by(
        "voter", "pair_id", maintain_order=True
    ).agg(
        pl.col("said").last(), pl.col("truth").last(), (pl.col("said") == pl.col("truth")).all().alias("is_right"))


def next_tasks(status: pl.DataFrame, answers: pl.DataFrame, gold_pairs: Iterable[str], seed: int) -> pl.DataFrame:
    """(voter, pair_id, ordinal): the onboarding tasks that each annotator is given next, sorted.

    `status` has the columns STATUS, `gold_pairs` are ids of attention gold. Drawn by content among those that the
    annotator has never answered, for any purpose; fewer than `n_left` when the gold runs out.
    """
    pool = pl.DataFrame({"pair_id": sorted(set(gold_pairs))}, schema={"pair_id": pl.String()})
    open_to = status.filter(pl.col("n_left") > 0).select("voter", "n_left").join(pool, how="cross").join(
        answers.select("voter", "pair_id"), on=["voter", "pair_id"], how="anti")
    draw = uniform_expr(seed, [pl.lit("onboarding"), "voter", "pair_id"]).alias("draw")
    ranked = open_to.with_columns(draw).sort("voter", "draw", "pair_id").with_columns(
        pl.int_range(pl.len(), dtype=pl.Int64).over("voter").alias("ordinal"))
    return ranked.filter(pl.col("ordinal") < pl.col("n_left")).select("voter", "pair_id", "ordinal")


def _n_needed(least: float) -> pl.Expr:
    """The least k with (right + k) / (done + k) ≥ least: infinite where one error is too many."""
    if least >= 1:
        return pl.lit(math.inf)
    return ((least * pl.col("n_done") - pl.col("n_right")) / (1 - least)).round(9).ceil()
