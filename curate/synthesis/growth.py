"""New prompts after the manner of stored ones, as Self-Instruct grows tasks (Wang et al. 2023, arXiv 2212.10560).

Each question to the writer shows a few stored prompts of one category and asks for others like them. Grown
prompts are never shown as examples, so a manner does not drift from round to round.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import polars as pl

from curate.importing.grouping import near_id
from curate.importing.messages import user_message
from curate.synthesis.instruments import PROMPTS_PER_CALL
from curate.synthesis.near_duplicates import near_duplicate_prompts
from schemas.errors import InputError
from schemas.ids import content_id_expr, uniform_expr

N_EXAMPLES = 6
"""stored prompts shown per question: Self-Instruct shows six written by people and two of its own"""
_LEFT_OUT = {"row_id": pl.String, "reason": pl.String, "detail": pl.String}


@dataclass(frozen=True)
class Grown:
    """Prompts that were accepted, and those that were not."""

    prompts: pl.DataFrame
    """prompt_id, prompt_text_id, asked (JSON of messages), question, category, group_id, near_id; by prompt_id"""
    left_out: pl.DataFrame
    """row_id (of the prompt, or of the call when there was none), reason, detail"""


def draw_examples(prompts: pl.DataFrame, n_prompts: int, seed: int) -> pl.DataFrame:
    """(draw, category, examples): one row per question that `n_prompts` new prompts take, examples of one category.

    `prompts` has prompt_id, category, question. Every prompt is an example once before one is twice, in an order
    fixed by seed and ids. Categories come as often as they are stored. Raises InputError without a prompt.
    """
    if prompts.is_empty():
        raise InputError("no prompt to grow others from", expected="stored prompts in scope",
                         next="ingest a file of prompts")
    n_draws = math.ceil(n_prompts / PROMPTS_PER_CALL)
    n_passes = math.ceil(n_draws * N_EXAMPLES / prompts.height)
    passes = pl.DataFrame({"turn": range(n_passes)}, schema={"turn": pl.Int64})
    mixed = prompts.select("prompt_id", "category", "question").join(passes, how="cross").with_columns(
        uniform_expr(seed, [pl.lit("example"), pl.col("turn").cast(pl.String), "prompt_id"]).alias("at")
    ).sort("turn", "at", "prompt_id")
    block = mixed.with_columns(block=pl.int_range(pl.len()).over("turn", "category") // N_EXAMPLES)
    drawn = block.group_by("turn", "category", "block", maintain_order=True).agg(
        pl.col("question").alias("examples"), pl.col("at").first())
    ordered = drawn.sort("turn", "at", "category").head(n_draws).with_row_index("draw")
    return ordered.select(pl.col("draw").cast(pl.Int64), "category", "examples")


def proposed(answers: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(prompts as the writer proposed them, what was no prompt) from rows of call_key, draw, category, response.

    Proposals: draw, place, category, question, in order. Left out: `empty` ones, and calls that failed
    (their finish reason) or hold no list of prompts (`no_prompts`).
    """
    places = [pl.col("response").str.json_path_match(f"$.prompts[{i}]").alias(str(i)) for i in range(PROMPTS_PER_CALL)]
    is_failed = pl.col("finish_reason") != "stop"
    good = answers.filter(~is_failed).with_columns(places)
    has_none = pl.all_horizontal(pl.col(str(i)).is_null() for i in range(PROMPTS_PER_CALL))
    each = good.unpivot([str(i) for i in range(PROMPTS_PER_CALL)], index=["call_key", "draw", "category"],
                        variable_name="place", value_name="question").drop_nulls("question")
    is_empty = pl.col("question").str.strip_chars() == ""
    left_out = pl.concat([
        answers.filter(is_failed).select(row_id="call_key", reason="finish_reason", detail=pl.lit(None, pl.String)),
        good.filter(has_none).select(row_id="call_key", reason=pl.lit("no_prompts"), detail=pl.lit(None, pl.String)),
        each.filter(is_empty).select(row_id=pl.format("{}/{}", "call_key", "place"), reason=pl.lit("empty"),
                                     detail=pl.lit(None, pl.String)),
    ]).cast(_LEFT_OUT)  # type: ignore[arg-type]
    return each.filter(~is_empty).sort("draw", "place").select("draw", "place", "category", "question"), left_out


def accepted(proposals: pl.DataFrame, stored: pl.DataFrame, n_prompts: int, threshold: float) -> Grown:
    """The first `n_prompts` proposals that are near none of `stored` and none of each other.

    `stored` has prompt_id, near_id and text (what is asked) of every prompt of the workspace, the gate's too:
    a grown prompt that is near one of those would take it out of the gate. Left out: `near_duplicate`, with
    the prompt it is near, and `surplus`.
    """
    named = _named(proposals).sort("draw", "place")
    is_stored, is_first = pl.col("near_id").is_in(stored["near_id"].implode()), pl.col("near_id").is_first_distinct()
    fresh = named.filter(~is_stored & is_first)
    first = pl.col("prompt_id").first().over("near_id")
    why = pl.when(is_stored).then(pl.lit("stored already")).otherwise(first).alias("detail")
    repeated = named.with_columns(why).filter(is_stored | ~is_first).unique("prompt_id", keep="first")
    kept = near_duplicate_prompts(fresh.with_columns(text="question"), threshold, known=stored)
    ordered = kept.kept.sort("draw", "place")
    left_out = pl.concat([
        repeated.select(pl.col("prompt_id").alias("row_id"), pl.lit("near_duplicate").alias("reason"), "detail"),
        kept.discards.select("row_id", "reason", "detail"),
        ordered.slice(n_prompts).select(row_id="prompt_id", reason=pl.lit("surplus"), detail=pl.lit(None, pl.String)),
    ])
    columns = ("prompt_id", "prompt_text_id", "asked", "question", "category", "group_id", "near_id")
    return Grown(ordered.head(n_prompts).select(columns).sort("prompt_id"), left_out)


def _named(proposals: pl.DataFrame) -> pl.DataFrame:
    asked = proposals.with_columns(pl.col("question").str.strip_chars()).with_columns(
        user_message(pl.col("question")).alias("asked"))
    return asked.with_columns(
        content_id_expr(["asked", pl.lit(None, pl.String)]).alias("prompt_id"),
        content_id_expr(["asked"]).alias("prompt_text_id"), near_id(pl.col("asked")),
    ).with_columns(group_id="near_id")
