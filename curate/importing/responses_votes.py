"""Responses of many policies to listed questions, and votes that name two policies and a question.

The layout of Vicuna-style evaluations (question_id, model, response; question_id, model_a,
model_b, vote). A row's own order is the order shown: model_a stood first. Every response is
ingested, also of a policy that no vote compares.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from curate.importing.cells import Field, fault, read_cells, refused
from curate.importing.common_form import OPINION_FIELDS, opinions_of, tag_fields, unread
from curate.importing.known_sources import KnownSource
from curate.importing.messages import transcript_json, user_message
from curate.importing.raw import ROW
from curate.importing.sides import PAIR_SCHEMA, RESPONSE_SCHEMA, Asked, Sides, shaped

_NOT_HERE = {"shown_first": pl.String(), "acceptable_a": pl.Boolean(), "acceptable_b": pl.Boolean()}
_QUESTIONS = (
    Field("question_id", is_required=True),
    Field("prompt", "text", names=("text", "question"), is_required=True),
)
_RESPONSES = (
    Field("question_id", is_required=True),
    Field("model", is_required=True),
    Field("text", "text", names=("response",), is_required=True, may_be_empty=True),
)
_VOTES = (
    Field("question_id", is_required=True),
    Field("model_a", is_required=True),
    Field("model_b", is_required=True),
    Field("rationale", "text", names=("rationale", "review", "reason")),
    *(f for f in OPINION_FIELDS if f.name not in ("pair", "rationale", "is_swapped", *_NOT_HERE)),
)


def read_responses_votes(
    questions: Mapping[str, pl.DataFrame], responses: Mapping[str, pl.DataFrame], votes: Mapping[str, pl.DataFrame],
    asked: Asked, known: KnownSource, group: str | None,
) -> Sides:  # fmt: skip
    """Sides from files of questions, of responses and of votes, keyed by base name.

    A question or a response that two rows give differently is refused; so is a vote that names a
    question or a policy without a text.
    """
    asked_for, no_question = _read_all(questions, (*_QUESTIONS, *tag_fields(known, group)), ("question_id",))
    said, no_response = _read_all(responses, _RESPONSES, ("question_id", "model"))
    asked_in = pl.coalesce(transcript_json(pl.col("prompt")), user_message(pl.col("prompt")))
    prompts = asked_for.drop("file", ROW).with_columns(asked_in.alias("prompt"))
    texts = said.join(prompts, on="question_id", how="left").with_columns(
        pl.col("model").alias("author"), pl.lit(True).alias("is_policy")
    )
    lost = refused(
        texts.filter(pl.col("prompt").is_null()), fault("question_id", pl.col("question_id"), "a question of that id")
    )
    texts = texts.filter(pl.col("prompt").is_not_null())
    pairs, opinions, no_vote = _read_votes(votes, texts, asked, known)
    return Sides(
        pairs, opinions, shaped(texts, RESPONSE_SCHEMA), pl.concat([no_question, no_response, lost, no_vote]),
        {**unread(questions, (*_QUESTIONS, *tag_fields(known, group))), **unread(responses, _RESPONSES),
         **unread(votes, _VOTES)},
    )  # fmt: skip


def _read_all(
    files: Mapping[str, pl.DataFrame], fields: Sequence[Field], key: tuple[str, ...]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(rows with one meaning per key, refused rows): equal rows are one, differing ones are all refused."""
    read = [read_cells(file, frame, fields) for file, frame in files.items()]
    named = [c.with_columns(pl.lit(f).alias("file")) for f, (c, _) in zip(files, read, strict=True)]
    rows = pl.concat(named).sort("file", ROW)
    rows = rows.unique([c for c in rows.columns if c not in ("file", ROW)], keep="first", maintain_order=True)
    is_double = pl.struct(key).is_duplicated()
    why = fault(key[-1], pl.col(key[-1]), f"one row per {' and '.join(key)}")
    return rows.filter(~is_double), pl.concat([*(r for _, r in read), refused(rows.filter(is_double), why)])


def _read_votes(
    files: Mapping[str, pl.DataFrame], texts: pl.DataFrame, asked: Asked, known: KnownSource
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """(pairs, opinions, refused rows). Left is the alphabetically first policy, so both orders meet in one pair."""
    read = [read_cells(file, frame, _VOTES) for file, frame in files.items()]
    rows = pl.concat([c.with_columns(pl.lit(f).alias("file")) for f, (c, _) in zip(files, read, strict=True)])
    found = _with_texts(rows, texts)
    is_good = pl.col("left").is_not_null() & pl.col("right").is_not_null() & (pl.col("model_a") != pl.col("model_b"))
    named = pl.concat_str("question_id", "model_a", "model_b", separator=" ")
    why = fault("model_a", named, "a question and two policies with responses")
    good = found.filter(is_good)
    refusals = [*(r for _, r in read), refused(found.filter(~is_good), why)]
    return _pairs(good), opinions_of(_turned(good), "judge", asked, known), pl.concat(refusals)


def _with_texts(rows: pl.DataFrame, texts: pl.DataFrame) -> pl.DataFrame:
    authors = rows.with_columns(
        pl.min_horizontal("model_a", "model_b").alias("left_author"),
        pl.max_horizontal("model_a", "model_b").alias("right_author"),
    )
    prompts = texts.drop("file", ROW, "model", "author", "text", "is_policy").unique("question_id")
    for side in ("left", "right"):
        known = texts.select("question_id", pl.col("model").alias(f"{side}_author"), pl.col("text").alias(side))
        authors = authors.join(known, on=["question_id", f"{side}_author"], how="left")
    key = pl.struct("question_id", "left_author", "right_author").struct.json_encode().alias("pair")
    return authors.join(prompts, on="question_id", how="left").with_columns(key)


def _turned(rows: pl.DataFrame) -> pl.DataFrame:
    """Votes about left and right, from votes about a row's own a and b."""
    is_turned = pl.col("model_a") > pl.col("model_b")
    mirrored = pl.col("vote").replace({"a": "b", "b": "a"})
    nothing = [pl.lit(None, t).alias(c) for c, t in _NOT_HERE.items()]
    vote = pl.when(is_turned).then(mirrored).otherwise(pl.col("vote")).alias("vote")
    return rows.with_columns(vote, is_turned.alias("is_swapped"), *nothing)


def _pairs(rows: pl.DataFrame) -> pl.DataFrame:
    """One row per pair that a vote compares."""
    pairs = rows.sort("pair", "file", ROW).unique("pair", keep="first", maintain_order=True)
    return shaped(pairs.with_columns(pl.lit(True).alias("is_policy")), PAIR_SCHEMA)
