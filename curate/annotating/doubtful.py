"""Votes of people that do not count in a settling, each with its reason. The votes themselves never change."""

from __future__ import annotations

import numpy as np
import polars as pl
from scipy.stats import beta

from curate.consensus.outcomes import verdict
from schemas.ids import uniform_expr
from schemas.people import Quality

CONFIDENCE = 0.95
"""of the one-sided upper bound on an annotator's accuracy on gold tasks"""
LEFT_OUT: dict[str, pl.DataType] = {"vote_id": pl.String(), "voter": pl.String(), "reason": pl.String()}


def left_out(
    votes: pl.DataFrame, voters: pl.DataFrame, gold: pl.DataFrame, tested: pl.DataFrame, quality: Quality
) -> pl.DataFrame:
    """LEFT_OUT: votes of people that the recipe does not count, sorted by vote_id; the first reason that applies.

    `votes` are current votes of one criterion, `gold` is (pair_id, p_a, p_tie) of attention gold, `tested` is
    (voter, pair_id) of onboarding tasks that were voted on. Votes that came from no task (imported, recorded)
    have no `round_id` and are never left out.

    fails_gold: the upper bound (Clopper and Pearson 1934, one-sided 95 %) of the annotator's accuracy on gold is
    below `min_gold_accuracy`. onboarding: fewer than `onboarding_tasks` onboarding tasks done, or accuracy on
    them below `min_gold_accuracy`. over_cap: beyond `max_votes_per_annotator` in its round; which ones, is drawn
    by content, so neither speed nor order of arrival decides.
    """
    of_people = votes.filter(pl.col("round_id").is_not_null(), pl.col("status") == "cast").join(
        voters.filter(pl.col("kind") == "human"), on="voter", how="semi")
    cards = accuracy_on_gold(of_people, gold)
    found = [
        _of_voters(of_people, _failing(cards, quality.min_gold_accuracy), "fails_gold"),
        _of_voters(of_people, _not_through(of_people, gold, tested, quality), "onboarding"),
        _over_cap(of_people, quality.max_votes_per_annotator),
    ]
    return pl.concat(found).unique("vote_id", keep="first", maintain_order=True).sort("vote_id")


def counted(votes: pl.DataFrame, out: pl.DataFrame) -> pl.DataFrame:
    """`votes` without those of `left_out`, in order."""
    return votes.join(out, on="vote_id", how="anti", maintain_order="left")


def accuracy_on_gold(votes: pl.DataFrame, gold: pl.DataFrame) -> pl.DataFrame:
    """(voter, n, n_right, accuracy, upper) over gold pairs the voter had an opinion on, sorted by voter.

    Right is naming the gold's likeliest outcome of three; a pair voted on twice counts once, right if both were.
    `upper` is Clopper and Pearson's one-sided bound (1934), exact at any n.
    """
    truth = gold.select("pair_id", truth=verdict(pl.col("p_a"), pl.col("p_tie")))
    said = votes.filter(~pl.col("is_abstention")).with_columns(said=verdict(pl.col("p_a"), pl.col("p_tie")))
    pairs = said.join(truth, on="pair_id").group_by("voter", "pair_id").agg(
        is_right=(pl.col("said") == pl.col("truth")).all())
    counts = pairs.group_by("voter").agg(
        n=pl.len().cast(pl.Int64), n_right=pl.col("is_right").sum().cast(pl.Int64)).sort("voter")
    hits, n = counts["n_right"].to_numpy(), counts["n"].to_numpy()
    bound = np.asarray(beta.ppf(CONFIDENCE, hits + 1, (n - hits).clip(1)), np.float64)
    upper = pl.when(pl.col("n_right") == pl.col("n")).then(1.0).otherwise(pl.Series(bound))
    return counts.with_columns(accuracy=pl.col("n_right") / pl.col("n"), upper=upper)


def _failing(cards: pl.DataFrame, least: float) -> pl.Series:
    return cards.filter(pl.col("upper") < least)["voter"]


def _not_through(votes: pl.DataFrame, gold: pl.DataFrame, tested: pl.DataFrame, quality: Quality) -> pl.Series:
    """Annotators who have not passed the onboarding; nobody where the recipe has none."""
    everyone = votes["voter"].unique()
    if quality.onboarding_tasks == 0:
        return everyone.clear()
    through = accuracy_on_gold(votes.join(tested, on=["voter", "pair_id"], how="semi"), gold).filter(
        pl.col("n") >= quality.onboarding_tasks, pl.col("accuracy") >= quality.min_gold_accuracy)["voter"]
    return everyone.filter(~everyone.is_in(through.implode()))


def _of_voters(votes: pl.DataFrame, voters: pl.Series, reason: str) -> pl.DataFrame:
    chosen = votes.filter(pl.col("voter").is_in(voters.implode()))
    return chosen.select("vote_id", "voter", reason=pl.lit(reason)).cast(pl.Schema(LEFT_OUT))


def _over_cap(votes: pl.DataFrame, most: int) -> pl.DataFrame:
    if most == 0:
        return pl.DataFrame(schema=LEFT_OUT)
    draw = uniform_expr(0, [pl.lit("cap"), "round_id", "voter", "ballot_id"])
    ranked = votes.with_columns(draw=draw).with_columns(
        place=pl.struct("draw", "ballot_id").rank("dense").over("voter", "round_id"))
    return ranked.filter(pl.col("place") > most).select("vote_id", "voter", reason=pl.lit("over_cap"))
