"""From posteriors to labels: quantised, identical texts a tie, and a reason wherever a label is dropped."""

from __future__ import annotations

import polars as pl

from curate.consensus.outcomes import DECIMALS, STEPS, expected_win, p_b, quantised
from schemas.people import Consensus
from schemas.recipe import Filtering
from schemas.tables import LABELS, POSTERIORS


def labels_from(
    posteriors: pl.DataFrame, consensus: Consensus, filtering: Filtering, identical: pl.Series | None = None
) -> pl.DataFrame:
    """LABELS less label_set, sorted by pair_id: one row per posterior, and one per pair of `identical` texts.

    p_a and p_tie in steps of 1/200 (p_sd too), strength = 6 (expected win − 1/2) rounded to an integer −3..3,
    weight 1 for a kept label and 0 for a dropped one. The first rule that applies drops: `identical_text` (a tie
    whatever was voted), `too_few_votes` (n_votes < min_votes), `tie` (p_tie > drop_ties_above), `undecided` (no
    side is ahead; kept only by drop_ties_above = 1, which keeps every tie), `uncertain` (the likeliest outcome
    below min_certainty). The rest is `keep` with an empty reason.
    """
    same = pl.Series("pair_id", identical if identical is not None else [], pl.String).unique()
    rows = _with_identical(POSTERIORS.complete(posteriors), same)
    read = rows.with_columns(*quantised(pl.col("p_a"), p_b(pl.col("p_a"), pl.col("p_tie"))))
    reasoned = read.with_columns(
        _reason(consensus, filtering), strength(), ((pl.col("p_sd") * STEPS).round() / STEPS).round(3)
    )
    is_kept = pl.col("reason") == ""
    decided = reasoned.with_columns(
        pl.when(is_kept).then(pl.lit("keep")).otherwise(pl.lit("drop")).alias("action"),
        is_kept.cast(pl.Float64).alias("weight"), pl.lit("").alias("label_set"),
    )
    return LABELS.complete(decided.select(*LABELS.schema)).drop("label_set").sort("pair_id")


def strength() -> pl.Expr:
    """How much better a is, −3..3: the expected win of columns p_a, p_tie, odd under a swap of the letters."""
    levels = (6 * (expected_win(pl.col("p_a"), pl.col("p_tie")) - 0.5)).round(DECIMALS)
    # Through an integer: there is no minus zero to print, whatever Polars makes of adding 0.0.
    return (levels.sign() * (levels.abs() + 0.5).floor()).cast(pl.Int64).cast(pl.Float64).alias("strength")


def _with_identical(posteriors: pl.DataFrame, same: pl.Series) -> pl.DataFrame:
    rows = posteriors.join(same.to_frame(), on="pair_id", how="full", coalesce=True)
    is_same = pl.col("pair_id").is_in(same.implode())
    ties = {"p_a": 0.0, "p_tie": 1.0, "p_sd": 0.0}
    return rows.with_columns(
        *(pl.when(is_same).then(value).otherwise(name).alias(name) for name, value in ties.items()),
        pl.col("n_votes", "n_human").fill_null(0), is_same.alias("is_identical"),
    )


def _reason(consensus: Consensus, filtering: Filtering) -> pl.Expr:
    side_b = p_b(pl.col("p_a"), pl.col("p_tie"))
    is_even = (pl.col("p_a") - side_b).abs().round(DECIMALS) == 0
    certainty = pl.max_horizontal("p_a", "p_tie", side_b).round(DECIMALS)
    return (
        pl.when("is_identical").then(pl.lit("identical_text"))
        .when(pl.col("n_votes") < consensus.min_votes).then(pl.lit("too_few_votes"))
        .when(pl.col("p_tie") > filtering.drop_ties_above).then(pl.lit("tie"))
        .when(is_even & pl.lit(filtering.drop_ties_above < 1)).then(pl.lit("undecided"))
        .when(certainty < filtering.min_certainty).then(pl.lit("uncertain"))
        .otherwise(pl.lit("")).alias("reason")
    )
