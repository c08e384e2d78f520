"""What each budget bought: votes, money, time, labels changed, and whether the gain that was expected came."""

from __future__ import annotations

import polars as pl

from curate.consensus.outcomes import p_b, verdict
from schemas.tables import CANDIDATES


def ledger(routes: pl.DataFrame, answers: pl.DataFrame, posteriors: pl.DataFrame) -> pl.DataFrame:
    """One row per round and reason, sorted: what was asked, answered, paid, changed, expected and reached.

    `routes` keeps ROUTES; `answers` is (route_id, cost_usd, seconds) of the routes that brought a vote,
    seconds null where unknown; `posteriors` is (round_id, pair_id, p_a, p_tie): the consensus after the
    round's votes. A pair asked about more than once in a round shares its change equally among its
    answered routes.

    Out: round_id, reason (the word before the colon), n_routes, n_votes, cost_usd, seconds, n_changed
    (labels whose outcome is another one now), expected_gain (sum over answered routes), realised_gain:
    how much likelier the new label is than the old one in the light of the votes, never negative. Its
    expectation is the expected gain where beliefs are calibrated, so the two can be compared without
    knowing the truth; `realised_gain` well below `expected_gain` says the router was too hopeful.
    """
    rows = _before(routes).join(answers, on="route_id", how="left", validate="1:1").with_columns(
        is_answered=pl.col("cost_usd").is_not_null()
    )
    after = posteriors.select("round_id", "pair_id", after_a="p_a", after_tie="p_tie")
    known = rows.join(after, on=["round_id", "pair_id"], how="left", maintain_order="left").with_columns(
        *_changes()
    ).with_columns(
        part=pl.when("is_answered").then(1 / pl.col("is_answered").sum().over("round_id", "pair_id")).otherwise(0.0)
    )
    answered = pl.col("is_answered")
    return known.sort("route_id").group_by("round_id", "reason", maintain_order=True).agg(
        n_routes=pl.len().cast(pl.Int64), n_votes=answered.sum().cast(pl.Int64), cost_usd=pl.col("cost_usd").sum(),
        seconds=pl.col("seconds").sum(), n_changed=(pl.col("is_changed") * pl.col("part")).sum(),
        expected_gain=pl.col("expected_gain").filter(answered).sum(),
        realised_gain=(pl.col("gain") * pl.col("part")).sum(),
    ).sort("round_id", "reason")


def _before(routes: pl.DataFrame) -> pl.DataFrame:
    schema = pl.Struct({name: CANDIDATES.columns[name].dtype for name in ("p_a", "p_tie")})
    return routes.select(
        "route_id", "round_id", "pair_id", "expected_gain", pl.col("reason").str.split(":").list.first(),
        pl.col("features").str.json_decode(schema).alias("before"),
    ).unnest("before")


def _changes() -> list[pl.Expr]:
    """Whether the label is another outcome now, and by how much the new one is likelier than the old; 0 if unknown."""
    was = verdict(pl.col("p_a"), pl.col("p_tie"))
    now = verdict(pl.col("after_a"), pl.col("after_tie"))
    shares = {"a": pl.col("after_a"), "tie": pl.col("after_tie"), "b": p_b(pl.col("after_a"), pl.col("after_tie"))}
    old, new = (pl.coalesce(pl.when(label == k).then(p) for k, p in shares.items()) for label in (was, now))
    return [
        (was != now).fill_null(False).cast(pl.Float64).alias("is_changed"),
        (new - old).clip(lower_bound=0).fill_null(0.0).alias("gain"),
    ]
