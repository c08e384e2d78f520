"""Which prompts are asked in a round: stored ones without an answer, and new ones after their manner."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from curate.synthesis.lineage import discards
from curate.synthesis.near_duplicates import near_duplicate_prompts, spoken
from curate.synthesis.quotas import Quota, draw_prompts
from flows.candidates import STAGE, model_of, standing
from flows.rounds import Turn
from flows.writing import grown
from schemas.ids import seed_of
from schemas.tables import PROMPTS, SOURCES, TEXTS

PROMPT = ("prompt_id", "prompt_text_id", "source", "system", "category", "group_id", "asked", "question")


@dataclass(frozen=True)
class Sourced:
    """The round's prompts."""

    prompts: pl.DataFrame
    """columns PROMPT, sorted by prompt_id"""
    frames: dict[str, pl.DataFrame]
    """`sources`, `texts` and `prompts` of those that are new"""
    discards: pl.DataFrame
    """contract DISCARDS"""


def grown_source(turn: Turn) -> str:
    """Source of the prompts that this dataset's writer made."""
    return f"{turn.recipe.dataset}+grown"


def sourced(turn: Turn) -> Sourced:
    """Stored prompts in scope that lack an answer of the recipe's policies, and the round's grown ones."""
    with turn.store.write(STAGE) as writer:
        stored = writer.query("prompts_to_answer", sources=turn.sources)
        lacking, begun = standing(writer, turn, stored)
    todo = stored.join(lacking, on="prompt_id", how="semi")
    begun = stored.join(begun, on="prompt_id", how="semi")
    kept = near_duplicate_prompts(_with_text(todo), turn.recipe.synthesis.near_duplicate, known=_with_text(begun))
    near = discards(kept.discards, "prompt", STAGE, turn.round_id)
    drawn, never = _drawn(turn, kept.kept.select(PROMPT))
    if not turn.recipe.synthesis.n_grown:
        return Sourced(drawn, {}, pl.concat([near, never]))
    new, frames, more = _new_prompts(turn, stored)
    return Sourced(pl.concat([drawn, new]).sort("prompt_id"), frames, pl.concat([near, never, more]))


def _with_text(prompts: pl.DataFrame) -> pl.DataFrame:
    """Prompts with what tells them apart: a prompt under another system prompt is another prompt."""
    said = spoken(pl.col("asked"))
    return prompts.with_columns(text=pl.concat_str("system", said, separator="\n", ignore_nulls=True))


def _drawn(turn: Turn, prompts: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(this round's prompts, discards of those that no quota will ever let in). The others wait for a later round."""
    synthesis = turn.recipe.synthesis
    quota = draw_prompts(prompts, synthesis.n_prompts, synthesis.quotas, seed_of(turn.recipe.seed, "prompts"))
    if synthesis.quotas or synthesis.n_prompts:
        for line in balance(quota):
            turn.say(f"{STAGE}: {line}")
    return quota.prompts, discards(quota.discards.filter(reason="no_quota"), "prompt", STAGE, turn.round_id)


def balance(quota: Quota) -> list[str]:
    """The balance report in words, one category a line."""
    return [
        f"{row['category'] or 'no category'}: {row['taken']:,} of {row['available']:,} prompts"
        f" ({row['share']:.0%} of the round, {row['wanted']:,} wanted)"
        for row in quota.report.iter_rows(named=True)
    ]


def _new_prompts(turn: Turn, stored: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, pl.DataFrame], pl.DataFrame]:
    """(columns PROMPT, frames to append, discards) of the prompts grown in this round."""
    source = grown_source(turn)
    made = grown(turn, stored.filter(pl.col("source") != source))
    model, identity = model_of(turn, turn.recipe.synthesis.writer)
    rows = made.prompts.with_columns(source=pl.lit(source), system=pl.lit(None, pl.String))
    origin = {"source": source, "licence": model.licence, "may_redistribute": model.may_redistribute,
              "revision": identity, "terms": "prompts written by a model after the manner of stored ones"}
    frames = {
        "sources": SOURCES.complete(pl.DataFrame([origin])),
        "texts": TEXTS.complete(rows.select(text_id="prompt_text_id", text="asked")),
        "prompts": PROMPTS.complete(rows.select("prompt_id", "source", "system", "category", "group_id", "near_id",
                                                text_id="prompt_text_id")),
    }
    return rows.select(PROMPT), frames, discards(made.left_out, "prompt", STAGE, turn.round_id)
