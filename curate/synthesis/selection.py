"""What every selection over candidates returns: what it keeps, and a reason for whatever it leaves out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from schemas.errors import InputError
from schemas.ids import content_id_expr
from schemas.tables import DISCARDS, PAIRS


@dataclass(frozen=True)
class Selection:
    """Pairs made of responses, and the responses that are in none of them."""

    pairs: pl.DataFrame
    """contract PAIRS, sorted by pair_id"""
    discards: pl.DataFrame
    """contract DISCARDS, one row per response that is in no pair, sorted by discard_id"""


@dataclass(frozen=True)
class Kept:
    """Rows kept as they came, and the others."""

    kept: pl.DataFrame
    """the input's columns, sorted by id"""
    discards: pl.DataFrame
    """contract DISCARDS, one row per row that was not kept, sorted by discard_id"""


def discarded(rows: pl.DataFrame, what: str, stage: str) -> pl.DataFrame:
    """Frame `discards` of rows (row_id, reason, and perhaps detail), sorted by discard_id; the round is the flow's.

    `what` is "prompt", "response" or "pair". Raises ContractError when one row has one reason twice.
    """
    detail = pl.col("detail") if "detail" in rows.columns else pl.lit(None, pl.String)
    named = rows.select("row_id", "reason", detail.alias("detail"), what=pl.lit(what), stage=pl.lit(stage))
    keyed = named.with_columns(content_id_expr(["what", "row_id", "stage", "reason"]).alias("discard_id"))
    return DISCARDS.complete(keyed).sort("discard_id")


def pairs_of(couples: pl.DataFrame, origin: str | pl.Expr) -> pl.DataFrame:
    """Frame `pairs`, sorted, of couples (prompt_id, left, right: response ids, source, perhaps declared_contrast).

    The letters follow the ids, so left and right carry no opinion. The same two responses are one pair.
    """
    a, b = pl.min_horizontal("left", "right"), pl.max_horizontal("left", "right")
    sided = couples.with_columns(a.alias("response_a"), b.alias("response_b"))
    contrast = ["declared_contrast"] if "declared_contrast" in couples.columns else []
    named = sided.select(
        content_id_expr(["response_a", "response_b"]).alias("pair_id"), "prompt_id", "response_a", "response_b",
        (pl.lit(origin) if isinstance(origin, str) else origin).alias("origin"), "source", *contrast,
    )
    return PAIRS.complete(named.sort("pair_id", "origin").unique("pair_id", keep="first", maintain_order=True))


def checked(rows: pl.DataFrame, columns: Sequence[str], what: str) -> pl.DataFrame:
    """`rows` sorted by `columns[0]`, which is their id, with a source (else "synthesized").

    All columns stay: whoever joins anything to the result first selects what it reads, so that a column of the
    caller's never stands in for a computed one of the same name.

    Raises InputError for a missing column, a null id or one id twice.
    """
    missing = [c for c in columns if c not in rows.columns]
    if missing:
        raise InputError(f"{what} without columns {missing}", expected=f"{list(columns)}", next="join them")
    if rows[columns[0]].is_duplicated().any() or rows[columns[0]].null_count():
        raise InputError(f"{what}: a {columns[0]} twice or null", expected="one row per " + columns[0],
                         next="drop the repeated rows")
    sourced = rows if "source" in rows.columns else rows.with_columns(source=pl.lit("synthesized"))
    return sourced.sort(columns[0])


def with_scores(responses: pl.DataFrame, scores: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(responses with a finite `score`, (row_id, reason `not_scored`, detail) of the others).

    `scores` has response_id, score. Raises InputError for a response with two scores.
    """
    if scores["response_id"].is_duplicated().any():
        raise InputError("a response with two scores", expected="one model's scores", next="choose one model")
    unscored = responses.drop("score", strict=False)
    joined = unscored.join(scores.select("response_id", "score"), on="response_id", how="left", maintain_order="left")
    is_scored = pl.col("score").is_finite().fill_null(False)
    others = joined.filter(~is_scored).select(
        row_id="response_id", reason=pl.lit("not_scored"), detail=pl.lit(None, pl.String))
    return joined.filter(is_scored), others
