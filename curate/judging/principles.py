"""Principles per prompt, the most important first, by which a judge decides (SALMON, RewardAnything)."""

from __future__ import annotations

import json

from curate.judging.answering import NOT_READABLE, bounded_list, one_object, sentences

MOST = 6
SCHEMA = json.dumps(one_object(principles=bounded_list(MOST, {"type": "string", "minLength": 1})),
                    separators=(",", ":"))


def principles_of(answer: str) -> str | None:
    """The principles in a writer's answer, as a JSON list of sentences; None when it holds none."""
    try:
        read = sentences(json.loads(answer)["principles"], MOST)
    except NOT_READABLE:
        return None
    return json.dumps(read, ensure_ascii=False, separators=(",", ":")) if read else None


def principles_shown(principles: str) -> str:
    """Stored principles as the judge reads them, numbered."""
    return "\n".join(f"{n}. {principle}" for n, principle in enumerate(json.loads(principles), 1))
