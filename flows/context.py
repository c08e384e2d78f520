"""What a judge is shown beside the pair: judged examples, and the aid that was written for the prompt."""

from __future__ import annotations

import polars as pl

from curate.judging.aids import AIDS
from curate.judging.few_shot import choose_shots, examples_of
from curate.judging.instruments import Instrument
from flows.aids import aids
from flows.rounds import Turn
from schemas.errors import RecipeError


def context_of(turn: Turn, pairs: pl.DataFrame, instrument: Instrument) -> pl.DataFrame | None:
    """Frame (pair_id, a column per slot) of distinct pairs, for `plan_served`; None when nothing is shown.

    `pairs` has pair_id, prompt_id, group_id, prompt; rows may repeat. Aids are asked for where they are not known.
    Raises RecipeError when the instrument has no slot for what the recipe wants to be shown.
    """
    judging = turn.recipe.judging
    wanted = [*(["examples"] if judging.n_shots else []), *([judging.aid] if judging.aid != "none" else [])]
    lacking = [slot for slot in AIDS if slot in instrument.slots and slot not in wanted]
    if lacking:
        raise RecipeError(
            f"{instrument.id} shows a {lacking[0]} and the recipe has none", expected=f'judging.aid = "{lacking[0]}"',
            next="set judging.aid and judging.aid_model, or name another judging.instrument",
        )
    missing = [slot for slot in wanted if slot not in instrument.slots]
    if missing:
        raise RecipeError(
            f"{instrument.id} shows no {missing[0]}", expected=f"an instrument with the slot {{{missing[0]}}}",
            next="name another judging.instrument, or leave n_shots or aid out",
        )
    about = ["pair_id", "prompt_id", "group_id", "prompt", *(c for c in ("system",) if c in pairs.columns)]
    distinct = pairs.select(about).unique("pair_id").sort("pair_id")
    is_tagged = turn.recipe.synthesis.has_attributes and "attributes" in instrument.slots
    if not (wanted or is_tagged) or distinct.height == 0:
        return None
    shown = distinct.select("pair_id", "prompt_id")
    if is_tagged:
        shown = shown.join(_attributes(turn, distinct), on="pair_id", how="left")
    if judging.n_shots:
        shown = shown.join(_examples(turn, distinct), on="pair_id", how="left")
    if judging.aid != "none":
        shown = shown.join(aids(turn, distinct.drop("pair_id")), on="prompt_id", how="left")
    return shown.drop("prompt_id").sort("pair_id")


def _examples(turn: Turn, pairs: pl.DataFrame) -> pl.DataFrame:
    with turn.store.write("judge") as writer:
        gold = writer.query("calibrate_gold", criterion=turn.recipe.criterion, sources=turn.sources)
    if turn.recipe.synthesis.has_attributes:
        pairs, gold = (rows.join(_attributes(turn, rows), on="pair_id", how="left") for rows in (pairs, gold))
    return examples_of(choose_shots(pairs, gold, turn.recipe.judging.n_shots), gold)


def _attributes(turn: Turn, pairs: pl.DataFrame) -> pl.DataFrame:
    """(pair_id, attributes) as the recipe's writer tagged them (Skywork-Reward-V2); untagged pairs have no row."""
    tagger = turn.engines.identity(turn.recipe.synthesis.writer)
    with turn.store.write("judge") as writer:
        return writer.query("attributes_of_pairs", {"wanted": pairs.select("pair_id")}, tagger=tagger)
