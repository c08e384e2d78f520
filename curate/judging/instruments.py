"""Instruments: the questions put to judges, as versioned Markdown with YAML front matter.

    ---
    name: pairwise-five
    version: 1
    form: pairwise                 # pairwise | rating | checklist | yes_no | meta | generation
    verdict: choice                # choice: one token, constrained | reasoned: JSON with reasoning, then verdict
    scale: {A: 2, B: 1, C: 0, D: -1, E: -2, X: null}      # null: cannot judge
    words: {A: Response 1 is clearly better, …}           # one line per token of the scale
    criterion: overall
    source: WildBench, Lin et al. 2024
    licence: Apache-2.0
    ---
    # System
    You compare two responses … {levels}
    # User
    {prompt}
    {first}
    {second}

A slot stands where a text goes; `{levels}` becomes the worded scale. Texts of others go into the user part only,
each inside a fence (`curate/judging/rendering.py`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Annotated, Literal

import yaml
from pydantic import Field, ValidationError

from curate.judging.scales import Scale, check_mirrored, check_tokens
from schemas.errors import InputError
from schemas.ids import text_id
from schemas.sections import Section

Form = Literal["pairwise", "rating", "checklist", "yes_no", "meta", "generation"]
SLOT = re.compile(r"\{([a-z_]+)\}")
NEEDED: Mapping[str, tuple[str, ...]] = {
    "pairwise": ("prompt", "first", "second"), "rating": ("prompt", "response"),
    "checklist": ("prompt", "response", "checklist"), "yes_no": ("prompt", "response", "principle"),
    "meta": ("prompt", "first", "second", "verdict", "rationale"), "generation": ("prompt",),
}
TITLES: Mapping[str, str] = {
    "prompt": "Conversation", "first": "Response 1", "second": "Response 2", "response": "Response",
    "reference": "Reference answer", "checklist": "Checklist", "rubric": "Rubric", "principles": "Principles",
    "principle": "Principle", "examples": "Judged examples", "attributes": "Attributes of the task",
    "attribute": "Attribute", "verdict": "Verdict under review", "rationale": "Reasons given for the verdict",
}
"""every slot that a text can fill, and how its fence names it"""
OPTIONAL = ("examples", "attributes")
"""slots whose block is left out where a row has no text for them"""
_PARTS = re.compile(r"\A\s*# System\n(?P<system>.*?)^# User\n(?P<user>.*)\Z", re.DOTALL | re.MULTILINE)
_FRONT = re.compile(r"\A---\n(.*?)^---\n(.*)\Z", re.DOTALL | re.MULTILINE)


class _Front(Section):
    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$")]
    version: Annotated[int, Field(ge=1)]
    form: Form
    verdict: Literal["choice", "reasoned", "text"]
    scale: dict[str, float | None] = Field(default_factory=dict)
    words: dict[str, str] = Field(default_factory=dict)
    criterion: str
    source: str
    licence: str


@dataclass(frozen=True)
class Instrument:
    """A question, ready to be filled. Equal ids with unequal texts are told apart by `text_id`."""

    name: str
    version: str
    form: Form
    verdict: Literal["choice", "reasoned", "text"]
    """one token of the scale; JSON with reasoning, then such a token; or free text (generation)"""
    scale: Scale
    """token → level, in the order in which the levels are listed"""
    criterion: str
    source: str
    licence: str
    system: str
    """the system part, levels filled in"""
    user: str
    """the user part, levels filled in, other slots open"""
    text_id: str
    """content id of the whole file"""

    @property
    def id(self) -> str:
        """name@version: what votes and calls name."""
        return f"{self.name}@{self.version}"

    @property
    def slots(self) -> tuple[str, ...]:
        """Slots of the user part, in order."""
        return tuple(dict.fromkeys(SLOT.findall(self.user)))

    @property
    def choices(self) -> tuple[str, ...]:
        """Tokens that the answer is constrained to; empty unless the verdict is a choice."""
        return tuple(self.scale) if self.verdict == "choice" else ()

    @property
    def schema(self) -> str:
        """JSON Schema of a reasoned answer, reasoning before the verdict that it leads to; else empty."""
        if self.verdict != "reasoned":
            return ""
        fields = {"reasoning": {"type": "string"}, "verdict": {"type": "string", "enum": list(self.scale)}}
        kept = {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}
        return json.dumps(kept, separators=(",", ":"))


def parse_instrument(text: str) -> Instrument:
    """The instrument that a Markdown text describes. Raises InputError naming what is wrong with it."""
    fields, body = _split(text)
    front = _front(fields)
    parts = _PARTS.match(body)
    if parts is None:
        raise InputError(
            f"instrument {front.name} without its two parts", expected="a line '# System', then a line '# User'",
            next="write what the judge is and what it is shown under these headings",
        )
    _check_scale(front)
    _check_slots(front, parts["system"], parts["user"])
    listed = "\n".join(f"{token}: {words}" for token, words in front.words.items())
    system, user = (parts[part].strip().replace("{levels}", listed) for part in ("system", "user"))
    return Instrument(
        front.name, str(front.version), front.form, front.verdict, front.scale, front.criterion,
        front.source, front.licence, system, user, text_id(text),
    )


@cache
def shipped_instrument(instrument: str) -> Instrument:
    """One of our own, by name@version. Raises InputError naming those that there are."""
    if instrument not in shipped_names():
        raise InputError(f"instrument {instrument!r}", expected=f"one of {', '.join(shipped_names())}", next="pick one")
    path = files("curate.judging") / "questions" / f"{instrument}.md"
    return parse_instrument(path.read_text(encoding="utf-8"))


@cache
def shipped_names() -> tuple[str, ...]:
    """name@version of every instrument that comes with Tiebreak, sorted."""
    entries = (files("curate.judging") / "questions").iterdir()
    return tuple(sorted(e.name.removesuffix(".md") for e in entries if e.name.endswith(".md")))


def _split(text: str) -> tuple[str, str]:
    parts = _FRONT.match(text.replace("\r\n", "\n"))
    if parts is None:
        raise InputError(
            f"an instrument that begins {text[:40]!r}", expected="front matter between two lines ---",
            next="begin with ---, name, version, form, verdict, scale, words, criterion, source, licence, ---",
        )
    return parts[1], parts[2]


def _front(fields: str) -> _Front:
    try:
        node = yaml.compose(fields, Loader=yaml.SafeLoader)
        raw = yaml.safe_load(fields)
    except yaml.YAMLError as error:
        raise InputError(f"front matter: {error}".replace("\n", " "), expected="YAML", next="mend it") from error
    _check_keys(node)
    if not isinstance(raw, dict):
        raise InputError("front matter that is no mapping", expected="lines `key: value`", next="write name: …")
    for name in ("scale", "words"):
        if isinstance(raw.get(name), dict):
            raw[name] = {_token(key): value for key, value in raw[name].items()}
    try:
        return _Front.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        seen = f"instrument front matter: {where} = {first.get('input')!r}"[:200]
        raise InputError(seen, expected=first["msg"], next="edit that field") from error


def _check_keys(node: yaml.Node | None) -> None:
    """YAML keeps the last of two equal keys and says nothing; a scale must not lose a level that way."""
    if not isinstance(node, yaml.MappingNode):
        return
    names = [key.value for key, _ in node.value]
    twice = sorted({str(name) for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"front matter names {twice} twice", expected="each key once", next="remove one")
    for _, value in node.value:
        _check_keys(value)


def _token(key: object) -> str:
    if isinstance(key, bool) or not isinstance(key, str | int):
        raise InputError(
            f"a token that YAML reads as {key!r}", expected="a word or a whole number",
            next='put it in quotes: "yes", "no", "on", "off"',
        )
    return str(key)


def _check_scale(front: _Front) -> None:
    is_free = front.form == "generation"
    if is_free != (front.verdict == "text") or is_free != (not front.scale):
        raise InputError(
            f"instrument {front.name}: form {front.form}, verdict {front.verdict}, {len(front.scale)} levels",
            expected="generation with verdict text and no scale; every other form with a choice or reasoned verdict",
            next="change the form or the verdict",
        )
    if set(front.words) != set(front.scale):
        odd = sorted(set(front.words) ^ set(front.scale))
        raise InputError(
            f"instrument {front.name}: {odd} in only one of scale and words",
            expected="words for each level, no others", next="declare the level in both",
        )
    if front.scale:
        check_tokens(front.scale)
    if front.form == "pairwise":
        check_mirrored(front.scale)


def _check_slots(front: _Front, system: str, user: str) -> None:
    in_system, in_user = set(SLOT.findall(system)), set(SLOT.findall(user))
    levels = ["levels"] if front.scale else []
    in_words = set(SLOT.findall(" ".join(front.words.values())))
    unknown = sorted((in_system | in_user) - {*TITLES, *levels} | in_words)
    if unknown:
        known = sorted([*TITLES, *levels])
        raise InputError(f"instrument {front.name}: slots {unknown}", expected=f"some of {known}", next="rename them")
    if in_system - {"levels"}:
        raise InputError(
            f"instrument {front.name}: {sorted(in_system - {'levels'})} in the system part",
            expected="texts of others in the user part", next="move the slot below # User",
        )
    needed = {*NEEDED[front.form], *levels}
    missing = sorted(needed - in_system - in_user)
    if missing:
        raise InputError(
            f"instrument {front.name}: no slot for {missing}", expected=f"{sorted(needed)} in the form {front.form}",
            next="write the slots in braces, for example {prompt}",
        )
