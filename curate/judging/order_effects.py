"""What the order of presentation does to a voter: verdicts kept, flips, slots, accuracy, each with an interval.

On the QLoRA pairs GPT-4 keeps its verdict in both orders on only 61 %, and the first slot wins 56 % of its votes
(65 % of the decided ones), so both numbers are reported for every judge.
"""

from __future__ import annotations

import math

import polars as pl

from curate.consensus.outcomes import DECIMALS, expected_win, verdict
from curate.rewards.evaluation import MIN_GROUPS, Interval, bootstrap_by_group
from schemas.errors import InputError

METRICS = ("kept", "flipped", "first", "second", "tie", "failed", "accuracy")
Z = 1.959963984540054
"""normal quantile of a two-sided 95 % interval"""
_EFFECT = {
    "voter": pl.String, "metric": pl.String, "value": pl.Float64, "low": pl.Float64, "high": pl.Float64,
    "n": pl.Int64, "n_groups": pl.Int64, "is_descriptive": pl.Boolean,
}


def flip_rates(votes: pl.DataFrame) -> pl.DataFrame:
    """One row per voter with ballots seen in both orders: voter, n_ballots, n_flipped, flip_rate.

    `votes` keeps the contract VOTES. A ballot counts when it holds an opinion in each order, and is flipped
    when the verdicts (a, b or tie) differ; several samples of one order are averaged first.
    """
    said = votes.filter(~pl.col("is_abstention"), pl.col("shown_first").is_not_null())
    by_order = said.sort("vote_id").group_by("voter", "ballot_id", "shown_first", maintain_order=True).agg(
        pl.col("p_a", "p_tie").mean()
    )
    ballots = by_order.group_by("voter", "ballot_id").agg(
        pl.len().alias("n_orders"), (verdict(pl.col("p_a"), pl.col("p_tie")).n_unique() > 1).alias("is_flipped")
    )
    counted = ballots.filter(pl.col("n_orders") == 2).group_by("voter").agg(
        pl.len().cast(pl.Int64).alias("n_ballots"), pl.col("is_flipped").sum().cast(pl.Int64).alias("n_flipped")
    )
    return counted.with_columns((pl.col("n_flipped") / pl.col("n_ballots")).alias("flip_rate")).sort("voter")


def first_slot_rates(votes: pl.DataFrame) -> pl.DataFrame:
    """One row per voter: voter, n_votes, n_abstentions, n_decided, n_first_slot, first_slot_rate.

    A vote is decided when its verdict is a or b and the order shown is known; the rate is the share of decided
    votes for whatever was shown first (one half without bias), null when nothing was decided.
    """
    said = verdict(pl.col("p_a"), pl.col("p_tie"))
    is_decided = (said.is_in(["a", "b"]) & pl.col("shown_first").is_not_null()).fill_null(False)
    counts = votes.group_by("voter").agg(
        pl.len().cast(pl.Int64).alias("n_votes"),
        pl.col("is_abstention").sum().cast(pl.Int64).alias("n_abstentions"),
        is_decided.sum().cast(pl.Int64).alias("n_decided"),
        (is_decided & (said == pl.col("shown_first"))).sum().cast(pl.Int64).alias("n_first_slot"),
    )
    rate = pl.when(pl.col("n_decided") > 0).then(pl.col("n_first_slot") / pl.col("n_decided"))
    return counts.with_columns(rate.alias("first_slot_rate")).sort("voter")


def order_effects(votes: pl.DataFrame, pairs: pl.DataFrame, *, n_bootstrap: int = 2000, seed: int = 0) -> pl.DataFrame:
    """One row per voter and metric, sorted by voter and in the order of METRICS, with two-sided 95 % bounds.

    `votes` keeps VOTES; only ballots shown in both orders count, several samples of an order averaged first.
    `pairs` has pair_id, group_id and the truth p_a, p_tie, null where it is not known. A row of a metric is a
    ballot, so `n` counts ballots:

    kept      the verdicts (a, b, tie) of both orders are equal; an answer without a verdict equals nothing
    flipped   they differ, of ballots with a verdict in each order
    first, second, tie, failed   share of a ballot's two answers; they add up to 1
    accuracy  share of a ballot's verdicts that name the true side, a tie counting 1/2, where truth is decided
              (one side likelier than the other and than a tie)

    Raises InputError for a vote on a pair that `pairs` does not hold.
    """
    marks = ballot_marks(votes, pairs).sort("voter", "pair_id", "ballot_id")
    rows = []
    for (voter,), mine in marks.group_by("voter", maintain_order=True):
        for metric in METRICS:
            known = mine.filter(pl.col(metric).is_not_null())
            if known.height:
                found = vars(share_interval(known, metric, n_bootstrap=n_bootstrap, seed=seed))
                rows.append({"voter": voter, "metric": metric, **{k: found[k] for k in _EFFECT if k in found}})
    return pl.DataFrame(rows, schema=_EFFECT)


def ballot_marks(votes: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
    """One row per (voter, pair_id, ballot_id) shown in both orders: group_id and METRICS as numbers in 0..1.

    Arguments and meaning as in `order_effects`; null where a metric says nothing about a ballot.
    """
    truth = pairs.select("pair_id", "group_id", true_side(pl.col("p_a"), pl.col("p_tie")).alias("truth"))
    orders = _orders(votes).join(truth, on="pair_id", how="left")
    strangers = orders.filter(pl.col("group_id").is_null())
    if strangers.height:
        raise InputError(f"votes on {strangers['pair_id'].n_unique()} pairs without a group",
                         expected="a row of `pairs` for each", next="join the pairs' groups")
    ballots = orders.group_by("voter", "pair_id", "group_id", "ballot_id").agg(pl.len().alias("n_orders"), *_marks())
    return ballots.filter(pl.col("n_orders") == 2).drop("n_orders")


def share_interval(rows: pl.DataFrame, column: str, *, n_bootstrap: int = 2000, seed: int = 0) -> Interval:
    """Mean of `column`, in 0..1, over rows (group_id, `column`), with a two-sided 95 % interval.

    Groups are resampled. Where each holds one row, or all hold the same mean, resampling has nothing to show (ten
    right of ten would be 100 to 100 %): there it is Wilson's score interval (Wilson 1927) over groups. A mark
    between 0 and 1 varies less than the coin that Wilson assumes, so those bounds are never too narrow.
    No rows: 0, with bounds 0 and 1.
    """
    if rows.is_empty():
        return Interval(0.0, 0.0, 1.0, 0, 0, True)
    means = rows.group_by("group_id").agg(pl.col(column).mean().round(12), pl.len().alias("n"))
    if means["n"].max() == 1 or means[column].n_unique() == 1:
        value = float(rows.sort(column)[column].cast(pl.Float64).to_numpy().mean())
        low, high = wilson(value, means.height)
        return Interval(value, low, high, rows.height, means.height, means.height < MIN_GROUPS)
    return bootstrap_by_group(rows, column, n_bootstrap=n_bootstrap, seed=seed)


def wilson(share: float, n: int) -> tuple[float, float]:
    """Wilson's two-sided 95 % score interval of a share of n independent trials; (0, 1) without any."""
    if n == 0:
        return 0.0, 1.0
    centre = (share + Z * Z / (2 * n)) / (1 + Z * Z / n)
    reach = Z / (1 + Z * Z / n) * math.sqrt(share * (1 - share) / n + Z * Z / (4 * n * n))
    return max(0.0, centre - reach), min(1.0, centre + reach)


def true_side(p_a: pl.Expr, p_tie: pl.Expr) -> pl.Expr:
    """"a" or "b" where truth is decided: that side is likelier than the other and than a tie. Else null."""
    side = verdict(p_a, p_tie)
    is_even = (expected_win(p_a, p_tie) - 0.5).abs().round(DECIMALS) == 0
    return pl.when((side != "tie") & ~is_even).then(side)


def _orders(votes: pl.DataFrame) -> pl.DataFrame:
    """One row per ballot and order: the verdict of its answers' mean p, null when none of them is an opinion."""
    p = [pl.when(~pl.col("is_abstention")).then(c).alias(c) for c in ("p_a", "p_tie")]
    shown = votes.filter(pl.col("shown_first").is_not_null()).with_columns(p).sort("vote_id")
    means = shown.group_by("voter", "pair_id", "ballot_id", "shown_first", maintain_order=True).agg(
        pl.col("p_a", "p_tie").mean()
    )
    return means.with_columns(verdict(pl.col("p_a"), pl.col("p_tie")).alias("said"))


def _marks() -> list[pl.Expr]:
    said = pl.col("said")
    is_first, is_second = (said == pl.col("shown_first")), said.is_in(["a", "b"]) & (said != pl.col("shown_first"))
    is_right = pl.when(said == "tie").then(0.5).otherwise((said == pl.col("truth")).cast(pl.Float64))
    is_kept, is_full = said.drop_nulls().n_unique() == 1, said.null_count() == 0
    return [
        (is_kept & is_full).cast(pl.Float64).alias("kept"),
        pl.when(is_full).then((~is_kept).cast(pl.Float64)).alias("flipped"),
        is_first.fill_null(False).mean().alias("first"), is_second.fill_null(False).mean().alias("second"),
        (said == "tie").fill_null(False).mean().alias("tie"), said.is_null().mean().alias("failed"),
        pl.when(said.is_not_null() & pl.col("truth").is_not_null()).then(is_right).mean().alias("accuracy"),
    ]
