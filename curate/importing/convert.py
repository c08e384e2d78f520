"""One door in: a raw source becomes frames of our tables."""

from __future__ import annotations

import polars as pl

from curate.importing.assembling import assemble
from curate.importing.chosen_rejected import read_chosen_rejected
from curate.importing.common_form import read_common_form
from curate.importing.known_sources import KnownSource, known_source
from curate.importing.prompt_rows import read_prompt_rows
from curate.importing.raw import Ingested, RawSource
from curate.importing.responses_votes import read_responses_votes
from curate.importing.shapes import CHOSEN, COMMON, PROMPTS, by_role, recognise, unused
from curate.importing.sides import Asked, Sides, group_column
from schemas.errors import InputError


def convert(
    raw: RawSource, *, source: str | None = None, is_recorded: bool = False, group_by: str | None = None,
    criterion: str = "overall",
) -> Ingested:  # fmt: skip
    """Frames of our tables from a raw source; the same content gives the same ids, whatever the order of its rows.

    `source` names the origin (None: the raw source's name) and is part of vote ids and voter names.
    `is_recorded` gives human votes the status `recorded`. `group_by` names the column that splits
    may not cut through. Raises InputError for an unknown shape, a missing or mistyped column, or a
    source of which no row can be read; single bad rows are in the frame `rejects`.
    """
    asked = Asked(source or raw.name, is_recorded, group_by, criterion)
    shape, files = recognise(raw), by_role(raw)
    known = known_source(asked.source, raw.name, *_own_names(raw))
    sides = _read(shape, files, asked, known)
    frames, merged = assemble(sides, raw.rejects, asked, known)
    if not frames["prompts"].height:
        raise InputError(
            f"{raw.name}: none of {sum(f.height for f in raw.files.values())} rows could be read,"
            f" first: {frames['rejects'].select('file', 'row', 'column', 'seen', 'expected').rows()[:1]}",
            expected="at least one", next="mend the rows",
        )  # fmt: skip
    counts = {name: frame.height for name, frame in frames.items()}
    return Ingested(asked.source, shape, frames, merged, {**unused(files), **sides.skipped}, counts)


def _read(shape: str, files: dict[str, dict[str, pl.DataFrame]], asked: Asked, known: KnownSource) -> Sides:
    if shape == COMMON:
        group = group_column(asked, known.group_by, files["pairs"])
        return read_common_form(files["pairs"], files["opinions"], asked, known, group)
    if shape == CHOSEN:
        group = group_column(asked, known.group_by, files["chosen"])
        return read_chosen_rejected(files["chosen"], asked, known, group)
    if shape == PROMPTS:
        group = group_column(asked, known.group_by or "group", files["prompts"])
        return read_prompt_rows(files["prompts"], known, group)
    group = group_column(asked, known.group_by, files["questions"])
    return read_responses_votes(files["questions"], files["responses"], files["votes"], asked, known, group)


def _own_names(raw: RawSource) -> list[str]:
    """What the files' own column `source` says, where it says one thing."""
    columns = [f.get_column("source") for f in raw.files.values() if f.schema.get("source") == pl.String]
    return sorted({c[0] for c in columns if c.n_unique() == 1 and c[0] is not None})
