"""Sides become the frames of our tables; every row is kept, merged into an equal one, or refused."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from curate.importing.cells import fault, refused
from curate.importing.grouping import group_ids, near_id
from curate.importing.known_sources import KnownSource
from curate.importing.lettering import lettered, with_ids
from curate.importing.opining import ratings_of, voters_of, votes_of, with_keys
from curate.importing.raw import ROW
from curate.importing.sides import Asked, Sides
from schemas.ids import content_id_expr
from schemas.tables import TABLES

FILLED = (
    "sources", "texts", "prompts", "responses", "pairs", "voters", "instruments", "votes", "ratings", "gold",
    "prompt_tags", "pair_tags", "rejects",
)  # fmt: skip


def assemble(
    sides: Sides, rejects: pl.DataFrame, asked: Asked, known: KnownSource
) -> tuple[dict[str, pl.DataFrame], dict[str, int]]:
    """(frames of `FILLED` by table name, merged rows by reason). Adds the refusals found on the way to `rejects`."""
    pairs, no_pair, n_equal = _told_apart(sides.pairs)
    lettered_pairs = with_ids(pairs)
    opinions, no_vote, repeated = with_keys(sides.opinions, lettered_pairs, asked.source)
    answers = _answers(lettered_pairs, sides.extra_responses)
    questions = _questions(answers, sides.extra_prompts)
    frames = {
        "sources": _source(asked, known),
        "texts": _texts(answers, questions),
        "prompts": _prompts(questions, asked),
        "responses": _responses(answers),
        "pairs": _pairs(lettered_pairs, asked),
        "voters": voters_of(opinions),
        "votes": votes_of(opinions, asked),
        "ratings": ratings_of(opinions, asked),
        "prompt_tags": _tags(lettered_pairs, "prompt", asked),
        "pair_tags": _pair_tags(lettered_pairs, asked),
        "rejects": _rejects([rejects, sides.rejects, no_pair, no_vote], asked),
    }
    merged = {
        "equal rows of one pair_id": n_equal,
        "pairs of the same two responses": lettered_pairs.height - frames["pairs"].height,
        "equal votes": repeated,
    }
    return {name: _complete(name, frames) for name in FILLED}, {k: n for k, n in merged.items() if n}


def _told_apart(pairs: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame, int]:
    """(one row per upstream pair, refused rows, number merged): equal rows are one, differing ones are all refused."""
    meaning = [c for c in pairs.columns if c not in ("file", ROW)]
    distinct = pairs.sort("file", ROW).unique(meaning, keep="first", maintain_order=True)
    is_double = pl.col("pair").is_duplicated()
    why = fault("pair_id", pl.col("pair"), "one pair per pair_id")
    told = distinct.filter(~is_double)
    refusals = pairs.join(told.select("pair"), on="pair", how="anti")
    return told, refused(refusals, why), pairs.height - refusals.height - told.height


def _answers(pairs: pl.DataFrame, extra: pl.DataFrame) -> pl.DataFrame:
    """One row per response as some row gave it: prompt, response_id, text, author and the prompt's properties."""
    shared = ["prompt_id", "prompt", "system", "group", "category", "language", "is_policy"]
    sides = [
        pairs.select(*shared, pl.col(f"{s}_id").alias("response_id"), pl.col(s).alias("text"),
                     pl.col(f"{s}_author").alias("author"))
        for s in ("left", "right")
    ]  # fmt: skip
    others = extra.with_columns(content_id_expr(["prompt", "system"]).alias("prompt_id")).with_columns(
        content_id_expr(["prompt_id", "text", "author"]).alias("response_id")
    )
    return pl.concat([*sides, others.select(sides[0].columns)])


def _source(asked: Asked, known: KnownSource) -> pl.DataFrame:
    return pl.DataFrame({
        "source": [asked.source], "licence": [known.licence], "may_redistribute": [known.may_redistribute],
        "revision": [known.revision], "terms": [known.citation and f"cite: {known.citation}"],
    })  # fmt: skip


def _questions(answers: pl.DataFrame, extra: pl.DataFrame) -> pl.DataFrame:
    """One row per prompt as some row gave it: prompt_id, its messages and its properties."""
    named = extra.with_columns(content_id_expr(["prompt", "system"]).alias("prompt_id"))
    return pl.concat([answers.select(named.columns), named])


def _texts(answers: pl.DataFrame, questions: pl.DataFrame) -> pl.DataFrame:
    texts = pl.concat([answers.select("text"), questions.select(pl.col("prompt").alias("text"))]).unique()
    return texts.select(content_id_expr(["text"]).alias("text_id"), "text")


def _prompts(questions: pl.DataFrame, asked: Asked) -> pl.DataFrame:
    groups = group_ids(questions.select("prompt_id", "prompt", "group").unique(), asked.source)
    said = questions.group_by("prompt_id", "prompt", "system").agg(pl.col("category", "language").min())
    return said.join(groups, on="prompt_id").select(
        "prompt_id", content_id_expr(["prompt"]).alias("text_id"), pl.lit(asked.source).alias("source"), "system",
        "category", "language", "group_id", near_id(pl.col("prompt")),
    )  # fmt: skip


def _responses(answers: pl.DataFrame) -> pl.DataFrame:
    said = answers.group_by("response_id", "prompt_id", "text", "author").agg(pl.col("is_policy").any())
    return said.select(
        "response_id", "prompt_id", content_id_expr(["text"]).alias("text_id"), pl.lit("text").alias("form"), "author",
        pl.when("is_policy").then("author").alias("policy"),
    )  # fmt: skip


def _pairs(pairs: pl.DataFrame, asked: Asked) -> pl.DataFrame:
    return pairs.select(
        "pair_id", "prompt_id", "response_a", "response_b", pl.lit("imported").alias("origin"),
        pl.lit(asked.source).alias("source"),
    ).unique()  # fmt: skip


def _tags(pairs: pl.DataFrame, of: str, asked: Asked) -> pl.DataFrame:
    """Tags of prompts or pairs; of two values for one key the smaller."""
    keys = [c for c in pairs.columns if c.startswith(f"{of}:")]
    rows = pairs.select(f"{of}_id", *keys).unpivot(index=f"{of}_id", variable_name="key").drop_nulls("value")
    named = rows.with_columns(pl.col("key").str.strip_prefix(f"{of}:"), pl.col("value").cast(pl.String))
    return named.group_by(f"{of}_id", "key").agg(pl.col("value").min()).with_columns(
        pl.lit(asked.source).alias("tagger")
    )


def _pair_tags(pairs: pl.DataFrame, asked: Asked) -> pl.DataFrame:
    """The source's tags, its gold label in our letters, and `identical_text` of the tagger `tiebreak`."""
    gold = pl.when(pl.col("is_one") & pl.col("gold").is_not_null()).then(pl.lit("tie")).otherwise(
        lettered(pl.col("gold")))
    own = _tags(pairs.with_columns(gold.alias("pair:gold_label")), "pair", asked)
    tag = {"key": "identical_text", "value": "true", "tagger": "tiebreak"}
    equal = pairs.filter("is_equal").select("pair_id", *(pl.lit(v).alias(c) for c, v in tag.items()))
    return pl.concat([own.select(equal.columns), equal.unique()])


def _rejects(parts: list[pl.DataFrame], asked: Asked) -> pl.DataFrame:
    cell = ["file", "row", "column", "seen"]
    rows = pl.concat(parts).sort(*cell, "expected").unique(cell, keep="first", maintain_order=True)
    named = rows.with_columns(pl.lit(asked.source).alias("source"))
    return named.with_columns(content_id_expr(["source", *cell]).alias("reject_id"))


def _complete(name: str, frames: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    table = TABLES[name]
    return table.complete(frames[name]).sort(table.key) if name in frames else table.empty()
