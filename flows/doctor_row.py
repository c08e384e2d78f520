"""What one look of doctor comes to: check, state (ok, note, fault), what was seen, the command that mends it."""

from __future__ import annotations

from typing import Literal

Row = dict[str, object]


def row(check: str, state: Literal["ok", "note", "fault"], seen: str, mend: str = "") -> Row:
    """One line of the report; what is well needs no mending."""
    return {"check": check, "state": state, "seen": seen, "mend": mend}


def judged(check: str, is_ok: bool, seen: str, mend: str, *, worst: Literal["note", "fault"] = "fault") -> Row:
    """A line that is ok, or `worst` with what mends it."""
    return row(check, "ok", seen) if is_ok else row(check, worst, seen, mend)
