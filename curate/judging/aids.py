"""Aids: what a writer model makes for each prompt and the judge is shown: reference, checklist, rubric, principles.

Each is written from the prompt alone, kept in `rubrics` with its text under a text id, and cached as a call. A prompt
whose aid could not be written is still judged: the judge is told that there is none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import polars as pl

from curate.judging import checklists, principles, references, rubrics
from curate.judging.instruments import Instrument, shipped_instrument
from curate.judging.rendering import rendered
from curate.questions import PLAN, canonical, keyed
from schemas.ids import content_id_expr
from schemas.tables import RUBRICS, TEXTS

Parameters = Mapping[str, str | int | float]
FROM_PROMPT = "written from the prompt alone"


@dataclass(frozen=True)
class Aid:
    """One kind of aid: how it is asked for, read, and shown."""

    kind: str
    """kind of the row in `rubrics`, and the slot of the judge's instrument that it fills"""
    question: str
    """name@version of the writer's instrument"""
    schema: str
    """JSON Schema of the writer's answer; empty for free text"""
    read: Callable[[str], str | None]
    """from the answer to the text that is stored; None when it holds no such aid"""
    shown: Callable[[str], str]
    """from the stored text to what the judge reads"""

    @property
    def instrument(self) -> Instrument:
        """The writer's question."""
        return shipped_instrument(self.question)


AIDS: Mapping[str, Aid] = {aid.kind: aid for aid in (
    Aid("reference", "write-reference@1", "", references.reference_of, references.reference_shown),
    Aid("checklist", "write-checklist@1", checklists.SCHEMA, checklists.checklist_of, checklists.checklist_shown),
    Aid("rubric", "write-rubric@1", rubrics.SCHEMA, rubrics.rubric_of, rubrics.rubric_shown),
    Aid("principles", "write-principles@1", principles.SCHEMA, principles.principles_of, principles.principles_shown),
)}
FROM_PAIR = Aid("rubric", "write-rubric-from-pair@1", rubrics.SCHEMA, rubrics.rubric_of, rubrics.rubric_shown)
"""the contrastive rubric, from a pair whose better side is known: shown first"""


def aid_questions(
    rows: pl.DataFrame, aid: Aid, writer: tuple[str, str], parameters: Parameters
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(plan, links): one question per row to the writer (name, identity); links have call_key, prompt_id, pair_id.

    `rows` has prompt_id, prompt (JSON of messages), perhaps system, pair_id, and the further slots of the instrument.
    """
    named = rows if "pair_id" in rows.columns else rows.with_columns(pl.lit(None, pl.String).alias("pair_id"))
    name, identity = writer
    asked = rendered(named, aid.instrument).drop("prompt").with_columns(
        pl.lit(name).alias("voter"), pl.lit(identity).alias("identity"), pl.lit(aid.schema).alias("schema"),
        pl.lit(canonical(dict(parameters))).alias("parameters"),
        pl.struct("prompt_id", "pair_id").struct.json_encode().alias("subject"),
    )
    questions = keyed(asked.sort("prompt_id", "pair_id"), "generate")
    plan = questions.select(PLAN).unique("call_key", keep="first", maintain_order=True)
    return plan, questions.select("call_key", "prompt_id", "pair_id")


def written(
    calls: pl.DataFrame, links: pl.DataFrame, aid: Aid, author: str, *, reason: str = FROM_PROMPT,
    round_id: str | None = None,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Frames (rubrics, texts) of a writer's answers, one rubric per link, sorted by `rubric_id`.

    An answer that failed or holds no such aid is a row that is not accepted, with the reason, over the raw answer.
    """
    read = calls.select("call_key", "finish_reason", "response").join(_read(calls, aid), on="response", how="left")
    is_there = (pl.col("finish_reason") == "stop") & pl.col("stored").is_not_null()
    failure = pl.when(pl.col("finish_reason") != "stop").then(
        pl.format("finish_reason: {}", "finish_reason")).otherwise(pl.lit(f"no {aid.kind} in the answer"))
    rows = links.join(read, on="call_key").with_columns(
        pl.when(is_there).then("stored").otherwise("response").alias("text"), is_there.alias("is_accepted"),
        pl.when(is_there).then(pl.lit(reason)).otherwise(failure).alias("reason"),
    ).with_columns(
        content_id_expr(["text"]).alias("text_id"),
        content_id_expr([pl.lit("rubric"), pl.lit(aid.kind), "prompt_id", "pair_id", "call_key"]).alias("rubric_id"),
    )
    named = rows.with_columns(kind=pl.lit(aid.kind), author=pl.lit(author), round_id=pl.lit(round_id, pl.String))
    texts = rows.select("text_id", "text").unique("text_id").sort("text_id")
    return RUBRICS.complete(named.select(*RUBRICS.schema)).sort("rubric_id"), TEXTS.complete(texts)


def shown_aids(made: pl.DataFrame, texts: pl.DataFrame, prompts: pl.DataFrame, aid: Aid) -> pl.DataFrame:
    """(prompt_id, <slot>), one row per prompt of `prompts`, sorted: what the judge is shown in the aid's slot.

    Of several accepted ones of a prompt the first by id is taken; without one, a sentence that says so.
    """
    accepted = made.filter("is_accepted").sort("rubric_id").unique("prompt_id", keep="first", maintain_order=True)
    held = accepted.select("prompt_id", "text_id").join(texts, on="text_id")
    distinct = held.select("text").unique(maintain_order=True)
    shown = distinct.with_columns(pl.Series(aid.kind, [aid.shown(text) for text in distinct["text"]], dtype=pl.String))
    asked = prompts.select("prompt_id").unique().join(held.join(shown, on="text"), on="prompt_id", how="left")
    none = f"(There is no {aid.kind} for this conversation: judge without one.)"
    return asked.select("prompt_id", pl.col(aid.kind).fill_null(none)).sort("prompt_id")


def _read(calls: pl.DataFrame, aid: Aid) -> pl.DataFrame:
    """(response, stored) of each distinct answer."""
    distinct = calls.select("response").unique(maintain_order=True)
    return distinct.with_columns(pl.Series("stored", [aid.read(r) for r in distinct["response"]], dtype=pl.String))
