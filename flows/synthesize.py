"""Synthesize: ask the round's prompts, sample responses, pair them.

A recipe with `synthesis.policies` asks served models; one without them the policies of its simulated world.
"""

from __future__ import annotations

import json

import polars as pl

from curate.engines import CallRequest, one_per_call
from curate.importing.grouping import near_id
from curate.synthesis.instruments import ATTRIBUTES, GROW, instrument_rows
from curate.synthesis.lineage import discards, merged, response_rows
from curate.synthesis.near_duplicates import near_duplicate_responses
from curate.synthesis.pairing import pair_up
from flows.calling import make_calls, recorded_calls
from flows.candidates import answering_policies, sample, slots
from flows.deriving import augmented, labelled_pairs
from flows.matching import Matched, matched
from flows.rewriting import SPOKEN, all_pairs, attributed, contrasted, mined, together, writing_policy
from flows.rounds import Turn
from flows.sourcing import sourced
from schemas.ids import content_id_expr, uniform_expr
from schemas.tables import PAIRS, PROMPTS, RESPONSES, SOURCES, TEXTS
from warehouse.store import Writer

STAGE = "synthesize"
SOURCE = "simulated"
TEMPLATE = "answer@1"


def synthesize(turn: Turn) -> int:
    """New prompts, responses and pairs of this round; 0 when the recipe has no policy."""
    if turn.recipe.synthesis.policies:
        return _from_served(turn)
    if turn.engines.world is None or turn.engines.generate is None:
        with turn.store.write(STAGE) as writer:
            return turn.finish(writer, STAGE, 0, {})
    prompts = _record_prompts(turn)
    plan = _plan(turn, prompts)
    make_calls(
        turn.store, turn.engines.ask_policies, _requests(plan), kind="generate", round_id=turn.round_id,
        fan_out=turn.fan_out, say=turn.say,
    )
    responses = _responses(plan, recorded_calls(turn.store, plan, STAGE))
    pairs = pair_up(responses, turn.recipe.synthesis.pairs_per_prompt, turn.seed("pair")).pairs
    with turn.store.write(STAGE) as writer:
        return _record(turn, writer, responses, pairs)


def _from_served(turn: Turn) -> int:
    """Ask whatever is not known, in any order and as often as need be; append everything at once at the end."""
    prompts = sourced(turn)
    found = sample(turn, slots(turn, prompts.prompts))
    distinct = near_duplicate_responses(found.rows, turn.recipe.synthesis.near_duplicate)
    paired = matched(turn, distinct.kept)
    turn.say(f"{STAGE}: {prompts.prompts.height:,} prompts, {distinct.kept.height:,} candidates")
    near = discards(distinct.discards, "response", STAGE, turn.round_id)
    frames = merged([
        prompts.frames, _answers(turn, found.rows), dict(paired.frames), {"pairs": paired.pairs},
        {} if paired.scores is None else {"scores": paired.scores},
        *({"discards": left_out} for left_out in (prompts.discards, found.discards, near, paired.discards)),
        _written(turn, distinct.kept, paired),
    ])
    with turn.store.write(STAGE) as writer:
        return turn.finish(writer, STAGE, frames["pairs"].height, frames)


def _answers(turn: Turn, rows: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Frames of what policies said, near-duplicates included: a candidate left out is still a response."""
    texts = rows.select("text_id", "text").unique("text_id")
    return {"policies": answering_policies(turn), "responses": response_rows(rows), "texts": TEXTS.complete(texts)}


def _written(turn: Turn, candidates: pl.DataFrame, paired: Matched) -> dict[str, pl.DataFrame]:
    """Frames of contrasts, mined failures, augmentation and attributes."""
    synthesis = turn.recipe.synthesis
    labelled = labelled_pairs(turn)
    made = [contrasted(turn, candidates, paired), mined(turn, labelled)]
    tags = attributed(turn, [(paired.pairs, candidates.select(SPOKEN)), *all_pairs(made)])
    used = [*(i for one in made for i in one.instruments), *([GROW] if synthesis.n_grown else []),
            *([ATTRIBUTES] if tags else [])]
    return merged([together(made), tags, augmented(turn, labelled), writing_policy(turn), instrument_rows(used)])


def _record_prompts(turn: Turn) -> pl.DataFrame:
    """The world's prompts of this round, appended; frame (prompt_id, text_id, text)."""
    world = turn.engines.world
    asked = world.prompts(turn.n) if world else pl.DataFrame()
    rows = asked.with_columns(
        content_id_expr(["messages", pl.lit(None, dtype=pl.String)]).alias("prompt_id"),
        content_id_expr(["messages"]).alias("text_id"),
        pl.lit(SOURCE).alias("source"),
    )
    prompts = rows.select("prompt_id", "text_id", "source", "category", near_id(pl.col("messages")), group_id="group")
    texts = rows.select("text_id", text="messages")
    with turn.store.write(STAGE) as writer:
        writer.append({
            "sources": SOURCES.complete(pl.DataFrame({"source": [SOURCE], "licence": ["Apache-2.0"],
                                                      "may_redistribute": [True]})),
            "texts": TEXTS.complete(texts), "prompts": PROMPTS.complete(prompts),
        })
    return rows.select("prompt_id", prompt_text_id="text_id", prompt="messages").sort("prompt_id")


def _plan(turn: Turn, prompts: pl.DataFrame) -> pl.DataFrame:
    """One row per response to sample: policies take turns, each prompt starting somewhere else."""
    recipe, generate = turn.recipe, turn.engines.generate
    names = [p.name for p in recipe.world.policies] if recipe.world else []
    n, k = len(names), recipe.synthesis.responses_per_prompt
    policies = pl.DataFrame({
        "place": range(n), "policy": names, "identity": [generate.identity(p) if generate else "" for p in names]
    }, schema_overrides={"place": pl.Int64})
    start = (uniform_expr(turn.seed("policies"), ["prompt_id"]) * n).floor().cast(pl.Int64)
    slots = prompts.join(pl.DataFrame({"slot": range(k)}, schema={"slot": pl.Int64}), how="cross").with_columns(
        place=(start + pl.col("slot")) % n, sample=pl.col("slot") // n, parameters=pl.lit("{}")
    )
    none = pl.lit(None, dtype=pl.String)
    key: list[str | pl.Expr] = [
        pl.lit("generate"), "identity", pl.lit(TEMPLATE), none, "prompt_text_id", none, none, "parameters", "sample",
    ]
    return slots.join(policies, on="place").with_columns(content_id_expr(key).alias("call_key")).sort("call_key")


def _requests(plan: pl.DataFrame) -> list[CallRequest]:
    return one_per_call(
        CallRequest(
            call_key=row["call_key"], voter=row["policy"], subject=json.dumps({"prompt": row["prompt_text_id"]}),
            prompt=row["prompt"], instrument=TEMPLATE, sample=row["sample"],
        )
        for row in plan.iter_rows(named=True)
    )


def _responses(plan: pl.DataFrame, calls: pl.DataFrame) -> pl.DataFrame:
    """Responses with their texts; a failed call and an empty answer make none."""
    said = calls.filter((pl.col("finish_reason") == "stop") & (pl.col("response").str.strip_chars() != ""))
    rows = plan.join(said.select("call_key", "response", "output_tokens"), on="call_key").rename({"response": "text"})
    return rows.with_columns(
        content_id_expr(["text"]).alias("text_id"),
        content_id_expr(["prompt_id", "text", "identity"]).alias("response_id"),
    ).select(
        "response_id", "prompt_id", "text_id", "text", "call_key", author="identity", policy="identity",
        form=pl.lit("text"), sampling="parameters", n_tokens="output_tokens", source=pl.lit(SOURCE),
    ).unique("response_id", keep="first", maintain_order=True)


def _record(turn: Turn, writer: Writer, responses: pl.DataFrame, pairs: pl.DataFrame) -> int:
    frames = {
        "texts": TEXTS.complete(responses.select("text_id", "text").unique("text_id")),
        "responses": RESPONSES.complete(responses.drop("text", "source")),
        "pairs": PAIRS.complete(pairs),
    }
    return turn.finish(writer, STAGE, pairs.height, frames)
