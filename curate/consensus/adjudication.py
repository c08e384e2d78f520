"""Adjudication: where an expert has voted, that vote is the label."""

from __future__ import annotations

import polars as pl

from curate.consensus.labels import strength
from curate.consensus.outcomes import p_b, quantised
from schemas.recipe import Filtering

REASON = "adjudicated"


def adjudicated(labels: pl.DataFrame, final_votes: pl.DataFrame, filtering: Filtering) -> pl.DataFrame:
    """`labels` (LABELS less label_set), same rows, same order, with the outcome that an expert gave.

    `final_votes` has pair_id, p_a, p_tie: current votes of experts on tasks sent to be adjudicated; a pair that
    several experts voted on takes their mean, abstentions (null) count for nothing. Such a label has p from the
    vote in steps of 1/200, p_sd 0, weight 1 and the reason `adjudicated`; it is kept, whatever the filter made of
    it. One with p_tie above `filtering.drop_ties_above` teaches no order and is dropped as a `tie`, as any other.
    Equal texts stay a tie. Apply it after the filter and before the last veto, which an expert does not overrule.
    """
    final = final_votes.drop_nulls(["p_a", "p_tie"]).sort("pair_id", "p_a", "p_tie").group_by(
        "pair_id", maintain_order=True).agg(pl.col("p_a", "p_tie").mean().round(12))
    shares = final.select("pair_id", *(s.name.prefix("final_") for s in quantised(
        pl.col("p_a"), p_b(pl.col("p_a"), pl.col("p_tie")))))
    joined = labels.join(shares, on="pair_id", how="left", maintain_order="left")
    is_final = pl.col("final_p_a").is_not_null() & (pl.col("reason") != "identical_text")
    turned = joined.with_columns(
        *(pl.when(is_final).then(f"final_{c}").otherwise(c).alias(c) for c in ("p_a", "p_tie")),
        pl.when(is_final).then(0.0).otherwise("p_sd").alias("p_sd"))
    is_tie = pl.col("p_tie") > filtering.drop_ties_above
    outcome = {
        "strength": strength(), "action": pl.when(is_tie).then(pl.lit("drop")).otherwise(pl.lit("keep")),
        "reason": pl.when(is_tie).then(pl.lit("tie")).otherwise(pl.lit(REASON)),
        "weight": 1.0 - is_tie.cast(pl.Float64)}
    return turned.with_columns(
        pl.when(is_final).then(value).otherwise(name).alias(name) for name, value in outcome.items()
    ).select(labels.columns)
