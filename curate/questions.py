"""Questions to served models as a frame: keyed by everything that decides the answer, turned into requests.

One row is one question. What is sent stands in `messages` (or `prompt`, for an embedding), so whatever
changes a template, a rubric, an example or a text changes the key of exactly the rows it touches, and
equal questions of any run, source or pair are one call.
"""

from __future__ import annotations

import json

import polars as pl

from curate.engines import CallRequest, Kind
from schemas.errors import InputError
from schemas.ids import content_id_expr

QUESTION: dict[str, pl.DataType] = {
    "voter": pl.String(),  # the recipe's name of the model that is asked
    "identity": pl.String(),  # served model and revision behind it
    "subject": pl.String(),  # JSON of the row ids the question is about: in no key
    "messages": pl.String(),  # JSON list of {role, content}
    "prompt": pl.String(),  # text to embed; empty elsewhere
    "instrument": pl.String(),  # name@version of the question's template
    "choices": pl.String(),  # JSON list; [] when the answer is free
    "schema": pl.String(),  # JSON Schema, or empty
    "parameters": pl.String(),  # canonical JSON
    "sample": pl.Int64(),
}
DEFAULTS = {
    "prompt": "", "choices": "[]", "schema": "", "parameters": "{}", "sample": 0, "messages": "", "subject": "{}",
}
PLAN = ("call_key", *QUESTION)


def plan_questions(questions: pl.DataFrame, kind: Kind) -> pl.DataFrame:
    """Columns PLAN, sorted by `call_key`: each distinct question once, with its key.

    `questions` has voter, identity, instrument and what else of QUESTION is not at its default; other columns
    are left out. Equal questions about different rows share a call: join back with `keyed`.
    Raises InputError for a missing column.
    """
    return keyed(questions, kind).select(PLAN).unique("call_key", keep="first", maintain_order=True)


def keyed(questions: pl.DataFrame, kind: Kind) -> pl.DataFrame:
    """`questions` with `call_key` and the defaults of QUESTION filled in, sorted by `call_key`, all rows kept."""
    absent = {name: value for name, value in DEFAULTS.items() if name not in questions.columns}
    missing = [name for name in QUESTION if name not in questions.columns and name not in absent]
    if missing:
        raise InputError(f"questions without {missing}", expected=f"{list(QUESTION)}", next="name model and template")
    filled = questions.with_columns(pl.lit(value).alias(name) for name, value in absent.items()).with_columns(
        pl.col(name).cast(kind_of) for name, kind_of in QUESTION.items()
    )
    decides: list[str | pl.Expr] = [
        pl.lit(kind), "identity", "instrument", "messages", "prompt", "choices", "schema", "parameters", "sample",
    ]
    return filled.with_columns(content_id_expr(decides).alias("call_key")).sort("call_key", maintain_order=True)


def chat(*turns: tuple[str, pl.Expr]) -> pl.Expr:
    """Column `messages`: JSON of (role, content) turns; texts are data and are escaped as JSON strings.

    A null content leaves the turn out, for instance a policy without a system prompt.
    """

    def turn(role: str, content: pl.Expr) -> pl.Expr:
        said = pl.struct(role=pl.lit(role), content=content.fill_null("")).struct.json_encode()
        return pl.when(content.is_not_null()).then(said)

    each = [turn(role, content) for role, content in turns]
    return pl.format("[{}]", pl.concat_str(each, separator=",", ignore_nulls=True)).alias("messages")


def requests_of(plan: pl.DataFrame) -> list[CallRequest]:
    """One request per row of a plan."""
    return [
        CallRequest(
            call_key=row["call_key"], voter=row["voter"], subject=row["subject"], prompt=row["prompt"],
            instrument=row["instrument"], sample=row["sample"], parameters=json.loads(row["parameters"]),
            messages=row["messages"], choices=tuple(json.loads(row["choices"])), schema=row["schema"],
        )
        for row in plan.iter_rows(named=True)
    ]


def canonical(parameters: dict[str, str | int | float]) -> str:
    """Parameters as they enter a key."""
    return json.dumps(parameters, sort_keys=True, separators=(",", ":"))
