"""Mark gold: hold out the groups by which the gate judges, and draw those that examine and calibrate judges."""

from __future__ import annotations

import polars as pl

from flows.rounds import Turn, now
from schemas.ids import uniform_expr
from schemas.tables import GOLD
from warehouse.store import Writer


def mark_gold(turn: Turn) -> int:
    """Gold that the recipe draws by groups, for the gate and for calibration; no group serves both.

    Which groups are drawn is fixed by (recipe seed, group): later data never moves a group. The gate takes those of
    the smallest draws, calibration those of the largest, so changing one share moves no group of the other. A group
    that was used once can hold no gate gold; calibrate groups stay in training.
    """
    rule = turn.recipe.gold
    with turn.store.write("mark_gold") as writer:
        if rule.gate_share == 0 and rule.calibrate_share == 0:
            return turn.finish(writer, "mark_gold", 0, {})
        voted = writer.query("human_votes_by_pair", criterion=turn.recipe.criterion, sources=turn.sources)
        gold = pl.concat([_gate(turn, writer, voted), _calibrate(turn, writer, voted)])
        return turn.finish(writer, "mark_gold", gold.height, {"gold": gold})


def _gate(turn: Turn, writer: Writer, voted: pl.DataFrame) -> pl.DataFrame:
    used = writer.query("groups_in_use")
    elsewhere = writer.query("gold_groups").filter(pl.col("use") != "gate")
    marked = writer.query("gate_gold", sources=turn.sources, criterion=turn.recipe.criterion)
    free = voted.join(used, on="group_id", how="anti").join(elsewhere, on="group_id", how="anti")
    drawn = free.filter(_draw(turn) < turn.recipe.gold.gate_share)
    return _drawn(turn, drawn, "gate").join(marked, on="pair_id", how="anti")


def _calibrate(turn: Turn, writer: Writer, voted: pl.DataFrame) -> pl.DataFrame:
    elsewhere = writer.query("gold_groups").filter(pl.col("use") != "calibrate")
    marked = writer.query("calibrate_gold", sources=turn.sources, criterion=turn.recipe.criterion)
    free = voted.join(elsewhere, on="group_id", how="anti")
    drawn = free.filter(_draw(turn) >= 1 - turn.recipe.gold.calibrate_share)
    return _drawn(turn, drawn, "calibrate").join(marked, on="pair_id", how="anti")


def _draw(turn: Turn) -> pl.Expr:
    return uniform_expr(turn.recipe.seed, [pl.lit("gate"), "group_id"])


def _drawn(turn: Turn, voted: pl.DataFrame, use: str) -> pl.DataFrame:
    rule = turn.recipe.gold
    certainty = pl.max_horizontal("p_a", "p_tie", 1 - pl.col("p_a") - pl.col("p_tie"))
    chosen = voted.filter(pl.col("n_votes") >= rule.min_human_votes, certainty >= rule.min_certainty)
    why = "a held-out group" if use == "gate" else "a group drawn for calibration"
    return GOLD.complete(chosen.select(
        "pair_id", "p_a", "p_tie", "source", why=pl.format(f"mean of {{}} human votes in {why}", "n_votes"),
        criterion=pl.lit(turn.recipe.criterion), use=pl.lit(use), added_at=pl.lit(now()),
    ).sort("pair_id"))
