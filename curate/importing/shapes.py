"""Which shape a source has, told from the columns of its files and from nothing else."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from curate.importing.cells import columns_of
from curate.importing.raw import RawSource
from schemas.errors import InputError

COMMON, CHOSEN, RESPONSES, PROMPTS = "common form", "chosen and rejected", "responses and votes", "prompts"

_ROLES: tuple[tuple[str, frozenset[str]], ...] = (
    ("pairs", frozenset({"prompt", "response_a", "response_b"})),
    ("opinions", frozenset({"pair_id", "annotator", "vote"})),
    ("chosen", frozenset({"chosen", "rejected"})),
    ("votes", frozenset({"question_id", "model_a", "model_b", "vote"})),
    ("responses", frozenset({"question_id", "model", "response"})),
    ("questions", frozenset({"question_id", "text"})),
    ("votes without texts", frozenset({"message_id", "model_a", "model_b", "vote"})),
    ("relative scores", frozenset({"question_id", "scores"})),
    ("items of typed feedback", frozenset({"item_id", "prediction_1", "feedback"})),
)
"""Roles of a file with the columns that make it one; the first that fits counts."""

_ANSWERS = frozenset({
    "response", "responses", "response_a", "response_b", "completion", "answer", "output", "chosen", "rejected",
    "label", "vote", "score",
})
"""columns with which a file holds more than prompts: read as prompts, its answers would be lost in silence"""

_READ = ("pairs", "opinions", "chosen", "votes", "responses", "questions", "prompts")
_SHAPES = {
    COMMON: ({"pairs"}, {"pairs", "opinions"}),
    CHOSEN: ({"chosen"}, {"chosen"}),
    RESPONSES: ({"questions", "responses", "votes"}, {"questions", "responses", "votes"}),
    PROMPTS: ({"prompts"}, {"prompts"}),
}
"""Shape: the roles it needs, the roles it may have."""


def role_of(frame: pl.DataFrame) -> str | None:
    """What a file is in its source, or None."""
    columns = set(frame.columns)
    is_bare = bool({"prompt", "messages"} & columns) and not columns & _ANSWERS
    return next((role for role, needed in _ROLES if needed <= columns), "prompts" if is_bare else None)


def roles_of(raw: RawSource) -> dict[str, str]:
    """Role of every file. Raises InputError for a file that has none, with its columns."""
    roles = {file: role_of(frame) for file, frame in raw.files.items()}
    _refuse_votes_beside_texts(raw)
    for file, role in roles.items():
        if role is None:
            raise InputError(
                f"{file}: columns {columns_of(raw.files[file])}",
                expected="prompt, response_a, response_b; or chosen, rejected; or pair_id, annotator, vote;"
                " or question_id with model, response, text or vote; or prompt, or messages, alone",
                next="rename the columns to one of these forms",
            )
    return {file: role for file, role in roles.items() if role is not None}


def _refuse_votes_beside_texts(raw: RawSource) -> None:
    """One file with texts and votes in a row would be read as pairs, and its votes would be lost."""
    for file, frame in raw.files.items():
        if {"prompt", "response_a", "response_b", "annotator", "vote"} <= set(frame.columns):
            raise InputError(
                f"{file}: texts and votes in one file",
                expected="votes in a file of their own: pair_id, annotator, vote",
                next="make a folder of two files, pairs and annotations, joined by pair_id",
            )


def recognise(raw: RawSource) -> str:
    """Name of the source's shape. Raises InputError with what was seen when it has none."""
    roles = roles_of(raw)
    read = {r for r in roles.values() if r in _READ}
    fits = [shape for shape, (needs, may) in _SHAPES.items() if needs <= read <= may]
    if not fits:
        seen = ", ".join(f"{file} ({role}): {columns_of(raw.files[file])}" for file, role in sorted(roles.items()))
        raise InputError(
            f"{raw.name}: {seen or 'no file'}",
            expected="pairs with or without annotations; chosen and rejected; questions, responses and votes; or"
            " prompts alone",
            next="put the files of one shape, all of them, into one folder",
        )
    return fits[0]


def by_role(raw: RawSource) -> dict[str, dict[str, pl.DataFrame]]:
    """Frames by role, then by file, in the order of file names."""
    roles = roles_of(raw)
    names = (*(role for role, _ in _ROLES), "prompts")
    return {role: {f: raw.files[f] for f in sorted(roles) if roles[f] == role} for role in names}


def unused(files: Mapping[str, Mapping[str, pl.DataFrame]]) -> dict[str, str]:
    """Files of roles that no importer reads, with the number of rows left out."""
    return {
        file: f"{frame.height} rows not read: {role}"
        for role, frames in files.items() if role not in _READ
        for file, frame in frames.items()
    }  # fmt: skip
