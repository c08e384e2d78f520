"""Which votes of people a settling counts, and which of them are final."""

from __future__ import annotations

import datetime as dt

import polars as pl

from curate.annotating.doubtful import counted, left_out
from flows.examining import as_of
from flows.rounds import Turn
from schemas.people import Quality
from warehouse.store import Writer


def attention_gold(turn: Turn, writer: Writer) -> pl.DataFrame:
    """(pair_id, p_a, p_tie) of attention gold, where the recipe puts any before people; else no rows."""
    quality = turn.recipe.people.quality
    gold = writer.query("attention_gold", criterion=turn.recipe.criterion, sources=turn.sources)
    return gold if quality.gold_share > 0 or quality.onboarding_tasks > 0 else gold.clear()


def counted_votes(
    turn: Turn, writer: Writer, votes: pl.DataFrame, voters: pl.DataFrame, *, moment: dt.datetime | None = None
) -> pl.DataFrame:
    """Current votes less those that the recipe's `people.quality` leaves out; all of them where it has no rule.

    Annotators are measured on all attention gold in scope, whether or not it was a gold task for them; gold that came
    after `moment` is not read.
    """
    quality = turn.recipe.people.quality
    if quality.model_copy(update={"gold_share": 0.0, "min_seconds": 0.0}) == Quality():
        return votes
    gold = writer.query("attention_gold", criterion=turn.recipe.criterion, sources=turn.sources)
    told = as_of(gold, "added_at", moment)
    return counted(votes, left_out(votes, voters, told, writer.query("onboarding_votes"), quality))


def final_votes(turn: Turn, writer: Writer, votes: pl.DataFrame) -> pl.DataFrame:
    """(pair_id, p_a, p_tie) of the given votes that experts cast on tasks sent to be adjudicated."""
    final = writer.query("final_votes", dataset=turn.recipe.dataset)
    return votes.join(final, on="vote_id", how="semi").select("pair_id", "p_a", "p_tie").sort("pair_id", "p_a", "p_tie")
