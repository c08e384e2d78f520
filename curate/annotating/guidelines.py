"""Guidelines: what annotators are asked to go by, as versioned Markdown with YAML front matter.

    ---
    name: guideline
    version: 1
    criterion: overall
    source: where its words come from
    licence: Apache-2.0
    ---
    ## Which response serves the person better?
    …

Votes name the guideline that they were cast under (name@version), as those of judges name their instrument: an edit
that changes what is asked is a new version.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Annotated

import yaml
from pydantic import Field, ValidationError

from schemas.errors import InputError
from schemas.ids import text_id
from schemas.sections import Section

_FRONT_MATTER = re.compile(r"\A---\n(.*?)^---\n(.*)\Z", re.DOTALL | re.MULTILINE)


class _Front(Section):
    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$")]
    version: Annotated[int, Field(ge=1)]
    criterion: Annotated[str, Field(min_length=1)]
    source: str
    licence: str


@dataclass(frozen=True)
class Guideline:
    """What annotators go by. Equal ids with unequal texts are told apart by `text_id`."""

    name: str
    version: str
    criterion: str
    source: str
    licence: str
    text: str
    """Markdown without the front matter: what a page shows"""
    text_id: str
    """content id of the whole file"""

    @property
    def id(self) -> str:
        """name@version: what recipes and votes name."""
        return f"{self.name}@{self.version}"


def parse_guideline(text: str) -> Guideline:
    """The guideline that a Markdown text is. Raises InputError naming what is wrong with it."""
    parts = _FRONT_MATTER.match(text.replace("\r\n", "\n"))
    if parts is None:
        raise InputError(
            f"a guideline that begins {text[:40]!r}", expected="front matter between two lines ---",
            next="begin with ---, name, version, criterion, source, licence, ---",
        )
    front, body = _front(parts[1]), parts[2].strip()
    if not body:
        raise InputError(
            f"guideline {front.name} without a text", expected="Markdown below the front matter",
            next="write what annotators shall go by",
        )
    return Guideline(
        front.name, str(front.version), front.criterion, front.source, front.licence, body, text_id(text)
    )


@cache
def shipped_guideline(guideline: str) -> Guideline:
    """One of our own, by name@version. Raises InputError naming those that there are."""
    if guideline not in shipped_guidelines():
        raise InputError(
            f"guideline {guideline!r}", expected=f"one of {', '.join(shipped_guidelines())}, or a file of your own",
            next="name one of them in [people]",
        )
    return parse_guideline((files("curate.annotating") / "guidelines" / f"{guideline}.md").read_text(encoding="utf-8"))


@cache
def shipped_guidelines() -> tuple[str, ...]:
    """name@version of every guideline that comes with Tiebreak, sorted."""
    entries = (files("curate.annotating") / "guidelines").iterdir()
    return tuple(sorted(entry.name.removesuffix(".md") for entry in entries if entry.name.endswith(".md")))


def _front(fields: str) -> _Front:
    try:
        raw = yaml.safe_load(fields)
    except yaml.YAMLError as error:
        raise InputError(f"front matter: {error}".replace("\n", " "), expected="YAML", next="mend it") from error
    if not isinstance(raw, dict):
        raise InputError("front matter that is no mapping", expected="lines `key: value`", next="write name: …")
    try:
        return _Front.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        seen = f"guideline front matter: {where} = {first.get('input')!r}"[:200]
        raise InputError(seen, expected=first["msg"], next="edit that field") from error
