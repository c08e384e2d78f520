"""Where a synthesized row came from: who wrote it, sampled how, from what, and why others were left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from schemas.ids import content_id_expr, text_id
from schemas.tables import DISCARDS, RESPONSES, TABLES


def policy_identity(model: str, system: str | None) -> str:
    """Author of a policy's responses: identity of the served model, and 8 hex digits of its system prompt's id.

    Another system prompt is another author; temperature and the like stand in `sampling`.
    """
    return model if system is None else f"{model}+{text_id(system)[:8]}"


def with_response_ids(rows: pl.DataFrame) -> pl.DataFrame:
    """`rows` of prompt_id, text and author with `text_id` and `response_id`."""
    parts = {"text_id": ["text"], "response_id": ["prompt_id", "text", "author"]}
    return rows.with_columns(content_id_expr(columns).alias(name) for name, columns in parts.items())


def response_rows(candidates: pl.DataFrame) -> pl.DataFrame:
    """Frame `responses`, one per response_id, sorted by it, from whatever columns of the table `candidates` has.

    An author's equal texts to one prompt are one response, whichever sample said it first: the smallest call.
    """
    there = [c for c in RESPONSES.schema if c in candidates.columns]
    by_call = ["response_id", "call_key"] if "call_key" in there else ["response_id"]
    distinct = candidates.select(there).sort(by_call).unique("response_id", keep="first", maintain_order=True)
    return RESPONSES.complete(distinct.with_columns(form=pl.lit("text")))


def discards(rows: pl.DataFrame, what: str, stage: str, round_id: str) -> pl.DataFrame:
    """Frame `discards` from rows of row_id, reason and perhaps detail, sorted by id.

    One row per thing, stage and reason, whatever the round: what is left out again is not said again. `row_id`
    is the row's id, or the key of the call whose answer became no row.
    """
    detail = pl.col("detail") if "detail" in rows.columns else pl.lit(None, pl.String)
    named = rows.select(
        "row_id", "reason", detail.cast(pl.String).alias("detail"), what=pl.lit(what), stage=pl.lit(stage),
        round_id=pl.lit(round_id),
    )
    keyed = named.with_columns(content_id_expr(["what", "row_id", "stage", "reason"]).alias("discard_id"))
    distinct = keyed.sort("discard_id", "detail").unique("discard_id", keep="first", maintain_order=True)
    return DISCARDS.complete(distinct)


def merged(parts: Sequence[Mapping[str, pl.DataFrame]]) -> dict[str, pl.DataFrame]:
    """Frames by table out of several such, each row of a key once and sorted by it: of two the earlier part's."""
    names = sorted({name for part in parts for name in part})
    return {
        name: pl.concat([TABLES[name].complete(part[name]) for part in parts if name in part])
        .unique(TABLES[name].key, keep="first", maintain_order=True).sort(TABLES[name].key)
        for name in names
    }
