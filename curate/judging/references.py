"""Reference answers per prompt, which a judge is shown beside both responses (Zheng et al. 2023)."""

from __future__ import annotations

import re

LONGEST = 20_000
"""characters; a longer answer was no reference but a writer that did not stop"""
_NO_TEXT = re.compile("[\x00\ud800-\udfff]")


def reference_of(answer: str) -> str | None:
    """The reference answer in a writer's answer: all of it; None when it is empty or endless."""
    text = _NO_TEXT.sub("\ufffd", answer).strip()
    return text if 0 < len(text) <= LONGEST else None


def reference_shown(reference: str) -> str:
    """A stored reference as the judge reads it: as it is."""
    return reference
