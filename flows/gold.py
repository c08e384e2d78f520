"""Mark gold: hold out the groups by which the gate judges, draw those that examine judges and those for people."""

from __future__ import annotations

import polars as pl

from flows.rounds import Turn, now
from schemas.ids import uniform_expr
from schemas.tables import GOLD
from warehouse.store import Writer

WHY = {"gate": "a held-out group", "calibrate": "a group drawn for calibration",
       "attention": "a group drawn for checking annotators"}


def mark_gold(turn: Turn) -> int:
    """Gold that the recipe draws by groups, for the gate, for calibration, for attention; no group serves two.

    Which groups are drawn is fixed by (recipe seed, group): later data never moves a group. The gate takes those of
    the smallest draws, calibration those of the largest and attention those below them, so changing the share of the
    gate or of attention moves no group of another use. A group that was used once can hold no gate gold; the others
    stay in training.
    """
    rule = turn.recipe.gold
    with turn.store.write("mark_gold") as writer:
        if rule.gate_share == rule.calibrate_share == rule.attention_share == 0:
            return turn.finish(writer, "mark_gold", 0, {})
        voted = writer.query("human_votes_by_pair", criterion=turn.recipe.criterion, sources=turn.sources)
        least = 1 - rule.calibrate_share
        calibrating = _draw(turn) >= least
        checking = _draw(turn).is_between(least - rule.attention_share, least, "left")
        gold = pl.concat([
            _gate(turn, writer, voted), _training(turn, writer, voted.filter(calibrating), "calibrate"),
            _training(turn, writer, voted.filter(checking), "attention"),
        ])
        return turn.finish(writer, "mark_gold", gold.height, {"gold": gold})


def _gate(turn: Turn, writer: Writer, voted: pl.DataFrame) -> pl.DataFrame:
    used = writer.query("groups_in_use")
    elsewhere = writer.query("gold_groups").filter(pl.col("use") != "gate")
    marked = writer.query("gate_gold", sources=turn.sources, criterion=turn.recipe.criterion)
    free = voted.join(used, on="group_id", how="anti").join(elsewhere, on="group_id", how="anti")
    drawn = free.filter(_draw(turn) < turn.recipe.gold.gate_share)
    return _drawn(turn, drawn, "gate").join(marked, on="pair_id", how="anti")


def _training(turn: Turn, writer: Writer, voted: pl.DataFrame, use: str) -> pl.DataFrame:
    """Gold of a use that stays in training: in groups of no other use."""
    elsewhere = writer.query("gold_groups").filter(pl.col("use") != use)
    marked = writer.query(f"{use}_gold", sources=turn.sources, criterion=turn.recipe.criterion)
    free = voted.join(elsewhere, on="group_id", how="anti")
    return _drawn(turn, free, use).join(marked, on="pair_id", how="anti")


def _draw(turn: Turn) -> pl.Expr:
    return uniform_expr(turn.recipe.seed, [pl.lit("gate"), "group_id"])


def _drawn(turn: Turn, voted: pl.DataFrame, use: str) -> pl.DataFrame:
    rule = turn.recipe.gold
    certainty = pl.max_horizontal("p_a", "p_tie", 1 - pl.col("p_a") - pl.col("p_tie"))
    chosen = voted.filter(pl.col("n_votes") >= rule.min_human_votes, certainty >= rule.min_certainty)
    return GOLD.complete(chosen.select(
        "pair_id", "p_a", "p_tie", "source", why=pl.format(f"mean of {{}} human votes in {WHY[use]}", "n_votes"),
        criterion=pl.lit(turn.recipe.criterion), use=pl.lit(use), added_at=pl.lit(now()),
    ).sort("pair_id"))
