"""What the writer model makes: new prompts, and whatever else is written for prompts, responses and pairs."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from curate.questions import canonical, keyed, plan_questions
from curate.synthesis.growth import Grown, accepted, draw_examples, proposed
from curate.synthesis.instruments import GROW, PROMPTS_PER_CALL, Instrument
from curate.synthesis.lineage import discards
from curate.synthesis.near_duplicates import spoken
from flows.asking import ask
from flows.candidates import STAGE, model_of
from flows.rounds import Turn
from schemas.ids import seed_of

MAX_TOKENS = 1024
"""of what the writer says at once"""


def written(
    turn: Turn, instrument: Instrument, rows: pl.DataFrame, shown: Sequence[str], *, temperature: float, seed: int = 0
) -> pl.DataFrame:
    """`rows` with the writer's answers, as `answered`; `shown` are the columns that the question holds as JSON."""
    messages = instrument.messages(pl.struct(shown)).alias("messages")
    return answered(turn, rows.with_columns(messages), [(instrument, pl.lit(True))], temperature=temperature, seed=seed)


def answered(
    turn: Turn, rows: pl.DataFrame, instruments: Sequence[tuple[Instrument, pl.Expr]], *, temperature: float,
    seed: int = 0,
) -> pl.DataFrame:
    """`rows` (with `messages`) and the writer's answers: call_key, identity, parameters, response, finish_reason.

    Each row's instrument is the first whose condition holds. Equal questions are one call.
    """
    writer = turn.recipe.synthesis.writer
    parameters = canonical({"temperature": temperature, "max_tokens": MAX_TOKENS, "seed": seed % 2**31})
    asked = keyed(rows.with_columns(
        voter=pl.lit(writer), identity=pl.lit(model_of(turn, writer)[1]), parameters=pl.lit(parameters),
        instrument=pl.coalesce(pl.when(is_its).then(pl.lit(i.key)) for i, is_its in instruments),
        schema=pl.coalesce(pl.when(is_its).then(pl.lit(i.schema)) for i, is_its in instruments),
    ), "generate")
    calls = ask(turn, "generate", plan_questions(asked, "generate"))
    said = calls.select("call_key", "response", "finish_reason", "output_tokens", "logprob_sum")
    return asked.join(said, on="call_key", maintain_order="left")


def rewritten(turn: Turn, answers: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(answers with `text` and its authorship, discards of calls that gave no text)."""
    text = pl.col("response").str.json_path_match("$.response")
    read = answers.with_columns(
        reason=pl.when(pl.col("finish_reason") != "stop").then("finish_reason").when(text.is_null()).then(
            pl.lit("no_response")), text=text, author="identity", policy="identity", sampling="parameters")
    failed = read.filter(pl.col("reason").is_not_null()).select("reason", row_id="call_key")
    return read.filter(pl.col("reason").is_null()), discards(failed, "response", STAGE, turn.round_id)


def grown(turn: Turn, stored: pl.DataFrame) -> Grown:
    """New prompts of this round after the manner of `stored` ones (prompt_id, category, question)."""
    synthesis = turn.recipe.synthesis
    seed = seed_of(turn.recipe.seed, "grow", turn.n)
    draws = draw_examples(stored, synthesis.n_grown, seed).with_columns(n=pl.lit(PROMPTS_PER_CALL))
    proposals, failed = proposed(written(turn, GROW, draws, ("examples", "n"), temperature=1.0, seed=seed))
    with turn.store.write(STAGE) as writer:
        known = writer.query("stored_questions")
    told = known.select("prompt_id", "near_id", spoken(pl.col("asked")))
    grown = accepted(proposals, told, synthesis.n_grown, synthesis.near_duplicate)
    turn.say(f"{STAGE}: {grown.prompts.height:,} of {synthesis.n_grown:,} prompts grown")
    return Grown(grown.prompts, pl.concat([failed, grown.left_out]))
