"""From labelled pairs to what a trainer reads: which rows are trained on, kept to validate, left out."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from schemas.errors import RefusedError
from schemas.ids import content_id_expr, uniform_expr
from schemas.recipe import Tuning
from schemas.tables import LESSONS

MIN_GROUPS = 10
"""under so many validation groups a metric only describes them"""
_TIE = 1e-9  # p_b is computed as a difference: equal shares may differ in the last bits
_P_B = 1.0 - pl.col("p_a") - pl.col("p_tie")


@dataclass(frozen=True)
class Lessons:
    """Every row of an order's LESSONS with the part it plays."""

    rows: pl.DataFrame
    """(pair_id, group_id, part, is_a, messages, chosen, rejected, margin, expected_win, weight); part is `train`,
    `validation`, `tie` or `no_weight`"""
    unit: str
    """what is never on both sides of the split: `group`, or `pair` where one group holds all"""

    def of(self, *parts: str) -> pl.DataFrame:
        """The rows of some parts, by pair_id."""
        return self.rows.filter(pl.col("part").is_in(parts)).sort("pair_id")


def lessons_of(lessons: pl.DataFrame, tuning: Tuning, seed: int) -> Lessons:
    """Frame LESSONS, in any order, to rows with a part. Every row in is one row out.

    A weight of 0 comes first, then ties: equal shares of both sides, or equal texts. What is left is parted by
    group: validation are the groups whose draw (seed, group_id) is below `tuning.validation_share`, the lowest one
    at least, never all; so a group stays where it is when others join. One group alone is parted by pair.
    Raises RefusedError when `tuning.has_margin` and a trained pair has no strength: margins on all rows or none.
    """
    rows = LESSONS.complete(lessons).sort("pair_id").with_columns(
        part=_left_out(), is_a=pl.col("p_a") > _P_B, expected_win=pl.col("p_a") + pl.col("p_tie") / 2,
    )
    usable = rows.filter(pl.col("part").is_null())
    unit = "group" if usable["group_id"].n_unique() > 1 else "pair"
    parts = _drawn(usable.select(f"{unit}_id").unique(), f"{unit}_id", tuning.validation_share, seed)
    parted = rows.join(parts, on=f"{unit}_id", how="left").with_columns(pl.coalesce("part", "drawn").alias("part"))
    if tuning.has_margin:
        _check_margins(parted)
    return Lessons(parted.select(*_columns()).sort("pair_id"), unit)


def hashed_groups(rows: pl.DataFrame) -> list[str]:
    """Ids of groups as a model folder holds them: they tell whether a group is known, not which one it is."""
    return sorted(rows.select(content_id_expr([pl.lit("group"), "group_id"]).unique()).to_series())


def _left_out() -> pl.Expr:
    is_tie = ((pl.col("p_a") - _P_B).abs() <= _TIE) | (pl.col("text_a") == pl.col("text_b"))
    return pl.when(pl.col("weight") == 0).then(pl.lit("no_weight")).when(is_tie).then(pl.lit("tie"))


def _drawn(units: pl.DataFrame, name: str, share: float, seed: int) -> pl.DataFrame:
    """(name, drawn): `train` or `validation` per unit; one alone is trained on."""
    draws = units.with_columns(u=uniform_expr(seed, [pl.lit("validation"), name]))
    is_kept = ((pl.col("u") < share) | (pl.col("u") == pl.col("u").min())) & (pl.col("u") < pl.col("u").max())
    return draws.select(name, drawn=pl.when(is_kept).then(pl.lit("validation")).otherwise(pl.lit("train")))


def _check_margins(rows: pl.DataFrame) -> None:
    n = rows.filter(pl.col("part").is_in(["train", "validation"]), pl.col("strength").is_null()).height
    if n:
        raise RefusedError(
            f"{n} pairs have no strength, and training.trl.has_margin asks for a margin", expected="a strength on all",
            next="set has_margin = false, or a consensus that gives strengths",
        )


def _columns() -> list[pl.Expr]:
    a, b = pl.col("text_a"), pl.col("text_b")
    return [
        *(pl.col(c) for c in ("pair_id", "group_id", "part", "is_a", "messages", "expected_win", "weight")),
        pl.when("is_a").then(a).otherwise(b).alias("chosen"), pl.when("is_a").then(b).otherwise(a).alias("rejected"),
        pl.col("strength").abs().cast(pl.Float64).alias("margin"),
    ]
