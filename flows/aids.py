"""Aids in a round: what the aid model writes for each prompt, kept in `rubrics`, as the judge is shown it."""

from __future__ import annotations

import polars as pl

from curate.judging.aids import AIDS, FROM_PAIR, Aid, aid_questions, shown_aids, written
from curate.judging.instruments import shipped_instrument
from curate.judging.reading import read_verdicts, votes_from_verdicts
from curate.judging.rubrics import examples_for, known_sides, rubric_shown, tried
from curate.judging.verdicts import PAIR_COLUMNS, plan_served
from flows.asking import ask
from flows.rounds import Turn

N_PAIRS = 24
"""calibrate-gold pairs that rubrics are derived from, the first by id: examples need few, and each costs three calls"""
TRIAL = "pairwise-rubric@1"
_SLOTS = ("prompt_id", "prompt", "system")


def aids(turn: Turn, prompts: pl.DataFrame) -> pl.DataFrame:
    """(prompt_id, <slot>), one row per prompt, slot = `judging.aid`: join it to pairs as `context` of `plan_served`.

    `prompts` has prompt_id, prompt (JSON of messages), group_id, and perhaps system; a prompt may be there more than
    once. What was written is recorded in `rubrics` and `texts`, accepted or not, before this returns. For a rubric,
    rubrics of calibrate gold are derived and tried out first, and those that hold are shown to the writer as
    examples, never for prompts of their own group. Raises RecipeError when the recipe names no aid model that is
    served.
    """
    aid = AIDS[turn.recipe.judging.aid]
    distinct = prompts.unique("prompt_id").sort("prompt_id")
    asked = distinct if "system" in distinct.columns else distinct.with_columns(pl.lit(None, pl.String).alias("system"))
    if aid.kind == "rubric":
        asked = asked.join(examples_for(asked, _held_rubrics(turn)), on="prompt_id")
    slots = [*_SLOTS, *(c for c in ("examples",) if c in asked.columns)]
    made, texts = _written(turn, asked.select(slots), aid)
    _record(turn, made, texts)
    n_lacking = int((~made["is_accepted"]).sum())
    if n_lacking:
        turn.say(f"{aid.kind}: none for {n_lacking:,} of {made.height:,} prompts, which are judged without one")
    return shown_aids(made, texts, distinct, aid)


def _held_rubrics(turn: Turn) -> pl.DataFrame:
    """(rubric_id, group_id, rubric) of calibrate gold that a judge was led to the known side by; all are recorded."""
    with turn.store.write("aids") as writer:
        gold = writer.query("calibrate_gold_pairs", sources=turn.sources, criterion=turn.recipe.criterion)
    known = gold.join(known_sides(gold), on="pair_id").sort("pair_id").head(N_PAIRS)
    shown = known.with_columns(*_better_first())
    made, texts = _written(turn, shown.select(*_SLOTS, "pair_id", "first", "second"), FROM_PAIR)
    rubrics = made.filter("is_accepted").join(texts, on="text_id")
    trial = tried(_trial(turn, known, rubrics), known.select("pair_id", "side"))
    judged = made.join(trial, on="pair_id", how="left", suffix="_tried").with_columns(
        (pl.col("is_accepted") & pl.col("is_accepted_tried")).alias("is_accepted"),
        pl.when("is_accepted").then("reason_tried").otherwise("reason").alias("reason"),
    ).select(made.columns)
    _record(turn, judged, texts)
    groups = known.select("pair_id", "group_id")
    accepted = judged.filter("is_accepted").join(groups, on="pair_id").join(texts, on="text_id")
    return accepted.select("rubric_id", "group_id", rubric="text")


def _trial(turn: Turn, known: pl.DataFrame, rubrics: pl.DataFrame) -> pl.DataFrame:
    """Votes of the writer as judge on the pairs, each shown its own rubric, in both orders."""
    instrument, writer = shipped_instrument(TRIAL), _writer(turn)
    shown = pl.Series("rubric", [rubric_shown(text) for text in rubrics["text"]], dtype=pl.String)
    context = rubrics.select("pair_id").with_columns(shown)
    pairs = known.join(context, on="pair_id", how="semi").select(*PAIR_COLUMNS, "system")
    plan, links = plan_served(pairs, [writer], instrument, {"temperature": 0.0}, context=context)
    read = read_verdicts(ask(turn, "judge", plan), instrument)
    return votes_from_verdicts(read, links, instrument.scale, criterion=turn.recipe.criterion)


def _written(turn: Turn, rows: pl.DataFrame, aid: Aid) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Frames (rubrics, texts) that the aid model wrote for the rows."""
    writer = _writer(turn)
    parameters = {"temperature": 0.0, "max_tokens": turn.recipe.judging.max_tokens}
    plan, links = aid_questions(rows, aid, writer, parameters)
    return written(ask(turn, "generate", plan), links, aid, writer[1], round_id=turn.round_id)


def _record(turn: Turn, made: pl.DataFrame, texts: pl.DataFrame) -> None:
    with turn.store.write("aids") as writer:
        writer.append({"texts": texts, "rubrics": made})


def _writer(turn: Turn) -> tuple[str, str]:
    name = turn.recipe.judging.aid_model
    return name, turn.engines.identity(name)


def _better_first() -> list[pl.Expr]:
    is_a = pl.col("side") == "a"
    return [pl.when(is_a).then("text_a").otherwise("text_b").alias("first"),
            pl.when(is_a).then("text_b").otherwise("text_a").alias("second")]
