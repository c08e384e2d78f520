"""From cards to the tasks of a labelling page: exactly the variables that `page.py` reads, and what is pre-filled.

A text is cut at its fences of code, so that the page can show code in a monospaced face; nothing is added to it or
taken away: its parts, joined by line feeds, are the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NotRequired, TypedDict

import polars as pl

from curate.annotating.page import OBJECT, VERDICT
from curate.judging.rendering import conversation
from schemas.tables import CARDS

MAX_PARTS = 200
"""a text of more parts is shown as one: each part is an element of the page, and a thousand make it slow"""
_FENCE = re.compile(r"^[ ]{0,3}(`{3,}|~{3,})")
_BREAKS = re.compile("\r\n?")
# Label Studio keeps tasks as JSON in a database; neither NUL nor half a surrogate can be kept there.
_NOT_KEPT = re.compile("[\x00\ud800-\udfff]")


class Part(TypedDict):
    """A piece of text: one of the three is filled, or role and one of the others."""

    role: str
    prose: str
    code: str


class TaskData(TypedDict):
    """What the page reads."""

    task_key: str
    pair_id: str
    guideline: list[Part]
    conversation: list[Part]
    first: list[Part]
    second: list[Part]


class TaskBody(TypedDict):
    """One task as Label Studio imports it."""

    data: TaskData
    predictions: NotRequired[list[dict[str, object]]]


def task_bodies(cards: pl.DataFrame) -> list[TaskBody]:
    """One task per card (frame CARDS), in the order of the cards.

    A card says nothing of its purpose, nor which response is a: whoever reads the task learns only what the page
    shows. Raises ContractError for a frame that is not CARDS.
    """
    return [_body(card) for card in CARDS.complete(cards).iter_rows(named=True)]


def parts_of_text(text: str, role: str = "") -> list[Part]:
    """A text cut at its fences (``` or ~~~) into prose and code, fences with the code; `role` at the first part.

    An open fence lasts to the end of the text (CommonMark). Joined by line feeds the parts are the text, its line
    breaks written as line feeds; no part for no text and no role.
    """
    lines = _NOT_KEPT.sub("\ufffd", _BREAKS.sub("\n", text)).split("\n")
    runs = list(_runs(lines))
    cut = runs if len(runs) <= MAX_PARTS else [("prose", lines)]
    parts = [_part(kind, "\n".join(run)) for kind, run in cut]
    parts[0]["role"] = role
    return parts if text or role else []


def _runs(lines: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Runs of lines of one kind."""
    run: list[str] = []
    fence = ""
    for line in lines:
        opened = _FENCE.match(line)
        if not fence and opened:
            if run:
                yield "prose", run
            run, fence = [line], opened[1]
        elif fence and opened and opened[1].startswith(fence) and line.strip() == opened[1]:
            yield "code", [*run, line]
            run, fence = [], ""
        else:
            run.append(line)
    if run:
        yield ("code" if fence else "prose"), run


def _part(kind: str, text: str) -> Part:
    return Part(role="", prose=text if kind == "prose" else "", code=text if kind == "code" else "")


def _body(card: dict[str, str]) -> TaskBody:
    turns = [("system", card["system"])] if card["system"] else []
    shown = [part for role, text in (*turns, *conversation(card["prompt"])) for part in parts_of_text(text, role)]
    data = TaskData(
        task_key=card["task_key"], pair_id=card["pair_id"],
        guideline=parts_of_text(card["guideline"], "for this task") if card["guideline"] else [],
        conversation=shown, first=parts_of_text(card["text_first"]), second=parts_of_text(card["text_second"]),
    )
    return TaskBody(data=data, predictions=[_prediction(card)]) if card["prefill"] is not None else TaskBody(data=data)


def _prediction(card: dict[str, str]) -> dict[str, object]:
    """The nearest of the seven steps. Halves go away from zero, so that both sides are rounded alike."""
    level = float(card["prefill"])
    step = int(abs(level) + 0.5) * (1 if level > 0 else -1)
    chosen = {"from_name": VERDICT, "to_name": OBJECT, "type": "choices", "value": {"choices": [str(step)]}}
    named = {"model_version": card["prefill_by"] or "unknown", "score": card["prefill_score"]}
    return {**{key: value for key, value in named.items() if value is not None}, "result": [chosen]}
