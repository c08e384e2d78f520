"""Prompts alone: what a recipe's policies are going to answer.

A row has `prompt`, a text or a list of messages, or `messages`, a list of them; perhaps `system`, `category`,
`language` and `group`, the unit that splits may not cut through.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from curate.importing.cells import Field, fault, read_cells, refused
from curate.importing.common_form import tag_fields, unread, with_text_prompt
from curate.importing.known_sources import KnownSource
from curate.importing.messages import is_messages, transcript_json, user_message
from curate.importing.raw import no_rejects
from curate.importing.sides import OPINION_SCHEMA, PAIR_SCHEMA, PROMPT_SCHEMA, Sides, stacked
from schemas.errors import InputError

_FIELDS = (Field("prompt", "text", names=("prompt", "messages"), is_required=True), Field("system", "text"),
           Field("language"))
_NAMES = ("id", "prompt_id", "source")  # ids are made of content, and the source has one name


def read_prompt_rows(files: Mapping[str, pl.DataFrame], known: KnownSource, group: str | None) -> Sides:
    """Sides without pairs from files of prompts, keyed by base name.

    A prompt ends with what a user says: a row whose messages end otherwise is refused, because its last turn
    is an answer. Raises InputError for `messages` that are no lists of role and content.
    """
    fields = (*_FIELDS, *tag_fields(known, group))
    read = [_read_file(file, frame, fields) for file, frame in files.items()]
    return Sides(
        pl.DataFrame(schema=PAIR_SCHEMA), pl.DataFrame(schema=OPINION_SCHEMA),
        extra_prompts=stacked([rows for rows, _ in read], PROMPT_SCHEMA).select(*PROMPT_SCHEMA),
        rejects=pl.concat([rejects for _, rejects in read]), skipped=unread(files, fields, _NAMES),
    )


def _read_file(file: str, frame: pl.DataFrame, fields: tuple[Field, ...]) -> tuple[pl.DataFrame, pl.DataFrame]:
    good, is_json, refusals = _as_texts(file, frame)
    cells, rejects = read_cells(file, good, fields)
    text = pl.col("prompt")
    prompt = text if is_json else pl.coalesce(transcript_json(text), user_message(text))
    return cells.with_columns(prompt.alias("prompt")), pl.concat([refusals, rejects])


def _as_texts(file: str, frame: pl.DataFrame) -> tuple[pl.DataFrame, bool, pl.DataFrame]:
    """(frame whose prompt is text, whether that is JSON of messages already, refused rows)."""
    column = "prompt" if "prompt" in frame.columns else "messages"
    if not is_messages(frame.schema[column]):
        if column == "messages":
            raise InputError(f"{file}: column messages is {frame.schema[column]}",
                             expected="lists of objects with role and content", next="or name a text column prompt")
        return frame, False, no_rejects()
    last = pl.col(column).list.last().struct.field("role")
    is_asked = (last == "user").fill_null(False)
    # without a last turn there is nothing to look at: the cell itself is refused as empty
    is_good = is_asked | last.is_null()
    why = fault(column, last, "messages that end with what the user says")
    named = frame.filter(is_good).rename({column: "prompt"})
    texts, is_json = with_text_prompt(named)
    return texts, is_json, refused(frame.filter(~is_good), why, file)
