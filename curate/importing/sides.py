"""The one form between every foreign shape and our tables: pairs with a left and a right, and opinions on them.

Left and right are the source's own; `assembling` turns them into a and b.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

from curate.importing.raw import ROW, no_rejects
from schemas.errors import InputError

CHOICES = ("left", "right", "tie")

PAIR_SCHEMA: dict[str, pl.DataType] = {
    "file": pl.String(),
    ROW: pl.Int64(),
    "pair": pl.String(),  # joins opinions to pairs within one ingest; enters no id
    "ref": pl.String(),  # the source's own id of the pair or null; part of vote ids
    "prompt": pl.String(),  # canonical JSON of messages
    "system": pl.String(),
    "left": pl.String(),
    "right": pl.String(),
    "left_author": pl.String(),
    "right_author": pl.String(),
    "is_policy": pl.Boolean(),  # the authors are models
    "group": pl.String(),
    "category": pl.String(),
    "language": pl.String(),
    "gold": pl.String(),  # label that is not made of the votes: left, right, tie or null
}
"""Columns of the pairs; columns `pair:<key>` and `prompt:<key>` beside them hold tags."""

OPINION_SCHEMA: dict[str, pl.DataType] = {
    "file": pl.String(),
    ROW: pl.Int64(),
    "pair": pl.String(),
    "voter": pl.String(),
    "kind": pl.String(),
    "family": pl.String(),
    "model": pl.String(),
    "choice": pl.String(),  # left, right, tie; null is an abstention
    "n": pl.Int64(),
    "is_count": pl.Boolean(),  # n people without names, not one ballot
    "first": pl.String(),  # left, right or null
    "strength": pl.Float64(),  # magnitude; the choice gives the sign
    "criterion": pl.String(),
    "rationale": pl.String(),
    "evidence": pl.String(),
    "confidence": pl.Float64(),
    "seconds": pl.Float64(),
    "voted_at": pl.Datetime("us", "UTC"),
    "acceptable_left": pl.Boolean(),
    "acceptable_right": pl.Boolean(),
}

RESPONSE_SCHEMA: dict[str, pl.DataType] = {
    "prompt": pl.String(),
    "system": pl.String(),
    "text": pl.String(),
    "author": pl.String(),
    "is_policy": pl.Boolean(),
    "group": pl.String(),
    "category": pl.String(),
    "language": pl.String(),
}

PROMPT_SCHEMA: dict[str, pl.DataType] = {
    name: RESPONSE_SCHEMA[name] for name in ("prompt", "system", "group", "category", "language")
}


@dataclass(frozen=True)
class Sides:
    """Everything read from one source, before letters and ids."""

    pairs: pl.DataFrame
    opinions: pl.DataFrame
    extra_responses: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=RESPONSE_SCHEMA))
    """responses that need not stand in any pair"""
    rejects: pl.DataFrame = field(default_factory=no_rejects)
    skipped: Mapping[str, str] = field(default_factory=dict)
    extra_prompts: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=PROMPT_SCHEMA))
    """prompts that need not have a response"""


@dataclass(frozen=True)
class Asked:
    """What the caller decides about an ingest."""

    source: str
    is_recorded: bool = False
    """human votes get the status `recorded` (known to replay) instead of `cast`"""
    group_by: str | None = None
    """column that names the unit of splits; None: the source's own, else equal normalised prompts"""
    criterion: str = "overall"
    """criterion of votes that name none"""


def shaped(frame: pl.DataFrame, schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """`frame` with absent columns of `schema` as nulls, cast and ordered; its tag columns stay."""
    tags = [c for c in frame.columns if c.startswith(("pair:", "prompt:"))]
    absent = [pl.lit(None, t).alias(c) for c, t in schema.items() if c not in frame.columns]
    return frame.with_columns(absent).select(*(pl.col(c).cast(t) for c, t in schema.items()), *tags)


def stacked(frames: list[pl.DataFrame], schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """Frames of one schema, one below the other; tags that a frame lacks are null."""
    shaped_frames = [shaped(f, schema) for f in frames]
    return pl.concat(shaped_frames, how="diagonal") if frames else pl.DataFrame(schema=dict(schema))


def imported_opinions(pairs: pl.DataFrame, choice: pl.Expr, asked: Asked) -> pl.DataFrame:
    """One vote per pair of the voter `imported/<source>`, its order unknown; none where the choice is null."""
    voter = pl.lit(f"imported/{asked.source}")
    votes = pairs.select(
        "file", ROW, "pair", voter.alias("voter"), pl.lit("imported").alias("kind"), voter.alias("family"),
        choice.alias("choice"), pl.lit(1).alias("n"), pl.lit(False).alias("is_count"),
        pl.lit(asked.criterion).alias("criterion"),
    )  # fmt: skip
    return shaped(votes.filter(pl.col("choice").is_not_null()), OPINION_SCHEMA)


def group_column(asked: Asked, known: str | None, frames: Mapping[str, pl.DataFrame]) -> str | None:
    """Name of the column that groups: the caller's, else the source's own where a file has it.

    Raises InputError when the caller names a column that no file of pairs or questions has.
    """
    columns = sorted({c for f in frames.values() for c in f.columns if c != ROW})
    if asked.group_by is not None and asked.group_by not in columns:
        raise InputError(
            f"no column {asked.group_by!r} among {columns}", expected="a column to group by", next="name one of these"
        )
    return asked.group_by if asked.group_by is not None else known if known in columns else None
