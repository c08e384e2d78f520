"""Which person gets which vote: gain per price under everybody's capacity, nobody twice on a pair."""

from __future__ import annotations

import polars as pl

from curate.routing.value import with_gains
from schemas.contract import Column, Table
from schemas.ids import uniform_expr
from schemas.people import Routing

ANNOTATORS = Table("annotators", "person who can be asked", ("voter",), dict(
    voter=Column(pl.String), skill=Column(pl.Float64, low=0, high=1),
    cost_usd=Column(pl.Float64, low=0), seconds=Column(pl.Float64, low=0),  # per vote
    capacity=Column(pl.Int64, True, low=0)))  # votes this round; null: unlimited
UNLIMITED = 2**31


def prices(annotators: pl.DataFrame, rule: Routing) -> pl.DataFrame:
    """`annotators` with `price`: the share of the round's votes, money and hours that one vote takes, summed.

    Several budgets at once make a knapsack of several dimensions; the sum of shares is the classic
    measure of what a choice consumes (Toyoda 1975). Raises ContractError for a voter listed twice.
    """
    people = ANNOTATORS.complete(annotators).sort("voter")
    price = pl.lit(1 / max(rule.budget_votes, 1))
    if rule.budget_usd:
        price = price + pl.col("cost_usd") / rule.budget_usd
    if rule.budget_hours:
        price = price + pl.col("seconds") / (3600 * rule.budget_hours)
    return people.with_columns(price=price, capacity=pl.col("capacity").fill_null(UNLIMITED))


def offers(pool: pl.DataFrame, slots: pl.DataFrame, people: pl.DataFrame, rule: Routing, seed: int) -> pl.DataFrame:
    """One row per slot and annotator: `slots` with voter, its expected gain there, rate, cost_usd, seconds.

    `rate` is gain per price, and what the router maximises. On audits it is chance: the audit's people
    must not be the best ones. `pool` are the candidates of the slots, `place` of a slot is kept.
    """
    n = int(slots["curve"].max()) + 1 if slots.height else 1  # type: ignore[arg-type]
    by_skill = [
        with_gains(pool, float(s), n).select(
            "pair_id", curve="ordinal", skill=pl.lit(float(s)), own_gain="expected_gain"
        )
        for s in people["skill"].unique().sort()
    ]
    chance = uniform_expr(seed, [pl.lit("annotator"), "pair_id", "ordinal", "voter"])
    kept = pl.when(pl.col("undiscounted") > 0).then(pl.col("expected_gain") / pl.col("undiscounted")).otherwise(1.0)
    joined = slots.join(people.select("voter", "skill", "price", "cost_usd", "seconds"), how="cross").join(
        pl.concat(by_skill), on=["pair_id", "curve", "skill"]
    ).with_columns(expected_gain=pl.col("own_gain") * kept, chance_of_voter=chance)
    rate = pl.when("is_audit").then("chance_of_voter").otherwise(pl.col("expected_gain") / pl.col("price"))
    return joined.with_columns(rate=(rate * 1e9).round() / 1e9)


def assign(offered: pl.DataFrame, people: pl.DataFrame, voted: pl.DataFrame | None, by_rate: bool) -> pl.DataFrame:
    """At most one row of `offered` per slot, nobody over capacity, nobody twice on a pair; best first.

    Every open slot proposes to the annotator with the highest rate for it; an annotator takes the best
    proposals until full, and the others propose again. Each turn fills an annotator or settles a pair,
    so the number of turns does not grow with the slots. `voted` is (pair_id, voter) of earlier votes.
    `by_rate` takes slots by rate, else by their `place`.
    """
    left = offered if voted is None else offered.join(voted, on=["pair_id", "voter"], how="anti")
    free = people.select("voter", "capacity")
    first = ["is_audit", "rate", "place"] if by_rate else ["is_audit", "place"]
    falling = [True, True, False] if by_rate else [True, False]
    taken = left.clear()
    while left.height:
        best = left.sort("rate", "chance_of_voter", descending=[True, False]).unique("place", maintain_order=True)
        ordered = best.sort(first, descending=falling).unique(["pair_id", "voter"], maintain_order=True)
        counted = ordered.join(free, on="voter", maintain_order="left").filter(
            pl.int_range(pl.len()).over("voter") < pl.col("capacity")
        )
        taken = pl.concat([taken, counted.drop("capacity")])
        used = counted.group_by("voter").agg(n=pl.len().cast(pl.Int64))
        free = free.join(used, on="voter", how="left").select(
            "voter", capacity=pl.col("capacity") - pl.col("n").fill_null(0)
        )
        left = left.join(counted, on="place", how="anti").join(
            counted, on=["pair_id", "voter"], how="anti"
        ).join(free.filter(pl.col("capacity") > 0), on="voter", how="semi")
    return taken.sort(first, descending=falling)
